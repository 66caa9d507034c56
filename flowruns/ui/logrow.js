// A line of a log.

import { applyStyle, segments } from "./ansi.js";
import { h, plural } from "./dom.js";
import { timeOfDay, toMs } from "./time.js";

export const MAX_LENGTH = 10_000; // characters of a line that are drawn; a copy has all

const URL_IN_TEXT = /https?:\/\/[^\s"'<>`]*[^\s"'<>`.,;:!?)\]}]/g;

/** *at*: `{href, onclick}` of the line's number, `needle` (the search), `isSelected`, `isCurrent`, `isNewAction`, and
 * `fold`: the button of a group. */
export function logRow(line, { href, onclick, needle, isSelected, isCurrent, isNewAction, fold }) {
	const { index, timestamp, action, mark, severity } = line;
	const number = index + 1;
	const link = h("a.line-number", { href, tabIndex: -1, ariaLabel: `Line ${number}`, onclick }, String(number));
	const classes = [severity, mark && `mark-${mark}`, isSelected && "selected", isCurrent && "current"];
	const ms = String(toMs(timestamp) % 1_000).padStart(3, "0");
	return h(["div", "line", ...classes.filter(Boolean)].join("."), { "data-line": number }, link,
		h("span.time", { title: timestamp }, `${timeOfDay(timestamp)}.${ms}`),
		h("span.action", { title: action ?? "" }, isNewAction && action),
		h("span.level", levelText(line)), textOf(line, needle, fold));
}

function textOf({ shown, depth }, needle, fold) {
	const rest = shown.length - MAX_LENGTH;
	const parts = segments(shown.slice(0, MAX_LENGTH)).flatMap(links).map((part) => partOf(part, needle));
	return h("span.text", { "data-depth": Math.min(depth, 3) }, fold, parts.length ? parts : " ",
		rest > 0 && h("span.muted", ` … ${plural(rest, "more character")}`));
}

function partOf({ href, ...segment }, needle) {
	const marked = highlight(segment, needle).map(({ text, style, hit }) =>
		applyStyle(h(hit ? "mark" : "span", {}, text), style));
	return href ? h("a", { href, rel: "noreferrer noopener", target: "_blank" }, marked) : marked;
}

/** The text in the column of levels; most lines have `info`, which is left out. */
export function levelText({ severity, level }) {
	return severity ?? (level.toLowerCase() === "info" ? "" : level);
}

/** *segment* split at addresses, which get a *href*. */
function links({ text, style }) {
	const parts = [];
	let from = 0;
	for (const { 0: href, index } of text.matchAll(URL_IN_TEXT)) {
		parts.push({ text: text.slice(from, index), style }, { text: href, style, href });
		from = index + href.length;
	}
	return [...parts, { text: text.slice(from), style }].filter((part) => part.text);
}

/** *segment* split at the matches of *needle*. */
function highlight({ text, style }, needle) {
	const lower = text.toLowerCase();
	// The lower case of some letters is longer: then indices are wrong.
	if (!needle || lower.length !== text.length) return [{ text, style }];
	const wanted = needle.toLowerCase();
	const parts = [];
	let from = 0;
	for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
		const end = at + wanted.length;
		parts.push({ text: text.slice(from, at), style }, { text: text.slice(at, end), style, hit: true });
		from = end;
	}
	return [...parts, { text: text.slice(from), style }].filter((part) => part.text);
}
