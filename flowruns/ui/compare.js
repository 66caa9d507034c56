// Compares two runs: durations, phases, args and outputs.

import { compareUrl, runUrl } from "./api.js";
import { axisOf, least, position, span } from "./axis.js";
import { fill, h, refill, setTitle, tableHead, toggle } from "./dom.js";
import { listUrl } from "./filters.js";
import { children, members, parse, raw } from "./json.js";
import { setKeys } from "./keys.js";
import { watchRun } from "./live.js";
import { setRows } from "./longtable.js";
import { elapsed, phaseMark, tone } from "./phases.js";
import { inSlices } from "./slices.js";
import { skeleton } from "./states.js";
import { dateTime, duration } from "./time.js";
import { pathText } from "./tree.js";

const NAMES = ["A", "B"];
const TOLERANCE = 0.02; // of the longer duration
const [BAR_ROW, CHANGE_ROW] = [28, 27]; // px of most rows

export class CompareView {
	constructor(root, { back, route, unauthorized }) {
		Object.assign(this, { root, unauthorized, onlyDifferences: true });
		setKeys({ Escape: back });
		this.update(route);
	}

	close() {
		this.abort?.abort();
	}

	update({ query }) {
		this.close();
		this.abort = new AbortController();
		this.ids = ["a", "b"].map((side) => query.get(side));
		this.docs = [null, null];
		setTitle("Compare");
		const { unauthorized } = this;
		const watch = (id, side) => watchRun(id, this.abort.signal,
			{ show: (doc) => this.show(side, doc), replace: (state) => this.replace(side, state), unauthorized });
		if (this.ids.every(Boolean)) {
			fill(this.root, skeleton());
			this.ids.forEach(watch);
		} else fill(this.root, h("section.state", h("h1", "Choose two runs"),
			h("p", "Open a run in ", h("a", { href: listUrl() }, "the list"),
				", then choose another under “Compare with”.")));
	}

	/** Shows *state* instead of both runs until the one on *side* exists. */
	replace(side, state) {
		this.docs = this.docs.with(side, null);
		fill(this.root, state);
		setTitle(state.querySelector("h1").textContent);
	}

	show(side, doc) {
		this.docs = this.docs.with(side, doc);
		if (this.docs.every(Boolean)) this.compare();
	}

	async compare() {
		const { docs, abort } = this;
		const data = await inSlices(dataOf(docs), () => docs !== this.docs || abort.signal.aborted);
		if (!data) return;
		this.data = data;
		this.draw();
	}

	draw() {
		setTitle(`Compare ${this.ids.join(" and ")}`);
		const runs = this.docs.map((doc) => JSON.parse(doc));
		const filter = toggle("Only differences", this.onlyDifferences, (on) => {
			this.onlyDifferences = on;
			this.draw();
		});
		const swap = h("a.button", { href: compareUrl(...this.ids.toReversed()) }, "Swap");
		refill(this.root, h("h1.sr-only", "Comparison of two runs"), h("div.sides", runs.map(header)),
			h("div.buttons", filter, swap), h("h2", "Actions"), bars(runs),
			Object.entries(this.data).map((item) => this.table(item)));
	}

	table([name, rows]) {
		const changes = rows.filter(({ kind }) => kind !== "same");
		const shown = this.onlyDifferences ? changes : rows;
		const note = rows.length === 0 ? "none in either run"
			: changes.length ? `${changes.length} of ${rows.length} differ` : "no differences";
		const row = ({ path, texts, kind }) => h(`tr.${kind}`,
			h("th", { scope: "row" }, path, " ", kind !== "same" && h("span.label", kind)),
			texts.map((text) => h("td", text ?? h("span.muted", "–"))));
		const table = h("table.changes", tableHead([["Path"], ...this.ids.map((id) => [id])]));
		setRows(table, shown, row, CHANGE_ROW);
		return [h("h2", name, " ", h("span.muted", note)), shown.length > 0 && table];
	}
}

function header(run, side) {
	return h(`section.side.side-${side}`, { ariaLabel: `Run ${NAMES[side]}` },
		h("h2", h("span.muted", NAMES[side], " "), h("a", { href: runUrl(run.id) }, run.id)),
		h("p", phaseMark(run.phase), " ", h("a", { href: listUrl({ flowId: run.flowId }) }, run.flowId)),
		h("p.muted", run.startTime ? dateTime(run.startTime) : "no start time", " · ", elapsed(run)));
}

/** Both runs' actions on one axis, which starts at the first action of each. */
function bars(runs) {
	const spans = runs.map(spansOf);
	const ids = [...new Set(spans.flatMap((side) => [...side.keys()]))];
	if (ids.length === 0) return h("p.muted", "Neither run has actions.");
	const ends = spans.flatMap((side) => [...side.values()].map(({ to }) => -(to ?? 0)));
	const axis = { from: 0, to: Math.max(1, -least(ends)) };
	const columns = [...NAMES, "B − A"].map((name) => [name, ".took"]);
	const table = h("table.gantt.both", h("caption.sr-only", "Actions of both runs"),
		tableHead([["Action"], [`0 – ${duration(axis.to)}`, ".track"], ...columns]));
	setRows(table, ids, (id) => barRow(id, spans.map((side) => side.get(id)), axis), BAR_ROW);
	return table;
}

/** A run's spans by action id, relative to the first. The last of duplicate ids wins. */
function spansOf(run) {
	const spans = (run.actions ?? []).map((action) => [action, span(action, run)]);
	const zero = axisOf({}, spans.map(([, span]) => span))?.from;
	const since = (at) => (at === null ? null : at - zero);
	return new Map(spans.map(([{ id, phase }, { from, to, kind }]) =>
		[id, { phase, kind, from: since(from), to: since(to) }]));
}

function barRow(id, spans, axis) {
	const lengths = spans.map((span) => (span && span.from !== null ? span.to - span.from : null));
	const differ = spans.every(Boolean) && spans[0].phase !== spans[1].phase;
	const bar = (span, side) => h("div.lane", lengths[side] !== null && position(
		h(`i.bar.${tone(span.phase)}.${span.kind}.side-${side}`,
			{ title: `${NAMES[side]}: ${span.phase ?? "no phase"}, ${duration(lengths[side])}` }), span, axis));
	const length = (span, side) => h("td.took", { "data-name": NAMES[side] },
		!span ? h("span.muted", "missing") : lengths[side] === null ? "–" : duration(lengths[side]),
		differ && h("div", phaseMark(span.phase)));
	return h("tr", h("th", { scope: "row" }, h("span", { title: id }, id)), h("td.track", spans.map(bar)),
		spans.map(length), h("td.took", { "data-name": "B − A" }, difference(lengths)));
}

function difference([a, b]) {
	if (a === null || b === null) return null;
	if (Math.abs(b - a) <= Math.max(a, b) * TOLERANCE) return h("span.muted", "about equal");
	return b > a ? h("span.error", `+${duration(b - a)}`) : h("span.faster", `−${duration(a - b)}`);
}

/** The args and outputs of both *docs*: lists of `{path, texts, kind}`. It yields for `inSlices`, like those below. */
function* dataOf(docs) {
	const places = [];
	for (const doc of docs) {
		places.push(members(doc));
		yield;
	}
	const data = {};
	for (const name of ["args", "outputs"]) {
		const sides = [];
		for (const [side, doc] of docs.entries()) sides.push(yield* leaves(raw(doc, places[side][name])));
		data[name] = yield* pairs(...sides);
	}
	return data;
}

/** The texts of scalars and empty containers in *text* by path; duplicate keys get a number. */
function* leaves(text) {
	const result = new Map();
	const counts = new Map(); // by path
	function* walk(node, path) {
		const inner = children(node);
		for (const [key, child] of inner) yield* walk(child, pathText([key], path));
		if (inner.length > 0) return;
		const count = (counts.get(path) ?? 0) + 1;
		counts.set(path, count);
		result.set(count > 1 ? `${path} (${count})` : path, raw(text, node));
		yield;
	}
	if (text !== "null") yield* walk(parse(text), pathText([]));
	return result;
}

/** The leaves of both sides by path: `{path, texts, kind}`. */
function* pairs(a, b) {
	const result = [];
	for (const path of new Set([...a.keys(), ...b.keys()])) {
		const texts = [a, b].map((side) => side.get(path) ?? null);
		const [before, after] = texts;
		const kind = before === null ? "added" : after === null ? "removed" : before === after ? "same" : "changed";
		result.push({ path, texts, kind });
		yield;
	}
	return result;
}
