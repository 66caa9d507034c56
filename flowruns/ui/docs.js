// The page of the API: /openapi.json, for people.

import { BASE, decoded, hasToken, request, takeToken } from "./api.js";
import { button, fill, find, h, plural, say } from "./dom.js";
import { showKeys, useKeys } from "./keys.js";
import { described, fieldTable, inline, plain, prose, useSchemas } from "./schema.js";
import { copy, download } from "./share.js";
import { codeBlock, jsonBlock, Request, tokenForm } from "./tryit.js";

const METHODS = { get: "busy", post: "good", put: "held", delete: "bad" };
const KEYS = { "/": "search", "j k": "next operation, the one before", "Ctrl+Enter": "send what is filled in", Esc: "leave a field or menu", "?": "these keys" };

let entries = []; // `{id, section, link, text}` of all that can be found
let current = null; // the one that is read

/** The operations of *api* as a flat list. */
function operations(api) {
	return Object.entries(api.paths).flatMap(([path, item]) => Object.keys(METHODS).filter((method) => item[method]).map((method) => ({
		...item[method], id: item[method].operationId, method: method.toUpperCase(), tone: METHODS[method], path,
		body: item[method].requestBody?.content["application/json"].schema,
		streams: Boolean(item[method].responses[200]?.content?.["text/event-stream"]),
	})));
}

function hash(id) {
	return `${location.pathname}${location.search}#${id}`;
}

function chip({ method, tone }) {
	return h(`span.method.${tone}.tone`, method);
}

/** A heading that can be linked to. */
function title(level, id, ...children) {
	const url = () => new URL(hash(id), location.href).href;
	return h(`${level}.title`, { id: `${id}-title` }, children, h("a.anchor", { href: hash(id), ariaLabel: "Link to this", onclick: () => copy(url(), "The link") }, "#"));
}

function operationSection(operation) {
	const { id, method, path, summary, description, body, responses } = operation;
	const filled = new Request(operation, tokenChanged);
	requests.push(filled);
	return h("section.operation", { id, tabIndex: -1, "aria-labelledby": `${id}-title` },
		title("h3", id, summary), h("p.target", chip(operation), h("code", path), h("span.muted", id)), prose(description),
		filled.form(parameterTable(filled),
			[body && [h("h4", `Body: ${plain(body).name}`), fieldTable(body, true, "Fields of the body")],
				h("h4", "Answers"), Object.entries(responses).map(([status, response]) => answer(status, response))]));
}

function parameterTable({ inputs, accept }) {
	if (inputs.length === 0 && !accept) return null;
	return [h("h4", "Parameters"), h("table.fields.parameters", h("caption.unseen", "Parameters"), h("tbody",
		inputs.map(({ in: place, name, required, schema, description, element }) => h("tr",
			h("th", { scope: "row" }, h("label", { htmlFor: element.id }, h("code", name)), required && [" ", h("span.word", "required")], " ", h("span.place", place)),
			h("td", described(schema, description)), h("td", element))),
		accept && h("tr", h("th", { scope: "row" }, h("label", { htmlFor: accept.id }, h("code", "Accept")), " ", h("span.place", "header")),
			h("td", "what the answer is: a document, or a stream of changes"), h("td", accept))))];
}

/** An answer, whose fields and examples are made when it is opened. */
function answer(status, { description, headers = {}, content = {} }) {
	const draw = () => details.open && details.children.length === 1 && details.append(h("div",
		Object.entries(headers).map(([name, header]) => h("p", h("code", name), " ", inline(header.description), ", as ", h("code", header.example))),
		Object.entries(content).map(([type, media]) => mediaBlock(type, media, status))));
	const details = h("details.answer-kind", { ontoggle: draw },
		h("summary", h(`b.tone.${status < "300" ? "good" : status < "400" ? "off" : "bad"}`, status), " ", inline(description)));
	return details;
}

function mediaBlock(type, { schema, example }, status) {
	const { schema: one, name } = plain(schema);
	const shown = example ?? one.examples?.[0];
	return [
		h("h5", type, name && [": ", name === "Error" ? h("a", { href: hash("Error") }, name) : name]),
		!name && one.description && prose(one.description),
		name && name !== "Error" && [h("p.muted", "Every field is there, always."), fieldTable(schema, false, `Fields of ${name}`)],
		shown && (typeof shown === "string" ? codeBlock(shown, `Example of ${type}`) : jsonBlock(shown, `Example of ${status}`)),
	];
}

/** What all operations share when they refuse. */
function errorSection(api, found) {
	const statuses = new Map(found.flatMap(({ responses }) => Object.entries(responses)).filter(([status]) => status >= "300").sort());
	return h("section.operation", { id: "Error", tabIndex: -1, "aria-labelledby": "Error-title" }, title("h2", "Error", "Errors"),
		prose(api.components.schemas.Error.description), fieldTable(api.components.schemas.Error, false, "Fields of an error"),
		h("table.fields.statuses", h("caption.unseen", "Statuses"), h("tbody", [...statuses].map(([status, { description }]) => h("tr",
			h("th", { scope: "row" }, h("b.tone", { className: status < "400" ? "tone off" : "tone bad" }, status)), h("td", inline(description)),
			h("td", found.filter(({ responses }) => responses[status]).map(({ id }) => [h("a", { href: hash(id) }, id), " "])))))));
}

let requests = [];

function show(text) {
	const api = JSON.parse(text);
	useSchemas(api.components.schemas);
	requests = [];
	const found = operations(api);
	const paths = [...new Set(found.map(({ path }) => path))];
	entries = [];
	const add = (id, section, link, text) => entries.push({ id, section, link, text: text.toLowerCase() }) && section;
	const linked = (id, ...children) => h("a", { href: hash(id) }, children);
	const groups = paths.map((path) => {
		const here = found.filter((one) => one.path === path).map((one) => ({ ...one, link: linked(one.id, chip(one), one.summary) }));
		const group = h("section.group", { ariaLabel: path }, h("h2.path", h("code", path)),
			here.map((one) => add(one.id, operationSection(one), one.link, haystack(one, api.components.schemas))));
		return { group, links: h("div", h("h2.path", path), here.map(({ link }) => link)) };
	});
	const errors = linked("Error", "Errors");
	fill(find("links"), groups.map(({ links }) => links), h("div", errors));
	find("contents").hidden = false;
	fill(find("main"),
		h("section.intro", h("h1", `${api.info.title} API `, h("span.muted", api.info.version)), prose(api.info.description),
			h("div.buttons", h("span", "Served at "), h("code", { id: "server" }, new URL("..", BASE).href.replace(/\/$/, "")),
				button("Copy", () => copy(find("server").textContent, "The address")),
				button("Save openapi.json", () => download("openapi.json", text)))),
		groups.map(({ group }) => group),
		add("Error", errorSection(api, found), errors, "error detail loc msg type status"),
		h("p.state", { id: "none", hidden: true }, "Nothing here has these words."));
	watch();
	follow();
}

/** All words of *node*, and of the *schemas* that it leads to, each once. */
function haystack(node, schemas, seen = new Set(["Error"])) {
	const text = JSON.stringify(node);
	const names = [...text.matchAll(/schemas\/(\w+)/g)].map(([, name]) => name).filter((name) => !seen.has(name) && seen.add(name));
	return [text, ...names.map((name) => haystack(schemas[name], schemas, seen))].join(" ");
}

/** Shows what has all words of the search box. */
function search() {
	const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
	for (const entry of entries) entry.section.hidden = entry.link.hidden = !words.every((word) => entry.text.includes(word));
	for (const group of document.querySelectorAll(".group, #links > div")) {
		group.hidden = [...group.querySelectorAll(":scope > .operation, :scope > a")].every((one) => one.hidden);
	}
	const left = entries.filter(({ section }) => !section.hidden).length;
	find("none").hidden = left > 0;
	document.querySelector(".intro").hidden = words.length > 0;
	scrollTo(0, 0);
	if (words.length) say(`${plural(left, "part")} found`);
}

/** Marks in the contents what is read. */
function watch() {
	const seen = new IntersectionObserver((changes) => {
		for (const { target, isIntersecting } of changes) if (isIntersecting) mark(target.id);
	}, { rootMargin: "-15% 0px -80%" });
	for (const { section } of entries) seen.observe(section);
}

function mark(id) {
	current = id;
	for (const { id: other, link } of entries) link.ariaCurrent = other === id ? "true" : null;
}

/** Goes to what the address bar names. */
function follow() {
	const entry = entries.find(({ id }) => id === decoded(location.hash.slice(1)));
	if (!entry) return;
	if (entry.section.hidden) {
		find("search").value = "";
		search();
	}
	entry.section.scrollIntoView();
	entry.section.focus({ preventScroll: true });
	mark(entry.id);
}

/** Goes *by* so many operations. */
function step(by) {
	const left = entries.filter(({ section }) => !section.hidden);
	const at = left.findIndex(({ id }) => id === current);
	const next = left[Math.max(0, Math.min(left.length - 1, at + by))];
	if (!next) return;
	if (location.hash === `#${next.id}`) follow();
	else location.hash = next.id;
}

function tokenChanged() {
	document.querySelector(".menu > summary").textContent = hasToken() ? "Token ✓" : "Token";
	for (const one of requests) one.refresh();
}

async function load() {
	try {
		show(await (await request(new URL("../openapi.json", BASE))).text());
	} catch (error) {
		if (error.status === 401) {
			fill(find("main"), h("section.state", h("h1", hasToken() ? "This token does not fit" : "This server asks for a token"), tokenForm("token", started)));
			find("token").focus();
		} else {
			fill(find("main"), h("section.state", h("h1", "The description did not come"), h("p", error.message), button("Try again", load, { className: "primary" })));
		}
	}
}

function started() {
	tokenChanged();
	document.querySelector(".menu").open = false;
	if (entries.length === 0) load();
}

takeToken();
fill(find("token-panel"), tokenForm("menu-token", started));
const help = () => showKeys(null, KEYS);
find("help").onclick = help;
find("skip").onclick = () => find("main").focus();
find("search").oninput = search;
find("search").onkeydown = ({ key }) => {
	const first = entries.find(({ section }) => !section.hidden);
	if (key === "Enter" && first) location.hash = first.id;
};
addEventListener("hashchange", () => (takeToken() ? started() : follow()));
useKeys({ "/": () => find("search").select(), j: () => step(1), k: () => step(-1), "?": help });
tokenChanged();
load();
