// The log of a run.

import { pageUrl } from "./api.js";
import { dress, pieces } from "./ansi.js";
import { button, fill, h, plural, refill, say, toggle } from "./dom.js";
import { levelOf, levels, linesOf, matches, textOf, visible } from "./loglines.js";
import { isFinal } from "./phases.js";
import { copy, download } from "./share.js";
import { clock, instant } from "./time.js";
import { place, Window } from "./window.js";

const LONGEST = 10_000; // characters of a line that are drawn; a copy has all of them
const HEIGHT = 20; // px of a line, as the sheet has it
const WIDTH = 11; // px of a character, about: this only guesses how high a line will be

let wraps = true; // for as long as the page is open

export class LogView {
	/** *line* (`17` or `17-25`) and *action* as the URL has them; *go(query)* changes it. */
	constructor(root, run, { line, action }, go) {
		Object.assign(this, { go, action: action ?? null, level: null, folded: new Set(), needle: "", found: [], at: -1, lines: [], shown: [], range: null });
		this.build(root);
		this.setRun(run);
		this.select(line);
		if (!line && !this.follow.hidden) this.setFollow(true);
		this.print = new AbortController();
		addEventListener("beforeprint", () => this.window.drawAll(), this.print);
		addEventListener("afterprint", () => this.window.draw(), this.print);
		this.resized = new ResizeObserver(() => this.resize());
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

	// The parts

	build(root) {
		this.search = h("input", { type: "search", ariaLabel: "Search the log", placeholder: "Search ( / )", spellcheck: false,
			oninput: () => this.find(this.search.value), onkeydown: (event) => this.searchKey(event) });
		this.count = h("span.count", { role: "status" });
		this.chips = h("div.chips", { role: "group", ariaLabel: "Level" });
		this.actions = h("select", { ariaLabel: "Action", onchange: () => this.setAction(this.actions.value || null) });
		this.errors = button("Next error", () => this.nextError(1), { title: "n, N" });
		this.folds = toggle("Fold all", false, (on) => this.foldAll(on));
		this.follow = toggle("Follow", false, (on) => this.setFollow(on));
		const save = h("div.panel.column");
		this.box = h("div.log", { role: "region", ariaLabel: "Log lines", tabIndex: 0, onscroll: () => this.scrolled() });
		this.window = new Window(this.box, (at) => this.row(this.lines[this.shown[at]]), (at) => this.height(this.lines[this.shown[at]]));
		this.empty = h("p.state");
		fill(root, h("div.logbar", h("div.search", this.search, this.count), this.chips, this.actions, this.errors, h("span.spring"),
			this.folds, toggle("Wrap", wraps, (on) => this.setWrap(on)), this.follow,
			h("details.menu.right", { ontoggle: () => this.drawSave(save) }, h("summary", "Copy, save"), save)), this.box, this.empty);
	}

	/** Shows *run*'s log; what is added comes below, and what is read stays where it is. */
	setRun(run) {
		const old = this.lines;
		this.run = run;
		this.lines = linesOf(run.logs ?? []);
		const grows = old.length > 0 && old.every((line, at) => this.lines[at]?.key === line.key);
		this.drawTools();
		if (this.needle) this.found = matches(this.lines, this.needle);
		this.drawCount();
		this.refilter(grows);
		if (grows && this.lines.length > old.length) say(plural(this.lines.length - old.length, "new line"));
		if (this.follow.hidden) this.setFollow(false); // the last lines are shown
	}

	/** Shows the lines that are wanted; what is read stays at the top. */
	refilter(grows = false) {
		const { scrollTop } = this.box;
		const at = this.window.at(scrollTop);
		const top = this.shown[at] ?? 0;
		const into = scrollTop - this.window.tops[at];
		this.shown = visible(this.lines, this);
		this.empty.hidden = this.shown.length > 0;
		this.box.hidden = !this.empty.hidden;
		this.empty.textContent = this.lines.length ? "No line has this level and this action." : "This run has no log.";
		this.box.classList.toggle("wraps", wraps);
		this.columns = Math.max(8, this.box.clientWidth / WIDTH);
		// Unwrapped rows are as wide as the longest, or the ground of what is chosen would end early.
		const longest = this.shown.reduce((most, at) => Math.max(most, this.lines[at].text.length), 0);
		this.window.inner.style.minWidth = wraps ? "" : `${Math.min(longest, LONGEST) + 50}ch`;
		this.window[grows ? "grow" : "reset"](this.shown.length);
		if (this.follows) this.window.toEnd();
		else if (!grows && scrollTop > 0) this.window.scrollTo(place(this.shown, top), into);
	}

	drawTools() {
		// Only these two are classes of the sheet: a level may be any word.
		const chip = ([name, count]) => button([h(/^(error|warning)$/.test(name) ? `span.${name}` : "span", name ?? "All"), h("span.count", count.toLocaleString("en"))],
			() => this.setLevel(name), { className: "chip", "data-value": name ?? "", ariaPressed: this.level === name });
		const counts = levels(this.lines);
		const all = counts.reduce((sum, [, count]) => sum + count, 0);
		refill(this.chips, [[null, all], ...(counts.length > 1 ? counts : [])].map(chip));
		const names = [...new Set([...this.lines.map((line) => line.action), this.action])].filter(Boolean);
		fill(this.actions, ["", ...names].map((value) => h("option", { value, selected: value === (this.action ?? "") }, value || "All actions")));
		this.actions.hidden = names.length === 0;
		this.errors.hidden = !this.lines.some((line) => line.worst);
		this.folds.hidden = !this.lines.some((line) => line.last !== null);
		this.follow.hidden = this.run.endTime !== null || isFinal(this.run.phase);
		this.box.classList.toggle("with-actions", names.length > 0);
		this.box.style.setProperty("--digits", String(this.lines.length).length);
	}

	// Rows

	row(line) {
		const number = line.index + 1;
		const link = h("a.line-number", { href: this.url(number), tabIndex: -1, ariaLabel: `Line ${number}`,
			onclick: (event) => this.clickNumber(event, number) }, String(number));
		const level = line.worst ?? (line.level.toLowerCase() === "info" ? "" : line.level);
		const classes = [line.worst, line.mark && `mark-${line.mark}`, this.isChosen(number) && "selected", this.found[this.at] === line.index && "current"];
		return h(["div", "line", ...classes.filter(Boolean)].join("."), { "data-line": number }, link,
			h("span.time", { title: line.timestamp }, `${clock(line.timestamp)}.${String(instant(line.timestamp) % 1_000).padStart(3, "0")}`),
			h("span.action", { title: line.action ?? "" }, this.isNewAction(line) && line.action), h("span.level", level), this.text(line));
	}

	/** Whether the line before, as shown, is of another action. */
	isNewAction(line) {
		return this.lines[this.shown[place(this.shown, line.index) - 1]]?.action !== line.action;
	}

	text(line) {
		const rest = line.shown.length - LONGEST;
		const spans = pieces(line.shown.slice(0, LONGEST)).flatMap((piece) => marked(piece, this.needle));
		return h("span.text", { "data-depth": Math.min(line.depth, 3) }, line.mark === "group" && this.folder(line),
			spans.map(({ text, style, hit }) => dress(h(hit ? "mark" : "span", null, text), style)), spans.length === 0 && " ",
			rest > 0 && h("span.muted", ` … ${plural(rest, "more character")}`));
	}

	folder(line) {
		const open = !this.folded.has(line.index);
		const click = () => {
			if (!this.folded.delete(line.index)) this.folded.add(line.index);
			this.refilter();
			this.box.querySelector(`[data-line="${line.index + 1}"] .fold`)?.focus({ preventScroll: true });
		};
		return button("", click, { className: "fold", ariaExpanded: open, ariaLabel: `Group ${line.text}` });
	}

	height(line) {
		return wraps ? Math.max(1, Math.ceil(Math.min(line.text.length, LONGEST) / this.columns)) * HEIGHT : HEIGHT;
	}

	/** A new width wraps anew. */
	resize() {
		if (this.box.clientWidth === this.width) return;
		this.width = this.box.clientWidth;
		this.refilter();
	}

	// What one can do

	setLevel(name) {
		this.level = name;
		this.filtered();
	}

	setAction(name) {
		this.action = name;
		this.go({ action: name });
		this.filtered();
	}

	filtered() {
		this.drawTools();
		this.refilter();
		say(plural(this.shown.length, "line"));
	}

	setWrap(on) {
		wraps = on;
		this.refilter();
	}

	setFollow(on) {
		this.follows = on;
		this.follow.ariaPressed = on;
		if (!on) return;
		this.window.toEnd();
		this.box.scrollIntoView({ block: "nearest" });
	}

	/** Whoever scrolls reads; at the end the log is followed again. */
	scrolled() {
		if (!this.follow.hidden && this.window.isAtEnd() !== Boolean(this.follows)) this.setFollow(!this.follows);
	}

	foldAll(on) {
		this.folded = new Set(on ? this.lines.filter((line) => line.last !== null).map((line) => line.index) : []);
		this.refilter();
	}

	// Search, and errors

	find(needle) {
		this.needle = needle;
		this.found = matches(this.lines, needle);
		this.at = -1;
		if (this.found.length) this.step(1);
		else this.window.refresh();
		this.drawCount();
	}

	searchKey(event) {
		if (event.key === "Escape" && this.needle) this.find(this.search.value = "");
		else if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
		else return;
		event.preventDefault();
	}

	step(by) {
		if (this.found.length === 0) return;
		this.at = (this.at + by + this.found.length) % this.found.length;
		this.reveal(this.found[this.at]);
		this.window.refresh();
		this.drawCount();
	}

	drawCount() {
		const { needle, found } = this;
		this.count.textContent = !needle ? "" : found.length ? `${this.at + 1} of ${found.length.toLocaleString("en")}` : "none";
	}

	/** n and N: through what was searched for, else through the errors. */
	next(by) {
		if (this.needle) this.step(by);
		else this.nextError(by);
	}

	/** Goes to the next error, or warning where there is none. */
	nextError(by) {
		const worst = this.lines.some((line) => line.worst === "error") ? "error" : "warning";
		const places = this.lines.filter((line) => line.worst === worst).map((line) => line.index);
		if (places.length === 0) return;
		const here = this.range ? this.range[0] - 1 : -1;
		const next = by > 0 ? places.find((at) => at > here) ?? places[0] : places.findLast((at) => at < here) ?? places.at(-1);
		this.choose(`${next + 1}`);
		say(`Line ${next + 1}: ${this.lines[next].text}`);
	}

	// Links to lines

	url(line) {
		return pageUrl(this.run.id, { tab: "logs", line });
	}

	clickNumber(event, number) {
		if (event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		const [from] = (event.shiftKey && this.range) || [number];
		this.choose(from === number ? `${number}` : `${Math.min(from, number)}-${Math.max(from, number)}`);
	}

	choose(line) {
		this.go({ line, action: this.action });
		this.select(line);
	}

	/** Marks the lines that *line* names, and goes there. */
	select(line) {
		const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(line ?? "") ?? [];
		this.range = from ? [Number(from), Number(to ?? from)] : null;
		this.reveal(from - 1);
		this.window.refresh();
	}

	isChosen(number) {
		return this.range !== null && number >= this.range[0] && number <= this.range[1];
	}

	/** Scrolls to the line at *index*, if there is one, and opens and drops what hides it. */
	reveal(index) {
		const line = this.lines[index];
		if (!line) return;
		const hidden = (this.level && levelOf(line) !== this.level) || (this.action && line.action !== this.action);
		let folded = false;
		for (let at = line.opener; at !== null; at = this.lines[at].opener) folded = this.folded.delete(at) || folded;
		if (hidden) {
			this.level = this.action = null;
			this.drawTools();
		}
		if (hidden || folded) this.refilter();
		this.window.show(place(this.shown, index));
		this.box.scrollIntoView({ block: "nearest" });
	}

	// Copies

	drawSave(panel) {
		const all = this.lines.filter((line) => line.mark !== "endgroup").map((line) => line.index);
		const name = `${this.run.id}.log`;
		const [from, to] = this.range ?? [];
		fill(panel,
			from && button(`Copy line ${from === to ? from : `${from}–${to}`}`, () => copy(textOf(this.lines.slice(from - 1, to)), "Lines")),
			[["what is shown", this.shown], ["all", all]].map(([what, places]) => {
				const text = () => textOf(places.map((at) => this.lines[at]));
				return [button(`Copy ${what} (${places.length})`, () => copy(text(), "The log")), button(`Download ${what}`, () => download(name, text()))];
			}));
	}
}

/** *piece* cut where *needle* is in it. */
function marked({ text, style }, needle) {
	const lower = text.toLowerCase();
	if (!needle || lower.length !== text.length) return [{ text, style }]; // a letter whose small form is longer: no place is sure
	const wanted = needle.toLowerCase();
	const found = [];
	let from = 0;
	for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
		found.push({ text: text.slice(from, at), style }, { text: text.slice(at, at + wanted.length), style, hit: true });
		from = at + wanted.length;
	}
	return [...found, { text: text.slice(from), style }].filter((part) => part.text);
}
