// The public API, and nothing else: all that the page shows, `curl` can ask for.

/** The page's folder, under whatever prefix it is mounted. */
export const BASE = new URL(document.baseURI);
export const RUNS = new URL("../api/v1/flow-runs", BASE);

const TOKEN = `flowruns.token ${RUNS.pathname}`;

export const TOKENS = "\\s*[!-~]+\\s*"; // what a header can carry, as a field's pattern

/** The server answered, but not with what was asked for. */
export class Refused extends Error {
	constructor(status, detail, retryAfter) {
		super(detail.map((fault) => fault.msg).join("; ") || `status ${status}`);
		Object.assign(this, { status, detail, retryAfter });
	}
}

/** The server did not answer. */
export class Unreachable extends Error {}

let storage = null;
try {
	storage = sessionStorage;
} catch {
	// it is forbidden: the token lasts as long as the page
}
let token = storage?.getItem(TOKEN) ?? null;

export function hasToken() {
	return token !== null;
}

/** Sends *value* from now on. */
export function useToken(value) {
	token = value.trim();
	storage?.setItem(TOKEN, token);
}

/** Takes the token out of `#token=…`: the address bar and the history forget it. */
export function takeToken() {
	const [, found] = /^#token=(.+)/.exec(location.hash) ?? [];
	if (!found) return false;
	history.replaceState(history.state, "", location.pathname + location.search);
	const fits = new RegExp(`^${TOKENS}$`).test(decoded(found));
	if (fits) useToken(decoded(found));
	return fits;
}

/** *text* of a URL; as it stands where it is no URL's. */
export function decoded(text) {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}

/** A response. Throws Unreachable, or AbortError by *signal*. */
export function ask(url, { headers, ...options } = {}) {
	if (token !== null) headers = { ...headers, Authorization: `Bearer ${token}` };
	return reached(fetch(url, { headers, ...options }));
}

/** One of 2xx. Throws Refused too. */
export async function request(url, options) {
	const response = await ask(url, options);
	if (response.ok) return response;
	throw new Refused(response.status, await faults(response), Number(response.headers.get("retry-after")) || null);
}

async function faults(response) {
	try {
		return (await response.json()).detail ?? [];
	} catch {
		return []; // not ours: a proxy's
	}
}

/** What *work* gives, unless the connection fails: that is an Unreachable. */
export async function reached(work) {
	try {
		return await work;
	} catch (error) {
		throw error.name === "AbortError" ? error : new Unreachable(error.message);
	}
}

/** The change number in an ETag, which is where a stream goes on from. */
function position(response) {
	return /^"(.*)"$/.exec(response.headers.get("etag") ?? "")?.[1] ?? null;
}

/** One page of runs, as the contract has it, its *position*, and the second of the server's clock as *date*. */
export async function page(query, signal) {
	const response = await request(at(RUNS, query), { signal });
	return { ...JSON.parse(await reached(response.text())), position: position(response), date: Date.parse(response.headers.get("date")) };
}

/** How many runs *query* chooses. */
export async function total(query) {
	const small = new URLSearchParams(query);
	small.set("size", "1");
	return (await page(small)).total;
}

/** The document of a run as text, since parsing would round its numbers, and its *position*. */
export async function run(id, signal) {
	const response = await request(runUrl(id), { signal });
	return { doc: await reached(response.text()), position: position(response) };
}

export async function remove(id) {
	await request(runUrl(id), { method: "DELETE" });
}

export function runUrl(id) {
	return new URL(`${RUNS.pathname}/${encodeURIComponent(id)}`, RUNS);
}

/** *url* with *query*. */
export function at(url, query) {
	const found = new URL(url);
	found.search = new URLSearchParams(query).toString();
	return found;
}

/** Where the page shows a run. */
export function pageUrl(id, query = {}) {
	return at(new URL(`runs/${encodeURIComponent(id)}`, BASE), query);
}

/** Where the page shows two runs. */
export function compareUrl(a, b) {
	return at(new URL("compare", BASE), { a, b });
}
