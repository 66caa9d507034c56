// The filters of the list: a search box, menus and chips for the URL's query.

import { BASE, fetchTotal, runUrl, withQuery } from "./api.js";
import { button, fill, form, h, oneLine, refill } from "./dom.js";
import { phaseMark, tagText, tone, typeName } from "./phases.js";
import { dateTime } from "./time.js";

const PHASES = ["running", "waiting", "pending", "failed", "succeeded", "cancelled"]; // shown if any run has them
const TONES = ["busy", "held", "new", "bad", "good", "off"]; // the order of the chips
const TYPES = ["automation", "selfServiceAction", "scorecard", "reference"];
const MAX_ENTRIES = 40; // of a menu
const HOUR = 3_600_000;
const PERIODS = { "Last hour": 1, "Last day": 24, "Last week": 168, "Last 30 days": 720 };
const NAMES = {
	phase: "phase", flowId: "flow", flowType: "type", tag: "tag", createdBy: "created by", createdAfter: "created after",
	createdBefore: "created before",
};
export const FILTERS = Object.keys(NAMES);

/** The values that the menus offer: those of the runs loaded so far. */
const known = { phase: new Set(PHASES), flowId: new Set(), flowType: new Set(TYPES), tag: new Set(), id: new Set() };

export function remember(runs) {
	for (const run of runs) {
		if (run.phase) known.phase.add(run.phase);
		known.flowId.add(run.flowId);
		known.id.add(run.id);
		for (const { key, value } of run.tags) known.tag.add(`${key}:${value}`);
	}
}

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

/** *change(query)* applies a new query, *navigate(url)* opens a run. */
export class FilterBar {
	constructor(root, change, navigate) {
		const query = new URLSearchParams();
		Object.assign(this, { change, navigate, query, totals: new Map(), counts: new Map(), queue: Promise.resolve() });
		this.phases = h("div.chips", { role: "group", ariaLabel: "Phase" });
		this.active = h("div.chips", { role: "group", ariaLabel: "Filters" });
		const menus = Object.entries({ Flow: "flowId", Type: "flowType", Tag: "tag" });
		this.menus = menus.map(([label, name]) => new Menu(label, name, this));
		const elements = this.menus.map((menu) => menu.element);
		fill(root, h("div.filters", this.searchBox(), elements, this.createdMenu()), this.phases, this.active);
	}

	/** *changed*: runs have changed, so counts are fetched again. */
	update(query, changed) {
		if (changed) this.totals.clear();
		this.query = query;
		this.drawPhases();
		this.drawActive();
		for (const menu of this.menus) menu.draw();
	}

	toggle(name, value) {
		this.change(toggled(this.query, name, value));
	}

	add(name, value) {
		if (!this.query.has(name, value)) this.toggle(name, value);
	}

	drop(...names) {
		this.change(without(this.query, "cursor", ...names));
	}

	// Search box

	searchBox() {
		const options = h("datalist", { id: "known" });
		const input = h("input", {
			type: "search", id: "search", autocomplete: "off", spellcheck: false,
			ariaLabel: "Flow, tag, phase or run ID", placeholder: "Flow, tag, phase or run ID  ( / )",
			onfocus: () => fill(options, ["phase", "flowId", "tag", "id"].flatMap((name) =>
				[...known[name]].map((value) => h("option", { value }, NAMES[name] ?? "run")))),
		});
		input.setAttribute("list", "known");
		const submit = () => {
			this.search(input.value.trim());
			input.value = "";
		};
		return h("div.search", { role: "search" }, form(submit, input, options));
	}

	/** Filters by *text* if it is a known value, has a colon (a tag) or is a flow on the server; else opens the run. */
	async search(text) {
		if (!text) return;
		const name = ["phase", "flowId", "id"].find((kind) => known[kind].has(text)) ?? (text.includes(":") ? "tag" : null)
			?? (await fetchTotal({ flowId: text }).catch(() => 0) ? "flowId" : "id");
		if (!this.phases.isConnected) return; // the user has left the list
		if (name === "id") this.navigate(runUrl(text));
		else this.add(name, text);
	}

	// Chips

	chip(name, value, label) {
		const count = h("span.count");
		const on = value === null ? !this.query.has(name) : this.query.has(name, value);
		const chip = button([h("span", label), " ", count],
			() => (value === null ? this.drop(name) : this.toggle(name, value)),
			{ className: "chip", ariaPressed: on, "data-value": value ?? "" });
		const draw = (total) => {
			this.counts.set(`${name} ${value}`, total);
			count.textContent = total?.toLocaleString("en") ?? "";
			chip.hidden = name === "phase" && value !== null && !on && !total;
		};
		draw(this.counts.get(`${name} ${value}`)); // until the new count arrives: no flicker
		this.count(name, value).then(draw, () => {}); // the list shows the error
		return chip;
	}

	/** The number of runs that have *value* and match the other filters, by one request at a time. */
	count(name, value) {
		const query = filtersOf(this.query, name === "tag" ? null : name);
		if (value !== null && !query.has(name, value)) query.append(name, value);
		const key = String(query);
		if (!this.totals.has(key)) {
			this.totals.set(key, this.queue = this.queue.catch(() => {}).then(() => fetchTotal(query)));
		}
		return this.totals.get(key);
	}

	drawPhases() {
		const phases = [...new Set([...known.phase, ...this.query.getAll("phase")])];
		phases.sort((a, b) => TONES.indexOf(tone(a)) - TONES.indexOf(tone(b)) || (a < b ? -1 : 1));
		const chips = phases.map((phase) => this.chip("phase", phase, phaseMark(phase)));
		refill(this.phases, this.chip("phase", null, "All"), chips);
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

	draw() {
		if (!this.element.open) return;
		const { bar, name, typed } = this;
		const values = [...new Set([...bar.query.getAll(name), ...known[name]])];
		const matches = values.filter((value) => value.toLowerCase().includes(typed.toLowerCase()));
		refill(this.list, matches.slice(0, MAX_ENTRIES).map((value) => bar.chip(name, value, display(name, value))));
		const more = matches.length - MAX_ENTRIES;
		if (more > 0) this.list.append(h("p.muted", `${more} more: type a part of the name`));
		if (matches.length === 0) this.list.append(h("p.muted", "Press Enter to use this filter"));
	}
}

function display(name, value) {
	if (name === "flowType") return typeName(value);
	return /After|Before/.test(name) && !Number.isNaN(Date.parse(value)) ? dateTime(value) : oneLine(value);
}
