// The chosen rows of the list: deletes them, or compares two.

import { compareUrl } from "./api.js";
import { button, fill, h, plural } from "./dom.js";
import { deleteLater } from "./toasts.js";

export class Selection {
	/** *rows()*: the rows of the list. */
	constructor(rows) {
		this.rows = rows;
		this.element = h("div.selection", { role: "group", ariaLabel: "Selected runs", hidden: true });
	}

	get chosen() {
		return this.rows().filter(({ box }) => box.checked);
	}

	get ids() {
		return this.chosen.map(({ run }) => run.id);
	}

	clear() {
		for (const { box } of this.chosen) box.checked = false;
		this.draw();
	}

	draw() {
		const { ids } = this;
		this.element.hidden = ids.length === 0;
		const remove = () => {
			deleteLater(ids);
			this.clear();
		};
		fill(this.element, `${plural(ids.length, "run")} selected`,
			ids.length === 2 && h("a.button", { href: compareUrl(...ids) }, "Compare"),
			button("Delete", remove, { className: "danger" }), button("Clear", () => this.clear(), { className: "quiet" }));
	}
}
