// The keyboard: each view does those keys that it has a function for.

import { button, h } from "./dom.js";

const TABLE = {
	"/": "search or filter",
	"j k": "next run, the one before",
	Enter: "open the run",
	Esc: "back",
	"1 2 3 4": "timeline, logs, args, outputs",
	"n N": "next error or match of the search, the one before",
	"g G": "to the top, to the end",
	"?": "these keys",
};
const TYPED = new Set(["INPUT", "TEXTAREA", "SELECT"]);

let view = {};

/** From now on each key that *table* has calls its function. */
export function useKeys(table) {
	view = table;
}

document.addEventListener("keydown", (event) => {
	if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog")) return;
	if (TYPED.has(event.target.tagName) && event.key !== "Escape") return;
	const does = { "?": showKeys, ...view, Escape: () => leave(event.target) }[event.key];
	if (!does) return;
	event.preventDefault();
	does();
});

/** Esc leaves what is innermost: an open menu, a field, then the view. */
function leave(target) {
	const menu = document.querySelector("details.menu[open]");
	if (menu) {
		menu.open = false;
		menu.querySelector("summary").focus();
	} else if (TYPED.has(target.tagName)) target.blur();
	else view.Escape?.();
}

document.addEventListener("click", (event) => {
	for (const menu of document.querySelectorAll("details.menu[open]")) {
		if (!menu.contains(event.target)) menu.open = false;
	}
});

/** The keys, in a dialog. */
export function showKeys(_, names = TABLE) {
	const dialog = h("dialog", { "aria-labelledby": "keys", onclose: () => dialog.remove() }, h("h2", { id: "keys" }, "Keys"),
		h("table", h("tbody", Object.entries(names).map(([keys, does]) =>
			h("tr", h("th", { scope: "row" }, keys.split(" ").map((key) => h("kbd", key))), h("td", does))))),
		button("Close", () => dialog.close()));
	document.body.append(dialog);
	dialog.showModal();
}
