// The menu of columns: which ones the list shows, kept by the browser.

import { shared } from "./api.js";
import { h } from "./dom.js";

const KEY = "flowruns.hidden";
const NAMES = { type: "Type", tags: "Tags", started: "Started", took: "Duration", issues: "Issues" };

const hidden = new Set((shared?.getItem(KEY) ?? "type").split(" ").filter((name) => NAMES[name]));

/** Shows and hides the columns of *table*. */
export function applyColumns(table) {
	for (const name of Object.keys(NAMES)) table.classList.toggle(`no-${name}`, hidden.has(name));
}

export function columnsMenu(table) {
	const choice = ([name, title]) => {
		const onchange = ({ target }) => {
			hidden[target.checked ? "delete" : "add"](name);
			shared?.setItem(KEY, [...hidden].join(" "));
			applyColumns(table);
		};
		return h("label", h("input", { type: "checkbox", checked: !hidden.has(name), onchange }), " ", title);
	};
	applyColumns(table);
	return h("details.menu.right.columns", h("summary", "Columns"), h("div.panel", Object.entries(NAMES).map(choice)));
}
