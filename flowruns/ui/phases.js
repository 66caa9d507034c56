// Phases, levels and types: unknown words are shown unchanged.

import { h, oneLine } from "./dom.js";
import { ago, duration, exactTime, tick, toMs, wholeSeconds } from "./time.js";

const TONES = {
	good: /^(succe|pass|done|complete)/i,
	bad: /^(fail|err|timed|crash)/i,
	busy: /^(run|in_progress|start|exec)/i,
	held: /^(wait|pause|block|action_required|review)/i,
	off: /^(delete|cancel|skip|neutral|abort|reject|stale|expire)/i,
};

const LEVELS = { error: /^(err|fatal|crit|alert|emerg|panic|severe)/i, warning: /^warn/i };
const names = Object.keys(LEVELS);
let [lastLevel, lastSeverity] = [null, null]; // logs are long, and their levels repeat
const MARK = /^(?:##\[|::)(error|warning)\b/;

export function tone(phase) {
	return Object.keys(TONES).find((name) => TONES[name].test(phase)) ?? "new";
}

export function isFinal(phase) {
	return ["good", "bad", "off"].includes(tone(phase));
}

export function isFailed({ phase }) {
	return tone(phase) === "bad";
}

/** The word, and a dot in its colour. */
export function phaseMark(phase) {
	const word = phase ?? "no phase";
	return h(`span.phase.${tone(phase)}`, h("i.dot", { ariaHidden: "true" }), h("span", { title: word }, word));
}

/** `error`, `warning` or null, by the level or by the mark at the start of the message. */
export function severity({ level, message }) {
	const mark = MARK.exec(message)?.[1];
	if (level !== lastLevel) [lastLevel, lastSeverity] = [level, names.find((name) => LEVELS[name].test(level)) ?? null];
	return mark && lastSeverity !== "error" ? mark : lastSeverity;
}

/** The fields of a run that the list requests. */
export const LIST_FIELDS = [
	"id", "flowId", "flowType", "phase", "startTime", "endTime", "createdAt", "tags", "actionCounts", "logCounts",
];

/** What a row shows of a run with the fields `LIST_FIELDS`. */
export function summary({ actionCounts, logCounts, tags, ...run }) {
	const levels = Object.entries(logCounts?.level ?? {});
	const count = (name) => levels.reduce((sum, [level, lines]) => sum + (LEVELS[name].test(level) ? lines : 0), 0);
	const failed = Object.entries(actionCounts?.first ?? {}).find(([phase]) => tone(phase) === "bad");
	const [errors, warnings] = ["error", "warning"].map(count);
	return { ...run, tags: tags ?? [], failedAction: failed?.[1] ?? null, errors, warnings };
}

export function typeName(type) {
	return type === "selfServiceAction" ? "self-service" : type;
}

/** The duration of a run or action, which ticks until the end. */
export function elapsed({ phase, startTime, endTime }) {
	const [start, end] = [toMs(startTime), toMs(endTime)];
	if (start === null) return h("span.muted", { title: "No start time" }, "–");
	if (end !== null) {
		return h("span.duration", end < start ? { title: "Ended before it started" } : {}, duration(end - start));
	}
	if (isFinal(phase)) return h("span.muted", { title: "No end time" }, "–");
	return tick(h("span.busy.duration"), () => wholeSeconds(Date.now() - start));
}

/** How long ago *time* was. */
export function agoMark(time) {
	return tick(h("time", { dateTime: time, title: exactTime(time) }), () => ago(time));
}

export function tagText({ key, value }) {
	return oneLine(`${key}:${value}`);
}
