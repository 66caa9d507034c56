// What stands in the place of runs that are not there, and says what to do.

import { Refused, TOKENS, useToken } from "./api.js";
import { button, form, h } from "./dom.js";
import { FILTERS, listUrl } from "./filters.js";
import { copy, firstCurl } from "./share.js";

function state(title, ...children) {
	return h("section.state", h("h1", title), children);
}

function act(label, does) {
	return button(label, does, { className: "primary" });
}

/** Asks for a token; *then* is called once there is one. *wrong*: the one that was sent does not fit. */
export function askToken(wrong, then) {
	const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true, pattern: TOKENS, "aria-describedby": "token-help" });
	const use = () => {
		useToken(field.value);
		then();
	};
	return state(wrong ? "This token does not fit" : "This server asks for a token",
		form(use, h("label", "Token ", field), h("button.primary", "Use it")),
		h("p.muted", { id: "token-help" }, "It stands before the = in --token TOKEN=USER_ID. This tab keeps it until it is closed; a link that ends in ",
			h("code", "#token=TOKEN"), " brings it along."));
}

/** There is no run at all. */
export function noRuns() {
	const command = firstCurl();
	return state("No runs yet", h("p", "This makes the first one, and it appears here:"),
		h("pre.command", { tabIndex: 0 }, command), act("Copy", () => copy(command, "The command")));
}

/** There are runs, but none that fits. */
export function noneFits(clear) {
	return state("No run fits these filters", h("p", "One that does is shown here as soon as there is one."), act("Clear the filters", clear));
}

/** The server refuses a query; *drop* goes on without one of its parameters. */
export function wrongQuery(error, drop) {
	return state("The server does not take these filters", h("ul", error.detail.map(({ loc: [, name], msg }) =>
		h("li", h("code", name), ": ", msg, " ", ["cursor", "size", "order", ...FILTERS].includes(name) && button(`Remove ${name}`, () => drop(name))))));
}

/** There is no such run; *deleted*: its stream has just said so, and goes on. */
export function noRun(id, deleted) {
	const why = deleted ? "If it is made again, it appears here." : "It was deleted, or never made, or its id is written in another way.";
	return state(deleted ? `${id} was deleted` : `There is no run ${id}`, h("p", why), h("p", h("a", { href: listUrl() }, "To the list of runs")));
}

/** Anything else. */
export function failed(error, again) {
	const ours = !(error instanceof Refused);
	if (ours) console.error(error);
	return state(ours ? "This page has a fault" : "The server could not answer", h("p", error.message), act("Try again", again));
}
