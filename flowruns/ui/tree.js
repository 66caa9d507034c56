// args and outputs as a tree.

import { button, fill, h, plural, toggle } from "./dom.js";
import { children, parse, raw } from "./json.js";
import { copy } from "./share.js";
import { inSlices } from "./slices.js";

const OPEN_LEVELS = 2; // at first
const MAX_CHILDREN = 100; // shown at a time
const MAX_STRING = 600; // characters shown at first

export function showTree(root, text, name) {
	if (text === "null") {
		fill(root, h("p.state", `This run has no ${name}.`));
		return;
	}
	const tree = h("div.tree");
	const source = h("pre.command", { hidden: true, tabIndex: 0, ariaLabel: `Raw ${name}` });
	const draw = (levels) => {
		tree.isExpanded = false;
		fill(tree, branch({ text, node: parse(text), path: [], levels }));
	};
	const expand = () => {
		tree.isExpanded = true;
		openAll([tree.firstChild]);
	};
	const showRaw = (on) => {
		tree.hidden = on;
		source.hidden = !on;
		fill(source, text);
	};
	fill(root, h("div.logbar", toggle("Raw", false, showRaw), button("Expand all", expand),
		button("Collapse all", () => draw(1)), button("Copy", () => copy(text, name))), tree, source);
	draw(OPEN_LEVELS);
}

/** Opens all branches in *elements* while these are shown. */
function openAll(elements) {
	inSlices(expanded(elements), () => !elements[0].isConnected);
}

/** Opens them level by level. */
function* expanded(elements) {
	for (let closed = [null]; closed.length > 0; ) {
		closed = elements.flatMap((element) => [...element.querySelectorAll(".fold[aria-expanded=false]")]);
		for (const fold of closed) {
			if (fold.ariaExpanded === "false") fold.click(); // the user may have opened it in a pause
			yield;
		}
	}
}

/** *item*: `{text, node, path, levels, duplicate}`; *levels*: how many are open. */
function branch(item) {
	const { node, levels } = item;
	const inner = children(node);
	if (inner.length === 0) return h("div.leaf", label(item), value(item), tools(item));
	const list = h("div.children");
	const open = (isOpen) => {
		list.hidden = !isOpen;
		fold.ariaExpanded = isOpen;
		if (isOpen && !list.hasChildNodes()) appendChildren(list, item, inner, 0);
	};
	// The tools are beside the button, not in it: controls do not nest.
	const size = h("span.muted", plural(inner.length, node.entries ? "key" : "item"));
	const fold = button([label(item), size], () => open(list.hidden), { className: "fold" });
	open(levels > 0);
	return h("div.branch", h("div", fold, tools(item)), list);
}

function appendChildren(list, item, inner, from) {
	const { text, path, levels } = item;
	const keys = new Set(inner.slice(0, from).map(([key]) => key));
	for (const [key, node] of inner.slice(from, from + MAX_CHILDREN)) {
		list.append(branch({ text, node, path: [...path, key], levels: levels - 1, duplicate: keys.has(key) }));
		keys.add(key);
	}
	const left = inner.length - from - MAX_CHILDREN;
	if (left <= 0) return;
	const more = button(`Show ${left.toLocaleString("en")} more`, () => {
		const shown = list.childElementCount - 1;
		more.remove();
		appendChildren(list, item, inner, from + MAX_CHILDREN);
		if (list.closest(".tree").isExpanded) openAll([...list.children].slice(shown));
	});
	list.append(more);
}

function label({ path, duplicate }) {
	const key = path.at(-1);
	if (key === undefined) return null;
	const mark = duplicate && h("span.label", { title: "The object contains this key more than once" }, "duplicate");
	return [h(typeof key === "number" ? "span.muted" : "b", null, key), mark, h("span.muted", ": ")];
}

/** A scalar or empty container: numbers as sent, URLs as links. */
function value({ text, node }) {
	const source = raw(text, node);
	if (node.kind !== "string") return h(`span.v-${node.kind}`, node.entries ? "{}" : node.items ? "[]" : source);
	const string = JSON.parse(source);
	if (/^https?:\/\/\S+$/.test(string) && string.length < MAX_STRING) {
		return h("a", { href: string, rel: "noreferrer noopener", target: "_blank" }, string);
	}
	if (string.length <= MAX_STRING) return h("span.v-string", `"${string}"`);
	const span = h("span.v-string", `"${string.slice(0, MAX_STRING)}`);
	const more = button(`… ${plural(string.length - MAX_STRING, "more character")}`, () => {
		fill(span, `"${string}"`);
		more.remove();
	});
	return [span, more];
}

function tools({ text, node, path }) {
	if (path.length === 0) return null;
	const source = raw(text, node);
	const tool = (title, what, get) =>
		button(title, () => copy(get(), what), { ariaLabel: `Copy ${what} of ${path.at(-1)}` });
	return h("span.tools", tool("copy", "value", () => (node.kind === "string" ? JSON.parse(source) : source)),
		tool("copy path", "path", () => pathText(path)));
}

/** *path* as JSONPath, below the one of *parent*. */
export function pathText(path, parent = "$") {
	const step = (key) => {
		if (typeof key === "number") return `[${key}]`;
		return /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `["${key.replace(/["\\]/g, "\\$&")}"]`;
	};
	return `${parent}${path.map(step).join("")}`;
}
