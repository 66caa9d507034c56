// Notifications, and deletion with undo.

import { deleteRun } from "./api.js";
import { announce, button, byId, h } from "./dom.js";

const SHOWN = 2_500; // ms
const UNDO = 6; // seconds

const pending = new Set(); // ids

/** Shows *text* for a while, or with *more* until the caller removes it. */
export function toast(text, ...more) {
	const notice = h("div.toast", h("span", text), more);
	byId("toasts").append(notice);
	if (more.length === 0) setTimeout(() => notice.remove(), SHOWN);
	announce(text);
	return notice;
}

/** Deletes a run after a delay, unless undone, then calls *then*. Leaving the page undoes it too. */
export function deleteLater(id, then) {
	if (pending.has(id)) return; // a double click would start a second timer
	pending.add(id);
	let left = UNDO;
	const count = h("span.muted", { ariaHidden: "true" }, `${left} s`);
	const timer = setInterval(() => {
		left -= 1;
		count.textContent = `${left} s`;
		if (left === 0) end(() => deleteNow(id, then));
	}, 1_000);
	const end = (last) => {
		clearInterval(timer);
		pending.delete(id);
		notice.remove();
		last();
	};
	const undo = button("Undo", () => end(() => announce(`${id} was not deleted`)));
	const notice = toast(`Deleting ${id} in`, count, undo);
	announce(`Deleting ${id} in ${UNDO} seconds`);
	undo.focus();
}

async function deleteNow(id, then) {
	try {
		await deleteRun(id);
		announce(`${id} was deleted`);
		then();
	} catch (error) {
		if (error.status === 404) return then(); // another client deleted it
		const notice = toast(`Could not delete ${id}: ${error.message}`, button("Close", () => notice.remove()));
	}
}
