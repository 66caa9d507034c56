// A JSON parser that preserves the text of numbers and duplicate keys.

const ATOM = /[^\s,\]}]+/y; // the server has validated it
const SPACE = /[ \t\n\r]*/y;
const STOP = /["[\]{}]/g; // between these is nothing that ends a value

/** The node `{kind, start, end}` of *text*, with `entries` ([key, node]) of an object, `items` of an array. */
export function parse(text) {
	return new Parser(text).value();
}

/** The members of an object by name, as `{start, end}`. Fast even for long logs. */
export function members(text) {
	const parser = new Parser(text);
	const result = {};
	parser.each("{", "}", () => {
		const key = parser.key();
		parser.space();
		const start = parser.pos;
		parser.skip();
		result[key] = { start, end: parser.pos };
	});
	return result;
}

/** Children as [key, node]; keys of an array are numbers. */
export function children(node) {
	return node.entries ?? node.items?.map((item, at) => [at, item]) ?? [];
}

export function raw(text, node) {
	return text.slice(node.start, node.end);
}

class Parser {
	constructor(text) {
		this.text = text;
		this.pos = 0;
	}

	value() {
		this.space();
		const start = this.pos;
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
		const kinds = { '"': "string", t: "boolean", f: "boolean", n: "null", "{": "object", "[": "array" };
		node.kind = kinds[first] ?? "number";
		node.end = this.pos;
		return node;
	}

	each(open, close, item) {
		this.expect(open);
		while (!this.at(close)) {
			item();
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

	skip() {
		this.space();
		if (!/["[{]/.test(this.text[this.pos])) return this.match(ATOM);
		let depth = 0;
		do {
			STOP.lastIndex = this.pos;
			const [char] = STOP.exec(this.text) ?? this.expect("}"); // which throws at the end of the text
			this.pos = STOP.lastIndex - 1;
			if (char === '"') this.string();
			else {
				depth += "[{".includes(char) ? 1 : -1;
				this.pos += 1;
			}
		} while (depth > 0);
	}

	/** Reads a string. A regular expression would overflow its stack on a long one. */
	string() {
		const start = this.pos;
		for (let end = start, slashes = 1; slashes % 2; this.pos = end + 1) {
			end = this.text.indexOf('"', end + 1);
			if (end < 0) throw new SyntaxError(`unterminated string at ${start}`);
			for (slashes = 0; this.text[end - 1 - slashes] === "\\"; ) slashes += 1;
		}
		return this.text.slice(start, this.pos);
	}

	space() {
		if (this.text.charCodeAt(this.pos) > 32) return; // nearly always: quicker than a match
		this.match(SPACE);
	}

	at(char) {
		this.space();
		return this.text[this.pos] === char;
	}

	expect(char) {
		if (!this.at(char)) throw new SyntaxError(`expected ${char} at ${this.pos}`);
		this.pos += 1;
	}

	match(pattern) {
		pattern.lastIndex = this.pos;
		if (!pattern.test(this.text)) throw new SyntaxError(`invalid JSON at ${this.pos}`);
		this.pos = pattern.lastIndex;
	}
}
