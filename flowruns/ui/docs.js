// The API page: shows /openapi.json, and sends requests.

import { BASE, decode, fetchPage, hasToken, request, takeToken } from "./api.js";
import { announce, button, byId, fill, h, plural } from "./dom.js";
import { setKeys, showKeys } from "./keys.js";
import { described, fieldTable, inline, paragraphs, resolve, setSchemas } from "./schema.js";
import { pretty } from "./pretty.js";
import { copy, download, putBody } from "./share.js";
import { codeBlock, jsonBlock, RequestForm, setValue, tokenForm } from "./tryit.js";

const METHODS = { get: "busy", post: "good", put: "held", delete: "bad" };
const HELP = {
	"/": "Focus the search box",
	"j k": "Next or previous operation",
	"Ctrl+Enter": "Send the request",
	Esc: "Leave a field or close a menu",
	"?": "Show this help",
};

let entries = []; // of the contents: `{id, section, link, text}`
let currentId = null; // of the section in view
let target = {}; // the section in the URL's fragment: its id, and where the page was scrolled to for it
let requests = [];

/** The operations of *api* as a flat list. */
function operationsOf(api) {
	const operation = (path, item, method) => {
		const { operationId, requestBody, responses } = item[method];
		const { "x-event-stream": events, "x-fields": partial } = responses[200] ?? {};
		const parameters = [...item[method].parameters, ...(partial ? [partial.parameter] : [])];
		return {
			...item[method], parameters, id: operationId, method: method.toUpperCase(), tone: METHODS[method], path,
			streams: Boolean(events),
			body: requestBody?.content["application/json"].schema,
		};
	};
	return Object.entries(api.paths).flatMap(([path, item]) =>
		Object.keys(METHODS).filter((method) => item[method]).map((method) => operation(path, item, method)));
}

function hash(id) {
	return `${location.pathname}${location.search}#${id}`;
}

function methodLabel({ method, tone }) {
	return h(`span.method.${tone}.tone`, method);
}

/** A heading with a link to itself. */
function heading(level, id, text) {
	const onclick = () => copy(new URL(hash(id), location.href).href, "link");
	const anchor = h("a.anchor", { href: hash(id), ariaLabel: "Copy link", onclick }, "#");
	return h(`${level}.title`, { id: `${id}-title` }, text, anchor);
}

function operationSection(operation) {
	const { id, path, summary, description, body, responses } = operation;
	const requestForm = new RequestForm(operation, { tokenChanged, edit });
	requests.push(requestForm);
	const bodyFields = body && [h("h4", `Body: ${resolve(body).name}`), fieldTable(body, true, "Fields of the body")];
	const responseDocs = Object.entries(responses).map(([status, response]) => responseDoc(status, response));
	return h("section.operation", { id, tabIndex: -1, "aria-labelledby": `${id}-title` },
		heading("h3", id, summary), h("p.target", methodLabel(operation), h("code", path), h("span.muted", id)),
		paragraphs(description),
		requestForm.form(parameterTable(requestForm), [bodyFields, h("h4", "Responses"), responseDocs]));
}

function parameterTable({ inputs, accept }) {
	if (inputs.length === 0 && !accept) return null;
	const row = ({ in: place, name, required, element }, description) => h("tr",
		h("th", { scope: "row" }, h("label", { htmlFor: element.id }, h("code", name)),
			required && [" ", h("span.label", "required")], " ", h("span.place", place)),
		h("td", description), h("td", element));
	return [h("h4", "Parameters"), h("table.fields.parameters", h("caption.sr-only", "Parameters"), h("tbody",
		inputs.map((parameter) => row(parameter, described(parameter.schema, parameter.description))),
		accept && row({ in: "header", name: "Accept", element: accept }, "The response: JSON, or a stream of events")))];
}

/** A response of an operation. Its fields and examples are drawn when it is opened. */
function responseDoc(status, { description, headers = {}, content = {}, ...extensions }) {
	const { "x-event-stream": events, "x-fields": partial } = extensions;
	if (partial) content = { ...content, "application/json with fields": partial };
	if (events) content = { ...content, "text/event-stream": events };
	const header = ([name, header]) =>
		h("p", h("code", name), " ", inline(header.description), ", for example ", h("code", header.example));
	const draw = () => details.open && details.children.length === 1 && details.append(h("div",
		Object.entries(headers).map(header),
		Object.entries(content).map(([type, media]) => mediaBlock(type, media, status))));
	const tone = status < "300" ? "good" : status < "400" ? "off" : "bad";
	const details = h("details.response-doc", { ontoggle: draw },
		h("summary", h(`b.tone.${tone}`, status), " ", inline(description)));
	return details;
}

function mediaBlock(type, { schema: value, example, description }, status) {
	const { schema, name = schema.title } = resolve(value);
	const shown = example ?? schema.examples?.[0];
	const typeName = name === "ErrorResponse" ? h("a", { href: hash("Error") }, name) : name;
	const complete = schema.required?.length === Object.keys(schema.properties ?? {}).length;
	return [
		h("h5", type, name && [": ", typeName]),
		description && paragraphs(description),
		(!name || !complete) && schema.description && paragraphs(schema.description),
		name && name !== "ErrorResponse" &&
			[complete && h("p.muted", "Every field is always present."), fieldTable(value, false, `Fields of ${name}`)],
		shown && (typeof shown === "string" ? codeBlock(shown, `Example of ${type}`)
			: jsonBlock(shown, `Example of ${status}`)),
	];
}

/** The error responses of all operations. */
function errorSection(api, operations) {
	const all = operations.flatMap(({ responses }) => Object.entries(responses));
	const statuses = new Map(all.filter(([status]) => status >= "300").sort());
	const links = (status) => operations.filter(({ responses }) => responses[status])
		.map(({ id }) => [h("a", { href: hash(id) }, id), " "]);
	const row = ([status, { description }]) => h("tr",
		h("th", { scope: "row" }, h(status < "400" ? "b.tone.off" : "b.tone.bad", status)),
		h("td", inline(description)), h("td", links(status)));
	const { ErrorResponse: schema } = api.components.schemas;
	return h("section.operation", { id: "Error", tabIndex: -1, "aria-labelledby": "Error-title" },
		heading("h2", "Error", "Errors"), paragraphs(schema.description), fieldTable(schema, false, "Fields of an error"),
		h("table.fields.statuses", h("caption.sr-only", "Status codes"), h("tbody", [...statuses].map(row))));
}

function show(text) {
	const api = JSON.parse(text);
	const { schemas } = api.components;
	setSchemas(schemas);
	requests = [];
	entries = [];
	const operations = operationsOf(api);
	const paths = [...new Set(operations.map(({ path }) => path))];
	const add = (id, section, link, text) => entries.push({ id, section, link, text: text.toLowerCase() }) && section;
	const linkTo = (id, ...children) => h("a", { href: hash(id) }, children);
	const groups = paths.map((path) => {
		const items = operations.filter((operation) => operation.path === path).map((operation) =>
			({ ...operation, link: linkTo(operation.id, methodLabel(operation), operation.summary) }));
		const group = h("section.group", { ariaLabel: path }, h("h2.path", h("code", path)),
			items.map((item) => add(item.id, operationSection(item), item.link, searchText(item, schemas))));
		return { group, links: h("div", h("h2.path", path), items.map(({ link }) => link)) };
	});
	const errors = linkTo("Error", "Errors");
	fill(byId("links"), groups.map(({ links }) => links), h("div", errors));
	byId("contents").hidden = false;
	const server = new URL("..", BASE).href.replace(/\/$/, "");
	fill(byId("main"),
		h("section.intro", h("h1", `${api.info.title} API `, h("span.muted", api.info.version)),
			paragraphs(api.info.description),
			h("div.buttons", h("span", "Base URL: "), h("code", { id: "server" }, server),
				button("Copy", () => copy(server, "base URL")),
				button("Download openapi.json", () => download("openapi.json", text)))),
		groups.map(({ group }) => group),
		add("Error", errorSection(api, operations), errors, "error detail loc msg type status"),
		h("p.state", { id: "none", hidden: true }, "No operation contains all of these words."));
	watchSections();
	showTarget();
	suggestId();
}

/** Fills in the ID of the newest run where a run is read, instead of an example that is not there. */
async function suggestId() {
	const reading = requests.filter(({ operation }) => operation.method === "GET");
	const fields = reading.map(({ inputs }) => inputs.find(({ name }) => name === "id_")?.element).filter(Boolean);
	const before = fields.map(({ value }) => value);
	const { items: [run] } = await fetchPage({ size: 1, fields: "id" }).catch(() => ({ items: [] })); // no token, say
	if (!run) return;
	fields.filter(({ value }, at) => value === before[at]).forEach((field) => setValue(field, run.id));
}

/** Loads the run *doc* into the form of PUT, and shows it. */
function edit(doc) {
	const put = requests.find(({ operation }) => operation.method === "PUT");
	setValue(put.inputs.find(({ name }) => name === "id_").element, JSON.parse(doc).id);
	put.setBody(h("pre", pretty(putBody(doc))).textContent);
	if (location.hash === `#${put.operation.id}`) showTarget();
	else location.hash = put.operation.id;
}

/** The text of *node* and of the *schemas* it refers to, each once. */
function searchText(node, schemas, seen = new Set(["ErrorResponse"])) {
	const text = JSON.stringify(node);
	const references = [...text.matchAll(/schemas\/(\w+)/g)].map(([, name]) => name);
	const names = references.filter((name) => !seen.has(name) && seen.add(name));
	return [text, ...names.map((name) => searchText(schemas[name], schemas, seen))].join(" ");
}

/** Shows the sections that contain all words in the search box. */
function search() {
	const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
	for (const { section, link, text } of entries) {
		section.hidden = link.hidden = !words.every((word) => text.includes(word));
	}
	for (const group of document.querySelectorAll(".group, #links > div")) {
		const items = [...group.querySelectorAll(":scope > .operation, :scope > a")];
		group.hidden = items.every((item) => item.hidden);
	}
	const count = shownEntries().length;
	byId("none").hidden = count > 0;
	document.querySelector(".intro").hidden = words.length > 0;
	scrollTo(0, 0);
	if (words.length) announce(plural(count, "result"));
}

function shownEntries() {
	return entries.filter(({ section }) => !section.hidden);
}

/** Marks the section in view in the contents. */
function watchSections() {
	const observer = new IntersectionObserver((changes) => {
		// Where the page shows the target, the report is older, or is of a section below it.
		if (scrollY === target.top) markCurrent(target.id);
		else for (const change of changes) if (change.isIntersecting) markCurrent(change.target.id);
	}, { rootMargin: "-15% 0px -80%" });
	for (const { section } of entries) observer.observe(section);
}

function markCurrent(id) {
	currentId = id;
	for (const entry of entries) entry.link.ariaCurrent = entry.id === id ? "true" : null;
}

/** Scrolls to the section in the URL's fragment. */
function showTarget() {
	const entry = entries.find(({ id }) => id === decode(location.hash.slice(1)));
	if (!entry) return;
	if (entry.section.hidden) {
		byId("search").value = "";
		search();
	}
	entry.section.scrollIntoView();
	entry.section.focus({ preventScroll: true });
	target = { id: entry.id, top: scrollY };
	markCurrent(entry.id);
}

function step(by) {
	const shown = shownEntries();
	const at = shown.findIndex(({ id }) => id === currentId);
	const next = shown[Math.max(0, Math.min(shown.length - 1, at + by))];
	if (!next) return;
	if (location.hash === `#${next.id}`) showTarget();
	else location.hash = next.id;
}

function tokenChanged() {
	document.querySelector(".menu > summary").textContent = hasToken() ? "Token ✓" : "Token";
	for (const item of requests) item.refresh();
}

async function load() {
	const state = (title, ...children) => fill(byId("main"), h("section.state", h("h1", title), children));
	try {
		show(await (await request(new URL("../openapi.json", BASE))).text());
	} catch (error) {
		if (error.status === 401) {
			const title = hasToken() ? "The server rejected this token" : "This server requires a token";
			state(title, tokenForm("token", onToken));
			byId("token").focus();
		} else {
			const again = button("Try again", load, { className: "primary" });
			state("Could not load the API description", h("p", error.message), again);
		}
	}
}

function onToken() {
	tokenChanged();
	document.querySelector(".menu").open = false;
	if (entries.length === 0) load();
}

byId("late")?.remove();
await takeToken();
fill(byId("token-panel"), tokenForm("menu-token", onToken));
const help = () => showKeys(null, HELP);
byId("help").onclick = help;
byId("skip").onclick = () => byId("main").focus();
byId("search").oninput = search;
byId("search").onkeydown = ({ key }) => {
	const [first] = shownEntries();
	if (key === "Enter" && first) location.hash = first.id;
};
addEventListener("hashchange", async () => ((await takeToken()) ? onToken() : showTarget()));
setKeys({ "/": () => byId("search").select(), j: () => step(1), k: () => step(-1), "?": help });
tokenChanged();
load();
