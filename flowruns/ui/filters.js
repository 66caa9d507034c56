// The filters of the list: menus and chips for the URL's query.

import { BASE, fetchRun, fetchStats, fetchTotal, withQuery } from "./api.js";
import { button, fill, form, h, oneLine, refill } from "./dom.js";
import { phaseMark, tagText, tone, typeName } from "./phases.js";
import { SearchBox } from "./search.js";
import { dateTime } from "./time.js";

const TONES = ["busy", "held", "new", "bad", "good", "off"]; // the order of the chips
const MAX_ENTRIES = 40; // of a menu
const HOUR = 3_600_000;
const PERIODS = { "Last hour": 1, "Last 24 hours": 24, "Last 7 days": 168, "Last 30 days": 720 };
const NAMES = {
	phase: "phase", flowId: "flow", flowType: "type", tag: "tag", createdBy: "created by", createdAfter: "created after",
	createdBefore: "created before",
};
export const FILTERS = Object.keys(NAMES);

/** The filters in *query* but *except*. */
export function filtersOf(query, except) {
	return new URLSearchParams([...query].filter(([name]) => FILTERS.includes(name) && name !== except));
}

/** The first page of *query* with *value* added or removed. */
export function toggled(query, name, value) {
	const next = without(query, "cursor");
	if (next.has(name, value)) next.delete(name, value);
	else next.append(name, value);
	return next;
}

export function without(query, ...names) {
	return new URLSearchParams([...query].filter(([name]) => !names.includes(name)));
}

export function listUrl(query = {}) {
	return withQuery(BASE, query);
}

export function tagLink(tag, text = tagText(tag), props = {}) {
	return h("a.tag", { href: listUrl({ tag: `${tag.key}:${tag.value}` }), title: tagText(tag), ...props }, text);
}

/** *change(query)* applies a new query, *navigate(url)* opens a run, *counted(total)* gets the number of runs. */
export class FilterBar {
	constructor(root, { change, navigate, counted, ids }) {
		Object.assign(this, { change, counted, query: new URLSearchParams(), answers: new Map() });
		this.phases = h("div.chips.phases", { role: "group", ariaLabel: "Phase" });
		this.active = h("div.chips", { role: "group", ariaLabel: "Filters" });
		const menus = Object.entries({ Flow: "flowId", Type: "flowType", Tag: "tag" });
		this.menus = menus.map(([label, name]) => new Menu(label, name, this));
		const search = new SearchBox({
			ids, stats: () => this.stats(), find: findExact, open: navigate, add: (...more) => this.add(...more),
		});
		fill(root, h("div.filters", search.element, this.menus.map((menu) => menu.element), this.createdMenu()),
			this.phases, this.active);
	}

	/** *changed*: runs have changed, so counts are fetched again. */
	update(query, changed) {
		if (changed) this.answers.clear();
		this.query = query;
		this.drawPhases();
		this.drawActive();
		for (const menu of this.menus) menu.draw();
	}

	toggle(name, value) {
		this.change(toggled(this.query, name, value));
	}

	add(name, ...values) {
		const query = without(this.query, "cursor");
		for (const value of values) if (!query.has(name, value)) query.append(name, value);
		if (String(query) !== String(without(this.query, "cursor"))) this.change(query);
	}

	drop(...names) {
		this.change(without(this.query, "cursor", ...names));
	}

	/** The counts of the runs that match *query*, by one request for each. */
	stats(query = new URLSearchParams()) {
		const key = String(query);
		if (!this.answers.has(key)) this.answers.set(key, fetchStats(query));
		return this.answers.get(key);
	}

	/** The numbers of runs by value of the filter *name* that match the other filters. */
	async counts(name) {
		// Tags add up: a run must have all of them.
		return this.stats(filtersOf(this.query, name === "tag" ? null : name));
	}

	// Chips

	chip(name, value, label, count) {
		const on = value === null ? !this.query.has(name) : this.query.has(name, value);
		const text = count === undefined ? "" : count.toLocaleString("en");
		return button([h("span", label), " ", h("span.count", text)],
			() => (value === null ? this.drop(name) : this.toggle(name, value)),
			{ className: "chip", ariaPressed: on, "data-value": value ?? "" });
	}

	/** Draws all chips at once, when their counts are there. */
	async drawPhases() {
		const { query } = this;
		const stats = await this.counts("phase").catch(() => null); // the list shows the error
		if (query !== this.query) return;
		const chosen = query.getAll("phase");
		const counts = stats?.phase ?? {};
		const phases = [...new Set([...Object.keys(counts), ...chosen])];
		phases.sort((a, b) => TONES.indexOf(tone(a)) - TONES.indexOf(tone(b)) || (a < b ? -1 : 1));
		refill(this.phases, this.chip("phase", null, "All", stats?.total),
			phases.map((phase) => this.chip("phase", phase, phaseMark(phase), stats ? counts[phase] ?? 0 : undefined)));
		if (!stats) return;
		this.counted(chosen.length ? chosen.reduce((sum, phase) => sum + (counts[phase] ?? 0), 0) : stats.total);
	}

	drawActive() {
		const chips = [...filtersOf(this.query, "phase")].map(([name, value]) => button(
			[h("span.muted", NAMES[name]), display(name, value), h("span", { ariaHidden: "true" }, "×")],
			() => this.toggle(name, value),
			{ className: "chip on", ariaLabel: `Remove filter: ${NAMES[name]} ${display(name, value)}` }));
		refill(this.active, chips, button("Clear all", () => this.drop(...FILTERS), { className: "quiet" }));
		if (chips.length === 0 && this.active.contains(document.activeElement)) this.phases.firstChild.focus();
		this.active.hidden = chips.length === 0;
	}

	createdMenu() {
		const [after, before] = [1, 2].map(() => h("input", { type: "datetime-local" }));
		const period = (label, hours) => button(label, () => this.setCreated(hours && Date.now() - hours * HOUR));
		const periods = Object.entries(PERIODS).map(([label, hours]) => period(label, hours));
		return this.created = h("details.menu", h("summary", "Created"), h("div.panel",
			h("div.column", period("Any time"), periods),
			form(() => this.setCreated(after.value, before.value),
				h("label", "Created after", after), h("label", "Created before", before), h("button.primary", "Apply"))));
	}

	setCreated(after, before) {
		const next = without(this.query, "cursor", "createdAfter", "createdBefore");
		for (const [name, time] of Object.entries({ createdAfter: after, createdBefore: before })) {
			if (time) next.set(name, new Date(time).toISOString());
		}
		this.created.open = false;
		this.change(next);
	}
}

/** Known values with counts, and a field for others. */
class Menu {
	constructor(label, name, bar) {
		Object.assign(this, { name, bar, list: h("div.column") });
		const draw = () => this.draw();
		const placeholder = name === "tag" ? "Any key:value" : "Any flow ID";
		this.input = h("input", { ariaLabel: label, placeholder, oninput: draw });
		const add = () => this.typed && bar.add(name, this.typed);
		const field = name !== "flowType" && form(add, this.input);
		this.element = h("details.menu", { ontoggle: draw }, h("summary", label), h("div.panel", field, this.list));
	}

	get typed() {
		return this.input.value.trim();
	}

	async draw() {
		if (!this.element.open) return;
		const { bar, name, typed } = this;
		const { query } = bar;
		const { [name]: counts } = await bar.counts(name).catch(() => ({ [name]: {} }));
		if (query !== bar.query || typed !== this.typed) return;
		const values = [...new Set([...query.getAll(name), ...Object.keys(counts)])];
		const matches = values.filter((value) => value.toLowerCase().includes(typed.toLowerCase()));
		const chip = (value) => bar.chip(name, value, display(name, value), counts[value] ?? 0);
		refill(this.list, matches.slice(0, MAX_ENTRIES).map(chip));
		const more = matches.length - MAX_ENTRIES;
		if (more > 0) this.list.append(h("p.muted", `${more} more: type a part of the name`));
		if (matches.length === 0) this.list.append(h("p.muted", "Press Enter to use this filter"));
	}
}

/** The name of the filter or `id` for a *text* that no count has: there can be more flows than counts. */
async function findExact(text) {
	const exists = (promise) => promise.then(Boolean, () => false);
	if (await exists(fetchTotal({ flowId: text }))) return "flowId";
	return (await exists(fetchRun(text, undefined, ["id"]))) ? "id" : null;
}

function display(name, value) {
	if (name === "flowType") return typeName(value);
	return /After|Before/.test(name) && !Number.isNaN(Date.parse(value)) ? dateTime(value) : oneLine(value);
}
