// Live updates, and a badge and a banner with the state of the connection.

import { apiUrl, fetchRun, HttpError, Unreachable } from "./api.js";
import { announce, button, byId, h, refill } from "./dom.js";
import { errorState, runNotFound } from "./states.js";
import { backoff, Stream } from "./stream.js";
import { tick, timeOfDay, wholeSeconds } from "./time.js";

const GRACE = 1_500; // ms without a banner: a restart is shorter
const TITLES = { // from best to worst
	live: "Changes appear as they happen",
	paused: "Updates are paused while this tab is hidden",
	reconnecting: "The server is not responding. Retrying.",
};

let contact = Date.now(); // when the server sent something last; a page that loads has just come from it
const states = new Map(); // from connection to {name, since, retryAt, retry, error}
let worst = null; // of all states
let timer = null;

/** A stream until *signal* whose state is shown. *on*: `event(event)`, `failed(error)`. */
export function subscribe(url, position, signal, on) {
	const stream = new Stream(url, position, {
		...on,
		state: (name, more) => setState(on, { name, ...more, retry: () => (stream.disconnect(), stream.connect()) }),
		closed: () => {
			contact = Math.max(contact, stream.since);
			setState(on, null);
		},
	});
	signal.addEventListener("abort", () => stream.close());
	stream.start();
	return stream;
}

/** Shows a run and its changes until *signal*. *on*: `show(doc)`, `replace(state)`, `unauthorized(error)`. */
export function watchRun(id, signal, on) {
	let stream = null;
	const fail = (error) => {
		if (!on.unauthorized(error)) on.replace(error.status === 404 ? runNotFound(id) : errorState(error, load));
	};
	const load = () => {
		stream?.close();
		retry(() => fetchRun(id, signal), signal, show, fail);
	};
	const handlers = { run: on.show, deleted: () => on.replace(runNotFound(id, true)), resync: load };
	const show = ({ doc, position }) => {
		on.show(doc);
		const event = ({ type, data }) => handlers[type]?.(data);
		stream = subscribe(apiUrl(id), position, signal, { event, failed: fail });
	};
	load();
}

/** Calls *send* until the server responds, then *show(result)* or *fail(error)*; neither after *signal*. */
export async function retry(send, signal, show, fail) {
	const connection = {};
	for (let failures = 1, done = false; !done && !signal.aborted; failures += 1) {
		try {
			const result = await send();
			done = true;
			contact = Date.now();
			if (!signal.aborted) show(result);
		} catch (error) {
			done ||= !(error instanceof Unreachable || error.status >= 500);
			if (signal.aborted) break;
			if (done) fail(error);
			else await new Promise((resolve) => {
				const wait = backoff(failures, error);
				setTimeout(resolve, wait);
				signal.addEventListener("abort", resolve);
				const retryAt = Date.now() + wait;
				setState(connection, { name: "reconnecting", since: contact, retryAt, retry: resolve, error });
			});
		}
	}
	setState(connection, null);
}

function setState(connection, state) {
	if (state) states.set(connection, state);
	else states.delete(connection);
	const all = [...states.values()];
	worst = Object.keys(TITLES).reduce((last, name) => all.find((item) => item.name === name) ?? last, null);
	showBadge(worst?.name);
	if (worst?.name !== "reconnecting") hideBanner();
	else if (byId("banner").hidden) timer ??= setTimeout(showBanner, GRACE);
	else showBanner();
}

function showBadge(name) {
	const badge = byId("badge");
	badge.hidden = !name;
	if (!name || badge.textContent === name) return; // screen readers would repeat it
	badge.dataset.state = badge.textContent = name;
	badge.title = TITLES[name];
}

function showBanner() {
	const { since, retryAt, retry, error } = worst;
	const elapsed = () => wholeSeconds(Date.now() - since);
	const left = () => Math.ceil((retryAt - Date.now()) / 1_000);
	const next = () => (retryAt - Date.now() > 500 ? `Retrying in ${left()} s.` : "Retrying…");
	const isResponse = error instanceof HttpError;
	const problem = `The server has ${isResponse ? "returned errors" : "not responded"} since ${timeOfDay(since)} (`;
	const banner = byId("banner");
	const effect = byId("main").querySelector(".skeleton") ? "This view appears once the server responds."
		: "This page may be out of date.";
	if (banner.hidden) announce(`The server is not responding. ${effect}`);
	refill(banner, h("span", problem, tick(h("span"), elapsed), ")", isResponse && `: ${error.message}`,
		`. ${effect}`), tick(h("span"), next), button("Retry now", retry));
	banner.hidden = false;
}

function hideBanner() {
	clearTimeout(timer);
	timer = null;
	const banner = byId("banner");
	if (!banner.hidden && worst?.name === "live") announce("The server is responding again.");
	banner.hidden = true;
}
