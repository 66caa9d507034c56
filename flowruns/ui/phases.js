// What phases, levels and types mean to the page; a word that is not here is shown as it is.

import { h, oneLine } from "./dom.js";
import { duration, instant, tick, ticking } from "./time.js";

const TONES = {
	good: /^(succe|pass|done|complete)/i,
	bad: /^(fail|err|timed|crash)/i,
	busy: /^(run|in_progress|start|exec)/i,
	held: /^(wait|pause|block|action_required|review)/i,
	off: /^(delete|cancel|skip|neutral|abort|reject|stale|expire)/i,
};

const LEVELS = { error: /^(err|fatal|crit|alert|emerg|panic|severe)/i, warning: /^warn/i };
const MARK = /^(?:##\[|::)(error|warning)\b/;

/** good, bad, busy, held, off, or new: for colours. */
export function tone(phase) {
	return Object.keys(TONES).find((name) => TONES[name].test(phase)) ?? "new";
}

export function isFinal(phase) {
	return ["good", "bad", "off"].includes(tone(phase));
}

/** The coloured dot and the word: nobody needs to see the colour. */
export function phaseMark(phase) {
	return h(`span.phase.${tone(phase)}`, h("i.dot", { ariaHidden: "true" }), phase ?? "no phase");
}

/** `error`, `warning` or null: by its level, or by the mark that its message begins with. */
export function severity({ level, message }) {
	const mark = MARK.exec(message)?.[1];
	return Object.keys(LEVELS).find((name) => name === mark || LEVELS[name].test(level)) ?? null;
}

/** What the list shows of a run; the rest, which may be long, is let go. */
export function summary(run) {
	const { id, flowId, flowType, phase, startTime, endTime, createdAt, tags, logs } = run;
	const worst = (logs ?? []).map(severity);
	const [errors, warnings] = ["error", "warning"].map((name) => worst.filter((one) => one === name).length);
	return { id, flowId, flowType, phase, startTime, endTime, createdAt, tags: tags ?? [], errors, warnings };
}

export function typeName(type) {
	return type === "selfServiceAction" ? "action" : type;
}

/** How long a run or an action took, ticking while it has not ended. */
export function took({ phase, startTime, endTime }) {
	const [start, end] = [instant(startTime), instant(endTime)];
	if (start === null) return h("span.muted", { title: "It never started" }, "–");
	if (end !== null) return h("span", end < start ? { title: "It ends before it starts" } : null, duration(end - start));
	if (isFinal(phase)) return h("span.muted", { title: "Nobody said when it ended" }, "–");
	return tick(h("span.busy"), () => ticking(Date.now() - start));
}

export function tagText({ key, value }) {
	return oneLine(`${key}:${value}`);
}
