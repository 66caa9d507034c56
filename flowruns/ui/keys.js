// Keyboard shortcuts: each view has a table of keys.

import { button, h } from "./dom.js";

const HELP = {
	"/": "Focus the search box",
	"j k": "Next or previous run",
	x: "Select the run",
	Enter: "Open the run",
	Esc: "Leave a field, close a menu or go back",
	"1 2 3 4 5": "Show timeline, logs, args, outputs or JSON",
	"n N": "Next or previous match or error in the log",
	"g G": "Go to the start or the end",
	"?": "Show this help",
};
const FIELDS = new Set(["INPUT", "TEXTAREA", "SELECT"]);

let handlers = {};

/** *table*: from key to function. */
export function setKeys(table) {
	handlers = table;
}

document.addEventListener("keydown", (event) => {
	const { key, target } = event;
	const isIgnored = event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented;
	if (isIgnored || document.querySelector("dialog") || (FIELDS.has(target.tagName) && key !== "Escape")) return;
	const handler = { "?": showKeys, ...handlers, Escape: () => onEscape(target) }[key];
	if (!handler) return;
	event.preventDefault();
	handler();
});

/** Esc closes an open menu, else leaves a field, else calls the view's handler. */
function onEscape(target) {
	const menu = document.querySelector("details.menu[open]");
	if (menu) {
		menu.open = false;
		menu.querySelector("summary").focus();
	} else if (FIELDS.has(target.tagName)) target.blur();
	else handlers.Escape?.();
}

document.addEventListener("click", (event) => {
	for (const menu of document.querySelectorAll("details.menu[open]")) {
		if (!menu.contains(event.target)) menu.open = false;
	}
});

export function showKeys(_, help = HELP) {
	const row = ([keys, text]) =>
		h("tr", h("th", { scope: "row" }, keys.split(" ").map((key) => h("kbd", key))), h("td", text));
	const dialog = h("dialog", { "aria-labelledby": "keys", onclose: () => dialog.remove() },
		h("h2", { id: "keys" }, "Keyboard shortcuts"), h("table", h("tbody", Object.entries(help).map(row))),
		button("Close", () => dialog.close()));
	document.body.append(dialog);
	dialog.showModal();
}
