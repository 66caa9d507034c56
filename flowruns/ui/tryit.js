// A form that sends a request, its curl command, and the response.

import { BASE, encodeId, hasToken, send, setToken, TOKEN_PATTERN } from "./api.js";
import { announce, button, fill, form, h, plural, toggle } from "./dom.js";
import { parse } from "./json.js";
import { pretty } from "./pretty.js";
import { resolve } from "./schema.js";
import { copy } from "./share.js";
import { SNIPPETS } from "./snippets.js";
import { EventParser } from "./stream.js";
import { duration, timeOfDay } from "./time.js";

const HEADERS = ["content-type", "etag", "location", "retry-after", "allow", "www-authenticate"];
const MAX_BODY = 100_000; // characters: a longer body is truncated and not formatted
const MAX_EVENTS = 200;
const STREAM = "text/event-stream";

/** A form for the token; calls *done* after it is set. */
export function tokenForm(id, done) {
	const field = h("input", {
		type: "password", id, autocomplete: "off", required: true, pattern: TOKEN_PATTERN,
		title: "ASCII characters without spaces",
	});
	const submit = async () => {
		const { value } = field;
		field.value = "";
		await setToken(value);
		done();
	};
	const help = h("p.muted", "The server's operator sets tokens with ", h("code", "--token TOKEN=USER_ID"),
		". Enter the part before “=”. A cookie stands for it until you close the browser. Commands use the variable ",
		h("code", "$FLOWRUNS_TOKEN"), " in its place.");
	const element = form(submit, h("label", { htmlFor: id }, "Token"), field, h("button.primary", "Use token"), help);
	element.className = "token";
	return element;
}

/** *text* with a button that copies it; *shown* is displayed instead. */
export function codeBlock(text, label, shown = text) {
	return h("div.code", h("pre.command", { tabIndex: 0, ariaLabel: label }, shown),
		button("Copy", () => copy(text, label), { ariaLabel: `Copy: ${label}` }));
}

/** *value* as formatted JSON. */
export function jsonBlock(value, label) {
	const shown = h("span", pretty(JSON.stringify(value)));
	return codeBlock(shown.textContent, label, shown);
}

/** A JSON body, formatted or raw. */
function bodyBlock(text, label) {
	const start = text.slice(0, MAX_BODY);
	if (text.length > MAX_BODY) {
		const [shown, all] = [MAX_BODY, text.length].map((count) => count.toLocaleString("en"));
		const note = `Showing the first ${shown} of ${all} characters. “Copy” copies all of them.`;
		return [h("p.muted", note), codeBlock(text, label, start)];
	}
	const block = h("div");
	const draw = (asSent) => fill(block, codeBlock(text, label, asSent ? start : pretty(text)));
	draw(false);
	return [toggle("Raw", false, draw), block];
}

/** An input for *parameter*: `{element, values()}`. */
function input({ name, required, schema: value }, id) {
	const { schema } = resolve(value);
	const options = schema.items && resolve(schema.items).schema.enum;
	if (options) {
		const onChange = () => element.dispatchEvent(new Event("input", { bubbles: true }));
		const buttons = options.map((option) => toggle(option, false, onChange));
		const element = h("div.chips", { role: "group", id, ariaLabel: name }, buttons);
		return { element, values: () => options.filter((_, at) => buttons[at].ariaPressed === "true") };
	}
	const props = { id, name, required, spellcheck: false, autocomplete: "off" };
	const hint = schema.examples?.[0] ?? (schema.default !== undefined ? `default ${schema.default}` : "");
	const element = schema.enum
		? h("select", props, h("option", { value: "" }, hint), schema.enum.map((option) => h("option", option)))
		: schema.items ? h("textarea", { ...props, rows: 1, placeholder: "one per line" })
		: h("input", { ...props, placeholder: required ? "" : hint, value: required ? hint : "" });
	return { element, values: () => element.value.split("\n").filter((line) => line !== "") };
}

/** The character of *text* at the offset *at* in bytes. */
function characterAt(text, at) {
	const start = new TextDecoder().decode(new TextEncoder().encode(text).slice(0, at)).length;
	return { start, end: start + 1 };
}

/** The characters of *text* for an error detail whose `loc` is *steps*. */
function charactersOf(text, steps) {
	try {
		let node = parse(text);
		for (const step of steps) {
			const child = node.items?.[step] ?? node.entries?.findLast(([key]) => key === step)?.[1];
			if (!child) break; // a missing field: its object
			node = child;
		}
		return node;
	} catch {
		return characterAt(text, 0); // the body was edited
	}
}

/** Fills in *value* as if it was typed. */
export function setValue(field, value) {
	field.value = value;
	field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** The value of a header; an address is a link. */
function headerValue(response, name) {
	const value = response.headers.get(name);
	return name === "location" ? h("a", { href: new URL(value, response.url).href, target: "_blank" }, value) : value;
}

export class RequestForm {
	/** A request of *operation*. *on*: `tokenChanged()` follows a new token, `edit(doc)` loads a run into PUT. */
	constructor(operation, on) {
		Object.assign(this, { operation, on, language: "curl", abort: null });
		const { id, method, parameters, body, streams } = operation;
		this.inputs = parameters.map((parameter) =>
			({ ...parameter, ...input(parameter, `${id}-${parameter.in}-${parameter.name}`) }));
		const types = ["application/json", STREAM].map((type) => h("option", type));
		this.accept = streams && h("select", { id: `${id}-accept`, name: "accept" }, types);
		const example = body && JSON.stringify(resolve(body).schema.examples[0], null, 2);
		this.body = body && h("textarea.editor",
			{ id: `${id}-body`, name: "body", value: example, rows: example.split("\n").length, spellcheck: false });
		this.command = h("div");
		this.response = h("div.response");
		const risk = method === "DELETE" ? ".risk" : "";
		this.panel = h("div.try",
			this.body && [h("label", { htmlFor: this.body.id }, "Body"), this.body],
			h("div.buttons", h(`button.primary${risk}`, { title: "Ctrl+Enter" }, `Send ${method}`),
				this.body && button("Reset body", () => this.setBody(example), { title: "Replace the body with the example" })),
			this.response, h("h4", "The same as code"), this.languages(), this.command);
		this.refresh();
	}

	/** *above*, the panel and *below* as one form: the panel is beside both if there is room. */
	form(above, below) {
		const onsubmit = (event) => {
			event.preventDefault();
			this.send();
		};
		const onkeydown = (event) =>
			event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form?.requestSubmit();
		const listeners = { onsubmit, onkeydown, oninput: () => this.refresh() };
		return (this.element = h("form.columns", listeners, h("div", above), this.panel, h("div", below)));
	}

	setBody(text) {
		this.body.value = text;
		this.refresh();
	}

	/** The request as filled in: `{url, headers, body}`. */
	filled() {
		const of = (place) => this.inputs.filter((item) => item.in === place)
			.flatMap((item) => item.values().map((value) => [item.name, value]));
		const path = of("path").reduce((path, [name, value]) => path.replace(`{${name}}`, encodeId(value)),
			this.operation.path);
		const url = new URL(`..${path}`, BASE);
		url.search = new URLSearchParams(of("query"));
		const headers = Object.fromEntries(of("header"));
		if (this.accept?.value === STREAM) headers.Accept = STREAM;
		if (this.body) headers["Content-Type"] = "application/json";
		return { url: url.href, headers, body: this.body?.value };
	}

	refresh() {
		const { id, method } = this.operation;
		const code = SNIPPETS[this.language]({ ...this.filled(), method, hasToken: hasToken() });
		fill(this.command, codeBlock(code, `${this.language} command for ${id}`));
	}

	languages() {
		const choose = (name) => {
			this.language = name;
			for (const element of chips.children) element.ariaPressed = element.textContent === name;
			this.refresh();
		};
		const chip = (name) => button(name, () => choose(name), { className: "chip", ariaPressed: name === this.language });
		const chips = h("div.chips", { role: "group", ariaLabel: "Language" }, Object.keys(SNIPPETS).map(chip));
		return chips;
	}

	async send() {
		this.abort?.abort();
		const abort = (this.abort = new AbortController());
		const { signal } = abort;
		for (const { element } of this.inputs) element.ariaInvalid = null;
		const dots = this.inputs.find((item) => item.in === "path" && /^\.\.?$/.test(item.values()[0]));
		if (dots) return this.fail("A browser cannot request this ID: it removes “.” and “..” from a URL.");
		fill(this.response, h("p.muted", "Waiting for the response…"));
		const { url, ...options } = this.filled();
		const start = performance.now();
		try {
			const response = await send(url, { method: this.operation.method, ...options, signal, cache: "no-store" });
			if (response.headers.get("content-type")?.startsWith(STREAM)) await this.showEvents(response, start, abort);
			else this.show(response, await response.text(), start);
		} catch (error) {
			if (!signal.aborted) this.fail(`The server did not send a complete response: ${error.message}`);
		}
	}

	fail(text) {
		fill(this.response, h("p.error", { role: "alert" }, text));
	}

	/** The status line and headers of a response. */
	head(response, note) {
		const status = `${response.status} ${response.statusText}`.trim();
		const tone = response.status < 300 ? "good" : response.status < 400 ? "off" : "bad";
		const names = HEADERS.filter((name) => response.headers.has(name));
		announce(`Response: ${status}`);
		return [
			h("h4.status-line", h(`b.${tone}.tone`, status), h("span.muted", note)),
			h("dl.headers", names.map((name) => [h("dt", name), h("dd", headerValue(response, name))])),
		];
	}

	show(response, text, start) {
		const size = new Blob([text]).size.toLocaleString("en");
		const note = `${duration(performance.now() - start)} · ${size} bytes`;
		const json = response.headers.get("content-type")?.startsWith("application/json");
		const detail = json && response.status >= 400 && JSON.parse(text).detail;
		const onToken = () => (this.on.tokenChanged(), this.send());
		fill(this.response, this.head(response, note),
			response.status === 401 && tokenForm(`${this.operation.id}-token`, onToken),
			detail && h("ul.details", detail.map((item) => this.errorDetail(item))),
			this.isRun(response, json) && button("Load this run into PUT", () => this.on.edit(text)),
			text && (json ? bodyBlock(text, "Response body") : codeBlock(text, "Response body")));
		if (response.status === 401) this.response.querySelector("input").focus();
		if (response.status === 201 && json) this.setIds(JSON.parse(text).id);
	}

	/** Whether *response* is a whole run that GET has read. */
	isRun(response, json) {
		const { method, path } = this.operation;
		const isWhole = !/[?&]fields=/.test(response.url);
		return json && response.status === 200 && method === "GET" && path.endsWith("{id_}") && isWhole;
	}

	/** Fills in the ID of a created run in all forms. */
	setIds(id) {
		for (const field of document.querySelectorAll("input[name=id_]")) setValue(field, id);
	}

	/** An error detail, with a button that focuses the input it is about. */
	errorDetail({ loc, msg, type }) {
		const path = loc.map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`)).join("").slice(1);
		const [place, name, ...rest] = loc;
		const isField = (item) => item.in === place && item.name.toLowerCase() === String(name).toLowerCase();
		const field = this.inputs.find(isField)?.element ?? (place === "body" && this.body);
		if (field && field !== this.body) field.ariaInvalid = "true";
		const focus = () => {
			field.focus();
			if (field !== this.body) return;
			const { start, end } = type === "json_invalid" ? characterAt(field.value, name)
				: charactersOf(field.value, [name, ...rest].filter((step) => step !== undefined));
			field.setSelectionRange(start, end);
		};
		const label = field ? button(path, focus, { title: "Go to this value" }) : h("code", path);
		return h("li", label, ` ${msg} `, h("span.muted", type));
	}

	/** Shows the events of a stream as they arrive. */
	async showEvents(response, start, abort) {
		const list = h("ol.events", { tabIndex: 0, ariaLabel: "Events" });
		const status = h("span.muted", "No events yet");
		let count = 0;
		const stop = button("Stop", () => {
			abort.abort();
			end("Stopped");
		});
		const end = (reason) => {
			stop.remove();
			status.textContent = `${reason} after ${plural(count, "event")}`;
			announce(status.textContent);
		};
		const head = this.head(response, duration(performance.now() - start));
		fill(this.response, head, h("div.buttons", stop, status), list);
		const parser = new EventParser(null);
		const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return end("Ended by the server");
			const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30; // else the user is reading
			for (const event of parser.feed(value).filter(({ type }) => type !== "position")) {
				count += 1;
				list.append(this.event(event));
				if (count > MAX_EVENTS) list.firstChild.remove();
			}
			status.textContent = `${plural(count, "event")} · last event ID ${parser.lastId}`;
			if (isAtEnd) list.scrollTop = list.scrollHeight;
		}
	}

	event({ id, type, data }) {
		const draw = () =>
			details.open && details.children.length === 1 && details.append(...bodyBlock(data, `Event ${id}`));
		const note = h("span.muted", ` ${id} · ${timeOfDay(Date.now())} `);
		const details = h("details", { ontoggle: draw },
			h("summary", h("b", type), note, h("code", data.slice(0, 200))));
		return h("li", details);
	}
}
