// Notifications, and deletion with undo.

import { deleteRun } from "./api.js";
import { announce, button, byId, h, plural } from "./dom.js";

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

/** Deletes runs after a delay, then calls *deleted*; or *undone* if undone. Leaving the page undoes it too. */
export function deleteLater(all, { deleted, undone }) {
	const ids = all.filter((id) => !pending.has(id)); // a double click would start a second timer
	if (ids.length === 0) return;
	const what = ids.length === 1 ? ids[0] : plural(ids.length, "run");
	for (const id of ids) pending.add(id);
	let left = UNDO;
	const count = h("span.muted", { ariaHidden: "true" }, `${left} s`);
	const timer = setInterval(() => {
		left -= 1;
		count.textContent = `${left} s`;
		if (left === 0) end(() => deleteNow(ids, what, deleted));
	}, 1_000);
	const end = (last) => {
		clearInterval(timer);
		for (const id of ids) pending.delete(id);
		notice.remove();
		last();
	};
	const undo = button("Undo", () => end(() => {
		announce(`Undone: ${what}`);
		undone?.();
	}));
	const notice = toast(`Deleting ${what} in`, count, undo);
	announce(`Deleting ${what} in ${UNDO} seconds`);
	undo.focus();
}

async function deleteNow(ids, what, deleted) {
	for (const id of ids) {
		try {
			await deleteRun(id);
		} catch (error) {
			if (error.status === 404) continue; // another client deleted it
			const notice = toast(`Could not delete ${id}: ${error.message}`, button("Close", () => notice.remove()));
			return;
		}
	}
	announce(`Deleted: ${what}`);
	deleted?.();
}
