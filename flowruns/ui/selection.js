// The chosen rows of the list: deletes them, or compares two.

import { compareUrl } from "./api.js";
import { button, fill, h, plural } from "./dom.js";
import { deleteLater } from "./toasts.js";

export class Selection {
	/** *rows()*: the rows of the list. `all` is a checkbox that selects them. */
	constructor(rows) {
		this.rows = rows;
		this.all = h("input", { type: "checkbox", ariaLabel: "All runs on this page",
			onchange: () => this.select(() => this.all.checked) });
		this.element = h("div.selection", { role: "group", ariaLabel: "Selected runs", hidden: true });
	}

	/** Selects the rows for which *isChosen(row)*, and no others. */
	select(isChosen) {
		for (const row of this.rows()) row.box.checked = isChosen(row);
		this.draw();
	}

	draw() {
		const ids = this.rows().filter(({ box }) => box.checked).map(({ run }) => run.id);
		const count = this.rows().length;
		this.all.checked = count > 0 && ids.length === count;
		this.all.indeterminate = ids.length > 0 && ids.length < count;
		this.element.hidden = ids.length === 0;
		const clear = () => this.select(() => false);
		const remove = () => {
			// The rows may be new ones by then, and others may be selected.
			deleteLater(ids, { undone: () => this.select(({ box, run }) => box.checked || ids.includes(run.id)) });
			clear();
		};
		fill(this.element, `${plural(ids.length, "run")} selected`,
			ids.length === 2 && h("a.button", { href: compareUrl(...ids) }, "Compare"),
			button("Delete", remove, { className: "danger" }), button("Clear", clear, { className: "quiet" }));
	}
}
