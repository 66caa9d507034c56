// Shows JSON Schema: a value in one line, an object as a table of fields.

import { h } from "./dom.js";

let schemas = {};

/** Resolves references in *components* from now on. */
export function setSchemas(components) {
	schemas = components;
}

/** *schema* with references resolved and null removed: `{schema, name, nullable}`. */
export function resolve({ $ref, anyOf, ...own }) {
	if ($ref) {
		const name = $ref.split("/").at(-1);
		return { schema: { ...schemas[name], ...own }, name, nullable: false };
	}
	const variants = anyOf ?? [].concat(own.type ?? []).map((type) => ({ type }));
	const kinds = variants.filter(({ type }) => type !== "null");
	const nullable = kinds.length < variants.length;
	if (kinds.length > 1) return { schema: { ...own, type: kinds.map(typeText).join(" or ") }, nullable };
	const inner = kinds.length ? (anyOf ? resolve(kinds[0]) : { schema: kinds[0] }) : { schema: {} };
	return { ...inner, schema: { ...inner.schema, ...own, type: inner.schema.type }, nullable };
}

/** The type of *schema*: `date-time or null`, `list of Action`. */
function typeText(value) {
	const { schema, name, nullable } = resolve(value);
	const text = schema.enum ? "enum" : schema.type === "array" ? `list of ${typeText(schema.items)}`
		: schema.properties ? name ?? schema.title : schema.format ?? schema.type;
	return nullable ? `${text} or null` : text;
}

/** The constraints of *schema*, each as a list of texts and elements. */
function constraints(value) {
	const { schema } = resolve(value);
	const { enum: names, pattern, minimum, maximum, maxItems, default: initial, items } = schema;
	const code = (text) => h("code", text);
	return [
		names && names.map((name, at) => [at > 0 && " ", code(name)]),
		pattern && ["pattern ", code(pattern)],
		minimum !== undefined && (maximum !== undefined ? `${minimum} to ${maximum}` : `at least ${minimum}`),
		maxItems !== undefined && `at most ${maxItems}`,
		initial !== undefined && initial !== null && ["default ", code(String(initial))],
		...(items ? constraints(items) : []),
	].filter(Boolean);
}

/** The type, the *description* (default: the schema's own) and the constraints of *schema*. */
export function described(schema, description = resolve(schema).schema.description) {
	const texts = constraints(schema);
	return [
		h("span.type", typeText(schema)),
		description && h("span", inline(description)),
		texts.length > 0 && h("span.constraint", texts.map((text, at) => [at > 0 && " · ", text])),
	];
}

/** The fields of *schema* and of nested objects; *markRequired*: marks those that a request must have. */
export function fieldTable(schema, markRequired, caption) {
	const body = h("tbody", rows(resolve(schema).schema, markRequired, []));
	return h("table.fields", h("caption.sr-only", caption), body);
}

function rows({ properties = {}, required = [] }, markRequired, path) {
	return Object.entries(properties).flatMap(([name, value]) => {
		const { schema } = resolve(value);
		const inner = schema.items ? resolve(schema.items).schema : schema;
		const prefix = path.length > 0 && [h("span.muted", path.join("")), h("wbr")];
		const mark = markRequired && required.includes(name) && [" ", h("span.label", "required")];
		return [
			h("tr", h(`th.depth-${path.length}`, { scope: "row" }, h("code", prefix, name), mark), h("td", described(value))),
			...rows(inner, markRequired, [...path, schema.items ? `${name}[].` : `${name}.`]),
		];
	});
}

/** The paragraphs of *text*. */
export function paragraphs(text) {
	return text.split("\n\n").map((paragraph) => h("p", inline(paragraph)));
}

/** *text* with `backquoted` parts as code. */
export function inline(text) {
	return text.split("`").map((part, at) => (at % 2 ? h("code", part) : part));
}
