// args and outputs, as they were sent, as a tree that folds.

import { button, fill, h, plural, toggle } from "./dom.js";
import { children, parse, raw } from "./json.js";
import { copy } from "./share.js";

const OPEN = 2; // levels that are open at first
const MANY = 100; // members: beyond them they are shown by the hundred
const LONG = 600; // characters of a string that are shown at first

/** Shows the value that *text* is, or says that there is none, in *root*. */
export function showTree(root, text, what) {
	if (text === "null") {
		fill(root, h("p.state", `This run has no ${what}.`));
		return;
	}
	const tree = h("div.tree");
	const source = h("pre.command", { hidden: true, tabIndex: 0, ariaLabel: `${what}, raw` });
	const draw = (levels) => () => fill(tree, branch({ text, node: parse(text), path: [], levels }));
	const showRaw = (on) => {
		tree.hidden = on;
		source.hidden = !on;
		source.textContent = text;
	};
	fill(root, h("div.logbar", toggle("Raw", false, showRaw), button("Open all", draw(Infinity)), button("Fold all", draw(1)),
		button("Copy", () => copy(text, what))), tree, source);
	draw(OPEN)();
}

/** What *place* shows: `{text, node, path, levels, twice}`; so many *levels* are open. */
function branch(place) {
	const { node, levels } = place;
	const inner = children(node);
	if (inner.length === 0) return h("div.leaf", label(place), value(place), tools(place));
	const list = h("div.children");
	const draw = () => details.open && !list.hasChildNodes() && more(list, place, inner, 0);
	const details = h("details", { ontoggle: draw, open: levels > 0 },
		h("summary", label(place), h("span.muted", plural(inner.length, node.entries ? "key" : "item")), tools(place)), list);
	draw();
	return details;
}

/** Appends to *list* the next children, and a button for those after them. */
function more(list, place, inner, from) {
	const { text, path, levels } = place;
	const keys = new Set(inner.slice(0, from).map(([key]) => key));
	for (const [key, node] of inner.slice(from, from + MANY)) {
		list.append(branch({ text, node, path: [...path, key], levels: levels - 1, twice: keys.has(key) }));
		keys.add(key);
	}
	const left = inner.length - from - MANY;
	if (left <= 0) return;
	const next = button(`${left.toLocaleString("en")} more`, () => {
		next.remove();
		more(list, place, inner, from + MANY);
	});
	list.append(next);
}

function label({ path, twice }) {
	const key = path.at(-1);
	if (key === undefined) return null;
	return [h(typeof key === "number" ? "span.muted" : "b", null, key),
		twice && h("span.word", { title: "This key stands in the object more than once" }, "again"), h("span.muted", ": ")];
}

/** A scalar: numbers as sent, strings in quotes, links where they lead to the web. */
function value({ text, node }) {
	const source = raw(text, node);
	if (node.kind !== "string") return h(`span.v-${node.kind}`, node.entries ? "{}" : node.items ? "[]" : source);
	const string = JSON.parse(source);
	if (/^https?:\/\/\S+$/.test(string) && string.length < LONG) {
		return h("a", { href: string, rel: "noreferrer noopener", target: "_blank" }, string);
	}
	if (string.length <= LONG) return h("span.v-string", `"${string}"`);
	const span = h("span.v-string", `"${string.slice(0, LONG)}`);
	const rest = button(`… ${plural(string.length - LONG, "more character")}`, () => {
		span.textContent = `"${string}"`;
		rest.remove();
	});
	return [span, rest];
}

/** What one can do with a value. */
function tools({ text, node, path }) {
	if (path.length === 0) return null;
	const source = raw(text, node);
	const tool = (name, what, get) => button(name, (event) => {
		event.preventDefault(); // in a summary, a click would fold
		copy(get(), what);
	}, { ariaLabel: `Copy ${what} of ${path.at(-1)}` });
	return h("span.tools", tool("copy", "the value", () => (node.kind === "string" ? JSON.parse(source) : source)),
		tool("path", "the path", () => pathText(path)));
}

/** *path* as JSONPath writes it. */
export function pathText(path) {
	const step = (key) => (typeof key === "number" ? `[${key}]` : /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `["${key.replace(/["\\]/g, "\\$&")}"]`);
	return `$${path.map(step).join("")}`;
}
