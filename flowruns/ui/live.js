// What the page says of its connection: one badge, and a banner once the server has been gone for a while.

import { Refused, Unreachable } from "./api.js";
import { button, fill, find, h, say } from "./dom.js";
import { backoff, Stream } from "./stream.js";
import { clock, tick, ticking } from "./time.js";

const BRIEF = 1_500; // ms; a server that restarts within them needs no banner
const SAYS = {
	live: "Changes are shown as they happen",
	paused: "Paused while this tab is hidden",
	reconnecting: "The server does not answer; trying again",
};

const states = new Map(); // from who has a connection to {name, since, retryAt, again, error}
let goneSince = null;
let timer = null;

/** A stream whose state is shown until it is closed. *on* has `event(event)` and `refused(error)`. */
export function follow(url, position, on) {
	const stream = new Stream(url, position, {
		...on,
		state: (name, more) => report(on, { name, ...more, again: () => stream.connect() }),
		closed: () => report(on, null),
	});
	stream.start();
	return stream;
}

/** What *work* gives, once the server answers: it is asked again and again. Throws Refused and, by *signal*, AbortError. */
export async function persist(work, signal) {
	const who = {};
	const since = Date.now();
	try {
		for (let failures = 0; ; failures += 1) {
			try {
				return await work();
			} catch (error) {
				if (!(error instanceof Unreachable || (error instanceof Refused && error.status >= 500))) throw error;
				const wait = backoff(failures + 1, error);
				await new Promise((again, failed) => {
					setTimeout(again, wait);
					signal.addEventListener("abort", () => failed(signal.reason));
					report(who, { name: "reconnecting", since, retryAt: Date.now() + wait, again, error });
				});
			}
		}
	} finally {
		report(who, null);
	}
}

function report(who, state) {
	if (state) states.set(who, state);
	else states.delete(who);
	const all = [...states.values()];
	const worst = Object.keys(SAYS).reduce((found, name) => all.find((one) => one.name === name) ?? found, null);
	showBadge(worst?.name);
	clearTimeout(timer);
	if (worst?.name === "reconnecting") timer = setTimeout(() => showBanner(worst), Math.max(0, worst.since + BRIEF - Date.now()));
	else hideBanner(worst?.name === "live");
}

function showBadge(name) {
	const badge = find("badge");
	badge.hidden = !name;
	if (!name || badge.textContent === name) return; // said once
	badge.dataset.state = badge.textContent = name;
	badge.title = SAYS[name];
}

function showBanner({ since, retryAt, again, error }) {
	const ago = () => ticking(Date.now() - since);
	const left = () => (retryAt - Date.now() > 500 ? `Trying again in ${Math.ceil((retryAt - Date.now()) / 1_000)} s.` : "Trying again…");
	if (goneSince === null) say("The server does not answer. What you see is from before.");
	goneSince = since;
	const banner = find("banner");
	fill(banner, h("span", error instanceof Refused ? error.message : `The server has not answered since ${clock(since)}`, " (", tick(h("span"), ago), "). What you see is from then."),
		tick(h("span"), left), button("Try now", again));
	banner.hidden = false;
}

function hideBanner(lives) {
	find("banner").hidden = true;
	if (goneSince !== null && lives) say("The server answers again.");
	goneSince = null;
}
