// The actions of a run as a Gantt chart.

import { runUrl } from "./api.js";
import { button, fill, h, plural, refill, tableHead } from "./dom.js";
import { elapsed, isFinal, phaseMark, severity, tone } from "./phases.js";
import { dateTime, duration, tick, toMs } from "./time.js";

const UNITS = [1, 1e3, 6e4, 36e5, 864e5]; // ms to days
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 200, 360, 500]; // of a unit
const MAX_TICKS = 6; // more labels would overlap
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
	let from = Math.min(...placed.map((span) => span.from));
	let to = Math.max(...placed.map((span) => span.to));
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

/** The times at which no action ran. */
export function gaps(spans, { from, to }) {
	const bars = spans.filter((span) => span.from !== null && span.to > span.from).sort((a, b) => a.from - b.from);
	const result = [];
	let end = bars.length ? from : to;
	for (const bar of [...bars, { from: to, to }]) {
		if (bar.from - end > (to - from) * MIN_GAP) result.push({ from: end, to: bar.from });
		end = Math.max(end, bar.to);
	}
	return result;
}

/** `[job or null, actions]`, by ids like `job.step`. */
function groupByJob(actions) {
	const groups = Map.groupBy(actions, ({ id }) => /^(.+?)\../.exec(id)?.[1] ?? null);
	return [...groups].some(([job, steps]) => job !== null && steps.length > 1) ? [...groups] : [[null, actions]];
}

/** *collapsed*: a set of jobs. */
export function showGantt(root, run, collapsed) {
	const actions = run.actions ?? [];
	if (actions.length === 0) {
		fill(root, h("p.state", "This run has no actions."));
		return;
	}
	const spans = new Map(actions.map((action) => [action, span(action, run)]));
	const all = [...spans.values()];
	const axis = axisOf(run, all);
	const holes = axis ? gaps(all, axis) : [];
	const draw = () => showGantt(root, run, collapsed);
	const rows = groupByJob(actions).flatMap(([job, steps]) => [
		job !== null && jobRow(job, steps.map((action) => spans.get(action)), axis, collapsed, draw),
		!collapsed.has(job) && steps.map((action) => actionRow(run, action, job, spans.get(action), axis)),
	]).flat().filter(Boolean);
	for (const row of axis ? rows : []) row.querySelector(".lane").prepend(...holes.map((hole) => gap(hole, axis)));
	refill(root, h("p.muted", notes(axis, all)),
		h("table.gantt", h("caption.sr-only", "Actions"),
			tableHead([["Action"], [axis ? ruler(axis) : "Time", ".track"], ["Duration", ".took"]]), h("tbody", rows)));
	if (all.some(({ kind }) => kind === "running")) redraw(root, draw);
}

/** Redraws every second, since bars grow, but not if the chart has the focus. */
function redraw(root, draw) {
	let ticks = 0;
	root.append(tick(h("span", { hidden: true }), () => {
		if (ticks++ && !root.contains(document.activeElement)) draw();
		return "";
	}));
}

function notes(axis, spans) {
	const count = (kind, text) => {
		const { length } = spans.filter((span) => span.kind === kind);
		return length > 0 && `${length} ${text}`;
	};
	return [
		plural(spans.length, "action"), axis && `time span ${duration(axis.to - axis.from)}`, ...(axis?.notes ?? []),
		count("none", "not started"), count("no-start", "without a start time"), count("reversed", "ended before the start"),
	].filter(Boolean).join(" · ");
}

function ruler(axis) {
	const length = axis.to - axis.from;
	const steps = UNITS.flatMap((unit) => STEPS.map((step) => unit * step)).sort((a, b) => a - b);
	const step = steps.find((candidate) => length / candidate <= MAX_TICKS) ?? length;
	const ticks = [];
	for (let at = 0; at <= length * 0.95; at += step) {
		const element = h("span.notch", at ? duration(at).replace(/ 00 (s|min|h)$|\.0(?= s)/, "") : "0");
		element.style.left = `${(at / length) * 100}%`;
		ticks.push(element);
	}
	return h("div.ruler", { title: `From ${dateTime(axis.from)}` }, ticks);
}

/** Positions *element* at *span*. At the end of the axis, it stays visible. */
export function position(element, span, axis) {
	const length = axis.to - axis.from;
	element.style.left = `min(${((span.from - axis.from) / length) * 100}%, 100% - 3px)`;
	element.style.width = `${((span.to - span.from) / length) * 100}%`;
	return element;
}

function gap(hole, axis) {
	return position(h("i.gap", { title: `No action ran for ${duration(hole.to - hole.from)}` }), hole, axis);
}

function chartRow(className, label, bar, time) {
	return h(`tr${className}`, h("th", { scope: "row" }, label), h("td.track", h("div.lane", bar)), h("td.took", time));
}

function jobRow(job, spans, axis, collapsed, draw) {
	const whole = axisOf({}, spans);
	const toggle = () => {
		if (!collapsed.delete(job)) collapsed.add(job);
		draw();
	};
	const label = button(job, toggle, { className: "fold", ariaExpanded: !collapsed.has(job) });
	return chartRow(".job", [label, " ", h("span.muted", spans.length)], whole && position(h("i.bar"), whole, axis),
		whole ? duration(whole.to - whole.from) : "–");
}

function actionRow(run, action, job, span, axis) {
	const { id, phase } = action;
	const name = job === null ? id : id.slice(job.length + 1);
	const logs = (run.logs ?? []).filter((entry) => entry.action === id);
	const errors = logs.filter((entry) => severity(entry) === "error").length;
	const href = runUrl(run.id, { tab: "logs", action: id });
	const label = logs.length === 0 ? h("span", { title: id }, name)
		: h("a", { "data-value": id, href, title: `${id}: ${plural(logs.length, "log line")}` }, name);
	const bar = span.from !== null && position(
		h(`i.bar.${tone(phase)}.${span.kind}`, { title: describe(action, span) }), span, axis);
	const error = errors > 0 && h("span.error", plural(errors, "error"));
	return chartRow(job === null ? "" : ".step", h("div.cell", phaseMark(phase), label, error), bar, elapsed(action));
}

function describe({ id, phase }, { from, to, kind }) {
	const texts = {
		complete: `took ${duration(to - from)}`, running: "still running", cut: "no end time, but the run ended",
		"no-end": "no end time", "no-start": "ended without a start time",
		reversed: `ended ${duration(to - from)} before it started`,
	};
	return `${id}, ${phase ?? "no phase"}: ${dateTime(from)}, ${texts[kind]}`;
}
