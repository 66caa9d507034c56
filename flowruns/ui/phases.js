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
	return Object.keys(LEVELS).find((name) => name === mark || LEVELS[name].test(level)) ?? null;
}

/** What the list shows; the rest can be large. */
export function summary(run) {
	const { id, flowId, flowType, phase, startTime, endTime, createdAt, tags, logs } = run;
	const severities = (logs ?? []).map(severity);
	const [errors, warnings] = ["error", "warning"].map((name) => severities.filter((item) => item === name).length);
	return { id, flowId, flowType, phase, startTime, endTime, createdAt, tags: tags ?? [], errors, warnings };
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
