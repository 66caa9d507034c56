// Times and durations as text, and texts that change every second.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const DAY = 1_440 * MINUTE;
const UNITS = [["d", DAY], ["h", 60 * MINUTE], ["min", MINUTE], ["s", SECOND]];
const DATE = { day: "numeric", month: "short", year: "numeric" };
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** A date-time, ms or null as ms or null. */
export function toMs(time) {
	return typeof time === "string" ? Date.parse(time) : time ?? null;
}

/** *ms* as `16 ms`, `4.2 s`, `42 s`, `3 min 05 s`, `2 h 03 min` or `3 d 04 h`. */
export function duration(ms) {
	if (ms < 0) return `−${duration(-ms)}`;
	if (ms < SECOND) return `${Math.round(ms)} ms`;
	if (ms < 10 * SECOND) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
	const at = UNITS.findIndex(([, length]) => ms >= length);
	const [[unit, length], next] = [UNITS[at], UNITS[at + 1]];
	const rest = next ? ` ${String(Math.floor((ms % length) / next[1])).padStart(2, "0")} ${next[0]}` : "";
	return `${Math.floor(ms / length)} ${unit}${rest}`;
}

/** For a text that changes every second. */
export function wholeSeconds(ms) {
	return ms < SECOND ? "0 s" : duration(ms - (ms % SECOND)).replace(".0", "");
}

export function ago(time) {
	const past = Date.now() - toMs(time);
	if (past < -MINUTE || past > 30 * DAY) return format(time, DATE);
	return past < 10 * SECOND ? "just now" : `${/\d+ \w+/.exec(duration(past))} ago`;
}

/** In the reader's locale. */
export function dateTime(time) {
	return format(time, { weekday: "short", ...DATE, ...TIME });
}

/** For a tooltip: the date with its time zone, and as it was sent. */
export function exactTime(time) {
	return `${format(time, { weekday: "short", ...DATE, ...TIME, timeZoneName: "short" })}\n${time}`;
}

export function timeOfDay(time) {
	return format(time, { ...TIME, hourCycle: "h23" }); // columns of a log need one width
}

const formats = new Map(); // creating one takes longer than using it a hundred times

function format(time, options) {
	const key = JSON.stringify(options);
	if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(undefined, options));
	return formats.get(key).format(toMs(time));
}

/** Sets the text of *element* to *text()*, now and every second. */
export function tick(element, text) {
	element.classList.add("tick");
	element.tick = text;
	element.textContent = text();
	return element;
}

setInterval(() => {
	if (document.hidden) return;
	for (const element of document.querySelectorAll(".tick")) element.textContent = element.tick();
}, SECOND);
