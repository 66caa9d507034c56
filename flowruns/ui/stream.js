// Server-sent events by fetch: EventSource cannot send a token, and gives up at any status but 200.

import { HttpError, orUnreachable, request, Unreachable } from "./api.js";

const IDLE_TIMEOUT = 12_000; // ms; the server sends something every 4 s: two are missing
const BACKOFF = [0, 500, 1_000, 2_000, 4_000, 8_000, 15_000]; // ms before each attempt; the last one repeats
const STABLE = 5_000; // ms until a connection resets the backoff

/** The ms to wait, with jitter: tabs must not reconnect all at once. */
export function backoff(failures, error) {
	const wait = error?.retryAfter ? error.retryAfter * 1_000 : BACKOFF[Math.min(failures, BACKOFF.length - 1)];
	return wait * (1 + 0.2 * Math.random());
}

/** HTML standard, "Interpreting an event stream". */
export class EventParser {
	constructor(lastId) {
		this.lastId = this.id = lastId; // of the last complete event, and of the current one
		this.buffer = "";
		this.data = [];
		this.type = "";
	}

	/** The events `{id, type, data}` that *text* completes. */
	feed(text) {
		const before = this.buffer;
		this.buffer += text;
		// Most chunks of a long document have no line end: do not scan the buffer again.
		if (!/[\r\n]/.test(text) && !before.endsWith("\r")) return [];
		const lines = this.buffer.split(/\r\n|\n|\r(?!$)/);
		this.buffer = lines.pop(); // an incomplete line, or one whose \r may be followed by \n
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

/** A subscription to a URL. It reconnects after failures, and disconnects while the tab is hidden: a browser has six
 * connections per host for all tabs.
 * *on*: `event({id, type, data})`, `state(name, {since, retryAt, error})`, `failed(error)`, `closed()`. */
export class Stream {
	constructor(url, position, on) {
		Object.assign(this, { url, position, on, failures: 0, since: Date.now(), abort: null, timer: null });
		this.lifetime = new AbortController();
	}

	start() {
		const { signal } = this.lifetime;
		const onVisibility = () => {
			if (!document.hidden) return this.connect();
			this.disconnect();
			this.on.state("paused");
		};
		document.addEventListener("visibilitychange", onVisibility, { signal });
		addEventListener("online", () => this.connect(), { signal });
		onVisibility();
	}

	close() {
		this.lifetime.abort();
		this.disconnect();
		this.on.closed();
	}

	disconnect() {
		clearTimeout(this.timer);
		this.abort?.abort();
		this.abort = null;
	}

	async connect() {
		if (this.abort || document.hidden || this.lifetime.signal.aborted) return;
		const abort = (this.abort = new AbortController());
		const error = await this.read(abort).catch((caught) => caught);
		if (this.abort !== abort) return; // closed or paused
		this.disconnect();
		if (error instanceof HttpError && error.status < 500) {
			this.close();
			this.on.failed(error);
		} else this.retry(error);
	}

	async read(abort) {
		const restartTimer = () => {
			clearTimeout(this.timer);
			this.timer = setTimeout(() => abort.abort(), IDLE_TIMEOUT);
		};
		restartTimer();
		const headers = { Accept: "text/event-stream", ...(this.position !== null && { "Last-Event-ID": this.position }) };
		const response = await request(this.url, { headers, signal: abort.signal, cache: "no-store" });
		const type = response.headers.get("content-type");
		if (!type?.startsWith("text/event-stream")) throw new Unreachable("the response is not an event stream");
		const start = Date.now();
		this.on.state("live");
		const parser = new EventParser(this.position);
		const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
		for (;;) {
			const { done, value } = await orUnreachable(reader.read());
			if (done) return;
			restartTimer();
			this.since = Date.now();
			if (this.since - start > STABLE) this.failures = 0;
			for (const event of parser.feed(value)) {
				if (this.abort !== abort) return; // an earlier event closed the stream
				if (event.type !== "position") this.dispatch(event);
			}
			this.position = parser.lastId;
		}
	}

	/** An error of the listener does not end the stream. */
	dispatch(event) {
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
