// Elements out of names and text. Nothing in the page makes markup out of a string.

/** A new element: *name* is `tag.class.class`, *rest* an object, if need be, of listeners (`onclick`), attributes (`data-…`)
 * and properties, then children: elements, texts, lists of them; null and false are left out. */
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
	return children.flat(Infinity).filter((child) => (child ?? false) !== false);
}

/** *element*, with *children* in place of what it held. */
export function fill(element, ...children) {
	element.replaceChildren(...kept(children));
	return element;
}

/** The same, but the focus stays: on what has the same `data-value`, label or words, else on the first of its kind. */
export function refill(element, ...children) {
	const held = element.contains(document.activeElement) && document.activeElement;
	fill(element, ...children);
	if (!held || held.isConnected) return;
	const name = (one) => one.dataset.value ?? one.ariaLabel ?? one.textContent;
	const all = [...element.querySelectorAll(held.localName)];
	(all.find((one) => name(one) === name(held)) ?? all[0])?.focus({ preventScroll: true });
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

/** The head of a table: of each column its title and, if any, `.class`. */
export function heads(columns) {
	return h("thead", h("tr", columns.map(([title, name = ""]) => h(`th${name}`, { scope: "col" }, title))));
}

/** A form that *does()* something when it is sent. */
export function form(does, ...children) {
	const onsubmit = (event) => {
		event.preventDefault();
		does();
	};
	return h("form", { onsubmit }, children);
}

/** A button that is on or off; *does(on)* is called once it has changed. */
export function toggle(label, on, does) {
	const element = button(label, () => {
		element.ariaPressed = element.ariaPressed !== "true";
		does(element.ariaPressed === "true");
	}, { ariaPressed: on });
	return element;
}

/** `1 run`, `2,345 runs`. */
export function plural(count, word) {
	return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

/** *text* in one line: control characters would hide or reorder what follows them. */
export function oneLine(text) {
	return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]+/g, " ");
}
