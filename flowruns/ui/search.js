// The search box: suggestions from the counts of all runs.

import { runUrl } from "./api.js";
import { button, fill, form, h } from "./dom.js";
import { phaseMark, typeName } from "./phases.js";

const KINDS = { phase: "phase", flowId: "flow", tag: "tag", flowType: "type", id: "run" };
const MAX_SHOWN = 4; // suggestions of each kind
const MAX_FLOWS = 100; // values of one filter, as the API takes them

/** The values in *stats* and the *ids* that contain *text* in any case: `{name, value, count}`, exact ones first. */
export function matchesOf(text, stats, ids) {
	const wanted = text.toLowerCase();
	const isMatch = ({ name, value }) =>
		value.toLowerCase().includes(wanted) || (name === "flowType" && typeName(value).includes(wanted));
	const counted = Object.keys(KINDS).filter((name) => stats[name]).flatMap((name) =>
		Object.entries(stats[name]).map(([value, count]) => ({ name, value, count })));
	const all = [...counted, ...[...ids].map((value) => ({ name: "id", value, count: null }))].filter(isMatch);
	const rank = ({ value }) => (value.toLowerCase() === wanted ? 0 : value.toLowerCase().startsWith(wanted) ? 1 : 2);
	return all.sort((a, b) => rank(a) - rank(b)); // stable: kinds, and the most frequent first
}

export class SearchBox {
	/** *on*: `stats()` and `ids()` return what can be found, `add(name, ...values)` filters, `open(url)` opens a run, and
	 * `find(text)` resolves to the name of a filter, `id` or null. */
	constructor(on) {
		Object.assign(this, { on, stats: {}, at: -1 });
		this.list = h("div.panel", { id: "found", role: "listbox", ariaLabel: "Suggestions", hidden: true });
		this.miss = h("span.miss", { role: "status" });
		this.input = h("input", {
			type: "search", id: "search", autocomplete: "off", spellcheck: false, role: "combobox", "aria-controls": "found",
			"aria-autocomplete": "list", ariaExpanded: "false", ariaLabel: "Search: flow, tag, phase or run ID",
			placeholder: "Flow, tag, phase or run ID  ( / )",
			onfocus: () => this.load(), oninput: () => this.draw(), onkeydown: (event) => this.onKey(event),
			onblur: () => this.close(),
		});
		this.element = h("div.search", { role: "search" }, form(() => this.submit(), this.input), this.list, this.miss);
	}

	get typed() {
		return this.input.value.trim();
	}

	async load() {
		try {
			this.stats = await this.on.stats();
		} catch {
			return; // the list shows the error
		}
		if (document.activeElement === this.input) this.draw();
	}

	get matches() {
		return this.typed ? matchesOf(this.typed, this.stats, this.on.ids()) : [];
	}

	draw() {
		fill(this.miss);
		this.at = -1;
		const { matches } = this;
		const kinds = Map.groupBy(matches, ({ name }) => name);
		this.shown = matches.filter((match) => kinds.get(match.name).indexOf(match) < MAX_SHOWN);
		const option = ({ name, value, count }, at) => h("div.choice", {
			role: "option", id: `found-${at}`, ariaSelected: "false",
			onmousedown: (event) => (event.preventDefault(), this.take(this.shown[at])), // before the field loses the focus
		}, h("span.muted", KINDS[name]), h("span.value", name === "phase" ? phaseMark(value) : value),
		count !== null && h("span.count", count.toLocaleString("en")));
		fill(this.list, this.shown.map(option));
		this.list.hidden = this.shown.length === 0;
		this.input.ariaExpanded = String(!this.list.hidden);
		this.input.removeAttribute("aria-activedescendant");
	}

	close() {
		this.list.hidden = true;
		this.input.ariaExpanded = "false";
	}

	onKey(event) {
		const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (this.list.hidden || (event.key !== "Escape" && !by)) return;
		if (event.key === "Escape") this.close();
		else if (this.at < 0) this.mark(by > 0 ? 0 : this.shown.length - 1);
		else this.mark((this.at + by + this.shown.length) % this.shown.length);
		event.preventDefault();
	}

	mark(at) {
		this.at = at;
		[...this.list.children].forEach((option, index) => (option.ariaSelected = String(index === at)));
		this.input.setAttribute("aria-activedescendant", `found-${at}`);
		this.list.children[at].scrollIntoView({ block: "nearest" });
	}

	take({ name, value }, ...more) {
		this.input.value = "";
		this.draw();
		if (name === "id") this.on.open(runUrl(value));
		else this.on.add(name, value, ...more.map((match) => match.value));
	}

	/** The marked suggestion; else the exact one, a run of that id, all flows with this text, or the first suggestion. */
	async submit() {
		const text = this.typed;
		if (!text) return;
		if (this.at >= 0) return this.take(this.shown[this.at]);
		await this.load();
		const matches = this.matches;
		const exact = matches.find(({ value }) => value.toLowerCase() === text.toLowerCase());
		if (exact) return this.take(exact);
		const found = await this.on.find(text);
		if (!this.element.isConnected) return; // the user has left the list
		if (found) return this.take({ name: found, value: text });
		const flows = matches.filter(({ name }) => name === "flowId").slice(0, MAX_FLOWS);
		if (flows.length) this.take(...flows);
		else if (matches.length) this.take(matches[0]);
		else if (/^[^:]+:/.test(text)) this.take({ name: "tag", value: text });
		else this.showMiss(text);
	}

	showMiss(text) {
		const clear = button("Clear", () => {
			this.input.value = "";
			this.draw();
			this.input.focus();
		});
		fill(this.miss, `No flow, tag, phase or run ID contains “${text}”. `, clear);
	}
}
