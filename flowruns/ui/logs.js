// The log of a run.

import { applyStyle, segments } from "./ansi.js";
import { runUrl } from "./api.js";
import { announce, button, fill, h, plural, refill, toggle } from "./dom.js";
import { levelOf, levels, linesOf, matches, textOf, visible } from "./loglines.js";
import { isFinal } from "./phases.js";
import { copy, download } from "./share.js";
import { timeOfDay, toMs } from "./time.js";
import { lowerBound, VirtualList } from "./virtuallist.js";

const MAX_LENGTH = 10_000; // characters of a line that are drawn; a copy has all
const LINE_HEIGHT = 20; // px, as in page.css
const CHAR_WIDTH = 11; // px, for estimates only

let wraps = true; // until the page is closed

export class LogView {
	/** *line* (`17` or `17-25`) and *action* come from the URL; *setQuery* changes them. */
	constructor(root, run, { line, action }, setQuery) {
		Object.assign(this, {
			setQuery, action: action ?? null, level: null, collapsed: new Set(), lines: [], shown: [], range: null,
			needle: "", hits: [], hit: -1,
		});
		this.build(root);
		this.setRun(run);
		this.select(line);
		if (!line && !this.follow.hidden) this.setFollow(true);
		this.print = new AbortController();
		addEventListener("beforeprint", () => this.list.drawAll(), this.print);
		addEventListener("afterprint", () => this.list.draw(), this.print);
		this.resized = new ResizeObserver(() => this.onResize());
		this.resized.observe(this.box);
	}

	close() {
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
				h("span.spacer"), this.collapse, toggle("Wrap lines", wraps, (on) => this.setWrap(on)), this.follow,
				h("details.menu.right", { ontoggle: () => this.drawSave(save) }, h("summary", "Copy or download"), save)),
			this.box, this.empty);
	}

	setRun(run) {
		const old = this.lines;
		this.run = run;
		this.lines = linesOf(run.logs ?? []);
		const grows = old.length > 0 && old.every((line, at) => this.lines[at]?.key === line.key);
		this.drawTools();
		if (this.needle) this.hits = matches(this.lines, this.needle);
		this.drawCount();
		this.refilter(grows);
		if (grows && this.lines.length > old.length) announce(plural(this.lines.length - old.length, "new line"));
		if (this.follow.hidden) this.setFollow(false); // after the last lines are in view
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
		this.box.classList.toggle("wraps", wraps);
		this.columns = Math.max(8, this.box.clientWidth / CHAR_WIDTH);
		// Unwrapped rows are as wide as the longest, or their background would end early.
		const longest = this.shown.reduce((most, at) => Math.max(most, this.lines[at].text.length), 0);
		this.list.inner.style.minWidth = wraps ? "" : `${Math.min(longest, MAX_LENGTH) + 50}ch`;
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
		fill(this.actions, ["", ...names].map((value) =>
			h("option", { value, selected: value === (this.action ?? "") }, value || "All actions")));
		this.actions.hidden = names.length === 0;
		this.errors.hidden = !this.lines.some((line) => line.severity);
		this.collapse.hidden = !this.lines.some((line) => line.last !== null);
		this.follow.hidden = this.run.endTime !== null || isFinal(this.run.phase);
		this.box.classList.toggle("with-actions", names.length > 0);
		this.box.style.setProperty("--digits", String(this.lines.length).length);
	}

	// Rows

	row(line) {
		const { index, timestamp, action, mark, severity } = line;
		const number = index + 1;
		const link = h("a.line-number", {
			href: this.url(number), tabIndex: -1, ariaLabel: `Line ${number}`,
			onclick: (event) => this.onNumberClick(event, number),
		}, String(number));
		const level = severity ?? (line.level.toLowerCase() === "info" ? "" : line.level);
		const isCurrent = this.hits[this.hit] === index;
		const classes = [severity, mark && `mark-${mark}`, this.isSelected(number) && "selected", isCurrent && "current"];
		const ms = String(toMs(timestamp) % 1_000).padStart(3, "0");
		return h(["div", "line", ...classes.filter(Boolean)].join("."), { "data-line": number }, link,
			h("span.time", { title: timestamp }, `${timeOfDay(timestamp)}.${ms}`),
			h("span.action", { title: action ?? "" }, this.isNewAction(line) && action),
			h("span.level", level), this.text(line));
	}

	isNewAction(line) {
		return this.lines[this.shown[lowerBound(this.shown, line.index) - 1]]?.action !== line.action;
	}

	text(line) {
		const rest = line.shown.length - MAX_LENGTH;
		const parts = segments(line.shown.slice(0, MAX_LENGTH)).flatMap((segment) => highlight(segment, this.needle));
		return h("span.text", { "data-depth": Math.min(line.depth, 3) }, line.mark === "group" && this.groupButton(line),
			parts.map(({ text, style, hit }) => applyStyle(h(hit ? "mark" : "span", null, text), style)),
			parts.length === 0 && " ", rest > 0 && h("span.muted", ` … ${plural(rest, "more character")}`));
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
		return wraps ? Math.max(1, Math.ceil(Math.min(text.length, MAX_LENGTH) / this.columns)) * LINE_HEIGHT : LINE_HEIGHT;
	}

	onResize() {
		if (this.box.clientWidth === this.width) return;
		this.width = this.box.clientWidth;
		this.refilter();
	}

	// Toolbar

	setLevel(name) {
		this.level = name;
		this.applyFilters();
	}

	setAction(name) {
		this.action = name;
		this.setQuery({ action: name });
		this.applyFilters();
	}

	applyFilters() {
		this.drawTools();
		this.refilter();
		announce(plural(this.shown.length, "line"));
	}

	setWrap(on) {
		wraps = on;
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
		this.hits = matches(this.lines, needle);
		this.hit = -1;
		if (this.hits.length) this.step(1);
		else this.list.refresh();
		this.drawCount();
	}

	onSearchKey(event) {
		if (event.key === "Escape" && this.needle) this.find(this.search.value = "");
		else if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
		else return;
		event.preventDefault();
	}

	step(by) {
		if (this.hits.length === 0) return;
		this.hit = (this.hit + by + this.hits.length) % this.hits.length;
		this.reveal(this.hits[this.hit]);
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
		this.setQuery({ line, action: this.action });
		this.select(line);
	}

	select(line) {
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

/** *segment* split at the matches of *needle*. */
function highlight({ text, style }, needle) {
	const lower = text.toLowerCase();
	// The lower case of some letters is longer: then indices are wrong.
	if (!needle || lower.length !== text.length) return [{ text, style }];
	const wanted = needle.toLowerCase();
	const parts = [];
	let from = 0;
	for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
		const end = at + wanted.length;
		parts.push({ text: text.slice(from, at), style }, { text: text.slice(at, end), style, hit: true });
		from = end;
	}
	return [...parts, { text: text.slice(from), style }].filter((part) => part.text);
}
