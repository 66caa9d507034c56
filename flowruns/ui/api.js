// The public API, and nothing else: all that the page shows, `curl` can ask for.

/** The folder of the page, under whatever prefix the service is mounted. */
export const BASE = new URL(document.baseURI);
export const RUNS = new URL("../api/v1/flow-runs", BASE);

const TOKEN = `flowruns.token ${RUNS.pathname}`;

/** The server answered, but not with what was asked for. */
export class Refused extends Error {
	constructor(status, detail, retryAfter) {
		super(detail.map((fault) => fault.msg).join("; ") || `status ${status}`);
		Object.assign(this, { status, detail, retryAfter });
	}
}

/** The server did not answer. */
export class Unreachable extends Error {}

let token = null;
try {
	token = sessionStorage.getItem(TOKEN);
} catch {
	// storage is forbidden: the token lasts as long as the page
}

export function hasToken() {
	return token !== null;
}

/** Sends *value* from now on. */
export function useToken(value) {
	token = value;
	try {
		sessionStorage.setItem(TOKEN, value);
	} catch {
		// as above
	}
}

/** Takes the token out of `#token=…`: the address bar and the history forget it. */
export function takeToken() {
	const found = new URLSearchParams(location.hash.slice(1)).get("token");
	if (!found) return false;
	useToken(found);
	history.replaceState(history.state, "", location.pathname + location.search);
	return true;
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
async function reached(work) {
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

/** One page of runs, as the contract has it, and its *position*. */
export async function page(query, signal) {
	const response = await request(at(RUNS, query), { signal });
	return { ...JSON.parse(await reached(response.text())), position: position(response) };
}

/** How many runs *query* chooses. */
export async function total(query, signal) {
	const small = new URLSearchParams(query);
	small.set("size", "1");
	return (await page(small, signal)).total;
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
export function pageUrl(id, query) {
	return at(new URL(`runs/${encodeURIComponent(id)}`, BASE), query ?? {});
}

/** Where the page shows two runs. */
export function compareUrl(a, b) {
	return at(new URL("compare", BASE), { a, b });
}
