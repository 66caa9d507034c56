// Copies, downloads, and curl commands.

import { apiUrl, hasToken, RUNS } from "./api.js";
import { h } from "./dom.js";
import { members, raw } from "./json.js";
import { toast } from "./toasts.js";

const PUT_FIELDS = [
	"id", "flowId", "flowType", "args", "phase", "startTime", "endTime", "actions", "outputs", "logs", "tags",
];

/** *what* names *text* in the notification. */
export async function copy(text, what) {
	let copied = true;
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		// navigator.clipboard needs a secure context, which http://192.168.… is not.
		const area = h("textarea", { value: text });
		document.body.append(area);
		area.select();
		copied = document.execCommand("copy");
		area.remove();
	}
	toast(copied ? `Copied: ${what}` : "The browser does not allow this page to copy");
}

export function download(name, text) {
	const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
	h("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 10_000); // the download has started by then
}

/** A PUT body that recreates a run, with the numbers of *doc* unchanged. */
export function putBody(doc) {
	const fields = members(doc);
	const names = PUT_FIELDS.filter((name) => fields[name]);
	return `{${names.map((name) => `"${name}":${raw(doc, fields[name])}`).join(",")}}`;
}

/** A command that recreates a run. The body is stdin: an argument is limited to 128 KiB. */
export function putCurl(id, doc) {
	const command = `curl -s -X PUT ${shellQuote(apiUrl(id).href)} ${headerOptions()} --data-binary @- <<'JSON'`;
	return `${command}\n${putBody(doc)}\nJSON\n`;
}

export function firstCurl() {
	return `curl -s ${shellQuote(RUNS.href)} ${headerOptions()} -d '{"flowId": "deploy-web", "args": {"ref": "main"}}'`;
}

function headerOptions() {
	// Not the token itself: users share screens.
	const token = hasToken() ? `-H "Authorization: Bearer $FLOWRUNS_TOKEN" ` : "";
	return `${token}-H 'Content-Type: application/json'`;
}

export function shellQuote(text) {
	return /^[\w:/.%-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
