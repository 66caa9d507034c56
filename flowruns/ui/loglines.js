// The lines of a log: groups, filters, search.

import { plain } from "./ansi.js";
import { severity } from "./phases.js";

// Commands of GitHub's and Azure's runners.
const MARK = /^(?:##\[(\w+)\]|::(\w+)(?: [^:]*)?::|\[(command)\])/;

/** One line for each line of a message, so that each has a link. */
export function linesOf(logs) {
	const lines = [];
	for (const entry of logs) {
		const worst = severity(entry);
		for (const text of entry.message.split(/\r\n|\n/)) lines.push(lineOf(entry, lines.length, worst, text));
	}
	findGroups(lines);
	return lines;
}

function lineOf({ timestamp, level, action }, index, entrySeverity, message) {
	// The last state of a progress bar.
	const text = message.slice(message.lastIndexOf("\r", message.length - 2) + 1);
	const [prefix, ...names] = MARK.exec(text) ?? [""];
	const mark = names.find(Boolean)?.toLowerCase() ?? null;
	const shown = text.slice(prefix.length);
	return {
		index, timestamp, level, action, mark, shown, text: plain(shown), depth: 0,
		last: null, // the index of the group's last line
		parent: null, // the index of the line that opens the group
		severity: mark === "error" || mark === "warning" ? mark : entrySeverity,
		key: `${timestamp} ${level} ${action} ${text}`, // lines with the same key look the same
	};
}

function findGroups(lines) {
	const open = [];
	for (const line of lines) {
		if (line.mark === "endgroup" && open.length) open.pop().last = line.index;
		line.depth = open.length;
		line.parent = open.at(-1)?.index ?? null;
		if (line.mark === "group") open.push(line);
	}
	for (const line of open) line.last = lines.length - 1; // unclosed groups
}

/** Indices of the lines to show. Filters ignore collapsed groups. */
export function visible(lines, { level, action, collapsed }) {
	const indices = [];
	for (let at = 0; at < lines.length; at += 1) {
		const line = lines[at];
		if (line.mark === "endgroup" || (level && levelOf(line) !== level) || (action && line.action !== action)) continue;
		indices.push(at);
		if (line.last !== null && collapsed.has(at) && !level && !action) at = line.last;
	}
	return indices;
}

export function levelOf(line) {
	return line.severity ?? line.level.toLowerCase();
}

/** The number of lines of each level, worst first. */
export function levels(lines) {
	const counts = new Map([["error", 0], ["warning", 0]]);
	for (const line of lines) {
		if (line.mark !== "endgroup") counts.set(levelOf(line), (counts.get(levelOf(line)) ?? 0) + 1);
	}
	return [...counts].filter(([, count]) => count > 0);
}

/** Indices of the lines that contain *needle*, in any case. */
export function matches(lines, needle) {
	const lower = needle.toLowerCase();
	const isMatch = (line) => line.mark !== "endgroup" && line.text.toLowerCase().includes(lower);
	return lower ? lines.filter(isMatch).map((line) => line.index) : [];
}

export function textOf(lines) {
	return lines.map(({ timestamp, level, action, text }) =>
		`${timestamp} ${level.padEnd(5)} ${action ? `[${action}] ` : ""}${text}\n`).join("");
}
