// JSON Schema for people: what a value may be, in a line, and the fields of an object, as a table.

import { h } from "./dom.js";

let schemas = {};

/** From now on references lead to *found*. */
export function useSchemas(found) {
	schemas = found;
}

/** *schema* without references and without its null: `{schema, name, nullable}`. */
export function plain({ $ref, anyOf, ...own }) {
	if ($ref) {
		const name = $ref.split("/").at(-1);
		return { schema: { ...schemas[name], ...own }, name, nullable: false };
	}
	const kinds = anyOf?.filter(({ type }) => type !== "null") ?? [].concat(own.type ?? []).filter((type) => type !== "null").map((type) => ({ type }));
	const nullable = kinds.length < (anyOf ?? [].concat(own.type ?? [])).length;
	if (kinds.length > 1) return { schema: { ...own, type: kinds.map(typeText).join(" or ") }, nullable };
	const one = kinds.length ? (anyOf ? plain(kinds[0]) : { schema: kinds[0] }) : { schema: {} };
	return { ...one, schema: { ...one.schema, ...own, type: one.schema.type }, nullable };
}

/** What a value of *schema* is: `date-time or null`, `list of Action`. */
function typeText(schema) {
	const { schema: one, name, nullable } = plain(schema);
	const text = one.enum ? "enum" : one.type === "array" ? `list of ${typeText(one.items)}` : one.properties ? name : one.format ?? one.type;
	return nullable ? `${text} or null` : text;
}

/** Its rules, each as a list of texts and elements. */
function rules(schema) {
	const { schema: one } = plain(schema);
	const code = (value) => h("code", value);
	return [
		one.enum && one.enum.map((value, at) => [at > 0 && " ", code(value)]),
		one.pattern && ["pattern ", code(one.pattern)],
		one.minimum !== undefined && (one.maximum !== undefined ? `${one.minimum} to ${one.maximum}` : `at least ${one.minimum}`),
		one.maxItems !== undefined && `at most ${one.maxItems}`,
		one.default !== undefined && one.default !== null && ["default ", code(String(one.default))],
		...(one.items ? rules(one.items) : []),
	].filter(Boolean);
}

/** What *schema* is, means (*description*, if it does not say so itself) and asks for. */
export function described(schema, description = plain(schema).schema.description) {
	const found = rules(schema);
	return [
		h("span.type", typeText(schema)),
		description && h("span", inline(description)),
		found.length > 0 && h("span.rule", found.map((rule, at) => [at > 0 && " · ", rule])),
	];
}

/** The fields of *schema*, and theirs; *marked*: those that a request needs. */
export function fieldTable(schema, marked, caption) {
	return h("table.fields", h("caption.unseen", caption), h("tbody", rows(plain(schema).schema, marked, [])));
}

function rows({ properties = {}, required = [] }, marked, path) {
	return Object.entries(properties).flatMap(([name, value]) => {
		const { schema } = plain(value);
		const inner = schema.items ? plain(schema.items).schema : schema;
		return [
			h("tr", h(`th.depth-${path.length}`, { scope: "row" }, h("code", path.length > 0 && [h("span.muted", path.join("")), h("wbr")], name),
				marked && required.includes(name) && [" ", h("span.word", "required")]), h("td", described(value))),
			...rows(inner, marked, [...path, schema.items ? `${name}[].` : `${name}.`]),
		];
	});
}

/** Paragraphs out of *text*. */
export function prose(text) {
	return text.split("\n\n").map((paragraph) => h("p", inline(paragraph)));
}

/** *text* with what stands between backquotes as code. */
export function inline(text) {
	return text.split("`").map((part, at) => (at % 2 ? h("code", part) : part));
}
