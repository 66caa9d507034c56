// ANSI escapes (ECMA-48, "SGR") to pieces of text with a style. Other escapes, control characters and what reverses text
// (Unicode TR36) are dropped.

const DROPPED = /\x1b\[([0-9;:]*)([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[^[\]]?|[\0-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;
// Black to white, as the sheet calls them: each is legible in both themes.
const NAMED = ["muted", "bad", "good", "held", "busy", "new", "cyan", "text"].map((name) => `var(--${name})`);
const PLAIN = { flags: new Set(), fg: null, bg: null };
const ON = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"] };

/** *text* without escapes. */
export function plain(text) {
	return text.replace(DROPPED, "");
}

/** *text*, which is one line, as pieces `{text, style}`. */
export function pieces(text) {
	const found = [];
	let style = PLAIN;
	let from = 0;
	const push = (to) => to > from && found.push({ text: text.slice(from, to), style });
	for (const match of text.matchAll(DROPPED)) {
		push(match.index);
		from = match.index + match[0].length;
		if (match[2] === "m") style = after(style, match[1].split(/[;:]/).map(Number));
	}
	push(text.length);
	return found;
}

/** *element* with the look of *style*. */
export function dress(element, style) {
	for (const flag of style.flags) element.classList.add(`ansi-${flag}`);
	for (const side of ["fg", "bg"]) {
		if (!style[side]) continue;
		element.classList.add(`ansi-${side}`);
		element.style.setProperty(`--ansi-${side}`, style[side]);
	}
	return element;
}

function after(style, codes) {
	let { flags, fg, bg } = style;
	flags = new Set(flags);
	for (let at = 0; at < codes.length; at += 1) {
		const code = codes[at];
		if (code === 0) [flags, fg, bg] = [new Set(), null, null];
		else if (ON[code]) flags.add(ON[code]);
		else if (OFF[code]) OFF[code].forEach((flag) => flags.delete(flag));
		else if (code === 38 || code === 48) {
			const [colour, used] = extended(codes.slice(at + 1));
			if (code === 38) fg = colour;
			else bg = colour;
			at += used;
		} else if (code === 39) fg = null;
		else if (code === 49) bg = null;
		else if (/^(3|9)[0-7]$/.test(code)) fg = NAMED[code % 10];
		else if (/^(4|10)[0-7]$/.test(code)) bg = NAMED[code % 10];
	}
	return { flags, fg, bg };
}

/** The colour that `5;N` or `2;R;G;B` names, or null, and how many codes say so. */
function extended([kind, ...rest]) {
	const isByte = (code) => code <= 255;
	if (kind === 5 && isByte(rest[0])) return [indexed(rest[0]), 2];
	const rgb = rest.slice(0, 3);
	return kind === 2 && rgb.length === 3 && rgb.every(isByte) ? [`rgb(${rgb.join(" ")})`, 4] : [null, rest.length + 1];
}

/** xterm's 256 colours: 16 names, a cube of 6 × 6 × 6, 24 greys. */
function indexed(number) {
	if (number < 16) return NAMED[number % 8];
	const level = (part) => (part ? part * 40 + 55 : 0);
	const cube = number - 16;
	const rgb = number < 232 ? [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level) : Array(3).fill((number - 232) * 10 + 8);
	return `rgb(${rgb.join(" ")})`;
}
