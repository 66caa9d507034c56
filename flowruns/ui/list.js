// A page of the list of runs. New runs do not move its rows.

import { fetchPage, fetchRun, RUNS, runUrl, withQuery } from "./api.js";
import { announce, button, byId, fill, h, oneLine, plural, refill, tableHead } from "./dom.js";
import { FilterBar, filtersOf, listUrl, remember, without } from "./filters.js";
import { setKeys } from "./keys.js";
import { retry, subscribe } from "./live.js";
import { agoMark, elapsed, phaseMark, summary, tagText, typeName } from "./phases.js";
import { errorState, invalidQuery, noMatches, noRuns, skeleton } from "./states.js";

const RECOUNT = 2_000; // ms after a change: each count is a request
const MAX_TAGS = 2; // in a row; a tooltip has the rest
// By name: the title, the fields shown, and the cell.
const COLUMNS = {
	phase: ["Phase", ["phase"], (run) => phaseMark(run.phase)],
	flow: ["Flow", ["flowId"], (run) => h("a.run", { href: runUrl(run.id) }, run.flowId)],
	id: ["Run ID", ["id"], (run) => h("span", { title: run.id }, run.id)],
	type: ["Type", ["flowType"], (run) => typeName(run.flowType)],
	tags: ["Tags", ["tags"], (run) => tagsCell(run.tags)],
	started: ["Started", ["startTime"], (run) => startedCell(run.startTime)],
	took: ["Duration", ["startTime", "endTime", "phase"], elapsed],
	problems: ["Problems", ["errors", "warnings"], problemsCell],
};

export class ListView {
	constructor(root, { navigate, route, unauthorized }) {
		Object.assign(this, { root, navigate, unauthorized, rows: new Map(), newIds: new Set() });
		this.build();
		setKeys({
			"/": () => byId("search").focus(),
			j: () => this.step(1),
			k: () => this.step(-1),
			g: () => this.focusRow(0),
			G: () => this.focusRow(this.rows.size - 1),
			Escape: () => document.activeElement.blur(),
		});
		this.update(route);
	}

	build() {
		const bar = h("div.filterbar");
		this.bar = new FilterBar(bar, (query) => this.navigate(listUrl(query)), this.navigate);
		this.status = h("span.muted");
		this.newButton = button("", () => this.showNew(), { className: "new-runs", hidden: true });
		this.pager = h("nav.pager", { ariaLabel: "Pages" });
		this.body = h("tbody");
		const head = tableHead(Object.entries(COLUMNS).map(([name, [label]]) => [label, `.c-${name}`]));
		this.table = h("table.runs", h("caption.sr-only"), head, this.body);
		this.content = h("div", skeleton());
		const status = h("div.status", this.status, this.newButton, this.pager);
		fill(this.root, h("h1.sr-only", "Flow runs"), bar, status, this.content);
	}

	close() {
		this.abort?.abort();
		clearTimeout(this.timer);
		this.timer = null;
	}

	/** Loads the page for *query*. The old one is shown until then. */
	update({ query, state }) {
		this.close();
		this.query = this.bar.query = query; // before the runs arrive: filters add up
		this.offset = state?.offset ?? (query.has("cursor") ? NaN : 0); // runs before this page; NaN: unknown
		const { signal } = (this.abort = new AbortController());
		const params = filtersOf(query);
		for (const name of ["size", "order", "cursor"]) if (query.get(name)) params.set(name, query.get(name));
		retry(() => fetchPage(params, signal), signal, (page) => this.show(page, state), (error) => this.fail(error));
	}

	fail(error) {
		if (this.unauthorized(error)) return;
		this.bar.update(this.query);
		this.rows.clear();
		this.clearNew();
		fill(this.status);
		fill(this.pager);
		fill(this.content, error.status === 422 ? invalidQuery(error, (name) => this.bar.drop(name))
			: errorState(error, () => this.update({ query: this.query })));
	}

	show(page, state) {
		const runs = page.items.map(summary);
		remember(runs);
		this.page = { ...page, items: null };
		this.clearNew();
		this.bar.update(this.query, true);
		this.rows = new Map(runs.map((run) => [run.id, new Row(run)]));
		fill(this.body, this.list.map((row) => row.element));
		fill(this.content, runs.length ? this.table : this.emptyState());
		this.drawStatus();
		// Without the phase filter: the counts of all phases change.
		subscribe(withQuery(RUNS, filtersOf(this.query, "phase")), page.position, this.abort.signal,
			{ event: (event) => this.onEvent(event), failed: (error) => this.fail(error) });
		this.rows.get(state?.row)?.link.focus({ preventScroll: true });
		scrollTo(0, state?.scroll ?? 0);
	}

	/** What "back" restores. */
	state() {
		return { offset: this.offset, scroll: scrollY, row: this.list[this.focused]?.run.id };
	}

	emptyState() {
		if (filtersOf(this.query).size) return noMatches(() => this.navigate(listUrl()));
		return this.query.has("cursor") ? h("p.state", "There are no runs left on this page.") : noRuns();
	}

	drawStatus() {
		const { total, previous_page: previous, next_page: next } = this.page;
		const { offset } = this;
		const count = this.rows.size;
		const isAll = count === 0 || count === total;
		const range = isAll ? "" : offset >= 0 ? `${offset + 1}–${offset + count} of ` : `${count} of `;
		this.status.textContent = total ? range + plural(total, "run") : "";
		announce(this.status.textContent);
		const [first, before, after] = this.oldestFirst ? ["Oldest", "Older", "Newer"] : ["Newest", "Newer", "Older"];
		this.table.caption.textContent = `Runs, ${first.toLowerCase()} first`;
		const size = Number(this.query.get("size") ?? 50);
		const toPrevious = () => [this.pageLink(first, "", 0), this.pageLink(before, previous, Math.max(0, offset - size))];
		refill(this.pager, previous && toPrevious(), next && this.pageLink(after, next, offset + count));
	}

	get oldestFirst() {
		return this.query.get("order") === "asc";
	}

	pageLink(label, cursor, offset) {
		const query = without(this.query, "cursor");
		if (cursor) query.set("cursor", cursor);
		return h("a.button", { href: listUrl(query), state: { offset } }, label);
	}

	// Live updates

	onEvent({ type, data }) {
		if (type === "resync") this.update({ query: this.query, state: this.state() });
		else if (type === "run") this.onRun(summary(JSON.parse(data)));
		else if (type === "deleted") this.onDeleted(JSON.parse(data).id);
		else if (type === "left") this.onLeft(JSON.parse(data).id);
		this.recount();
	}

	recount() {
		this.timer ??= setTimeout(() => {
			this.timer = null;
			this.bar.update(this.query, true);
		}, RECOUNT);
	}

	onRun(run) {
		remember([run]);
		const row = this.rows.get(run.id);
		if (row) row.update(run);
		else if (this.isNew(run)) this.addNew(run.id);
	}

	onDeleted(id) {
		this.rows.get(id)?.markDeleted();
		this.newIds.delete(id);
		this.drawNew();
	}

	/** A run no longer matches the filters: its row stays, and shows its new state. */
	async onLeft(id) {
		this.newIds.delete(id);
		this.drawNew();
		const row = this.rows.get(id);
		if (!row) return;
		const { run } = row;
		try {
			const { doc } = await fetchRun(id, this.abort.signal);
			if (row.run !== run) return; // a later event was faster
			row.update(summary(JSON.parse(doc)));
			row.markLeft();
		} catch (error) {
			if (error.status === 404) row.markDeleted(); // the stream has an event for this, too
		}
	}

	/** Whether *run*, which has no row, belongs to this page or a newer one. */
	isNew(run) {
		if (this.query.has("phase") && !this.query.has("phase", run.phase)) return false;
		const { previous_page, next_page, date } = this.page;
		if (this.oldestFirst && next_page) return false;
		if (previous_page) return Date.parse(run.createdAt) >= date; // an older run may be on a previous page
		const last = this.list.at(-1);
		return !next_page || !last || run.createdAt >= last.run.createdAt;
	}

	addNew(id) {
		this.newIds.add(id);
		if (this.rows.size === 0 && !this.query.has("cursor")) this.showNew(); // no rows to move
		else this.drawNew();
	}

	drawNew() {
		const count = this.newIds.size;
		if (count && this.newButton.hidden) announce("New runs are available");
		this.newButton.hidden = count === 0;
		this.newButton.textContent = plural(count, "new run");
		document.title = count ? `(${count}) flowruns` : "flowruns";
	}

	clearNew() {
		this.newIds.clear();
		this.drawNew();
	}

	showNew() {
		if (this.query.has("cursor")) this.navigate(listUrl(without(this.query, "cursor")));
		else this.update({ query: this.query });
	}

	// Keyboard

	get list() {
		return [...this.rows.values()];
	}

	/** The index of the row that has the focus, or -1. */
	get focused() {
		return this.list.findIndex((row) => row.element.contains(document.activeElement));
	}

	step(by) {
		this.focusRow(this.focused < 0 && by < 0 ? this.rows.size - 1 : this.focused + by);
	}

	focusRow(index) {
		this.list[Math.min(Math.max(index, 0), this.rows.size - 1)]?.link.focus();
	}
}

/** A row. It redraws only cells that changed: focus and selection stay. */
class Row {
	constructor(run) {
		this.cells = Object.keys(COLUMNS).map((name) => h(`td.c-${name}`));
		const open = (event) => this.open(event);
		const onmousedown = (event) => event.button === 1 && event.preventDefault(); // it would scroll
		this.element = h("tr", { "data-id": run.id, onclick: open, onauxclick: open, onmousedown }, this.cells);
		this.draw(run, {});
	}

	get link() {
		return this.element.querySelector(".run");
	}

	/** Opens the run as its link would, unless on a link or after selecting text. */
	open(event) {
		const inNewTab = event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey;
		if (event.button > 1 || event.target.closest("a, button, input")) return;
		if (inNewTab) window.open(this.link.href); // with the session of this tab
		else if (!String(getSelection())) {
			this.link.focus(); // "back" restores the focus
			this.link.click();
		}
	}

	update(run) {
		this.draw(run, this.run);
		this.element.classList.remove("gone", "left", "fresh");
		this.element.title = "";
		void this.element.offsetWidth; // restarts the animation
		this.element.classList.add("fresh");
	}

	markLeft() {
		this.element.classList.add("left");
		this.element.title = "This run no longer matches the filters";
	}

	markDeleted() {
		this.element.classList.add("gone");
		this.draw({ ...this.run, phase: "deleted" }, this.run);
	}

	draw(run, old) {
		const isChanged = (name) => JSON.stringify(run[name]) !== JSON.stringify(old[name]);
		Object.values(COLUMNS).forEach(([, fields, cell], at) => {
			if (fields.some(isChanged)) fill(this.cells[at], cell(run));
		});
		this.run = run;
	}
}

/** Values of the first tags. They are no links: a click on a row opens its run. */
function tagsCell(tags) {
	const tag = (item) => h("span.tag", { title: tagText(item) }, oneLine(item.value) || item.key);
	const rest = tags.slice(MAX_TAGS);
	const more = rest.length > 0 && h("span.muted", { title: rest.map(tagText).join("\n") }, `+${rest.length}`);
	return h("div", tags.slice(0, MAX_TAGS).map(tag), more);
}

function startedCell(time) {
	if (!time) return h("span.muted", "–");
	return agoMark(time);
}

function problemsCell(run) {
	const count = (name) => run[`${name}s`] > 0 && h(`span.${name}`, plural(run[`${name}s`], name), " ");
	return ["error", "warning"].map(count);
}
