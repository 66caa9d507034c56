// A request that one fills in, as a command and sent from here, and its answer.

import { ask, BASE, hasToken, TOKENS, useToken } from "./api.js";
import { button, fill, form, h, plural, say, toggle } from "./dom.js";
import { parse, raw } from "./json.js";
import { plain } from "./schema.js";
import { copy, quoted } from "./share.js";
import { EventParser } from "./stream.js";
import { clock, duration } from "./time.js";

const HEADERS = ["content-type", "etag", "location", "retry-after", "allow", "www-authenticate"];
const MUCH = 100_000; // characters: beyond them a body is not made pretty, nor shown to its end
const SHORT = 60; // characters: a list of scalars below them stays on its line
const EVENTS = 200; // that are shown
const STREAM = "text/event-stream";

/** A place to name a token; *then* is called once there is one. */
export function tokenForm(id, then) {
	const field = h("input", { type: "password", id, autocomplete: "off", required: true, pattern: TOKENS, title: "Of ASCII characters" });
	const use = () => {
		useToken(field.value);
		field.value = "";
		then();
	};
	return Object.assign(form(use, h("label", { htmlFor: id }, "Token"), field, h("button.primary", "Use it"),
		h("p.muted", "What stands before the = in --token TOKEN=USER_ID. This tab keeps it until it is closed; commands name it as ",
			h("code", "$FLOWRUNS_TOKEN"), ".")), { className: "token" });
}

/** The text of *body* as it was sent, but on lines of its own. */
function pretty(text, node = parse(text), line = "\n") {
	const children = node.entries ?? node.items?.map((item) => [null, item]);
	if (!children) return h(`span.v-${node.kind}`, raw(text, node));
	const [open, close] = node.entries ? "{}" : "[]";
	if (children.length === 0) return open + close;
	if (node.items?.every(({ entries, items }) => !entries && !items) && node.end - node.start < SHORT) {
		return [open, node.items.map((item, at) => [at > 0 && ", ", pretty(text, item)]), close];
	}
	const inner = line + "  ";
	return [open, children.map(([key, child], at) => [at > 0 && ",", inner, key !== null && `${JSON.stringify(key)}: `, pretty(text, child, inner)]), line, close];
}

/** *text*, as a body or an example, with a button that copies it. */
export function codeBlock(text, label, shown = text) {
	return h("div.code", h("pre.command", { tabIndex: 0, ariaLabel: label }, shown), button("Copy", () => copy(text, label), { ariaLabel: `Copy: ${label}` }));
}

/** An example that is a value. */
export function jsonBlock(value, label) {
	const shown = h("span", pretty(JSON.stringify(value)));
	return codeBlock(shown.textContent, label, shown);
}

/** A body that came, pretty or raw. */
function bodyBlock(text, label) {
	const cut = text.slice(0, MUCH);
	const block = h("div");
	const draw = (asSent) => fill(block, codeBlock(text, label, asSent ? cut : pretty(text)));
	if (text.length > MUCH) return [h("p.muted", `The first ${MUCH.toLocaleString("en")} of ${text.length.toLocaleString("en")} characters; Copy takes all.`), codeBlock(text, label, cut)];
	draw(false);
	return [toggle("Raw", false, draw), block];
}

/** An input for *parameter*: `{element, values()}`. */
function input({ name, required, schema }, id) {
	const { schema: one } = plain(schema);
	const words = one.items && plain(one.items).schema.enum;
	if (words) {
		const buttons = words.map((word) => toggle(word, false, () => element.dispatchEvent(new Event("input", { bubbles: true }))));
		const element = h("div.chips", { role: "group", id, ariaLabel: name }, buttons);
		return { element, values: () => words.filter((_, at) => buttons[at].ariaPressed === "true") };
	}
	const props = { id, name, required, spellcheck: false, autocomplete: "off" };
	const hint = one.examples?.[0] ?? (one.default !== undefined ? `default ${one.default}` : "");
	const element = one.enum
		? h("select", props, h("option", { value: "" }, hint), one.enum.map((word) => h("option", word)))
		: one.items ? h("textarea", { ...props, rows: 1, placeholder: "one a line" })
		: h("input", { ...props, placeholder: required ? "" : hint, value: required ? hint : "" });
	return { element, values: () => element.value.split("\n").filter((value) => value !== "") };
}

/** The character of *text* at its byte *at*. */
function characterAt(text, at) {
	const start = new TextDecoder().decode(new TextEncoder().encode(text).slice(0, at)).length;
	return { start, end: start + 1 };
}

/** The characters of *text* that a fault is about: *steps* lead to its value. */
function span(text, steps) {
	try {
		let node = parse(text);
		for (const step of steps) {
			const child = node.items?.[step] ?? node.entries?.findLast(([key]) => key === step)?.[1];
			if (!child) break; // it is missing: its object is the place
			node = child;
		}
		return node;
	} catch {
		return characterAt(text, 0); // somebody went on writing
	}
}

export class Request {
	/** A request of *operation*; *changed* is called when a token is named. */
	constructor(operation, changed) {
		Object.assign(this, { operation, changed, abort: null });
		const { id, method, parameters, body, streams } = operation;
		this.inputs = parameters.map((parameter) => ({ ...parameter, ...input(parameter, `${id}-${parameter.in}-${parameter.name}`) }));
		this.accept = streams && h("select", { id: `${id}-accept`, name: "accept" }, h("option", "application/json"), h("option", STREAM));
		const example = body && JSON.stringify(plain(body).schema.examples[0], null, 2);
		this.body = body && h("textarea.editor", { id: `${id}-body`, name: "body", value: example, rows: example.split("\n").length, spellcheck: false });
		this.command = h("div");
		this.answer = h("div.answer");
		this.panel = h("div.try",
			this.body && [h("label", { htmlFor: this.body.id }, "Body"), this.body],
			h("div.buttons", h(`button.primary${method === "DELETE" ? ".risk" : ""}`, { title: "Ctrl+Enter" }, `Send ${method}`),
				this.body && button("Example", () => this.setBody(example), { title: "The example, in place of the body" })),
			this.answer, h("h4", "As a command"), this.command);
		this.refresh();
	}

	/** *above*, the panel and *below*, as one form: the panel stands beside both where there is room. */
	form(above, below) {
		const sending = (event) => {
			event.preventDefault();
			this.send();
		};
		const key = (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form?.requestSubmit();
		return (this.element = h("form.columns", { onsubmit: sending, onkeydown: key, oninput: () => this.refresh() }, h("div", above), this.panel, h("div", below)));
	}

	setBody(text) {
		this.body.value = text;
		this.refresh();
	}

	/** What is filled in: `{url, headers, body}`. */
	filled() {
		const of = (place) => this.inputs.filter((one) => one.in === place).flatMap((one) => one.values().map((value) => [one.name, value]));
		const path = of("path").reduce((path, [name, value]) => path.replace(`{${name}}`, encodeURIComponent(value)), this.operation.path);
		const url = new URL(`..${path}`, BASE);
		url.search = new URLSearchParams(of("query"));
		const headers = Object.fromEntries(of("header"));
		if (this.accept?.value === STREAM) headers.Accept = STREAM;
		if (this.body) headers["Content-Type"] = "application/json";
		return { url: url.href, headers, body: this.body?.value };
	}

	refresh() {
		const { url, headers, body } = this.filled();
		const { method } = this.operation;
		const command = [
			`curl -s${headers.Accept ? "N" : ""}${method === "GET" ? "" : ` -X ${method}`} ${quoted(url)}`,
			hasToken() && `-H "Authorization: Bearer $FLOWRUNS_TOKEN"`, // not itself: screens are shared
			...Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
			body !== undefined && `--data-raw ${quoted(body)}`,
		];
		fill(this.command, codeBlock(command.filter(Boolean).join(" \\\n  "), `Command for ${this.operation.id}`));
	}

	async send() {
		this.abort?.abort();
		const abort = (this.abort = new AbortController());
		const { signal } = abort;
		for (const { element } of this.inputs) element.ariaInvalid = null;
		const unreachable = this.inputs.find((one) => one.in === "path" && /^\.\.?$/.test(one.values()[0]));
		if (unreachable) return this.failed("No browser can ask for this id: it is the name of a folder in a URL.");
		fill(this.answer, h("p.muted", "Waiting for the answer …"));
		const { url, ...sent } = this.filled();
		const began = performance.now();
		try {
			const response = await ask(url, { method: this.operation.method, ...sent, signal, cache: "no-store" });
			if (response.headers.get("content-type")?.startsWith(STREAM)) await this.follow(response, began, abort);
			else this.show(response, await response.text(), began);
		} catch (error) {
			if (!signal.aborted) this.failed(`The server did not answer, or not to the end: ${error.message}`);
		}
	}

	failed(text) {
		fill(this.answer, h("p.error", { role: "alert" }, text));
	}

	/** The first lines of an answer. */
	head(response, took) {
		const line = `${response.status} ${response.statusText}`.trim();
		const tone = response.status < 300 ? "good" : response.status < 400 ? "off" : "bad";
		const found = HEADERS.filter((name) => response.headers.has(name));
		say(`Answer: ${line}`);
		return [
			h("h4.status-line", h(`b.${tone}.tone`, line), h("span.muted", took)),
			h("dl.headers", found.map((name) => [h("dt", name), h("dd", response.headers.get(name))])),
		];
	}

	show(response, text, began) {
		const took = `${duration(performance.now() - began)} · ${new Blob([text]).size.toLocaleString("en")} bytes`;
		const json = response.headers.get("content-type")?.startsWith("application/json");
		const detail = json && response.status >= 400 && JSON.parse(text).detail;
		fill(this.answer, this.head(response, took),
			response.status === 401 && tokenForm(`${this.operation.id}-token`, () => (this.changed(), this.send())),
			detail && h("ul.faults", detail.map((fault) => this.fault(fault))),
			text && (json ? bodyBlock(text, "The answer") : codeBlock(text, "The answer")));
		if (response.status === 401) this.answer.querySelector("input").focus();
		if (response.status === 201 && json) this.created(JSON.parse(text).id);
	}

	/** Lets the other forms ask for what was made here. */
	created(id) {
		for (const field of document.querySelectorAll("input[name=id_]")) {
			field.value = id;
			field.dispatchEvent(new Event("input", { bubbles: true }));
		}
	}

	/** What is wrong, with a button that leads to the place. */
	fault({ loc, msg, type }) {
		const path = loc.map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`)).join("").slice(1);
		const [place, name, ...rest] = loc;
		const field = this.inputs.find((one) => one.in === place && one.name.toLowerCase() === String(name).toLowerCase())?.element ?? (place === "body" && this.body);
		if (field && field !== this.body) field.ariaInvalid = "true";
		const go = () => {
			field.focus();
			if (field !== this.body) return;
			const { start, end } = type === "json_invalid" ? characterAt(field.value, name)
				: span(field.value, [name, ...rest].filter((step) => step !== undefined));
			field.setSelectionRange(start, end);
		};
		return h("li", field ? button(path, go, { title: "Show the place" }) : h("code", path), ` ${msg} `, h("span.muted", type));
	}

	/** Shows the events as they come. */
	async follow(response, began, abort) {
		const list = h("ol.events", { tabIndex: 0, ariaLabel: "Events" });
		const state = h("span.muted", "no event yet");
		let count = 0;
		const stop = button("Stop", () => {
			abort.abort();
			end("Stopped");
		});
		const end = (word) => {
			stop.remove();
			state.textContent = `${word} after ${plural(count, "event")}`;
			say(state.textContent);
		};
		fill(this.answer, this.head(response, duration(performance.now() - began)), h("div.buttons", stop, state), list);
		const parser = new EventParser(null);
		const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return end("Ended by the server");
			const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30; // else somebody reads
			for (const event of parser.feed(value)) {
				count += 1;
				list.append(this.event(event));
				if (count > EVENTS) list.firstChild.remove();
			}
			state.textContent = `${plural(count, "event")}, at change ${parser.lastId}`;
			if (atEnd) list.scrollTop = list.scrollHeight;
		}
	}

	event({ id, type, data }) {
		const draw = () => details.open && details.children.length === 1 && details.append(...bodyBlock(data, `Event ${id}`));
		const details = h("details", { ontoggle: draw },
			h("summary", h("b", type), h("span.muted", ` ${id} · ${clock(Date.now())} `), h("code", data.slice(0, 200))));
		return h("li", details);
	}
}
