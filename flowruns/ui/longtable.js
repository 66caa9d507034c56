// The rows of a table that can be long: only those near the view are in the document.

import { h } from "./dom.js";

const SIZE = 50; // rows of a chunk
const AT_ONCE = 2; // chunks that are drawn before the browser knows which are near
const MARGIN = "1500px 0px"; // around the view

const observer = new IntersectionObserver((entries) => {
	for (const { target, isIntersecting } of entries) {
		if (!target.isConnected) observer.unobserve(target); // its items may be gone, too
		else if (isIntersecting) target.draw();
		else if (!target.contains(document.activeElement)) target.empty();
	}
}, { rootMargin: MARGIN });

/** Shows *items* in *table*, below its head. *row(item)* creates a row; *height*: its px, about. */
export function setRows(table, items, row, height) {
	const old = [...table.tBodies];
	const chunks = [];
	for (let from = 0; from < items.length; from += SIZE) {
		const last = old[chunks.length]; // at the same place: what is below stays where it is
		const body = chunk(items.slice(from, from + SIZE), row, last?.rowHeight() || height);
		if (chunks.length < AT_ONCE || last?.isDrawn) body.draw();
		else body.empty();
		chunks.push(body);
	}
	for (const body of old) {
		observer.unobserve(body);
		body.remove();
	}
	table.append(...chunks);
	for (const body of chunks) observer.observe(body);
}

/** A `tbody`: `draw()` creates its rows, `empty()` leaves their height, `rowHeight()` is 0 before it is laid out. */
function chunk(items, row, height) {
	const body = h("tbody.chunk");
	body.rowHeight = () => body.offsetHeight / items.length;
	const show = (isDrawn, rows) => {
		if (body.isDrawn === isDrawn) return;
		body.isDrawn = isDrawn;
		body.replaceChildren(...rows());
	};
	body.draw = () => show(true, () => items.map(row));
	body.empty = () => show(false, () => {
		const space = h("tr", { ariaHidden: "true" });
		space.style.height = `${(body.rowHeight() || height) * items.length}px`;
		return [space];
	});
	return body;
}

addEventListener("beforeprint", () => { // paper has all rows
	for (const body of document.querySelectorAll(".chunk")) body.draw();
});
