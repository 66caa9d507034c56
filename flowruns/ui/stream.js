// Server-sent events by fetch: EventSource cannot send a token, and gives up for good on any answer but 200.

import { Refused, request, Unreachable } from "./api.js";

const SILENCE = 40_000; // ms; the server says something every 15 s: two were missed, and the connection is dead
const WAITS = [0, 500, 1_000, 2_000, 4_000, 8_000, 15_000]; // ms before each attempt; the last one stays
const SETTLED = 5_000; // ms that a connection has to last before the waits begin anew

/** How long to wait, in ms, after so many *failures*: by chance a bit more, or many tabs come back in step. */
export function backoff(failures, error) {
	const wait = error?.retryAfter ? error.retryAfter * 1_000 : WAITS[Math.min(failures, WAITS.length - 1)];
	return wait * (1 + 0.2 * Math.random());
}

/** Bytes to events, as the HTML standard says ("Interpreting an event stream"). */
export class EventParser {
	constructor(lastId) {
		this.lastId = this.id = lastId; // of the last event that is complete, and of the one that is not
		this.rest = "";
		this.data = [];
		this.type = "";
	}

	/** The events `{type, data}` that *text* completes. */
	feed(text) {
		const had = this.rest;
		this.rest += text;
		// Most pieces of a long document end no line: they are added up, and looked through once.
		if (!/[\r\n]/.test(text) && !had.endsWith("\r")) return [];
		const lines = this.rest.split(/\r\n|\n|\r(?!$)/);
		this.rest = lines.pop(); // the start of a line, or one whose \r may yet be followed by \n
		return lines.map((line) => this.line(line)).filter(Boolean);
	}

	line(line) {
		if (line === "") return this.dispatch();
		const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
		if (name === "data") this.data.push(value);
		else if (name === "event") this.type = value;
		else if (name === "id") this.id = value;
		return null;
	}

	dispatch() {
		const event = this.data.length > 0 && { type: this.type, data: this.data.join("\n") };
		this.lastId = this.id;
		this.data = [];
		this.type = "";
		return event;
	}
}

/** Follows a URL from a position on, until it is closed: through a server that ends and comes back, and not while the
 * tab is hidden, since a browser has six connections for all its tabs.
 * *on* has `event({type, data})`, `state(name, {since, retryAt, error})`, `refused(error)` and `closed()`. */
export class Stream {
	constructor(url, position, on) {
		Object.assign(this, { url, position, on, failures: 0, since: null, abort: null, timer: null });
		this.ended = new AbortController();
	}

	start() {
		const { signal } = this.ended;
		const seen = () => (document.hidden ? this.pause() : this.connect());
		document.addEventListener("visibilitychange", seen, { signal });
		addEventListener("online", () => this.connect(), { signal });
		seen();
	}

	close() {
		this.ended.abort();
		this.stop();
		this.on.closed();
	}

	pause() {
		this.stop();
		this.on.state("paused");
	}

	stop() {
		clearTimeout(this.timer);
		this.abort?.abort();
		this.abort = null;
	}

	/** Tries at once, unless it is connected. */
	async connect() {
		if (this.abort || document.hidden || this.ended.signal.aborted) return;
		clearTimeout(this.timer);
		const abort = (this.abort = new AbortController());
		const error = await this.read(abort).catch((caught) => caught);
		if (this.abort !== abort) return; // closed or paused meanwhile
		this.stop();
		if (error instanceof Refused && error.status < 500) {
			this.close();
			this.on.refused(error);
		} else this.retry(error);
	}

	async read(abort) {
		const headers = { Accept: "text/event-stream", ...(this.position !== null && { "Last-Event-ID": this.position }) };
		const response = await request(this.url, { headers, signal: abort.signal, cache: "no-store" });
		if (!response.headers.get("content-type")?.startsWith("text/event-stream")) throw new Unreachable("no stream");
		const began = Date.now();
		this.since = null;
		this.on.state("live");
		const parser = new EventParser(this.position);
		const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
		for (;;) {
			const silence = setTimeout(() => abort.abort(), SILENCE);
			const { done, value } = await reader.read().finally(() => clearTimeout(silence));
			if (done) return;
			if (Date.now() - began > SETTLED) this.failures = 0;
			for (const event of parser.feed(value)) {
				if (this.abort !== abort) return; // what came before has closed it
				this.on.event(event);
			}
			this.position = parser.lastId;
		}
	}

	retry(error) {
		this.since ??= Date.now();
		const wait = backoff(this.failures, error);
		this.failures += 1;
		this.on.state("reconnecting", { since: this.since, retryAt: Date.now() + wait, error });
		this.timer = setTimeout(() => this.connect(), wait);
	}
}
