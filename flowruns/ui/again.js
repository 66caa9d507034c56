// Sends a run again: a new run of the same flow, with args and tags that can be edited.

import { createRun, runUrl } from "./api.js";
import { announce, button, fill, form, h } from "./dom.js";
import { members, raw } from "./json.js";
import { pretty } from "./pretty.js";

/** Opens the dialog for the document *doc*; *navigate(url)* opens the new run. */
export function sendAgain(doc, navigate) {
	const { flowId, tags } = JSON.parse(doc);
	const args = raw(doc, members(doc).args);
	const flow = h("input", { id: "again-flow", value: flowId, required: true, spellcheck: false, autocomplete: "off" });
	const argsField = h("textarea.editor", { id: "again-args", spellcheck: false, rows: 12,
		value: args === "null" ? "{}" : h("pre", pretty(args)).textContent });
	const tagsField = h("textarea.editor", { id: "again-tags", spellcheck: false, rows: 3,
		value: (tags ?? []).map(({ key, value }) => `${key}:${value}`).join("\n") });
	const problem = h("p.error", { role: "alert" });
	const send = h("button.primary", "Send");
	const submit = async () => {
		send.disabled = true;
		try {
			const id = await createRun(bodyOf(flow.value.trim(), argsField.value, tagsField.value));
			dialog.close();
			announce(`Run ${id} was created`);
			navigate(runUrl(id));
		} catch (error) {
			fill(problem, error.message);
			send.disabled = false;
		}
	};
	const label = (field, text) => h("label", { htmlFor: field.id }, text);
	const dialog = h("dialog.again", { "aria-labelledby": "again-title", onclose: () => dialog.remove() },
		h("h2", { id: "again-title" }, "Send again"),
		h("p.muted", "This creates a new self-service run, as the portal does. The old run stays."),
		form(submit, label(flow, "Flow"), flow, label(argsField, "Args (JSON)"), argsField,
			label(tagsField, "Tags (one key:value per line)"), tagsField, problem,
			h("div.buttons", send, button("Cancel", () => dialog.close()))));
	document.body.append(dialog);
	dialog.showModal();
	send.focus();
}

/** The body of the POST. *args* is sent as it stands: JavaScript would round its numbers. Throws if it is no object. */
function bodyOf(flowId, args, tags) {
	let value;
	try {
		value = JSON.parse(args);
	} catch (error) {
		throw new Error(`The args are not JSON: ${error.message}`);
	}
	if (value?.constructor !== Object) throw new Error("The args must be a JSON object, like {}");
	const pairs = tags.split("\n").filter((line) => line.trim()).map(tagOf);
	return `{"flowId":${JSON.stringify(flowId)},"args":${args},"tags":${JSON.stringify(pairs)}}`;
}

function tagOf(line) {
	const [, key, value] = /^(.*?):(.*)$/.exec(line) ?? [];
	if (key === undefined) throw new Error(`A tag needs a colon: ${line}`);
	return { key, value };
}
