// What stays up to date, and what the page says of that: a badge, and a banner once the server is gone for a while.

import { Refused, run, runUrl, Unreachable } from "./api.js";
import { button, find, h, refill, say } from "./dom.js";
import { failed, noRun } from "./states.js";
import { backoff, Stream } from "./stream.js";
import { clock, tick, ticking } from "./time.js";

const BRIEF = 1_500; // ms; a restart within them needs no banner
const SAYS = {
	live: "Changes are shown as they happen",
	paused: "Paused while this tab is hidden",
	reconnecting: "The server does not answer; trying again",
};

const states = new Map(); // from who has a connection to {name, since, retryAt, again, error}
let worst = null; // of them
let timer = null;

/** A stream until *signal*, whose state is shown. *on* has `event(event)` and `refused(error)`. */
export function follow(url, position, signal, on) {
	const stream = new Stream(url, position, {
		...on,
		state: (name, more) => report(on, { name, ...more, again: () => (stream.stop(), stream.connect()) }),
		closed: () => report(on, null),
	});
	signal.addEventListener("abort", () => stream.close());
	stream.start();
	return stream;
}

/** Follows the run *id* until *signal*. *on*: `show(doc)`, `replace(state)` if there is no run to show, `refused(error)`. */
export function watch(id, signal, on) {
	let stream = null;
	const fail = (error) => {
		if (!on.refused(error)) on.replace(error.status === 404 ? noRun(id) : failed(error, load));
	};
	const load = () => {
		stream?.close();
		persist(() => run(id, signal), signal, show, fail);
	};
	const does = { run: on.show, deleted: () => on.replace(noRun(id, true)), resync: load };
	const show = ({ doc, position }) => {
		on.show(doc);
		stream = follow(runUrl(id), position, signal, { event: ({ type, data }) => does[type]?.(data), refused: fail });
	};
	load();
}

/** Does *work* until the server answers, then *show* with what it gave, or *fail* with an error; nothing after *signal*. */
export async function persist(work, signal, show, fail) {
	const who = {};
	const since = Date.now();
	for (let failures = 1, done = false; !done && !signal.aborted; failures += 1) {
		try {
			const found = await work();
			done = true;
			if (!signal.aborted) show(found);
		} catch (error) {
			done ||= !(error instanceof Unreachable || error.status >= 500);
			if (signal.aborted) break;
			if (done) fail(error);
			else await new Promise((again) => {
				const wait = backoff(failures, error);
				setTimeout(again, wait);
				signal.addEventListener("abort", again);
				report(who, { name: "reconnecting", since, retryAt: Date.now() + wait, again, error });
			});
		}
	}
	report(who, null);
}

function report(who, state) {
	if (state) states.set(who, state);
	else states.delete(who);
	const all = [...states.values()];
	worst = Object.keys(SAYS).reduce((found, name) => all.find((one) => one.name === name) ?? found, null);
	showBadge(worst?.name);
	if (worst?.name !== "reconnecting") hideBanner();
	else if (find("banner").hidden) timer ??= setTimeout(showBanner, BRIEF);
	else showBanner();
}

function showBadge(name) {
	const badge = find("badge");
	badge.hidden = !name;
	if (!name || badge.textContent === name) return; // said once
	badge.dataset.state = badge.textContent = name;
	badge.title = SAYS[name];
}

function showBanner() {
	const { since, retryAt, again, error } = worst;
	const ago = () => ticking(Date.now() - since);
	const left = () => (retryAt - Date.now() > 500 ? `Trying again in ${Math.ceil((retryAt - Date.now()) / 1_000)} s.` : "Trying again…");
	const banner = find("banner");
	if (banner.hidden) say("The server does not answer. What you see is from before.");
	refill(banner, h("span", error instanceof Refused ? error.message : `The server has not answered since ${clock(since)}`, " (", tick(h("span"), ago), "). What you see is from then."),
		tick(h("span"), left), button("Try now", again));
	banner.hidden = false;
}

function hideBanner() {
	clearTimeout(timer);
	timer = null;
	const banner = find("banner");
	if (!banner.hidden && worst?.name === "live") say("The server answers again.");
	banner.hidden = true;
}
