// ANSI escapes (ECMA-48, "SGR") to styled segments. Other escapes are dropped.

const DROPPED = new RegExp([
	/\x1b\[([0-9;:]*)([@-~])/, // CSI: parameters, final byte
	/\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)/, // OSC
	/\x1b[^[\]]?/, // other escapes
].map((pattern) => pattern.source).join("|"), "g");
// Black to white, legible in both themes.
const NAMED = ["muted", "bad", "good", "held", "busy", "new", "cyan", "text"].map((name) => `var(--${name})`);
// Luminances (WCAG 2.2) that have a contrast of 4.5 to 1 with each background of a line: selected ones have the worst.
const MAX_LIGHT = 0.145;
const MIN_DARK = 0.31;
const PLAIN = { flags: new Set(), fg: null, bg: null };
const ON = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"] };

export function plain(text) {
	return text.replace(DROPPED, "");
}

/** The segments `{text, style}` of *text*, which is one line. */
export function segments(text) {
	const result = [];
	let style = PLAIN;
	let from = 0;
	const push = (to) => to > from && result.push({ text: text.slice(from, to), style });
	for (const match of text.matchAll(DROPPED)) {
		push(match.index);
		from = match.index + match[0].length;
		if (match[2] === "m") style = applyCodes(style, match[1].split(/[;:]/).map(Number));
	}
	push(text.length);
	return result;
}

export function applyStyle(element, style) {
	for (const flag of style.flags) element.classList.add(`ansi-${flag}`);
	for (const side of ["fg", "bg"]) {
		const colour = style[side];
		if (!colour) continue;
		element.classList.add(`ansi-${side}`);
		element.style.setProperty(`--ansi-${side}`, side === "fg" && colour.startsWith("rgb") ? legible(colour) : colour);
	}
	return element;
}

function applyCodes(style, codes) {
	let { flags, fg, bg } = style;
	flags = new Set(flags);
	for (let at = 0; at < codes.length; at += 1) {
		const code = codes[at];
		if (code === 0) [flags, fg, bg] = [new Set(), null, null];
		else if (ON[code]) flags.add(ON[code]);
		else if (OFF[code]) OFF[code].forEach((flag) => flags.delete(flag));
		else if (code === 38 || code === 48) {
			const [colour, used] = extendedColour(codes.slice(at + 1));
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

/** The colour of `5;N` or `2;R;G;B`, or null, and the number of codes used. */
function extendedColour([kind, ...rest]) {
	const isByte = (code) => code <= 255;
	if (kind === 5 && isByte(rest[0])) return [indexedColour(rest[0]), 2];
	const rgb = rest.slice(0, 3);
	return kind === 2 && rgb.length === 3 && rgb.every(isByte) ? [`rgb(${rgb.join(" ")})`, 4] : [null, rest.length + 1];
}

/** xterm's 256 colours: 16 names, a cube of 6 × 6 × 6, 24 greys. */
function indexedColour(index) {
	if (index < 16) return NAMED[index % 8];
	if (index >= 232) return `rgb(${Array(3).fill((index - 232) * 10 + 8).join(" ")})`;
	const level = (part) => (part ? part * 40 + 55 : 0);
	const cube = index - 16;
	return `rgb(${[Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level).join(" ")})`;
}

/** *colour*, `rgb(R G B)`, darker in the light theme or lighter in the dark one if its contrast requires it. */
function legible(colour) {
	const channels = colour.match(/\d+/g).map((byte) => linear(byte / 255));
	const luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2];
	const factor = Math.min(1, MAX_LIGHT / luminance);
	const white = Math.max(0, (MIN_DARK - luminance) / (1 - luminance));
	const themes = [(channel) => channel * factor, (channel) => channel + white * (1 - channel)];
	return `light-dark(${themes.map((theme) => `rgb(${channels.map((channel) => toByte(theme(channel))).join(" ")})`)})`;
}

function linear(channel) {
	return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
}

function toByte(channel) {
	return Math.round(255 * (channel <= 0.0031308 ? channel * 12.92 : 1.055 * channel ** (1 / 2.4) - 0.055));
}
