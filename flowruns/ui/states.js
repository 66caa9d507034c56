// Empty states and errors, each with the next step.

import { HttpError, setToken, TOKEN_PATTERN } from "./api.js";
import { button, form, h } from "./dom.js";
import { FILTERS, listUrl } from "./filters.js";
import { copy, firstCurl } from "./share.js";

function state(title, ...children) {
	return h("section.state", h("h1", title), children);
}

/** Grey lines while a view loads; shown after a moment, because most loads are shorter. */
export function skeleton() {
	return h("div.skeleton", { ariaHidden: "true" }, Array.from({ length: 8 }, () => h("i")));
}

function primaryButton(label, onclick) {
	return button(label, onclick, { className: "primary" });
}

/** *rejected*: the server rejected the last token. */
export function tokenState(rejected, done) {
	const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true, pattern: TOKEN_PATTERN,
		"aria-describedby": "token-help" });
	const submit = async () => {
		await setToken(field.value);
		done();
	};
	return state(rejected ? "The server rejected this token" : "This server requires a token",
		form(submit, h("label", "Token ", field), h("button.primary", "Use token")),
		h("p.muted", { id: "token-help" }, "The server's operator sets tokens with ", h("code", "--token TOKEN=USER_ID"),
			". Enter the part before “=”. A cookie stands for it until you close the browser. A link can contain it: append ",
			h("code", "#token=TOKEN"), " to the URL."));
}

export function noRuns() {
	const command = firstCurl();
	return state("No runs yet", h("p", "Create the first run with this command. It appears here automatically."),
		h("pre.command", { tabIndex: 0 }, command), primaryButton("Copy", () => copy(command, "curl command")));
}

export function noMatches(clear) {
	return state("No runs match these filters", h("p", "Matching runs appear here automatically."),
		primaryButton("Clear filters", clear));
}

/** For a 422 response; *drop(name)* removes a parameter. */
export function invalidQuery(error, drop) {
	const canDrop = (name) => ["cursor", "size", "order", ...FILTERS].includes(name);
	return state("The filters in the URL are not valid", h("ul", error.detail.map(({ loc: [, name], msg }) =>
		h("li", h("code", name), ": ", msg, " ", canDrop(name) && button(`Remove ${name}`, () => drop(name))))));
}

/** *deleted*: the stream reported it, and would report a new run. */
export function runNotFound(id, deleted) {
	const hint = deleted ? "If a run with this ID is created again, it appears here." : "It was deleted or never created.";
	return state(deleted ? `${id} was deleted` : `Run not found: ${id}`, h("p", hint),
		h("p", h("a", { href: listUrl() }, "Show all runs")));
}

export function errorState(error, retry) {
	const isOurs = !(error instanceof HttpError);
	if (isOurs) console.error(error);
	return state(isOurs ? "This page has an internal error" : "The server returned an error", h("p", error.message),
		primaryButton("Try again", retry));
}
