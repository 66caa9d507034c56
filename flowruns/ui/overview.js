// What happened over time: runs by phase as bars; of a flow also its success rate and durations.

import { fetchPage, fetchStats } from "./api.js";
import { fill, h, plural } from "./dom.js";
import { filtersOf, listUrl, without } from "./filters.js";
import { tone } from "./phases.js";
import { dateTime, duration, toMs } from "./time.js";

const BARS = 20; // each is a request, made when the overview is opened
const TONES = ["bad", "off", "busy", "held", "new", "good"]; // from the bottom

export class Overview {
	constructor() {
		this.content = h("div");
		this.element = h("details.overview", { ontoggle: () => this.draw() }, h("summary", "Over time"), this.content);
	}

	update(query) {
		this.query = query;
		this.draw();
	}

	async draw() {
		if (!this.element.open || !this.query) return; // no runs have arrived yet
		const { query } = this;
		const filters = filtersOf(query);
		try {
			const range = await rangeOf(filters);
			const [bars, facts] = await Promise.all([range ? barsOf(filters, range) : [], factsOf(filters)]);
			if (query !== this.query) return;
			fill(this.content, range ? [chart(query, bars), h("p.muted", dateTime(range.from), " – ", dateTime(range.to))]
				: h("p.muted", "No runs match these filters."), facts && h("p", facts));
		} catch (error) {
			if (query === this.query) fill(this.content, h("p.error", error.message));
		}
	}
}

/** The time that *filters* choose, from the oldest run at the earliest: `{from, to}` in ms; null without runs. */
async function rangeOf(filters) {
	const oldest = await fetchPage(withFields(filters, "createdAt", { size: 1, order: "asc" }));
	if (oldest.items.length === 0) return null;
	const from = toMs(oldest.items[0].createdAt);
	const to = Math.min(Date.now(), ...filters.getAll("createdBefore").map(toMs));
	return { from, to: Math.max(to, from + BARS) };
}

/** The bars of *range*: `{from, to, phase}`, *phase*: the numbers of runs by phase. */
function barsOf(filters, { from, to }) {
	const time = (at) => Math.round(from + ((to - from) * at) / BARS);
	return Promise.all(Array.from({ length: BARS }, async (_, at) => {
		const span = { from: time(at), to: time(at + 1) + (at === BARS - 1) };
		const { phase } = await fetchStats(withFields(within(filters, span), "phase"));
		return { ...span, phase };
	}));
}

/** *query* with the runs created in `{from, to}`, but for *to*. */
function within(query, { from, to }) {
	const result = without(query, "createdAfter", "createdBefore", "cursor");
	result.set("createdAfter", new Date(from - 1).toISOString()); // exclusive
	result.set("createdBefore", new Date(to).toISOString());
	return result;
}

function withFields(query, fields, more = {}) {
	const result = new URLSearchParams(query);
	for (const [name, value] of Object.entries({ fields, ...more })) result.set(name, value);
	return result;
}

function chart(query, bars) {
	const totals = bars.map(({ phase }) => sum(Object.values(phase)));
	const most = Math.max(1, ...totals);
	const bar = (item, at) => {
		const counts = Object.entries(item.phase).map(([phase, count]) => `${count.toLocaleString("en")} ${phase}`);
		const title = `${dateTime(item.from)} – ${dateTime(item.to)}: ${counts.join(", ") || plural(0, "run")}`;
		const parts = TONES.map((name) => part(name, item.phase, most));
		if (totals[at] === 0) return h("span.bucket", { title });
		return h("a.bucket", { href: listUrl(within(query, item)), title, ariaLabel: title }, parts);
	};
	return h("div.buckets", { role: "group", ariaLabel: "Runs over time" }, bars.map(bar));
}

function part(name, phases, most) {
	const count = countOf(phases, name);
	const element = count > 0 && h(`i.${name}`);
	if (element) element.style.height = `${(count / most) * 100}%`;
	return element;
}

/** Of a single flow: its success rate, and its durations, which a server with many runs may refuse to count. */
async function factsOf(filters) {
	if (filters.getAll("flowId").length !== 1) return null;
	const durations = fetchStats(withFields(filters, "duration")).then(durationsOf, (error) => error.message);
	const { phase } = await fetchStats(withFields(filters, "phase"));
	const [good, bad] = ["good", "bad"].map((name) => countOf(phase, name));
	const ended = good + bad;
	const rate = ended > 0 && `${Math.round((good / ended) * 100)}% of ${plural(ended, "run")} succeeded`;
	return [rate, await durations].filter(Boolean).join(" · ");
}

function durationsOf({ duration: { total, median, p95 } }) {
	if (total === 0) return null;
	const [half, most] = [median, p95].map((seconds) => duration(seconds * 1_000));
	return `median ${half}, 95% within ${most} (${plural(total, "duration")})`;
}

/** The number of runs in *phases* whose tone is *name*. */
function countOf(phases, name) {
	return sum(Object.entries(phases).filter(([phase]) => tone(phase) === name).map(([, count]) => count));
}

function sum(numbers) {
	return numbers.reduce((total, number) => total + number, 0);
}
