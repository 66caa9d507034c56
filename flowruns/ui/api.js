// The HTTP client: it uses only the public API.

/** The page's folder: it may be below any prefix. */
export const BASE = new URL(document.baseURI);
export const RUNS = new URL("../api/v1/flow-runs", BASE);
const STATS = new URL("../api/v1/stats", BASE);

const SESSION = new URL("../session", BASE);
const TOKEN_KEY = `flowruns.token ${RUNS.pathname}`;
const COOKIE_KEY = `flowruns.cookie ${RUNS.pathname}`; // set while there is a cookie, which scripts cannot see

export const TOKEN_PATTERN = "\\s*[!-~]+\\s*"; // what a header can carry

/** An error response. */
export class HttpError extends Error {
	constructor(status, detail, retryAfter) {
		super(detail.map(({ msg }) => msg).join("; ") || `status ${status}`);
		Object.assign(this, { status, detail, retryAfter });
	}
}

/** No complete response. */
export class Unreachable extends Error {}

let storage = null;
/** What the browser keeps for all tabs; null if that is blocked: then it lasts until the page is closed. */
export let shared = null;
try {
	[storage, shared] = [sessionStorage, localStorage];
} catch {
	// blocked
}
let token = storage?.getItem(TOKEN_KEY) ?? null; // where the browser keeps no cookie, as in a frame of another site

export function hasToken() {
	return token !== null || Boolean(shared?.getItem(COOKIE_KEY));
}

/** Exchanges the token for a cookie, which all tabs send and no script can read. */
export async function setToken(value) {
	token = value.trim();
	try {
		const { ok } = await send(SESSION, { method: "POST" });
		if (ok && (await fetch(withQuery(RUNS, { size: 1 }), { method: "HEAD" })).ok) token = null;
	} catch {
		// the next request fails, too
	}
	if (token === null) {
		storage?.removeItem(TOKEN_KEY);
		shared?.setItem(COOKIE_KEY, "yes");
	} else storage?.setItem(TOKEN_KEY, token);
}

/** Moves the token in `#token=…` out of the address bar and the history. Resolves to whether it is well-formed. */
export async function takeToken() {
	const [, encoded] = /^#token=(.+)/.exec(location.hash) ?? [];
	if (!encoded) return false;
	history.replaceState(history.state, "", location.pathname + location.search);
	const value = decode(encoded);
	const isValid = new RegExp(`^${TOKEN_PATTERN}$`).test(value);
	if (isValid) await setToken(value);
	return isValid;
}

/** *text* unchanged if it is malformed. */
export function decode(text) {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}

/** Any response. Throws Unreachable. */
export function send(url, { headers, ...options } = {}) {
	if (token !== null) headers = { ...headers, Authorization: `Bearer ${token}` };
	return orUnreachable(fetch(url, { headers, ...options }));
}

/** A 2xx response. Throws HttpError or Unreachable. */
export async function request(url, options) {
	const response = await send(url, options);
	if (response.ok) return response;
	throw new HttpError(response.status, await errorDetail(response), Number(response.headers.get("retry-after")) || null);
}

async function errorDetail(response) {
	try {
		return (await response.json()).detail ?? [];
	} catch {
		return []; // a proxy sent it
	}
}

/** Throws Unreachable if the connection fails. */
export async function orUnreachable(promise) {
	try {
		return await promise;
	} catch (error) {
		throw error.name === "AbortError" ? error : new Unreachable(error.message);
	}
}

/** The change number in the ETag, where a stream starts. A proxy that compresses makes it `W/"7"` or `"7-gzip"`. */
function position(response) {
	return /^(?:W\/)?"(.*?)(?:-(?:gzip|br|deflate|zstd))?"$/.exec(response.headers.get("etag") ?? "")?.[1] ?? null;
}

/** A page of runs, its *position*, and the server's time (whole seconds) as *date*. */
export async function fetchPage(query, signal) {
	const response = await request(withQuery(RUNS, query), { signal });
	const page = JSON.parse(await orUnreachable(response.text()));
	return { ...page, position: position(response), date: Date.parse(response.headers.get("date")) };
}

export async function fetchTotal(query) {
	const params = new URLSearchParams(query);
	params.set("size", "1");
	params.set("fields", "id");
	return (await fetchPage(params)).total;
}

/** The numbers of runs that match *query*: `total`, and by value of `phase`, `flowId`, `flowType` and `tag`. */
export async function fetchStats(query) {
	return JSON.parse(await orUnreachable((await request(withQuery(STATS, query))).text()));
}

/** A run as text, because parsing rounds numbers, and its *position*. *fields*: which ones, if not all. */
export async function fetchRun(id, signal, fields) {
	const response = await request(withQuery(apiUrl(id), fields ? { fields } : {}), { signal });
	return { doc: await orUnreachable(response.text()), position: position(response) };
}

/** Creates a run from *body*, which is JSON text. Returns its id. */
export async function createRun(body) {
	const headers = { "Content-Type": "application/json" };
	const response = await request(RUNS, { method: "POST", headers, body });
	return (await response.json()).id;
}

export async function deleteRun(id) {
	await request(apiUrl(id), { method: "DELETE" });
}

/** *id* as a path segment. Browsers remove `.` and `..` from paths, however they are encoded once. */
export function encodeId(id) {
	return /^\.\.?$/.test(id) ? id.replaceAll(".", "%252E") : encodeURIComponent(id);
}

/** The id of a path segment, also of one that a user has typed. */
export function decodeId(segment) {
	const id = decode(segment);
	return /^(%2E){1,2}$/i.test(id) ? decode(id) : id;
}

export function apiUrl(id) {
	return new URL(`${RUNS.pathname}/${encodeId(id)}`, RUNS);
}

export function withQuery(url, query) {
	const result = new URL(url);
	result.search = new URLSearchParams(query).toString();
	return result;
}

export function runUrl(id, query = {}) {
	return withQuery(new URL(`runs/${encodeId(id)}`, BASE), query);
}

export function compareUrl(a, b) {
	return withQuery(new URL("compare", BASE), { a, b });
}
