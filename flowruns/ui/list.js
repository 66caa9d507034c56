// A page of the list of runs. New runs do not move its rows.

import { fetchPage, fetchRun, RUNS, withQuery } from "./api.js";
import { columnsMenu } from "./columns.js";
import { announce, button, byId, fill, h, plural, refill, tableHead } from "./dom.js";
import { FilterBar, filtersOf, listUrl, without } from "./filters.js";
import { setKeys } from "./keys.js";
import { retry, subscribe } from "./live.js";
import { Overview } from "./overview.js";
import { LIST_FIELDS, summary } from "./phases.js";
import { COLUMNS, Row, sharedTags } from "./rows.js";
import { Selection } from "./selection.js";
import { errorState, invalidQuery, noMatches, noRuns, skeleton } from "./states.js";

const RECOUNT = 2_000; // ms after a change: each count is a request

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
			x: () => this.list[this.focused]?.box.click(),
			Escape: () => document.activeElement.blur(),
		});
		this.update(route);
	}

	build() {
		const bar = h("div.filterbar");
		this.bar = new FilterBar(bar, {
			change: (query) => this.navigate(listUrl(query)), navigate: this.navigate,
			counted: (total) => this.drawTotal(total), ids: () => this.rows.keys(),
		});
		this.status = h("span.muted");
		this.newButton = button("", () => this.showNew(), { className: "new-runs", hidden: true });
		this.pagers = ["Pages", "Pages, below the table"].map((ariaLabel) => h("nav.pager", { ariaLabel }));
		this.body = h("tbody");
		const head = tableHead(Object.entries(COLUMNS).map(([name, [label]]) => [label, `.c-${name}`]));
		this.selection = new Selection(() => this.list);
		fill(head.querySelector(".c-check"), h("label", this.selection.all));
		this.table = h("table.runs", h("caption.sr-only"), head, this.body);
		this.content = h("div", skeleton());
		this.order = h("span");
		const status = h("div.status", this.status, this.newButton, this.selection.element, h("span.spacer"),
			this.order, columnsMenu(this.table), this.pagers[0]);
		this.overview = new Overview();
		const below = h("div.below", this.pagers[1]);
		fill(this.root, h("h1.sr-only", "Flow runs"), bar, this.overview.element, status, this.content, below);
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
		const params = listed(filtersOf(query));
		for (const name of ["size", "order", "cursor"]) if (query.get(name)) params.set(name, query.get(name));
		retry(() => fetchPage(params, signal), signal, (page) => this.show(page, state), (error) => this.fail(error));
	}

	fail(error) {
		if (this.unauthorized(error)) return;
		this.bar.update(this.query);
		this.rows.clear();
		this.clearNew();
		fill(this.status);
		for (const pager of this.pagers) fill(pager);
		this.selection.draw();
		fill(this.content, error.status === 422 ? invalidQuery(error, (name) => this.bar.drop(name))
			: errorState(error, () => this.update({ query: this.query })));
	}

	show(page, state) {
		const runs = page.items.map(summary);
		this.page = { ...page, items: null };
		this.clearNew();
		this.bar.update(this.query, true);
		const shared = sharedTags(runs);
		this.rows = new Map(runs.map((run) => [run.id, new Row(run, shared, () => this.selection.draw())]));
		fill(this.body, this.list.map((row) => row.element));
		fill(this.content, runs.length ? this.table : this.emptyState());
		this.drawStatus();
		this.overview.update(this.query);
		// Without the phase filter: the counts of all phases change.
		subscribe(withQuery(RUNS, listed(filtersOf(this.query, "phase"))), page.position, this.abort.signal,
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
		this.drawTotal(total);
		announce(this.status.textContent);
		const [first, before, after] = this.oldestFirst ? ["Oldest", "Older", "Newer"] : ["Newest", "Newer", "Older"];
		this.table.caption.textContent = `Runs, ${first.toLowerCase()} first`;
		const size = Number(this.query.get("size") ?? 50);
		const toPrevious = () => [this.pageLink(first, "", 0), this.pageLink(before, previous, Math.max(0, offset - size))];
		for (const pager of this.pagers) {
			refill(pager, previous && toPrevious(), next && this.pageLink(after, next, offset + count));
		}
		const other = without(this.query, "cursor", "order");
		if (!this.oldestFirst) other.set("order", "asc");
		refill(this.order, h("a.button", { href: listUrl(other), title: "Reverse the order" }, `${first} first`));
		this.selection.draw();
	}

	/** *total*: the runs that match now; rows of runs that no longer match stay. */
	drawTotal(total) {
		if (!this.page) return;
		const { previous_page: previous, next_page: next } = this.page;
		const { offset } = this;
		const count = this.rows.size;
		const range = !previous && !next ? "" : offset >= 0 ? `${offset + 1}–${offset + count} of ` : `${count} of `;
		const text = count || total ? range + plural(total, "run") : "";
		if (this.status.textContent !== text) this.status.textContent = text;
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
		const row = this.rows.get(run.id);
		if (row) {
			row.update(run);
			if (!this.hasPhase(run)) row.markLeft();
		} else if (this.isNew(run)) this.addNew(run.id);
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
			const { doc } = await fetchRun(id, this.abort.signal, LIST_FIELDS);
			if (row.run !== run) return; // a later event was faster
			row.update(summary(JSON.parse(doc)));
			row.markLeft();
		} catch (error) {
			if (error.status === 404) row.markDeleted(); // the stream has an event for this, too
		}
	}

	hasPhase({ phase }) {
		return !this.query.has("phase") || this.query.has("phase", phase);
	}

	/** Whether *run*, which has no row, belongs to this page or a newer one. */
	isNew(run) {
		if (!this.hasPhase(run)) return false;
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

/** *query*, with the fields that a row shows: whole runs can be large. */
function listed(query) {
	query.set("fields", LIST_FIELDS.join());
	return query;
}
