// A page of the list of runs, which stays as it is while it is read.

import { at, page, pageUrl, Refused, RUNS } from "./api.js";
import { button, fill, find, h, oneLine, plural, say } from "./dom.js";
import { FilterBar, filtersOf, listUrl, remember, tagLink, toggled, without } from "./filters.js";
import { useKeys } from "./keys.js";
import { follow, persist } from "./live.js";
import { phaseMark, summary, tagText, took, typeName } from "./phases.js";
import { failed, noneFits, noRuns, wrongQuery } from "./states.js";
import { ago, full, tick } from "./time.js";

const RECOUNT = 2_000; // ms after a change: counts need not be newer, and each is a request
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
		Object.assign(this, { root, go, refused, rows: new Map(), news: new Set(), abort: new AbortController() });
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
		this.pager = h("nav.pager", { "aria-label": "Pages" });
		this.body = h("tbody");
		const head = Object.entries(COLUMNS).map(([name, [label]]) => h(`th.c-${name}`, { scope: "col" }, label));
		this.table = h("table.runs", h("caption.unseen", "Runs, newest first"), h("thead", h("tr", head)), this.body);
		this.content = h("div");
		fill(this.root, h("h1.unseen", "Flow runs"), bar, h("div.status", this.status, this.newsButton, this.pager), this.content);
	}

	close() {
		this.abort.abort();
		this.stream?.close();
	}

	/** Shows what *place* asks for, and until then what was shown. */
	async update({ query, state }) {
		this.close();
		this.query = query;
		this.from = state?.from ?? (query.has("cursor") ? null : 0);
		const { signal } = (this.abort = new AbortController());
		const asked = filtersOf(query);
		for (const name of ["size", "order", "cursor"]) if (query.get(name)) asked.set(name, query.get(name));
		try {
			const loaded = await persist(() => page(asked, signal), signal);
			if (!signal.aborted) this.show(loaded, state);
		} catch (error) {
			if (!signal.aborted) this.fail(error);
		}
	}

	fail(error) {
		if (this.refused(error)) return;
		this.bar.update(this.query);
		this.rows.clear();
		this.clearNews();
		fill(this.status);
		fill(this.pager);
		const wrong = error instanceof Refused && error.status === 422;
		fill(this.content, wrong ? wrongQuery(error, (name) => this.bar.drop(name)) : failed(error, () => this.update({ query: this.query })));
	}

	show(loaded, state) {
		const runs = loaded.items.map(summary);
		remember(runs);
		this.loaded = { ...loaded, items: null };
		this.clearNews();
		this.bar.update(this.query, true);
		this.rows = new Map(runs.map((run) => [run.id, new Row(run, this)]));
		fill(this.body, [...this.rows.values()].map((row) => row.element));
		fill(this.content, runs.length ? this.table : this.nothing());
		this.drawStatus();
		this.follow(loaded.position);
		// After "back": where the reader was.
		this.rows.get(state?.row)?.link.focus({ preventScroll: true });
		scrollTo(0, state?.scroll ?? 0);
	}

	/** What "back" needs to know. */
	state() {
		return { from: this.from, scroll: scrollY, row: this.focused()?.run.id };
	}

	nothing() {
		if (filtersOf(this.query).size) return noneFits(() => this.go(listUrl({})));
		return this.query.has("cursor") ? h("p.state", "There is nothing on this page any more.") : noRuns();
	}

	drawStatus() {
		const { total, previous_page: newer, next_page: older } = this.loaded;
		const { from } = this;
		const count = this.rows.size;
		const range = count === 0 || count === total ? "" : from === null ? `${count} of ` : `${from + 1}–${from + count} of `;
		this.status.textContent = total ? range + plural(total, "run") : "";
		say(this.status.textContent);
		const back = Math.max(0, from - Number(this.query.get("size") ?? 50));
		fill(this.pager, newer && [this.pageLink("Newest", "", 0), this.pageLink("Newer", newer, from === null ? null : back)],
			older && this.pageLink("Older", older, from === null ? null : from + count));
	}

	/** A link to another page; *from* is how many runs are before it, null if nobody knows. */
	pageLink(label, cursor, from) {
		const query = without(this.query, "cursor");
		if (cursor) query.set("cursor", cursor);
		return h("a.button", { href: listUrl(query), state: { from } }, label);
	}

	// Live

	follow(position) {
		// Without the phase: a run that leaves it would send nothing, and its row would tick for ever.
		this.stream = follow(at(RUNS, filtersOf(this.query, "phase")), position, {
			event: (event) => this.happened(event),
			refused: (error) => this.refused(error),
		});
	}

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

	/** Whether *run*, which is not shown, belongs to this page or before it. Times tell: rows are in order of creation. */
	isNews(run) {
		if (this.query.has("phase") && !this.query.has("phase", run.phase)) return false;
		const last = [...this.rows.values()].at(-1);
		if (this.loaded.next_page === null || !last) return true;
		return this.query.get("order") !== "asc" && run.createdAt >= last.run.createdAt;
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

	focused() {
		return [...this.rows.values()].find((row) => row.element.contains(document.activeElement));
	}

	step(by) {
		const here = [...this.rows.values()].indexOf(this.focused());
		this.focusRow(here < 0 && by < 0 ? this.rows.size - 1 : here + by);
	}

	focusRow(place) {
		[...this.rows.values()][Math.min(Math.max(place, 0), this.rows.size - 1)]?.link.focus();
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

	/** Opens the run, unless something in the row was meant, or text is being selected. */
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
		fill(this.cells[0], phaseMark("deleted"));
		this.run = { ...this.run, phase: "deleted" };
	}

	draw(run, old) {
		Object.values(COLUMNS).forEach(([, fields, show], at) => {
			if (fields.some((name) => JSON.stringify(run[name]) !== JSON.stringify(old[name]))) fill(this.cells[at], show(run, this.view));
		});
		this.run = run;
	}
}

/** The first few tags by their values alone, as links out of the tab order: the menu has them all. */
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
