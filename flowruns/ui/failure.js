// Why a run failed: the failed actions and the first line with an error.

import { plain } from "./ansi.js";
import { runUrl } from "./api.js";
import { h } from "./dom.js";
import { firstError } from "./loglines.js";
import { isFailed } from "./phases.js";
import { duration, toMs } from "./time.js";

const MAX_ACTIONS = 3;

/** A box, or null if nothing failed. */
export function failureBox(run) {
	const failed = (run.actions ?? []).filter(isFailed);
	if (failed.length === 0 && !isFailed(run)) return null;
	const logs = run.logs ?? [];
	const error = firstError(logs, new Set(failed.map(({ id }) => id))) ?? firstError(logs);
	if (failed.length === 0 && !error) return null;
	const rest = failed.length - MAX_ACTIONS;
	return h("section.failure", { ariaLabel: "Failure" },
		failed.slice(0, MAX_ACTIONS).map((action) => sentence(run, action)),
		rest > 0 && h("p", h("a", { href: runUrl(run.id, { tab: "timeline" }) }, `and ${rest} more`)),
		error ? h("p", h("a", { href: runUrl(run.id, { tab: "logs", line: error.number }) }, `Line ${error.number}`), " ",
			h("code", plain(error.text).trim())) : h("p", "No error was logged."));
}

function sentence(run, { id, phase, startTime, endTime }) {
	const hasLogs = (run.logs ?? []).some((entry) => entry.action === id);
	const name = hasLogs ? h("a", { href: runUrl(run.id, { tab: "logs", action: id }) }, id) : h("span", id);
	const [start, end] = [startTime, endTime].map(toMs);
	const time = start !== null && end > start && ` after ${duration(end - start)}`;
	return h("p", h("b", name), ` ${phase}`, time);
}
