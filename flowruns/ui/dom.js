// Elements out of names and text. Nothing here, or anywhere in the page, makes markup out of a string.

/** A new element: *name* as `tag.class.class`, then, if need be, an object of listeners (`onclick`), attributes (`aria-…`)
 * and properties, then children: elements and texts, or lists of them. What is null or false is left out. */
export function h(name, ...rest) {
	const [tag, ...classes] = name.split(".");
	const element = document.createElement(tag);
	if (classes.length) element.className = classes.join(" ");
	const props = rest[0]?.constructor === Object ? rest.shift() : {};
	for (const [key, value] of Object.entries(props)) set(element, key, value);
	element.append(...kept(rest));
	return element;
}

function set(element, key, value) {
	if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
	else if (key.includes("-") || key === "role") element.setAttribute(key, value);
	else if (value !== undefined) element[key] = value;
}

function kept(children) {
	return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** *element*, with *children* in place of what it held. */
export function fill(element, ...children) {
	element.replaceChildren(...kept(children));
	return element;
}

export function find(id) {
	return document.getElementById(id);
}

/** Reads *text* out to those who do not see the page. */
export function say(text) {
	find("say").textContent = text;
}

export function button(label, onclick, props) {
	return h("button", { type: "button", onclick, ...props }, label);
}

/** A button that is on or off; *does(on)* is called once it has changed. */
export function toggle(label, on, does) {
	const element = button(label, () => {
		const now = element.getAttribute("aria-pressed") !== "true";
		element.setAttribute("aria-pressed", String(now));
		does(now);
	}, { "aria-pressed": on });
	return element;
}

/** `1 run`, `2,345 runs`. */
export function plural(count, word) {
	return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

/** What of *text* a person can be shown in one line: control characters would hide or reorder what follows them. */
export function oneLine(text) {
	return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]+/g, " ");
}
