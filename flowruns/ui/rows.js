// The rows of the list, and its columns.

import { runUrl } from "./api.js";
import { fill, h, oneLine, plural } from "./dom.js";
import { agoMark, elapsed, phaseMark, tagText, typeName } from "./phases.js";

const MAX_TAGS = 2; // in a row; a tooltip has the rest
const SHORT = 24; // characters of an id that fit anywhere
const TAIL = 12; // characters of an id that stay when it is shortened: ids made by time begin in the same way

// By name: the title, the fields shown, and the cell.
export const COLUMNS = {
	check: ["", [], null], // its head selects all
	flow: ["Flow and run ID", ["flowId", "id"], flowCell],
	phase: ["Phase", ["phase"], (run) => phaseMark(run.phase)],
	type: ["Type", ["flowType"], (run) => typeName(run.flowType)],
	tags: ["Tags", ["tags"], tagsCell],
	started: ["Started", ["startTime", "createdAt"], startedCell],
	took: ["Duration", ["startTime", "endTime", "phase"], elapsed],
	issues: ["Issues", ["failedAction", "errors", "warnings"], issuesCell],
};

/** The texts of the tags that all *runs* have; none for a single run. */
export function sharedTags(runs) {
	if (runs.length < 2) return new Set();
	const [first, ...rest] = runs.map((run) => new Set(run.tags.map(tagText)));
	return new Set([...first].filter((tag) => rest.every((tags) => tags.has(tag))));
}

/** A row. It redraws only cells that changed: focus and selection stay. */
export class Row {
	/** *shared*: tags to leave out; *onSelect()* is called when its checkbox changes. */
	constructor(run, shared, onSelect) {
		this.shared = shared;
		this.box = h("input", { type: "checkbox", ariaLabel: `Select ${run.id}`, onchange: onSelect });
		this.cells = Object.keys(COLUMNS).map((name) => h(`td.c-${name}`));
		const open = (event) => this.open(event);
		const onmousedown = (event) => event.button === 1 && event.preventDefault(); // it would scroll
		this.element = h("tr", { "data-id": run.id, onclick: open, onauxclick: open, onmousedown }, this.cells);
		fill(this.cells[0], h("label", this.box)); // a larger target than the box
		this.draw(run, {});
	}

	get link() {
		return this.element.querySelector(".run");
	}

	/** Opens the run as its link would, unless on a control or after selecting text. */
	open(event) {
		const inNewTab = event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey;
		if (event.button > 1 || event.target.closest("a, button, label")) return;
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
			if (fields.some(isChanged)) fill(this.cells[at], cell(run, this.shared));
		});
		this.run = run;
	}
}

function flowCell({ id, flowId }) {
	return [
		h("a.run", { href: runUrl(id), title: flowId }, flowId),
		h("span.id", { title: id }, id.length > SHORT ? [h("span", id.slice(0, -TAIL)), id.slice(-TAIL)] : id),
	];
}

/** Values of the first tags. They are no links: a click on a row opens its run. */
function tagsCell({ tags }, shared) {
	const own = tags.filter((tag) => !shared.has(tagText(tag)));
	const rest = own.slice(MAX_TAGS);
	const label = (tag) => h("span.tag", { title: tagText(tag) }, oneLine(tag.value) || tag.key);
	return h("div", own.slice(0, MAX_TAGS).map(label),
		rest.length > 0 && h("span.muted", { title: rest.map(tagText).join("\n") }, `+${rest.length}`));
}

function startedCell({ startTime, createdAt }) {
	return startTime ? agoMark(startTime) : h("span.muted", "created ", agoMark(createdAt));
}

/** The failed action, and the numbers of errors and warnings. */
function issuesCell(run) {
	const count = (name) => run[`${name}s`] > 0 && h(`span.${name}`, plural(run[`${name}s`], name), " ");
	const action = run.failedAction && h("span.error", { title: `${run.failedAction} failed` }, run.failedAction);
	return [action && h("div", action), ["error", "warning"].map(count)];
}
