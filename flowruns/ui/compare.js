// Compares two runs: durations, phases, args and outputs.

import { compareUrl, runUrl } from "./api.js";
import { axisOf, position, span } from "./axis.js";
import { fill, h, refill, setTitle, tableHead, toggle } from "./dom.js";
import { listUrl } from "./filters.js";
import { children, members, parse, raw } from "./json.js";
import { setKeys } from "./keys.js";
import { watchRun } from "./live.js";
import { setRows } from "./longtable.js";
import { elapsed, phaseMark, tone } from "./phases.js";
import { inSlices } from "./slices.js";
import { errorState, skeleton } from "./states.js";
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
		Object.assign(this, { query, docs: [null, null], states: [null, null], data: {}, tables: {}, isComparing: false });
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
		this.states[side] = state;
		this.fillWith(state);
	}

	fillWith(state) {
		if (state.isConnected) return;
		fill(this.root, state);
		setTitle(state.querySelector("h1").textContent);
	}

	show(side, doc) {
		this.docs = this.docs.with(side, doc);
		this.states[side] = null;
		const state = this.states.find(Boolean); // of the other side
		if (state) this.fillWith(state);
		else if (this.docs.every(Boolean) && !this.isComparing) this.compare();
	}

	/** Draws the newest documents until none are newer. It finishes with older ones: changes may not stop. */
	async compare() {
		const { query, abort: { signal } } = this;
		this.isComparing = true;
		try {
			for (let docs = null; docs !== this.docs && this.docs.every(Boolean); ) {
				docs = this.docs;
				const data = await inSlices(dataOf(docs, this.data), () => signal.aborted);
				if (!data) return;
				Object.assign(this, { data, runs: docs.map((doc) => JSON.parse(doc)) });
				if (this.docs.every(Boolean)) this.draw();
			}
		} catch (error) {
			if (signal.aborted) return;
			this.fillWith(errorState(error, () => this.update({ query })));
		}
		this.isComparing = false;
	}

	draw() {
		setTitle(`Compare ${this.ids.join(" and ")}`);
		const { runs } = this;
		const filter = toggle("Only differences", this.onlyDifferences, (on) => {
			this.onlyDifferences = on;
			this.draw();
		});
		const swap = h("a.button", { href: compareUrl(...this.ids.toReversed()) }, "Swap");
		refill(this.root, h("h1.sr-only", "Comparison of two runs"), h("div.sides", runs.map(header)),
			h("div.buttons", filter, swap), h("h2", "Actions"), this.bars(),
			Object.entries(this.data).map((item) => this.table(item)));
	}

	/** The table *name*, the same each time: what is in view stays there. */
	tableOf(name, className, head) {
		const table = (this.tables[name] ??= h(`table.${className}`));
		table.tHead = head;
		return table;
	}

	/** Both runs' actions on one axis, which starts at the first action of each. */
	bars() {
		const spans = this.runs.map(spansOf);
		const ids = [...new Set(spans.flatMap((side) => [...side.keys()]))];
		if (ids.length === 0) return h("p.muted", "Neither run has actions.");
		const axis = { from: 0, to: axisOf({}, spans.flatMap((side) => [...side.values()]))?.to ?? 1 };
		const columns = [...NAMES, "B − A"].map((name) => [name, ".took"]);
		const table = this.tableOf("actions", "gantt.both",
			tableHead([["Action"], [`0 – ${duration(axis.to)}`, ".track"], ...columns]));
		table.caption ??= h("caption.sr-only", "Actions of both runs");
		setRows(table, ids, (id) => barRow(id, spans.map((side) => side.get(id)), axis), BAR_ROW);
		return table;
	}

	table([name, { rows }]) {
		const changes = rows.filter(({ kind }) => kind !== "same");
		const shown = this.onlyDifferences ? changes : rows;
		const note = rows.length === 0 ? "none in either run"
			: changes.length ? `${changes.length} of ${rows.length} differ` : "no differences";
		const row = ({ path, texts, kind }) => h(`tr.${kind}`,
			h("th", { scope: "row" }, path, " ", kind !== "same" && h("span.label", kind)),
			texts.map((text) => h("td", text ?? h("span.muted", "–"))));
		const table = this.tableOf(name, "changes", tableHead([["Path"], ...this.ids.map((id) => [id])]));
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

/** The args and outputs of both *docs*: `{texts, rows}`, *rows*: `{path, texts, kind}`. What is as in *last* is taken
 * from there. It yields for `inSlices`, like those below. */
function* dataOf(docs, last) {
	const places = [];
	for (const doc of docs) {
		places.push(members(doc));
		yield;
	}
	const data = {};
	for (const name of ["args", "outputs"]) {
		const texts = docs.map((doc, side) => raw(doc, places[side][name]));
		const isSame = last[name]?.texts.every((text, side) => text === texts[side]);
		data[name] = isSame ? last[name] : { texts, rows: yield* pairs(yield* leaves(texts[0]), yield* leaves(texts[1])) };
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
