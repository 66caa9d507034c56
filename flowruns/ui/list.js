// A page of the list of runs, which stays as it is while it is read.

import { at, page, pageUrl, RUNS } from "./api.js";
import { button, fill, find, h, heads, oneLine, plural, refill, say } from "./dom.js";
import { FilterBar, filtersOf, listUrl, remember, tagLink, toggled, without } from "./filters.js";
import { useKeys } from "./keys.js";
import { follow, persist } from "./live.js";
import { phaseMark, summary, tagText, took, typeName } from "./phases.js";
import { failed, noneFits, noRuns, wrongQuery } from "./states.js";
import { ago, full, tick } from "./time.js";

const RECOUNT = 2_000; // ms after a change: counts are requests
const TAGS = 2; // in a row; the others are in its title
// By name: the title, the fields that are shown, and how.
const COLUMNS = {
	phase: ["Phase", ["phase"], (run) => phaseMark(run.phase)],
	flow: ["Flow", ["flowId"], (run) => h("a.run", { href: pageUrl(run.id) }, run.flowId)],
	id: ["Run", ["id"], (run) => h("span", { title: run.id }, run.id)],
	type: ["Type", ["flowType"], (run) => typeName(run.flowType)],
	tags: ["Tags", ["tags"], (run, view) => tags(run.tags, view)],
	started: ["Started", ["startTime"], (run) => started(run.startTime)],
	took: ["Took", ["startTime", "endTime", "phase"], took],
	trouble: ["Trouble", ["errors", "warnings"], trouble],
};

export class ListView {
	constructor(root, { go, place, refused }) {
		Object.assign(this, { root, go, refused, rows: new Map(), news: new Set() });
		this.build();
		useKeys({
			"/": () => find("search").focus(),
			j: () => this.step(1),
			k: () => this.step(-1),
			g: () => this.focusRow(0),
			G: () => this.focusRow(this.rows.size - 1),
			Escape: () => document.activeElement.blur(),
		});
		this.update(place);
	}

	build() {
		const bar = h("div.filterbar");
		this.bar = new FilterBar(bar, (query) => this.go(listUrl(query)), this.go);
		this.status = h("span.muted");
		this.newsButton = button("", () => this.showNews(), { className: "news", hidden: true });
		this.pager = h("nav.pager", { ariaLabel: "Pages" });
		this.body = h("tbody");
		const head = heads(Object.entries(COLUMNS).map(([name, [label]]) => [label, `.c-${name}`]));
		this.table = h("table.runs", h("caption.unseen"), head, this.body);
		this.content = h("div");
		fill(this.root, h("h1.unseen", "Flow runs"), bar, h("div.status", this.status, this.newsButton, this.pager), this.content);
	}

	close() {
		this.abort?.abort();
		clearTimeout(this.timer);
		this.timer = null;
	}

	/** Shows what *place* asks for, and until then what was shown. */
	update({ query, state }) {
		this.close();
		this.query = this.bar.query = query; // now: another filter may be chosen before runs are there
		this.from = state?.from ?? (query.has("cursor") ? NaN : 0); // how many runs are before; NaN: nobody knows
		const { signal } = (this.abort = new AbortController());
		const asked = filtersOf(query);
		for (const name of ["size", "order", "cursor"]) if (query.get(name)) asked.set(name, query.get(name));
		persist(() => page(asked, signal), signal, (loaded) => this.show(loaded, state), (error) => this.fail(error));
	}

	fail(error) {
		if (this.refused(error)) return;
		this.bar.update(this.query);
		this.rows.clear();
		this.clearNews();
		fill(this.status);
		fill(this.pager);
		fill(this.content, error.status === 422 ? wrongQuery(error, (name) => this.bar.drop(name)) : failed(error, () => this.update({ query: this.query })));
	}

	show(loaded, state) {
		const runs = loaded.items.map(summary);
		remember(runs);
		this.loaded = { ...loaded, items: null };
		this.clearNews();
		this.bar.update(this.query, true);
		this.rows = new Map(runs.map((run) => [run.id, new Row(run, this)]));
		fill(this.body, this.list.map((row) => row.element));
		fill(this.content, runs.length ? this.table : this.nothing());
		this.drawStatus();
		// Without the phase: a run that leaves it would send nothing, and its row would tick for ever.
		follow(at(RUNS, filtersOf(this.query, "phase")), loaded.position, this.abort.signal,
			{ event: (event) => this.happened(event), refused: (error) => this.fail(error) });
		// After "back": where the reader was.
		this.rows.get(state?.row)?.link.focus({ preventScroll: true });
		scrollTo(0, state?.scroll ?? 0);
	}

	/** What "back" needs to know. */
	state() {
		return { from: this.from, scroll: scrollY, row: this.list[this.focused]?.run.id };
	}

	nothing() {
		if (filtersOf(this.query).size) return noneFits(() => this.go(listUrl()));
		return this.query.has("cursor") ? h("p.state", "There is nothing on this page any more.") : noRuns();
	}

	drawStatus() {
		const { total, previous_page: back, next_page: on } = this.loaded;
		const { from } = this;
		const count = this.rows.size;
		const range = count === 0 || count === total ? "" : from >= 0 ? `${from + 1}–${from + count} of ` : `${count} of `;
		this.status.textContent = total ? range + plural(total, "run") : "";
		say(this.status.textContent);
		const [first, before, after] = this.oldestFirst ? ["Oldest", "Older", "Newer"] : ["Newest", "Newer", "Older"];
		this.table.caption.textContent = `Runs, ${first.toLowerCase()} first`;
		const size = Number(this.query.get("size") ?? 50);
		refill(this.pager, back && [this.pageLink(first, "", 0), this.pageLink(before, back, Math.max(0, from - size))],
			on && this.pageLink(after, on, from + count));
	}

	get oldestFirst() {
		return this.query.get("order") === "asc";
	}

	/** A link to another page; *from* is how many runs are before it. */
	pageLink(label, cursor, from) {
		const query = without(this.query, "cursor");
		if (cursor) query.set("cursor", cursor);
		return h("a.button", { href: listUrl(query), state: { from } }, label);
	}

	// Live

	happened({ type, data }) {
		if (type === "resync") this.update({ query: this.query, state: this.state() });
		else if (type === "run") this.changed(summary(JSON.parse(data)));
		else if (type === "deleted") this.deleted(JSON.parse(data).id);
		this.recount();
	}

	recount() {
		this.timer ??= setTimeout(() => {
			this.timer = null;
			this.bar.update(this.query, true);
		}, RECOUNT);
	}

	changed(run) {
		remember([run]);
		const row = this.rows.get(run.id);
		if (row) row.update(run);
		else if (this.isNews(run)) this.gather(run.id);
	}

	deleted(id) {
		this.rows.get(id)?.strike();
		this.news.delete(id);
		this.drawNews();
	}

	/** Whether *run*, which is not shown, belongs here or is newer: rows are in order of creation. */
	isNews(run) {
		if (this.query.has("phase") && !this.query.has("phase", run.phase)) return false;
		const { previous_page, next_page, date } = this.loaded;
		if (this.oldestFirst && next_page) return false;
		if (previous_page) return Date.parse(run.createdAt) >= date; // what is older may be on a page before this one
		const last = this.list.at(-1);
		return !next_page || !last || run.createdAt >= last.run.createdAt;
	}

	gather(id) {
		this.news.add(id);
		if (this.rows.size === 0 && !this.query.has("cursor")) this.showNews(); // nothing is being read
		else this.drawNews();
	}

	drawNews() {
		const count = this.news.size;
		if (count && this.newsButton.hidden) say("There are new runs");
		this.newsButton.hidden = count === 0;
		this.newsButton.textContent = `${count} new`;
		document.title = count ? `(${count}) flowruns` : "flowruns";
	}

	clearNews() {
		this.news.clear();
		this.drawNews();
	}

	showNews() {
		if (this.query.has("cursor")) this.go(listUrl(without(this.query, "cursor")));
		else this.update({ query: this.query });
	}

	// The keyboard

	get list() {
		return [...this.rows.values()];
	}

	/** The place of the row that has the focus, or -1. */
	get focused() {
		return this.list.findIndex((row) => row.element.contains(document.activeElement));
	}

	step(by) {
		this.focusRow(this.focused < 0 && by < 0 ? this.rows.size - 1 : this.focused + by);
	}

	focusRow(place) {
		this.list[Math.min(Math.max(place, 0), this.rows.size - 1)]?.link.focus();
	}
}

/** A row, whose cells change one by one, so that the focus and a selection in it stay. */
class Row {
	constructor(run, view) {
		this.view = view;
		this.cells = Object.keys(COLUMNS).map((name) => h(`td.c-${name}`));
		this.element = h("tr", { "data-id": run.id, onclick: (event) => this.click(event) }, this.cells);
		this.draw(run, {});
	}

	get link() {
		return this.element.querySelector(".run");
	}

	/** Opens the run, unless a link in the row was meant, or text is being selected. */
	click(event) {
		if (event.target.closest("a") || String(getSelection())) return;
		this.link.focus(); // "back" comes to it again
		this.link.click();
	}

	update(run) {
		this.draw(run, this.run);
		this.element.classList.remove("gone", "fresh");
		void this.element.offsetWidth; // so that the animation begins anew
		this.element.classList.add("fresh");
	}

	strike() {
		this.element.classList.add("gone");
		this.draw({ ...this.run, phase: "deleted" }, this.run);
	}

	draw(run, old) {
		Object.values(COLUMNS).forEach(([, fields, show], at) => {
			if (fields.some((name) => JSON.stringify(run[name]) !== JSON.stringify(old[name]))) fill(this.cells[at], show(run, this.view));
		});
		this.run = run;
	}
}

/** The first few tags by their values, out of the tab order: the menu has them all. */
function tags(all, view) {
	const link = (tag) => tagLink(tag, oneLine(tag.value) || tag.key,
		{ tabIndex: -1, href: listUrl(toggled(view.query, "tag", `${tag.key}:${tag.value}`)) });
	const rest = all.slice(TAGS);
	return h("div", all.slice(0, TAGS).map(link), rest.length > 0 && h("span.muted", { title: rest.map(tagText).join("\n") }, `+${rest.length}`));
}

function started(text) {
	return text ? tick(h("time", { dateTime: text, title: `${full(text)}\n${text}` }), () => ago(text)) : h("span.muted", "–");
}

function trouble(run) {
	return ["error", "warning"].map((name) => run[`${name}s`] > 0 && h(`span.${name}`, plural(run[`${name}s`], name), " "));
}
