// Notices at the foot of the page, and what can be undone while one is there.

import { remove } from "./api.js";
import { button, find, h, say } from "./dom.js";

const SHOWN = 2_500; // ms
const UNDO = 6; // seconds: to read a line and find its button

const leaving = new Set(); // the ids of runs that will be deleted

/** Shows *text* for a while, or with *more* until its `remove` is called. */
export function toast(text, ...more) {
	const notice = h("div.toast", h("span", text), more);
	find("toasts").append(notice);
	if (more.length === 0) setTimeout(() => notice.remove(), SHOWN);
	say(text);
	return notice;
}

/** Deletes a run once there was time to undo it; leaving the page undoes it too. */
export function removeLater(id) {
	if (leaving.has(id)) return; // a double click: "Undo" would end one timer of two
	leaving.add(id);
	let left = UNDO;
	const count = h("span.muted", { ariaHidden: "true" }, `${left} s`);
	const timer = setInterval(() => {
		left -= 1;
		count.textContent = `${left} s`;
		if (left === 0) end(() => removeNow(id));
	}, 1_000);
	const end = (then) => {
		clearInterval(timer);
		leaving.delete(id);
		notice.remove();
		then();
	};
	const undo = button("Undo", () => end(() => say(`${id} stays`)));
	const notice = toast(`Deleting ${id} in ${UNDO} seconds`, count, undo);
	undo.focus();
}

async function removeNow(id) {
	try {
		await remove(id);
		say(`${id} is deleted`);
	} catch (error) {
		if (error.status === 404) return; // somebody else was quicker
		const notice = toast(`${id} was not deleted: ${error.message}`, button("Close", () => notice.remove()));
	}
}
