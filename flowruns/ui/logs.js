// The log of a run.

import { runUrl } from "./api.js";
import { announce, button, fill, h, plural, refill, toggle } from "./dom.js";
import { levelOf, levels, LogReader, matches, textOf, visible } from "./loglines.js";
import { levelText, logRow, MAX_LENGTH } from "./logrow.js";
import { isFinal } from "./phases.js";
import { copy, download } from "./share.js";
import { pause } from "./slices.js";
import { lowerBound, VirtualList } from "./virtuallist.js";

const LINE_HEIGHT = 20; // px, as in page.css
const CHAR_WIDTH = 11; // px, for estimates only

const SLICE = 1_000; // lines read at a time: others wait no longer

export class LogView {
	/** *query* comes from the URL: `line` (`17` or `17-25`), `action`, `level`, `search`, `wrap`; *onQuery* changes it. */
	constructor(root, run, query, onQuery) {
		const { action = null, level = null, search = "", wrap } = query;
		Object.assign(this, {
			query, onQuery, action, level, wraps: wrap !== "off", collapsed: new Set(), reader: new LogReader(), shown: [],
			range: null, needle: search, hits: [], hit: -1, reading: null, target: query.line,
		});
		this.build(root);
		this.search.value = search;
		this.setRun(run);
		if (!query.line && !this.follow.hidden) this.setFollow(true);
		this.print = new AbortController();
		addEventListener("beforeprint", () => this.drawAll(), this.print);
		addEventListener("afterprint", () => this.list.draw(), this.print);
		this.resized = new ResizeObserver(() => this.onResize());
		this.resized.observe(this.box);
	}

	close() {
		this.reading = null;
		this.print.abort();
		this.resized.disconnect();
	}

	get keys() {
		return {
			"/": () => this.search.focus(),
			n: () => this.next(1),
			N: () => this.next(-1),
			g: () => this.box.scrollTo(0, 0),
			G: () => this.reveal(this.shown.at(-1)),
		};
	}

	// Structure

	build(root) {
		this.search = h("input", {
			type: "search", ariaLabel: "Search the log", placeholder: "Search ( / )", spellcheck: false,
			oninput: () => this.find(this.search.value), onkeydown: (event) => this.onSearchKey(event),
		});
		this.count = h("span.count", { role: "status" });
		this.chips = h("div.chips", { role: "group", ariaLabel: "Level" });
		this.actions = h("select", { ariaLabel: "Action", onchange: () => this.setAction(this.actions.value || null) });
		const title = "Next error, or next warning if there are no errors (n, N)";
		this.errors = button("Next error", () => this.nextError(1), { title });
		this.collapse = toggle("Collapse groups", false, (on) => this.collapseAll(on));
		this.follow = toggle("Follow", false, (on) => this.setFollow(on));
		this.follow.title = "Scroll to new lines as they arrive";
		const save = h("div.panel.column");
		const onscroll = () => this.onScroll();
		this.box = h("div.log", { role: "region", ariaLabel: "Log lines", tabIndex: 0, onscroll });
		const line = (at) => this.lines[this.shown[at]];
		this.list = new VirtualList(this.box, (at) => this.row(line(at)), (at) => this.height(line(at)));
		this.empty = h("p.state");
		fill(root,
			h("div.logbar", h("div.search", this.search, this.count), this.chips, this.actions, this.errors,
				h("span.spacer"), this.collapse, toggle("Wrap lines", this.wraps, (on) => this.setWrap(on)), this.follow,
				h("details.menu.right", { ontoggle: () => this.drawSave(save) }, h("summary", "Copy or download"), save)),
			this.box, this.empty);
	}

	async setRun(run) {
		const old = this.lines.length;
		this.run = run;
		const grows = this.reader.setLogs(run.logs ?? []) && old > 0;
		const reading = (this.reading = {});
		let more = this.read(grows);
		if (grows && !more && this.lines.length > old) announce(plural(this.lines.length - old, "new line"));
		while (more) {
			await pause();
			if (this.reading !== reading) return; // closed, or another run
			more = this.read(true);
		}
	}

	get lines() {
		return this.reader.lines;
	}

	/** Reads and shows a slice of the log. Returns whether there is more. */
	read(grows) {
		const more = this.more = this.reader.read(SLICE);
		if (!more || !grows) { // in between, the lines in view are the same
			this.drawTools();
			this.refilter(grows);
		}
		if (!more) {
			this.hits = matches(this.lines, this.needle);
			this.drawCount();
			if (this.needle) this.list.refresh();
			if (this.follow.hidden) this.setFollow(false); // after the last lines are in view
		}
		if (this.target && !more) this.select(this.target);
		return more;
	}

	/** For paper, which has all lines: there is no later. */
	drawAll() {
		while (this.more) this.read(true);
		this.list.drawAll();
	}

	refilter(grows = false) {
		const { scrollTop } = this.box;
		const at = this.list.at(scrollTop);
		const top = this.shown[at] ?? 0;
		const offset = scrollTop - this.list.tops[at];
		this.shown = visible(this.lines, this);
		this.empty.hidden = this.shown.length > 0;
		this.box.hidden = !this.empty.hidden;
		this.empty.textContent = this.lines.length ? "No lines match these filters." : "This run has no logs.";
		this.box.classList.toggle("wraps", this.wraps);
		this.columns = Math.max(8, this.box.clientWidth / CHAR_WIDTH);
		// Unwrapped rows are as wide as the longest, or their background would end early.
		const longest = this.shown.reduce((most, at) => Math.max(most, this.lines[at].text.length), 0);
		this.list.inner.style.minWidth = this.wraps ? "" : `${Math.min(longest, MAX_LENGTH) + 50}ch`;
		this.list[grows ? "grow" : "reset"](this.shown.length);
		if (this.follows) this.list.scrollToEnd();
		else if (!grows && scrollTop > 0) this.list.scrollTo(lowerBound(this.shown, top), offset);
	}

	drawTools() {
		const chip = ([name, count]) => {
			const className = /^(error|warning)$/.test(name) ? `.${name}` : ""; // a level can be any word
			return button([h(`span${className}`, name ?? "All"), h("span.count", count.toLocaleString("en"))],
				() => this.setLevel(name), { className: "chip", "data-value": name ?? "", ariaPressed: this.level === name });
		};
		const counts = levels(this.lines);
		const all = counts.reduce((sum, [, count]) => sum + count, 0);
		refill(this.chips, [[null, all], ...(counts.length > 1 ? counts : [])].map(chip));
		const names = [...new Set([...this.lines.map((line) => line.action), this.action])].filter(Boolean);
		if (names.join("\n") !== this.names) { // there can be many
			fill(this.actions, ["", ...names].map((value) => h("option", { value }, value || "All actions")));
		}
		this.names = names.join("\n");
		this.actions.value = this.action ?? "";
		this.actions.hidden = names.length === 0;
		this.errors.hidden = !this.lines.some((line) => line.severity);
		this.collapse.hidden = !this.lines.some((line) => line.last !== null);
		this.follow.hidden = this.run.endTime !== null || isFinal(this.run.phase);
		this.box.classList.toggle("with-actions", names.length > 0);
		this.box.classList.toggle("with-levels", this.lines.some(levelText));
		this.box.style.setProperty("--digits", String(this.lines.length).length);
	}

	// Rows

	row(line) {
		const number = line.index + 1;
		return logRow(line, {
			href: this.url(number), onclick: (event) => this.onNumberClick(event, number), needle: this.needle,
			isSelected: this.isSelected(number), isCurrent: this.hits[this.hit] === line.index,
			isNewAction: this.isNewAction(line), fold: line.mark === "group" && this.groupButton(line),
		});
	}

	isNewAction(line) {
		return this.lines[this.shown[lowerBound(this.shown, line.index) - 1]]?.action !== line.action;
	}

	groupButton({ index, text }) {
		const toggle = () => {
			if (!this.collapsed.delete(index)) this.collapsed.add(index);
			this.refilter();
			this.box.querySelector(`[data-line="${index + 1}"] .fold`)?.focus({ preventScroll: true });
		};
		const ariaExpanded = !this.collapsed.has(index);
		return button("", toggle, { className: "fold", ariaExpanded, ariaLabel: `Group ${text}` });
	}

	height({ text }) {
		const rows = this.wraps ? Math.max(1, Math.ceil(Math.min(text.length, MAX_LENGTH) / this.columns)) : 1;
		return rows * LINE_HEIGHT;
	}

	onResize() {
		if (this.box.clientWidth === this.width) return;
		this.width = this.box.clientWidth;
		this.refilter();
	}

	// Toolbar

	setQuery(changes) {
		this.query = { ...this.query, ...changes };
		this.onQuery(this.query);
	}

	setLevel(level) {
		this.level = level;
		this.setQuery({ level });
		this.applyFilters();
	}

	setAction(action) {
		this.action = action;
		this.setQuery({ action, line: null });
		this.applyFilters();
	}

	applyFilters() {
		this.drawTools();
		this.refilter();
		announce(plural(this.shown.length, "line"));
	}

	setWrap(on) {
		this.wraps = on;
		this.setQuery({ wrap: on ? null : "off" });
		this.refilter();
	}

	setFollow(on) {
		this.follows = on;
		this.follow.ariaPressed = on;
		if (!on) return;
		this.list.scrollToEnd();
		this.box.scrollIntoView({ block: "nearest" });
	}

	onScroll() {
		if (this.more) return; // the end is not known yet
		if (!this.follow.hidden && this.list.isAtEnd() !== Boolean(this.follows)) this.setFollow(!this.follows);
	}

	collapseAll(on) {
		const groups = this.lines.filter((line) => line.last !== null);
		this.collapsed = new Set(on ? groups.map((line) => line.index) : []);
		this.refilter();
	}

	// Search and errors

	find(needle) {
		this.needle = needle;
		this.setQuery({ search: needle });
		this.hits = matches(this.lines, needle);
		this.hit = -1;
		this.step(1);
	}

	onSearchKey(event) {
		if (event.key === "Escape" && this.needle) this.find(this.search.value = "");
		else if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
		else return;
		event.preventDefault();
	}

	step(by) {
		const { hit, hits: { length } } = this;
		if (length > 0) {
			this.hit = (hit < 0 && by < 0 ? length - 1 : hit + by + length) % length;
			this.reveal(this.hits[this.hit]);
		}
		this.list.refresh();
		this.drawCount();
	}

	drawCount() {
		const { needle, hits, hit } = this;
		const text = hits.length ? `${hit + 1} of ${hits.length.toLocaleString("en")}` : "0 found";
		this.count.textContent = needle ? text : "";
	}

	/** The next match, or without a search the next error. */
	next(by) {
		if (this.needle) this.step(by);
		else this.nextError(by);
	}

	nextError(by) {
		const worst = this.lines.some((line) => line.severity === "error") ? "error" : "warning";
		const errors = this.lines.filter((line) => line.severity === worst).map((line) => line.index);
		if (errors.length === 0) return;
		const here = this.range ? this.range[0] - 1 : -1;
		const after = () => errors.find((at) => at > here) ?? errors[0];
		const before = () => errors.findLast((at) => at < here) ?? errors.at(-1);
		const next = by > 0 ? after() : before();
		this.choose(`${next + 1}`);
		announce(`Line ${next + 1}: ${this.lines[next].text}`);
	}

	// Links to lines

	url(line) {
		return runUrl(this.run.id, { tab: "logs", line });
	}

	onNumberClick(event, number) {
		if (event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		const [from] = (event.shiftKey && this.range) || [number];
		this.choose(from === number ? `${number}` : `${Math.min(from, number)}-${Math.max(from, number)}`);
	}

	choose(line) {
		this.setQuery({ line });
		this.select(line);
	}

	/** Whether the URL's *query* shows the same lines. */
	hasFilters({ action, level, search }) {
		return (action ?? null) === this.action && (level ?? null) === this.level && (search ?? "") === this.needle;
	}

	/** Selects *line*, now or as soon as it is read. */
	select(line) {
		this.target = line && this.lines.length < parseInt(line, 10) && this.more ? line : null;
		const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(line ?? "") ?? [];
		this.range = from ? [Number(from), Number(to ?? from)] : null;
		this.reveal(from - 1);
		this.list.refresh();
	}

	isSelected(number) {
		return this.range !== null && number >= this.range[0] && number <= this.range[1];
	}

	/** Scrolls to a line. Expands its groups; clears filters that hide it. */
	reveal(index) {
		const line = this.lines[index];
		if (!line) return;
		const hidden = (this.level && levelOf(line) !== this.level) || (this.action && line.action !== this.action);
		let expanded = false;
		for (let at = line.parent; at !== null; at = this.lines[at].parent) {
			expanded = this.collapsed.delete(at) || expanded;
		}
		if (hidden) {
			this.level = this.action = null;
			this.setQuery({ level: null, action: null });
			this.drawTools();
		}
		if (hidden || expanded) this.refilter();
		this.list.show(lowerBound(this.shown, index));
		this.box.scrollIntoView({ block: "nearest" });
	}

	// Copies and downloads

	drawSave(panel) {
		const all = this.lines.filter((line) => line.mark !== "endgroup").map((line) => line.index);
		const name = `${this.run.id}.log`;
		const [from, to] = this.range ?? [];
		const range = from === to ? `line ${from}` : `lines ${from}–${to}`;
		const buttons = ([what, indices]) => {
			const text = () => textOf(indices.map((at) => this.lines[at]));
			return [button(`Copy ${what} (${indices.length})`, () => copy(text(), what)),
				button(`Download ${what}`, () => download(name, text()))];
		};
		fill(panel, from && button(`Copy ${range}`, () => copy(textOf(this.lines.slice(from - 1, to)), range)),
			[["shown lines", this.shown], ["all lines", all]].map(buttons));
	}
}
