// The actions of a run as a Gantt chart.

import { runUrl } from "./api.js";
import { axisOf, gaps, MAX_TICKS, position, span, ticks } from "./axis.js";
import { button, fill, h, plural, refocus, tableHead, toggle } from "./dom.js";
import { setRows } from "./longtable.js";
import { elapsed, isFailed, phaseMark, severity, tone } from "./phases.js";
import { dateTime, duration, tick } from "./time.js";

const LABEL = 76; // px of the widest usual label of the ruler
const MIN_RULER = 300; // px, before it is laid out
const MIN_DRAG = 6; // px: a shorter one is a click
const ROW = 24; // px, as in page.css
const KINDS = { // in the legend, if the chart has them
	running: "still running", cut: "no end, but the run ended", "no-end": "no end time", "no-start": "no start time",
	reversed: "ended before it started",
};

/** `[job or null, actions]`, by ids like `job.step`. A dot between digits is part of a version: `python-3.11`. */
export function groupByJob(actions) {
	const groups = Map.groupBy(actions, ({ id }) => /^(.+?)\.(?!(?<=\d\.)\d)./.exec(id)?.[1] ?? null);
	return [...groups].some(([job, steps]) => job !== null && steps.length > 1) ? [...groups] : [[null, actions]];
}

export class Gantt {
	/** *state*: `{collapsed, failedOnly, zoom}`: the jobs without their rows, and the part of the axis; it is kept. */
	constructor(root, run, state) {
		Object.assign(this, { root, state, key: null, detailed: null });
		this.notes = h("span.notes.muted");
		this.detail = h("p.detail.muted");
		this.ruler = h("div.ruler");
		this.failed = toggle("", state.failedOnly, (on) => {
			state.failedOnly = on;
			this.draw();
		});
		this.whole = button("Whole run", () => this.setZoom(null), { title: "Undo the zoom" });
		this.legend = h("p.legend");
		const describe = (event) => this.describe(event);
		this.table = h("table.gantt", {
			onpointerdown: (event) => this.onPointerDown(event),
			onfocusin: describe, onclick: describe, onmouseover: describe,
		}, h("caption.sr-only", "Actions"), tableHead([["Action"], [this.ruler, ".track"], ["Duration", ".took"]]));
		this.setRun(run);
	}

	/** Draws again what is new: a chart that did not change keeps its focus and selection. */
	setRun(run) {
		const counts = countLines(run.logs ?? []);
		const key = JSON.stringify([run.actions, run.startTime, run.endTime, [...counts]]);
		if (key === this.key) return;
		Object.assign(this, { key, run, counts, actions: run.actions ?? [] });
		if (this.actions.length === 0) {
			fill(this.root, h("p.state", "This run has no actions."));
			return;
		}
		if (!this.table.isConnected) {
			const bar = h("div.logbar", this.notes, h("span.spacer"), this.whole, this.failed);
			fill(this.detail, "Point at or tap an action. Drag to zoom.");
			fill(this.root, bar, this.detail, this.table, this.legend);
			// Bars grow and times go on in place: the text that the user selects stays.
			this.root.append(tick(h("span", { hidden: true }), () => {
				if (this.isRunning) this.move();
				return "";
			}));
		}
		this.draw();
	}

	draw() {
		const failed = this.actions.filter(isFailed);
		this.failed.hidden = failed.length === 0;
		fill(this.failed, `Failed only (${failed.length})`);
		const shown = this.state.failedOnly && failed.length > 0 ? failed : this.actions;
		const items = groupByJob(shown).flatMap(([job, steps]) => [
			...(job === null ? [] : [{ job, steps }]),
			...(this.state.collapsed.has(job) ? [] : steps.map((action) => ({ job, action }))),
		]);
		this.measure();
		refocus(this.table, () => setRows(this.table, items, (item) => this.drawRow(item), ROW));
		this.drawScale();
	}

	/** Moves bars, gaps and the ruler to where they are now. */
	move() {
		this.measure();
		for (const { row } of this.table.querySelectorAll("tbody tr")) if (row) this.placeRow(row);
		this.drawScale();
	}

	/** Where actions are. */
	measure() {
		const { run } = this;
		this.spans = new Map(this.actions.map((action) => [action, span(action, run)]));
		const all = (this.allSpans = [...this.spans.values()]);
		this.isRunning = all.some(({ kind }) => kind === "running");
		this.wholeAxis = axisOf(run, all);
		this.axis = this.state.zoom ?? this.wholeAxis;
		this.holes = this.axis ? gaps(all, this.axis) : [];
	}

	/** The ruler, and the texts around the chart. */
	drawScale() {
		const { axis, wholeAxis: whole, holes, allSpans: all } = this;
		this.whole.hidden = !this.state.zoom;
		setText(this.notes, notes(whole, all));
		if (axis) fill(this.ruler, ruler(axis, whole, this.ruler.clientWidth || MIN_RULER));
		else fill(this.ruler, "Time");
		const kinds = Object.keys(KINDS).filter((kind) => all.some((span) => span.kind === kind));
		const shown = [...kinds, holes.length > 0].join();
		if (shown !== this.legendKey) fill(this.legend, legend(kinds, holes.length > 0));
		this.legendKey = shown;
	}

	placeRow({ actions, bar, lane, took }) {
		const { axis, holes } = this;
		for (const old of lane.querySelectorAll(".gap")) old.remove();
		const spans = actions.map((action) => this.spans.get(action));
		const own = spans.length === 1 && !took ? spans[0] : axisOf({}, spans);
		const isShown = Boolean(axis) && own !== null && own.from !== null && own.to >= axis.from && own.from <= axis.to;
		bar.hidden = !isShown;
		if (axis) lane.prepend(...holes.map((hole) => gap(hole, axis)));
		if (isShown) position(bar, own, axis);
		if (took) setText(took, own ? duration(own.to - own.from) : "–");
	}

	setZoom(zoom) {
		this.state.zoom = zoom;
		this.move();
	}

	/** Dragging over a time zooms into it, also with a finger: up and down it scrolls, and two fingers zoom the page. */
	onPointerDown(event) {
		const track = event.target.closest(".lane, .ruler");
		if (!track || !this.axis || event.button !== 0 || !event.isPrimary) return;
		const { left, width } = track.getBoundingClientRect();
		const at = ({ clientX }) => Math.min(1, Math.max(0, (clientX - left) / width));
		const start = at(event);
		const mark = h("i.zoom", { ariaHidden: "true" });
		const abort = new AbortController();
		const range = (now) => [Math.min(start, at(now)), Math.max(start, at(now))];
		const onMove = (now) => {
			if (!mark.isConnected && Math.abs(now.clientX - event.clientX) < MIN_DRAG) return;
			const [from, to] = range(now);
			if (!mark.isConnected) this.ruler.after(mark); // not in the ruler, which is drawn again while actions run
			mark.style.height = `${this.table.getBoundingClientRect().bottom - this.ruler.getBoundingClientRect().top}px`;
			mark.style.left = `${from * 100}%`;
			mark.style.width = `${(to - from) * 100}%`;
			getSelection().removeAllRanges(); // the drag is no selection of text
		};
		const onEnd = (now) => {
			abort.abort();
			if (!mark.isConnected) return;
			mark.remove();
			const { from, to } = this.axis;
			const time = (share) => Math.round(from + share * (to - from));
			const [a, b] = range(now).map(time);
			if (b > a && now.type === "pointerup") this.setZoom({ from: a, to: b });
		};
		for (const [type, listener] of [["move", onMove], ["up", onEnd], ["cancel", onEnd]]) {
			addEventListener(`pointer${type}`, (now) => now.pointerId === event.pointerId && listener(now), abort);
		}
	}

	/** Shows the details of the action that is pointed at, focused or tapped. */
	describe({ target }) {
		const row = target.closest("tr")?.row;
		if (!row || row === this.detailed) return;
		this.detailed = row;
		fill(this.detail, row.took ? `${row.job}: ${plural(row.actions.length, "action")}` : this.sentence(row.actions[0]));
	}

	sentence(action) {
		const { id, phase } = action;
		const { from, to, kind } = this.spans.get(action);
		const texts = {
			complete: `took ${duration(to - from)}`, running: "still running", cut: "no end time, but the run ended",
			"no-end": "no end time", "no-start": "ended without a start time",
			reversed: `ended ${duration(to - from)} before it started`,
		};
		const lines = this.counts.get(id)?.lines ?? 0;
		const time = from === null ? "not started" : `${dateTime(from)}, ${texts[kind]}`;
		return `${id}, ${phase ?? "no phase"}: ${time}, ${plural(lines, "log line")}`;
	}

	// Rows: `{element, actions, bar, lane, took}`; *took*: the duration of a job

	drawRow({ job, steps, action }) {
		const row = action ? this.actionRow(action, job) : this.jobRow(job, steps);
		row.element.row = row;
		this.placeRow(row);
		return row.element;
	}

	row(className, label, bar, time) {
		const lane = h("div.lane", bar);
		return { lane, bar,
			element: h(`tr${className}`, h("th", { scope: "row" }, label), h("td.track", lane), h("td.took", time)) };
	}

	jobRow(job, steps) {
		const onclick = () => {
			if (!this.state.collapsed.delete(job)) this.state.collapsed.add(job);
			this.draw();
		};
		const failed = steps.filter(isFailed).length;
		const label = button(job, onclick, { className: "fold", ariaExpanded: !this.state.collapsed.has(job) });
		const took = h("span.duration");
		const count = h("span.muted", steps.length);
		const row = this.row(failed ? ".job.bad" : ".job",
			[label, " ", count, failed > 0 && h("span.error", ` ${failed} failed`)], h("i.bar"), took);
		return { ...row, job, actions: steps, took };
	}

	actionRow(action, job) {
		const { id, phase } = action;
		const name = job === null ? id : id.slice(job.length + 1);
		const { lines = 0, errors = 0 } = this.counts.get(id) ?? {};
		const href = runUrl(this.run.id, { tab: "logs", action: id });
		const label = lines === 0 ? h("span", { title: id, tabIndex: 0 }, name)
			: h("a", { "data-value": id, href, title: `${id}: ${plural(lines, "log line")}` }, name);
		const bar = h(`i.bar.${tone(phase)}.${this.spans.get(action).kind}`);
		const error = errors > 0 && h("span.error", plural(errors, "error"));
		const row = this.row(`${job === null ? "" : ".step"}${isFailed(action) ? ".failed" : ""}`,
			h("div.cell", phaseMark(phase), label, error), bar, elapsed(action));
		return { ...row, actions: [action] };
	}
}

/** The numbers of log lines and of errors by action, in one pass: there can be many of both. */
function countLines(logs) {
	const counts = new Map();
	for (const entry of logs) {
		const { lines, errors } = counts.get(entry.action) ?? { lines: 0, errors: 0 };
		counts.set(entry.action, { lines: lines + 1, errors: errors + (severity(entry) === "error") });
	}
	return counts;
}

function setText(element, text) {
	if (element.textContent !== text) element.textContent = text; // else a selection would be lost
}

/** What the chart does not show. */
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

/** As many marks as fit into *width* px. */
function ruler(axis, whole, width) {
	const length = axis.to - axis.from;
	const most = Math.min(MAX_TICKS, Math.max(1, Math.floor(width / LABEL)));
	const fits = ({ at }) => (at / length) * width + LABEL <= width;
	const marks = ticks(length, axis.from - whole.from, most);
	return marks.filter((mark, at) => at === 0 || fits(mark)).map(({ at, label }) => {
		const element = h("span.notch", label);
		element.style.left = `${(at / length) * 100}%`;
		return element;
	});
}

function gap(hole, axis) {
	return position(h("i.gap", { title: `No action ran for ${duration(hole.to - hole.from)}` }), hole, axis);
}

function legend(kinds, hasGaps) {
	const item = (className, text) => h("span", h("span.swatch", h(`i${className}`)), text);
	return [kinds.map((kind) => item(`.bar.${kind}.new`, KINDS[kind])), hasGaps && item(".gap", "no action ran")];
}
