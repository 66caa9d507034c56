// The head of a run: in one line what happened, and the rest behind "Details".

import { h } from "./dom.js";
import { listUrl, tagLink } from "./filters.js";
import { agoMark, elapsed, isFinal, phaseMark, typeName } from "./phases.js";
import { dateTime, exactTime } from "./time.js";

/** *isOpen*: whether the details are shown. */
export function headOf(run, isOpen) {
	const flow = h("a", { href: listUrl({ flowId: run.flowId }), title: "All runs of this flow" }, run.flowId);
	const tags = run.tags?.length > 0 &&
		h("div.tags", { role: "group", ariaLabel: "Tags" }, run.tags.map((tag) => tagLink(tag)));
	return [
		h("h1", phaseMark(run.phase), flow),
		h("p.muted", story(run), " · ", h("code", run.id)),
		tags,
		h("details.facts", { open: isOpen }, h("summary", "Details"), h("dl", Object.entries(facts(run)).map(fact))),
	];
}

/** Like "took 40 s, 3 min ago, by user 2". */
function story(run) {
	const { phase, startTime, endTime, createdAt, createdBy } = run;
	const what = !startTime ? ["created ", agoMark(createdAt)]
		: endTime ? ["took ", elapsed(run), ", ", agoMark(endTime)]
		: isFinal(phase) ? ["started ", agoMark(startTime)]
		: ["started ", agoMark(startTime), ", running for ", elapsed(run)];
	return [what, createdBy !== null && `, by user ${createdBy}`];
}

function facts(run) {
	const user = (id) => id !== null && ` by user ${id}`;
	return {
		Started: time(run.startTime), Ended: time(run.endTime), Duration: elapsed(run), Type: typeName(run.flowType),
		Created: [time(run.createdAt), user(run.createdBy)], Updated: [time(run.updatedAt), user(run.updatedBy)],
		Reviewed: (run.reviewedAt || run.reviewedBy !== null) && [time(run.reviewedAt), user(run.reviewedBy)],
	};
}

function fact([name, value]) {
	return value && h("div", h("dt", name), h("dd", value));
}

function time(text) {
	if (!text) return h("span.muted", "–");
	return h("time", { dateTime: text, title: exactTime(text) }, dateTime(text));
}
