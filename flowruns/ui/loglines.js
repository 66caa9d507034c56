// The lines of a log: groups, filters, search.

import { plain } from "./ansi.js";
import { escaped } from "./dom.js";
import { severity } from "./phases.js";

const NAMES = ["message", "timestamp", "level", "action"];
// Commands of GitHub's and Azure's runners.
const MARK = /^(?:##\[(\w+)\]|::(\w+)(?: [^:]*)?::|\[(command)\])/;

const MARKS = new Set("#:["); // first characters
const NO_MARK = { prefix: "", mark: null };
const LINE_END = /\r\n|\n/;

/** The lines of a log so far: one for each line of a message, so that each has a link. */
export class LogReader {
	constructor() {
		this.reset();
	}

	reset() {
		Object.assign(this, { lines: [], entries: [], groups: [], rest: null });
	}

	/** Continues with *logs*. Returns false if they do not begin with the entries read so far: it begins again. */
	setLogs(logs) {
		const isSame = (entry, at) => NAMES.every((name) => entry[name] === logs[at][name]);
		const grows = !this.rest && logs.length >= this.entries.length && this.entries.every(isSame);
		if (!grows) this.reset();
		this.logs = logs;
		return grows;
	}

	/** Reads *count* more lines. Returns whether there are more. */
	read(count) {
		const end = this.lines.length + count;
		while (this.lines.length < end && (this.rest || this.entries.length < this.logs.length)) this.readEntry(end);
		for (const line of this.groups) line.last = this.lines.length - 1; // unclosed groups
		return this.rest !== null || this.entries.length < this.logs.length;
	}

	/** Reads the lines of one entry, up to the line *end*. */
	readEntry(end) {
		const entry = this.logs[this.entries.length];
		const texts = this.rest ?? entry.message.split(LINE_END);
		const part = texts.slice(0, end - this.lines.length);
		const worst = severity(entry);
		for (const text of part) this.add(lineOf(entry, this.lines.length, worst, text));
		this.rest = part.length < texts.length ? texts.slice(part.length) : null;
		if (!this.rest) this.entries.push(entry);
	}

	add(line) {
		if (line.mark === "endgroup" && this.groups.length) this.groups.pop().last = line.index;
		line.depth = this.groups.length;
		line.parent = this.groups.at(-1)?.index ?? null;
		if (line.mark === "group") this.groups.push(line);
		this.lines.push(line);
	}
}

/** The number of lines that can be shown. */
export function countLines(logs) {
	let count = 0;
	for (const { message } of logs) {
		for (const text of message.split(LINE_END)) count += markOf(lastState(text)).mark !== "endgroup";
	}
	return count;
}

/** The first line with an error, `{number, text}`, of *actions*, a set, if given; null if there is none. */
export function firstError(logs, actions) {
	let number = 0;
	for (const entry of logs) {
		const worst = severity(entry);
		const isWanted = !actions || actions.has(entry.action);
		for (const text of entry.message.split(LINE_END)) {
			number += 1;
			const { prefix, mark } = markOf(lastState(text));
			if (isWanted && severityOf(mark, worst) === "error") return { number, text: lastState(text).slice(prefix.length) };
		}
	}
	return null;
}

/** What a terminal shows of *text*, in which a progress bar begins again at each carriage return. */
function lastState(text) {
	return text.slice(text.lastIndexOf("\r", text.length - 2) + 1).replace(/\r$/, "");
}

function markOf(text) {
	if (!MARKS.has(text[0])) return NO_MARK; // nearly every line
	const [prefix, ...names] = MARK.exec(text) ?? [""];
	return { prefix, mark: names.find(Boolean)?.toLowerCase() ?? null };
}

function severityOf(mark, entrySeverity) {
	return mark === "error" || mark === "warning" ? mark : entrySeverity;
}

function lineOf({ timestamp, level, action }, index, entrySeverity, message) {
	const text = lastState(message);
	const { prefix, mark } = markOf(text);
	const shown = text.slice(prefix.length);
	return {
		index, timestamp, level, action, mark, shown, text: plain(shown), depth: 0,
		last: null, // the index of the group's last line
		parent: null, // the index of the line that opens the group
		severity: severityOf(mark, entrySeverity),
	};
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
		`${timestamp} ${level.padEnd(5)} ${escaped(`${action ? `[${action}] ` : ""}${text}`)}\n`).join("");
}
