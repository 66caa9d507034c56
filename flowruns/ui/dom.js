// Creates elements. The page never builds markup from strings.

// C0 and C1, and what sets the direction of text, ends lines or has no width.
const CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const SHOWN = new Set(["title", "ariaLabel"]); // properties that users read

/** A new element. *name*: `tag.class.class`. *rest*: an optional object of listeners (`onclick`), attributes
 * (`data-…`) and properties, then children: elements, texts, nested lists; null and false are skipped. Texts are
 * shown with escapes for control characters. */
export function h(name, ...rest) {
	const [tag, ...classes] = name.split(".");
	const element = document.createElement(tag);
	if (classes.length) element.className = classes.join(" ");
	const props = rest[0]?.constructor === Object ? rest.shift() : {};
	for (const [key, value] of Object.entries(props)) setProp(element, key, value);
	element.append(...flatten(rest));
	return element;
}

function setProp(element, key, value) {
	if (SHOWN.has(key) && typeof value === "string") value = escaped(value);
	if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
	else if (key.includes("-") || key === "role") element.setAttribute(key, value);
	else if (value !== undefined) element[key] = value;
}

function flatten(children) {
	const shown = children.flat(Infinity).filter((child) => (child ?? false) !== false);
	return shown.map((child) => (child instanceof Node ? child : escaped(String(child))));
}

export function fill(element, ...children) {
	element.replaceChildren(...flatten(children));
	return element;
}

/** `fill`, with `refocus`. */
export function refill(element, ...children) {
	refocus(element, () => fill(element, ...children));
}

/** Calls *redraw*, then focuses the element with the same `data-value`, label or text, else the first of its tag. */
export function refocus(element, redraw) {
	const focused = element.contains(document.activeElement) && document.activeElement;
	redraw();
	if (!focused || focused.isConnected) return;
	const name = (item) => item.dataset.value ?? item.ariaLabel ?? item.textContent;
	const candidates = [...element.querySelectorAll(focused.localName)];
	(candidates.find((item) => name(item) === name(focused)) ?? candidates[0])?.focus({ preventScroll: true });
}

export function byId(id) {
	return document.getElementById(id);
}

export function announce(text) {
	fill(byId("announcer"), text);
}

/** Sets the title of the page; *text*: what it shows. */
export function setTitle(text) {
	document.title = escaped(text ? `${text} · flowruns` : "flowruns");
}

export function button(label, onclick, props) {
	return h("button", { type: "button", onclick, ...props }, label);
}

/** Each column is a title and, optionally, `.class`. */
export function tableHead(columns) {
	return h("thead", h("tr", columns.map(([title, name = ""]) => h(`th${name}`, { scope: "col" }, title))));
}

export function form(submit, ...children) {
	const onsubmit = (event) => {
		event.preventDefault();
		submit();
	};
	return h("form", { onsubmit }, children);
}

/** A button that is on or off. */
export function toggle(label, on, change) {
	const element = button(label, () => {
		element.ariaPressed = element.ariaPressed !== "true";
		change(element.ariaPressed === "true");
	}, { ariaPressed: on });
	return element;
}

/** `1 run`, `2,345 runs`. */
export function plural(count, noun) {
	return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** *text* with escapes like `\\u202e` for characters that hide or reorder text (Unicode TR36), but for line ends. */
export function escaped(text) {
	return text.replace(CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** *text* as one line. */
export function oneLine(text) {
	return escaped(text).replace(/[\t\n]/g, (char) => (char === "\n" ? "\\n" : "\\t"));
}
