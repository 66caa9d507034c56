// Server-sent events by fetch: EventSource cannot send a token, and gives up for good on any answer but 200.

import { reached, Refused, request, Unreachable } from "./api.js";

const SILENCE = 40_000; // ms; the server speaks every 15 s: it was missed twice, and the connection is dead
const WAITS = [0, 500, 1_000, 2_000, 4_000, 8_000, 15_000]; // ms before each attempt; the last one stays
const SETTLED = 5_000; // ms that a connection has to last before the waits begin anew

/** How many ms to wait after so many *failures*: by chance some more, or many tabs come back in step. */
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

	/** The events `{id, type, data}` that *text* completes. */
	feed(text) {
		const had = this.rest;
		this.rest += text;
		// Most pieces of a long document end no line: they are looked through once.
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
		const event = this.data.length > 0 && { id: this.id, type: this.type, data: this.data.join("\n") };
		this.lastId = this.id;
		this.data = [];
		this.type = "";
		return event;
	}
}

/** Follows a URL from a position on until it is closed: through a server that ends and comes back, not while the tab is
 * hidden, as a browser has six connections for all its tabs.
 * *on*: `event({id, type, data})`, `state(name, {since, retryAt, error})`, `refused(error)`, `closed()`. */
export class Stream {
	constructor(url, position, on) {
		Object.assign(this, { url, position, on, failures: 0, since: Date.now(), abort: null, timer: null });
		this.ended = new AbortController();
	}

	start() {
		const { signal } = this.ended;
		const seen = () => {
			if (!document.hidden) return this.connect();
			this.stop();
			this.on.state("paused");
		};
		document.addEventListener("visibilitychange", seen, { signal });
		addEventListener("online", () => this.connect(), { signal });
		seen();
	}

	close() {
		this.ended.abort();
		this.stop();
		this.on.closed();
	}

	stop() {
		clearTimeout(this.timer);
		this.abort?.abort();
		this.abort = null;
	}

	/** Tries at once, unless it is connected. */
	async connect() {
		if (this.abort || document.hidden || this.ended.signal.aborted) return;
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
		const listen = () => {
			clearTimeout(this.timer);
			this.timer = setTimeout(() => abort.abort(), SILENCE);
		};
		listen();
		const headers = { Accept: "text/event-stream", ...(this.position !== null && { "Last-Event-ID": this.position }) };
		const response = await request(this.url, { headers, signal: abort.signal, cache: "no-store" });
		if (!response.headers.get("content-type")?.startsWith("text/event-stream")) throw new Unreachable("no stream");
		const began = Date.now();
		this.on.state("live");
		const parser = new EventParser(this.position);
		const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
		for (;;) {
			const { done, value } = await reached(reader.read());
			if (done) return;
			listen();
			this.since = Date.now();
			if (this.since - began > SETTLED) this.failures = 0;
			for (const event of parser.feed(value)) {
				if (this.abort !== abort) return; // what came before has closed it
				this.tell(event);
			}
			this.position = parser.lastId;
		}
	}

	/** A fault of the page is none of the connection: the console has it, and the stream goes on. */
	tell(event) {
		try {
			this.on.event(event);
		} catch (error) {
			reportError(error);
		}
	}

	retry(error) {
		const wait = backoff(this.failures, error);
		this.failures += 1;
		this.on.state("reconnecting", { since: this.since, retryAt: Date.now() + wait, error });
		this.timer = setTimeout(() => this.connect(), wait);
	}
}
