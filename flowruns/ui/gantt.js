// A run's actions on one scale of time.

import { pageUrl } from "./api.js";
import { button, fill, h, heads, plural, refill } from "./dom.js";
import { isFinal, phaseMark, severity, tone, took } from "./phases.js";
import { duration, full, instant, tick } from "./time.js";

const UNITS = [1, 1e3, 6e4, 36e5, 864e5]; // a ms to a day
const PARTS = [1, 2, 5, 10, 15, 30, 60, 120, 200, 360, 500]; // of a unit, between two marks
const MARKS = 6; // at most, or their labels meet
const GAP = 0.01; // of the scale: what is shorter cannot be seen
const WAIT = 0.6; // of the scale: a longer wait is cut off, and told

/** Where an action lies: *from* and *to* in ms, either null; *kind* is what there is to draw. */
export function span({ startTime, endTime, phase }, run) {
	const [start, end, over] = [startTime, endTime, run.endTime].map(instant);
	if (start === null) return { from: end, to: end, kind: end === null ? "none" : "never" };
	if (end !== null) return end < start ? { from: end, to: start, kind: "reversed" } : { from: start, to: end, kind: "whole" };
	if (isFinal(phase)) return { from: start, to: start, kind: "unended" };
	if (over !== null) return { from: start, to: Math.max(start, over), kind: "cut" }; // it cannot outlive its run
	return { from: start, to: Math.max(start, Date.now()), kind: "running" };
}

/** The scale of *spans*, and of the run's own times where waiting leaves room for the rest. */
export function scale(run, spans) {
	const placed = spans.filter(({ from }) => from !== null);
	if (placed.length === 0) return null;
	let from = Math.min(...placed.map((one) => one.from));
	let to = Math.max(...placed.map((one) => one.to));
	const [start, end] = [run.startTime, run.endTime].map(instant);
	const [before, after] = [start === null ? 0 : from - start, end === null ? 0 : end - to];
	const fits = (wait) => wait > 0 && wait <= (to - from + wait) * WAIT;
	const told = [];
	if (fits(before)) from = start;
	else if (before > 0) told.push(`the run began ${duration(before)} before the first`);
	if (fits(after)) to = end;
	else if (after > 0) told.push(`the run ended ${duration(after)} after the last`);
	return { from, to: Math.max(to, from + 1), told };
}

/** The times on the scale in which nothing ran. */
export function gaps(spans, { from, to }) {
	const bars = spans.filter((one) => one.from !== null && one.to > one.from).sort((a, b) => a.from - b.from);
	const found = [];
	let end = bars.length ? from : to;
	for (const bar of [...bars, { from: to, to }]) {
		if (bar.from - end > (to - from) * GAP) found.push({ from: end, to: bar.from });
		end = Math.max(end, bar.to);
	}
	return found;
}

/** Actions by job, where their ids are `job.step`: `[job or null, actions]`. */
function jobs(actions) {
	const found = Map.groupBy(actions, ({ id }) => /^(.+?)\../.exec(id)?.[1] ?? null);
	return [...found].some(([job, own]) => job !== null && own.length > 1) ? [...found] : [[null, actions]];
}

/** Shows the actions of *run*; *folded* has the jobs that are not opened. */
export function showGantt(root, run, folded) {
	const actions = run.actions ?? [];
	if (actions.length === 0) {
		fill(root, h("p.state", "This run has no actions."));
		return;
	}
	const spans = new Map(actions.map((action) => [action, span(action, run)]));
	const all = [...spans.values()];
	const axis = scale(run, all);
	const holes = axis ? gaps(all, axis) : [];
	const draw = () => showGantt(root, run, folded);
	const rows = jobs(actions).flatMap(([job, own]) => [
		job !== null && jobRow(job, own.map((action) => spans.get(action)), axis, folded, draw),
		!folded.has(job) && own.map((action) => actionRow(run, action, job, spans.get(action), axis)),
	]).flat().filter(Boolean);
	for (const lane of axis ? rows.map((row) => row.querySelector(".lane")) : []) lane.prepend(...holes.map((hole) => gap(hole, axis)));
	refill(root, h("p.muted", notes(axis, all)),
		h("table.gantt", h("caption.unseen", "Actions"),
			heads([["Action"], [axis ? ruler(axis) : "Time", ".track"], ["Took", ".took"]]), h("tbody", rows)));
	if (all.some(({ kind }) => kind === "running")) redraw(root, draw);
}

/** Draws again each second, as bars grow, unless the focus is there. */
function redraw(root, draw) {
	let ticks = 0;
	root.append(tick(h("span", { hidden: true }), () => {
		if (ticks++ && !root.contains(document.activeElement)) draw();
		return "";
	}));
}

function notes(axis, spans) {
	const count = (kind, text) => {
		const found = spans.filter((one) => one.kind === kind).length;
		return found > 0 && `${found} ${text}`;
	};
	return [plural(spans.length, "action"), axis && `over ${duration(axis.to - axis.from)}`, ...(axis?.told ?? []),
		count("none", "not begun"), count("never", "ended without a start"), count("reversed", "ended before the start")].filter(Boolean).join(" · ");
}

function ruler(axis) {
	const length = axis.to - axis.from;
	const steps = UNITS.flatMap((unit) => PARTS.map((part) => unit * part)).sort((a, b) => a - b);
	const step = steps.find((one) => length / one <= MARKS) ?? length;
	const marks = [];
	for (let at = 0; at <= length * 0.95; at += step) {
		const mark = h("span.notch", at ? duration(at).replace(/ 00 (s|min|h)$|\.0(?= s)/, "") : "0");
		mark.style.left = `${(at / length) * 100}%`;
		marks.push(mark);
	}
	return h("div.ruler", { title: `From ${full(axis.from)}` }, marks);
}

/** *element* where *span* lies; what took no time is seen at the very end, too. */
export function lay(element, span, axis) {
	const length = axis.to - axis.from;
	element.style.left = `min(${((span.from - axis.from) / length) * 100}%, 100% - 3px)`;
	element.style.width = `${((span.to - span.from) / length) * 100}%`;
	return element;
}

function gap(hole, axis) {
	return lay(h("i.gap", { title: `Nothing ran for ${duration(hole.to - hole.from)}` }), hole, axis);
}

function rowOf(kind, head, bar, took) {
	return h(`tr${kind}`, h("th", { scope: "row" }, head), h("td.track", h("div.lane", bar)), h("td.took", took));
}

function jobRow(job, spans, axis, folded, draw) {
	const whole = scale({}, spans);
	const toggle = () => {
		if (!folded.delete(job)) folded.add(job);
		draw();
	};
	return rowOf(".job", [button(job, toggle, { className: "fold", ariaExpanded: !folded.has(job) }), " ", h("span.muted", spans.length)],
		whole && lay(h("i.beam"), whole, axis), whole ? duration(whole.to - whole.from) : "–");
}

function actionRow(run, action, job, where, axis) {
	const name = job === null ? action.id : action.id.slice(job.length + 1);
	const logs = (run.logs ?? []).filter((log) => log.action === action.id);
	const bad = logs.filter((log) => severity(log) === "error").length;
	const label = logs.length ? h("a", { "data-value": action.id, href: pageUrl(run.id, { tab: "logs", action: action.id }), title: `${action.id}: ${plural(logs.length, "line")}` }, name)
		: h("span", { title: action.id }, name);
	const bar = where.from !== null && lay(h(`i.beam.${tone(action.phase)}.${where.kind}`, { title: tell(action, where) }), where, axis);
	return rowOf(job === null ? "" : ".step", h("div.cell", phaseMark(action.phase), label, bad > 0 && h("span.error", plural(bad, "error"))), bar, took(action));
}

function tell({ id, phase }, { from, to, kind }) {
	const says = {
		whole: `took ${duration(to - from)}`, running: "runs", cut: "its run ended without it", unended: "nobody said when it ended",
		never: "ended without a start", reversed: `ended ${duration(to - from)} before it started`,
	};
	return `${id}, ${phase ?? "no phase"}: ${full(from)}, ${says[kind]}`;
}
