// What the list is filtered by: the URL's query, as chips, menus and one field.

import { at, BASE, pageUrl, total } from "./api.js";
import { button, fill, form, h, oneLine, refill } from "./dom.js";
import { phaseMark, tagText, tone, typeName } from "./phases.js";
import { full } from "./time.js";

const COMMON = ["running", "waiting", "pending", "failed", "succeeded", "cancelled"]; // shown where there are any
const TONES = ["busy", "held", "new", "bad", "good", "off"]; // what wants to be seen comes first
const TYPES = ["automation", "selfServiceAction", "scorecard", "reference"];
const MOST = 40; // entries of a menu: beyond them, typing is quicker
const HOUR = 3_600_000;
const SPANS = { "the last hour": 1, "the last day": 24, "the last week": 168, "the last 30 days": 720 };
const NAMES = {
	phase: "phase", flowId: "flow", flowType: "type", tag: "tag", createdBy: "created by", createdAfter: "after", createdBefore: "before",
};
export const FILTERS = Object.keys(NAMES);

/** What pages have shown so far, and so can be offered. */
const seen = { phase: new Set(COMMON), flowId: new Set(), flowType: new Set(TYPES), tag: new Set(), id: new Set() };

/** Remembers what *runs* have. */
export function remember(runs) {
	for (const run of runs) {
		if (run.phase) seen.phase.add(run.phase);
		seen.flowId.add(run.flowId);
		seen.id.add(run.id);
		for (const { key, value } of run.tags) seen.tag.add(`${key}:${value}`);
	}
}

/** The part of *query* that chooses runs, without *except*. */
export function filtersOf(query, except) {
	return new URLSearchParams([...query].filter(([name]) => FILTERS.includes(name) && name !== except));
}

/** *query* from its first page on, with *value* put in or taken out. */
export function toggled(query, name, value) {
	const next = without(query, "cursor");
	if (next.has(name, value)) next.delete(name, value);
	else next.append(name, value);
	return next;
}

/** *query* without *names*. */
export function without(query, ...names) {
	return new URLSearchParams([...query].filter(([name]) => !names.includes(name)));
}

/** Where the list shows the runs that *query* chooses. */
export function listUrl(query = {}) {
	return at(BASE, query);
}

/** A link to the runs that have *tag*. */
export function tagLink(tag, text = tagText(tag), props = {}) {
	return h("a.tag", { href: listUrl({ tag: `${tag.key}:${tag.value}` }), title: tagText(tag), ...props }, text);
}

/** The bar above the list. *change* takes the query that is asked for, *open* a URL. */
export class FilterBar {
	constructor(root, change, open) {
		Object.assign(this, { change, open, query: new URLSearchParams(), totals: new Map(), counts: new Map(), turn: Promise.resolve() });
		this.phases = h("div.chips", { role: "group", ariaLabel: "Phase" });
		this.active = h("div.chips", { role: "group", ariaLabel: "Filters" });
		this.menus = [["Flow", "flowId"], ["Type", "flowType"], ["Tag", "tag"]].map(([label, name]) => new Menu(label, name, this));
		fill(root, h("div.filters", this.field(), this.menus.map((menu) => menu.element), this.times()), this.phases, this.active);
	}

	/** Shows *query*; *changed*: so have runs, and all is counted again. */
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

	/** What is typed is wanted, even if it is there. */
	add(name, value) {
		if (!this.query.has(name, value)) this.toggle(name, value);
	}

	drop(...names) {
		this.change(without(this.query, "cursor", ...names));
	}

	// The field for everything

	field() {
		const known = h("datalist", { id: "known" });
		const input = h("input", {
			type: "search", id: "search", ariaLabel: "Flow, tag, phase or run id", placeholder: "Flow, tag, phase or run id  ( / )",
			autocomplete: "off", spellcheck: false,
			onfocus: () => fill(known, ["phase", "flowId", "tag", "id"].flatMap((name) =>
				[...seen[name]].map((value) => h("option", { value }, NAMES[name] ?? "run")))),
		});
		input.setAttribute("list", "known");
		const find = () => {
			this.find(input.value.trim());
			input.value = "";
		};
		return h("div.search", { role: "search" }, form(find, input, known));
	}

	/** Goes where *text* leads: what was seen tells, or a colon, else the server. */
	async find(text) {
		if (!text) return;
		const name = ["phase", "flowId", "id"].find((one) => seen[one].has(text)) ?? (text.includes(":") ? "tag" : null)
			?? (await total({ flowId: text }).catch(() => 0) ? "flowId" : "id");
		if (!this.phases.isConnected) return; // something else was opened meanwhile
		if (name === "id") this.open(pageUrl(text));
		else this.add(name, text);
	}

	// Chips, and how many runs each stands for

	chip(name, value, label) {
		const count = h("span.count");
		const on = value === null ? !this.query.has(name) : this.query.has(name, value);
		const chip = button([label, " ", count], () => (value === null ? this.drop(name) : this.toggle(name, value)),
			{ className: "chip", ariaPressed: on, "data-value": value ?? "" });
		const draw = (found) => {
			this.counts.set(`${name} ${value}`, found);
			count.textContent = found?.toLocaleString("en") ?? "";
			chip.hidden = name === "phase" && value !== null && !on && !found;
		};
		draw(this.counts.get(`${name} ${value}`)); // until it is counted anew, or chips would flicker
		this.count(name, value).then(draw, () => {}); // the page itself tells what is wrong
		return chip;
	}

	/** How many runs have *value*, other filters being as they are. One request at a time. */
	count(name, value) {
		const query = filtersOf(this.query, name === "tag" ? null : name);
		if (value !== null && !query.has(name, value)) query.append(name, value);
		const key = String(query);
		if (!this.totals.has(key)) this.totals.set(key, this.turn = this.turn.catch(() => {}).then(() => total(query)));
		return this.totals.get(key);
	}

	drawPhases() {
		const words = [...new Set([...seen.phase, ...this.query.getAll("phase")])];
		words.sort((a, b) => TONES.indexOf(tone(a)) - TONES.indexOf(tone(b)) || (a < b ? -1 : 1));
		refill(this.phases, this.chip("phase", null, "All"), words.map((word) => this.chip("phase", word, phaseMark(word))));
	}

	drawActive() {
		const chips = [...filtersOf(this.query, "phase")].map(([name, value]) => button(
			[h("span.muted", NAMES[name]), shown(name, value), h("span", { ariaHidden: "true" }, "×")], () => this.toggle(name, value),
			{ className: "chip on", ariaLabel: `Remove the filter ${NAMES[name]} ${shown(name, value)}` }));
		refill(this.active, chips, button("Clear all", () => this.drop(...FILTERS), { className: "quiet" }));
		if (chips.length === 0 && this.active.contains(document.activeElement)) this.phases.firstChild.focus();
		this.active.hidden = chips.length === 0;
	}

	times() {
		const [after, before] = [1, 2].map(() => h("input", { type: "datetime-local" }));
		const since = (label, hours) => button(label, () => this.between(hours && Date.now() - hours * HOUR));
		return this.timeMenu = h("details.menu", h("summary", "Time"), h("div.panel",
			h("div.column", since("any time"), Object.entries(SPANS).map(([label, hours]) => since(label, hours))),
			form(() => this.between(after.value, before.value),
				h("label", "Created after", after), h("label", "Created before", before), h("button.primary", "Apply"))));
	}

	between(after, before) {
		const next = without(this.query, "cursor", "createdAfter", "createdBefore");
		for (const [name, time] of Object.entries({ createdAfter: after, createdBefore: before })) {
			if (time) next.set(name, new Date(time).toISOString());
		}
		this.timeMenu.open = false;
		this.change(next);
	}
}

/** A menu: what was seen, with counts, and a field for what was not. */
class Menu {
	constructor(label, name, bar) {
		Object.assign(this, { name, bar, list: h("div.column") });
		const draw = () => this.draw();
		this.input = h("input", { ariaLabel: label, placeholder: name === "tag" ? "key:value" : "deploy-web", oninput: draw });
		const add = () => this.typed && bar.add(name, this.typed);
		this.element = h("details.menu", { ontoggle: draw }, h("summary", label), h("div.panel", name !== "flowType" && form(add, this.input), this.list));
	}

	get typed() {
		return this.input.value.trim();
	}

	draw() {
		if (!this.element.open) return; // nobody looks, so nothing is counted
		const values = [...new Set([...this.bar.query.getAll(this.name), ...seen[this.name]])];
		const fit = values.filter((value) => value.toLowerCase().includes(this.typed.toLowerCase()));
		refill(this.list, fit.slice(0, MOST).map((value) => this.bar.chip(this.name, value, shown(this.name, value))));
		if (fit.length > MOST) this.list.append(h("p.muted", `${fit.length - MOST} more: type a part of the name`));
		if (fit.length === 0) this.list.append(h("p.muted", "Press Enter to filter by it"));
	}
}

function shown(name, value) {
	if (name === "flowType") return typeName(value);
	return /After|Before/.test(name) && !Number.isNaN(Date.parse(value)) ? full(value) : oneLine(value);
}
