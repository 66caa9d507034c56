// JSON that keeps what JSON.parse loses: numbers as they were written, and keys that stand twice.

const ATOM = /[^\s,\]}]+/y; // a number, true, false or null: the server has checked which
const SPACE = /[ \t\n\r]*/y;

/** The value that *text* is: `{kind, start, end}`, with `entries` ([key, node]) if it is an object, `items` if a list. */
export function parse(text) {
	return new Reader(text).value();
}

/** The members of the object *text* by name, as `{start, end}`: quick even where logs are long. */
export function members(text) {
	const reader = new Reader(text);
	const found = {};
	reader.each("{", "}", () => {
		const key = reader.key();
		reader.space();
		const start = reader.place;
		reader.skip();
		found[key] = { start, end: reader.place };
	});
	return found;
}

/** What stands in *node*, as [key, node]; a list's keys are numbers. */
export function children(node) {
	return node.entries ?? node.items?.map((item, at) => [at, item]) ?? [];
}

/** The text of *node*, as sent. */
export function raw(text, node) {
	return text.slice(node.start, node.end);
}

class Reader {
	constructor(text) {
		this.text = text;
		this.place = 0;
	}

	value() {
		this.space();
		const start = this.place;
		const first = this.text[start];
		const node = { start };
		if (first === "{") {
			node.entries = [];
			this.each("{", "}", () => node.entries.push([this.key(), this.value()]));
		} else if (first === "[") {
			node.items = [];
			this.each("[", "]", () => node.items.push(this.value()));
		} else if (first === '"') this.string();
		else this.match(ATOM);
		node.kind = { '"': "string", t: "boolean", f: "boolean", n: "null", "{": "object", "[": "array" }[first] ?? "number";
		node.end = this.place;
		return node;
	}

	/** Does *one* for each of what stands between *open* and *close*. */
	each(open, close, one) {
		this.expect(open);
		while (!this.at(close)) {
			one();
			if (this.at(",")) this.expect(",");
		}
		this.expect(close);
	}

	key() {
		this.space();
		const key = JSON.parse(this.string());
		this.expect(":");
		return key;
	}

	/** Goes past one value, by its brackets alone. */
	skip() {
		let depth = 0;
		do {
			this.space();
			const char = this.text[this.place];
			if (char === '"') this.string();
			else if (/[[\]{},:]/.test(char)) {
				depth += { "{": 1, "[": 1, "}": -1, "]": -1 }[char] ?? 0;
				this.place += 1;
			} else this.match(ATOM);
		} while (depth > 0);
	}

	/** Goes past a string, however long: a pattern with a choice in it would overflow its stack. */
	string() {
		const start = this.place;
		for (let end = start, slashes = 1; slashes % 2; this.place = end + 1) {
			end = this.text.indexOf('"', end + 1);
			if (end < 0) throw new SyntaxError(`no end of the string at ${start}`);
			for (slashes = 0; this.text[end - 1 - slashes] === "\\"; ) slashes += 1;
		}
		return this.text.slice(start, this.place);
	}

	space() {
		this.match(SPACE);
	}

	at(char) {
		this.space();
		return this.text[this.place] === char;
	}

	expect(char) {
		if (!this.at(char)) throw new SyntaxError(`no ${char} at ${this.place}`);
		this.place += 1;
	}

	match(pattern) {
		pattern.lastIndex = this.place;
		if (!pattern.test(this.text)) throw new SyntaxError(`broken at ${this.place}`);
		this.place = pattern.lastIndex;
	}
}
