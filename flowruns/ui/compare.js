// Two runs side by side: what took longer, and what was different.

import { compareUrl, pageUrl } from "./api.js";
import { fill, h, heads, refill, toggle } from "./dom.js";
import { listUrl } from "./filters.js";
import { lay, scale, span } from "./gantt.js";
import { children, members, parse, raw } from "./json.js";
import { useKeys } from "./keys.js";
import { watch } from "./live.js";
import { phaseMark, tone, took } from "./phases.js";
import { duration, full } from "./time.js";
import { pathText } from "./tree.js";

const NAMES = ["A", "B"];
const SAME = 0.02; // of the longer: durations nearer than that are called the same

export class CompareView {
	constructor(root, { leave, place, refused }) {
		Object.assign(this, { root, refused, onlyChanges: true });
		useKeys({ Escape: leave });
		this.update(place);
	}

	close() {
		this.abort?.abort();
	}

	update({ query }) {
		this.close();
		this.abort = new AbortController();
		this.ids = ["a", "b"].map((side) => query.get(side));
		this.docs = [null, null];
		document.title = "Compare · flowruns";
		const { refused } = this;
		if (this.ids.every(Boolean)) this.ids.forEach((id, side) => watch(id, this.abort.signal,
			{ show: (doc) => this.show(side, doc), replace: (state) => this.replace(side, state), refused }));
		else fill(this.root, h("section.state", h("h1", "Two runs are needed"),
			h("p", "Open one in ", h("a", { href: listUrl() }, "the list"), ", and choose “Compare with” there.")));
	}

	/** Shows *state* in place of both runs, until the one on *side* comes. */
	replace(side, state) {
		this.docs[side] = null;
		fill(this.root, state);
	}

	show(side, doc) {
		this.docs[side] = doc;
		if (this.docs.every(Boolean)) this.draw();
	}

	draw() {
		const runs = this.docs.map((doc) => JSON.parse(doc));
		const only = toggle("Only what differs", this.onlyChanges, (on) => {
			this.onlyChanges = on;
			this.draw();
		});
		refill(this.root, h("h1.unseen", "Two runs compared"), h("div.sides", runs.map(head)),
			h("div.buttons", only, h("a.button", { href: compareUrl(...this.ids.toReversed()) }, "Swap")),
			h("h2", "Actions"), bars(runs), ["args", "outputs"].map((name) => this.data(name)));
	}

	data(name) {
		const [a, b] = this.docs.map((doc) => leaves(raw(doc, members(doc)[name])));
		const rows = paired(a, b);
		const changes = rows.filter(({ kind }) => kind !== "same");
		const shown = this.onlyChanges ? changes : rows;
		const told = rows.length === 0 ? "neither run has any" : changes.length ? `${changes.length} of ${rows.length} differ` : "no difference";
		return [h("h2", name, " ", h("span.muted", told)), shown.length > 0 && h("table.changes",
			heads([["Path"], ...this.ids.map((id) => [id])]), h("tbody", shown.map(({ path, texts, kind }) => h(`tr.${kind}`,
				h("th", { scope: "row" }, path, " ", kind !== "same" && h("span.word", kind)),
				texts.map((text) => h("td", text ?? h("span.muted", "–")))))))];
	}
}

function head(run, side) {
	return h(`section.side.side-${side}`, { ariaLabel: `Run ${NAMES[side]}` },
		h("h2", h("span.muted", NAMES[side], " "), h("a", { href: pageUrl(run.id) }, run.id)),
		h("p", phaseMark(run.phase), " ", h("a", { href: listUrl({ flowId: run.flowId }) }, run.flowId)),
		h("p.muted", run.startTime ? full(run.startTime) : "not started", " · ", took(run)));
}

/** Each action's two bars, on one scale that begins with each run's first action. */
function bars(runs) {
	const lanes = runs.map(lanesOf);
	const ids = [...new Set(lanes.flatMap((one) => [...one.keys()]))];
	if (ids.length === 0) return h("p.muted", "Neither run has actions.");
	const axis = { from: 0, to: Math.max(1, ...lanes.flatMap((one) => [...one.values()].map((lane) => lane.to ?? 0))) };
	return h("table.gantt.both", h("caption.unseen", "Actions of both runs"),
		heads([["Action"], [`0 – ${duration(axis.to)}`, ".track"], ...["A", "B", "B − A"].map((side) => [side, ".took"])]),
		h("tbody", ids.map((id) => barRow(id, lanes.map((one) => one.get(id)), axis))));
}

/** A run's actions by id, each from the run's first on. Of two with one id the later counts. */
function lanesOf(run) {
	const spans = (run.actions ?? []).map((action) => [action, span(action, run)]);
	const zero = scale({}, spans.map(([, one]) => one))?.from;
	const since = (at) => (at === null ? null : at - zero);
	return new Map(spans.map(([action, { from, to, kind }]) => [action.id, { phase: action.phase, kind, from: since(from), to: since(to) }]));
}

function barRow(id, lanes, axis) {
	const lengths = lanes.map((lane) => (lane && lane.from !== null ? lane.to - lane.from : null));
	const differ = lanes.every(Boolean) && lanes[0].phase !== lanes[1].phase;
	const bar = (lane, side) => h("div.lane", lengths[side] !== null && lay(h(`i.beam.${tone(lane.phase)}.${lane.kind}.side-${side}`,
		{ title: `${NAMES[side]}: ${lane.phase}, ${duration(lengths[side])}` }), lane, axis));
	const length = (lane, side) => h("td.took", !lane ? h("span.muted", "none") : lengths[side] === null ? "–" : duration(lengths[side]),
		differ && h("div", phaseMark(lane.phase)));
	return h("tr", h("th", { scope: "row" }, h("span", { title: id }, id)), h("td.track", lanes.map(bar)), lanes.map(length),
		h("td.took", difference(lengths)));
}

function difference([a, b]) {
	if (a === null || b === null) return null;
	if (Math.abs(b - a) <= Math.max(a, b) * SAME) return h("span.muted", "same");
	return b > a ? h("span.error", `+${duration(b - a)}`) : h("span.faster", `−${duration(a - b)}`);
}

/** The scalars (and what is empty) in *text*, by path; a key that stands twice gets a number. */
function leaves(text) {
	const found = new Map();
	const counts = new Map(); // by path
	const walk = (node, path) => {
		const inner = children(node);
		for (const [key, child] of inner) walk(child, [...path, key]);
		if (inner.length > 0) return;
		const name = pathText(path);
		const count = (counts.get(name) ?? 0) + 1;
		counts.set(name, count);
		found.set(count > 1 ? `${name} (${count})` : name, { text, node });
	};
	if (text !== "null") walk(parse(text), []);
	return found;
}

/** Both sides path by path: `{path, texts, kind}`. */
function paired(a, b) {
	return [...new Set([...a.keys(), ...b.keys()])].map((path) => {
		const [one, other] = [a.get(path), b.get(path)];
		const texts = [one, other].map((side) => (side ? raw(side.text, side.node) : null));
		return { path, texts, kind: !one ? "added" : !other ? "removed" : texts[0] === texts[1] ? "same" : "changed" };
	});
}
