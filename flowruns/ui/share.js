// What leaves the page: copies, files, and commands that do the same.

import { hasToken, RUNS, runUrl } from "./api.js";
import { h } from "./dom.js";
import { members, raw } from "./json.js";
import { toast } from "./toasts.js";

const PUT_FIELDS = ["id", "flowId", "flowType", "args", "phase", "startTime", "endTime", "actions", "outputs", "logs", "tags"];

/** Puts *text* on the clipboard, and says that *what* is there. */
export async function copy(text, what) {
	let done = true;
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		// It is for secure pages only, which http://192.168.… is not.
		const area = h("textarea", { value: text });
		document.body.append(area);
		area.select();
		done = document.execCommand("copy");
		area.remove();
	}
	toast(done ? `${what} copied` : "This browser does not let the page copy");
}

/** Saves *text* as the file *name*. */
export function download(name, text) {
	const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
	h("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 10_000); // the browser has begun by then
}

/** The body that makes a run again, of the bytes of *doc*. */
export function putBody(doc) {
	const found = members(doc);
	const kept = PUT_FIELDS.filter((name) => found[name]);
	return `{${kept.map((name) => `"${name}":${raw(doc, found[name])}`).join(",")}}`;
}

/** The command that makes a run again. The body goes by standard input: an argument may have 128 KiB. */
export function putCurl(id, doc) {
	const head = `curl -s -X PUT ${quoted(runUrl(id).href)} ${headers()} --data-binary @- <<'JSON'`;
	return `${head}\n${putBody(doc)}\nJSON\n`;
}

/** The command that makes a first run. */
export function firstCurl() {
	return `curl -s ${quoted(RUNS.href)} ${headers()} -d '{"flowId": "deploy-web", "args": {"ref": "main"}}'`;
}

function headers() {
	const token = hasToken() ? `-H "Authorization: Bearer $FLOWRUNS_TOKEN" ` : ""; // not itself: screens are shared
	return `${token}-H 'Content-Type: application/json'`;
}

export function quoted(text) {
	return /^[\w:/.%-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
