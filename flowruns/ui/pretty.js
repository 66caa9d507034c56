// Formatted JSON.

import { h } from "./dom.js";
import { parse, raw } from "./json.js";

const SHORT_LIST = 60; // characters: a shorter list of scalars stays on one line

/** The JSON *text*, indented, with its numbers and duplicate keys unchanged. */
export function pretty(text, node = parse(text), line = "\n") {
	const children = node.entries ?? node.items?.map((item) => [null, item]);
	if (!children) return h(`span.v-${node.kind}`, raw(text, node));
	const [open, close] = node.entries ? "{}" : "[]";
	if (children.length === 0) return open + close;
	if (node.items?.every(({ entries, items }) => !entries && !items) && node.end - node.start < SHORT_LIST) {
		return [open, node.items.map((item, at) => [at > 0 && ", ", pretty(text, item)]), close];
	}
	const inner = line + "  ";
	const member = ([key, child], at) =>
		[at > 0 && ",", inner, key !== null && `${JSON.stringify(key)}: `, pretty(text, child, inner)];
	return [open, children.map(member), line, close];
}
