// The time axis of a Gantt chart: what is where.

import { isFinal } from "./phases.js";
import { duration, toMs } from "./time.js";

// In ms. Each is a whole number of the unit in which its multiples are written, so that no mark is rounded.
const STEPS = [[1, 1, 2, 5, 10, 20, 50, 100, 200, 500], [1e3, 1, 2, 5, 10, 15, 30], [6e4, 1, 2, 5, 10, 15, 30],
	[36e5, 1, 2, 3, 6, 12], [864e5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000],
].flatMap(([unit, ...counts]) => counts.map((count) => unit * count));
export const MAX_TICKS = 6;
const LAST_TICK = 0.95; // of the axis
const MIN_GAP = 0.01; // of the axis
const MAX_WAIT = 0.6; // of the axis, before or after the actions; a longer wait becomes a note

/** An action's *from* and *to* in ms, or null, and the *kind* of its bar. */
export function span({ startTime, endTime, phase }, run) {
	const [start, end, runEnd] = [startTime, endTime, run.endTime].map(toMs);
	if (start === null) return { from: end, to: end, kind: end === null ? "none" : "no-start" };
	if (end !== null) {
		return end < start ? { from: end, to: start, kind: "reversed" } : { from: start, to: end, kind: "complete" };
	}
	if (isFinal(phase)) return { from: start, to: start, kind: "no-end" };
	if (runEnd !== null) return { from: start, to: Math.max(start, runEnd), kind: "cut" };
	return { from: start, to: Math.max(start, Date.now()), kind: "running" };
}

/** The axis for *spans*, from start to end of *run* unless a wait is too long. */
export function axisOf(run, spans) {
	const placed = spans.filter(({ from }) => from !== null);
	if (placed.length === 0) return null;
	let from = least(placed.map((span) => span.from));
	let to = -least(placed.map((span) => -span.to));
	const [start, end] = [run.startTime, run.endTime].map(toMs);
	const [before, after] = [start === null ? 0 : from - start, end === null ? 0 : end - to];
	const fits = (wait) => wait > 0 && wait <= (to - from + wait) * MAX_WAIT;
	const notes = [];
	if (fits(before)) from = start;
	else if (before > 0) notes.push(`the run started ${duration(before)} before the first action`);
	if (fits(after)) to = end;
	else if (after > 0) notes.push(`the run ended ${duration(after)} after the last action`);
	return { from, to: Math.max(to, from + 1), notes };
}

/** `Math.min` of a list, which can be longer than a list of arguments. */
function least(numbers) {
	return numbers.reduce((result, number) => Math.min(result, number), Infinity);
}

/** The times at which no action ran. */
export function gaps(spans, { from, to }) {
	const bars = spans.filter((span) => span.from !== null && span.to > span.from).sort((a, b) => a.from - b.from);
	const result = [];
	let end = bars.length ? from : to;
	for (const bar of [...bars, { from: to, to }]) {
		const start = Math.min(bar.from, to);
		if (start - end > (to - from) * MIN_GAP) result.push({ from: end, to: start });
		end = Math.max(end, bar.to);
	}
	return result;
}

/** At most *most* marks of a ruler of *length* ms, *offset* ms after 0: `{at, label}`, *at* from its start. */
export function ticks(length, offset = 0, most = MAX_TICKS) {
	const step = STEPS.find((candidate) => length / candidate <= most) ?? length;
	const result = [];
	for (let at = Math.ceil(offset / step) * step; at - offset <= length * LAST_TICK; at += step) {
		result.push({ at: at - offset, label: exact(at) });
	}
	return result;
}

/** *ms* as text that rounds nothing: `0`, `200 ms`, `1.5 s`, `1 min 30 s`, `1 d 06 h`. */
function exact(ms) {
	if (ms < 1_000) return ms ? `${ms} ms` : "0";
	const parts = [];
	for (const [unit, length] of [["d", 864e5], ["h", 36e5], ["min", 6e4], ["s", 1e3]]) {
		const count = unit === "s" ? ms / length : Math.floor(ms / length);
		ms %= length;
		if (count) parts.push(`${parts.length && count < 10 ? "0" : ""}${count} ${unit}`);
	}
	return parts.join(" ");
}

/** Positions *element* at *span*. At the end of the axis, it stays visible. */
export function position(element, span, axis) {
	const length = axis.to - axis.from;
	element.style.left = `min(${((span.from - axis.from) / length) * 100}%, 100% - 3px)`;
	element.style.width = `${((span.to - span.from) / length) * 100}%`;
	return element;
}
