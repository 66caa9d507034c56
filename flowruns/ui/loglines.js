// What the log view shows: entries to lines, folds, filters and matches.

import { plain } from "./ansi.js";
import { severity } from "./phases.js";

// The marks of GitHub's and Azure's runners at the start of a line.
const MARK = /^(?:##\[(\w+)\]|::(\w+)(?: [^:]*)?::|\[(command)\])/;

/** The lines of *logs*, one for each of a message, so that each can be linked to. What opens a group has the index of the
 * group's last line in *last*. */
export function linesOf(logs) {
	const lines = [];
	for (const log of logs) {
		const worst = severity(log);
		for (const text of log.message.split(/\r\n|\n/)) lines.push(lineOf(log, lines.length, worst, text));
	}
	fold(lines);
	return lines;
}

function lineOf({ timestamp, level, action }, index, worst, message) {
	// Of a progress bar, which goes back to the line's start, the last state is left.
	const text = message.slice(message.lastIndexOf("\r", message.length - 2) + 1);
	const [whole, ...names] = MARK.exec(text) ?? [""];
	const mark = names.find(Boolean)?.toLowerCase() ?? null;
	const shown = text.slice(whole.length);
	return {
		index, timestamp, level, action, mark, shown, text: plain(shown), depth: 0, last: null, opener: null,
		worst: mark === "error" || mark === "warning" ? mark : worst,
		key: `${timestamp} ${level} ${action} ${text}`, // two lines with one key look the same
	};
}

function fold(lines) {
	const open = [];
	for (const line of lines) {
		if (line.mark === "endgroup" && open.length) open.pop().last = line.index;
		line.depth = open.length;
		line.opener = open.at(-1)?.index ?? null;
		if (line.mark === "group") open.push(line);
	}
	for (const line of open) line.last = lines.length - 1; // nobody closed it
}

/** The indices of the lines to show. Where a level or an action is asked for, folds hide nothing. */
export function visible(lines, { level, action, folded }) {
	const found = [];
	for (let at = 0; at < lines.length; at += 1) {
		const line = lines[at];
		if (line.mark === "endgroup" || (level && levelOf(line) !== level) || (action && line.action !== action)) continue;
		found.push(at);
		if (line.last !== null && folded.has(at) && !level && !action) at = line.last;
	}
	return found;
}

/** What a line counts as in the filter: as what it looks like, else its own word. */
export function levelOf(line) {
	return line.worst ?? line.level.toLowerCase();
}

/** How many lines each level has, worst first. */
export function levels(lines) {
	const counts = new Map([["error", 0], ["warning", 0]]);
	for (const line of lines) {
		if (line.mark !== "endgroup") counts.set(levelOf(line), (counts.get(levelOf(line)) ?? 0) + 1);
	}
	return [...counts].filter(([, count]) => count > 0);
}

/** The indices of lines that have *needle* in them, in any case. */
export function matches(lines, needle) {
	const wanted = needle.toLowerCase();
	const fits = (line) => line.mark !== "endgroup" && line.text.toLowerCase().includes(wanted);
	return wanted ? lines.filter(fits).map((line) => line.index) : [];
}

/** *lines* as plain text, for the clipboard and files. */
export function textOf(lines) {
	return lines.map(({ timestamp, level, action, text }) => `${timestamp} ${level.padEnd(5)} ${action ? `[${action}] ` : ""}${text}\n`).join("");
}
