// A long list of which only what is in view is in the document.

import { h } from "./dom.js";

const AROUND = 12; // rows above and below the view, for a quick wheel

/** Rows in *box*, which scrolls: *make(at)* makes one, *height(at)* guesses how high it will be. */
export class Window {
	constructor(box, make, height) {
		Object.assign(this, { box, make, height, inner: h("div.inner"), rows: new Map(), count: 0, tops: [0] });
		box.append(this.inner);
		box.addEventListener("scroll", () => this.draw(), { passive: true });
	}

	/** Begins anew with *count* rows. */
	reset(count) {
		this.heights = [];
		this.clear();
		this.grow(count);
	}

	/** Lets the list grow to *count* rows. */
	grow(count) {
		this.count = count;
		for (let at = this.heights.length; at < count; at += 1) this.heights.push(this.height(at));
		this.place();
		this.draw();
	}

	/** Makes the rows in view again. */
	refresh() {
		this.clear();
		this.draw();
	}

	clear() {
		this.rows.clear();
		this.inner.replaceChildren();
	}

	place() {
		this.tops = new Float64Array(this.count + 1);
		for (let at = 0; at < this.count; at += 1) this.tops[at + 1] = this.tops[at] + this.heights[at];
		this.inner.style.height = `${this.tops[this.count]}px`;
	}

	/** The place of the row at *top* px. */
	at(top) {
		return Math.min(Math.max(0, place(this.tops, top + 1) - 1), Math.max(0, this.count - 1));
	}

	draw() {
		const { scrollTop, clientHeight } = this.box;
		this.span(this.at(scrollTop) - AROUND, this.at(scrollTop + clientHeight) + AROUND);
	}

	/** All rows: for printing. */
	drawAll() {
		this.span(0, this.count - 1);
	}

	span(first, last) {
		const [from, to] = [Math.max(0, first), Math.min(this.count - 1, last)];
		for (const [at, row] of this.rows) {
			if (at >= from && at <= to) continue;
			row.remove();
			this.rows.delete(at);
		}
		const made = [];
		for (let at = from; at <= to; at += 1) {
			if (!this.rows.has(at)) made.push(at);
		}
		for (const at of made.toReversed()) { // in order, for those who select or listen
			this.rows.set(at, this.make(at));
			this.inner.insertBefore(this.rows.get(at), this.rows.get(at + 1) ?? null);
		}
		this.measure(made);
	}

	/** Puts rows where they belong, also those below one not as high as was guessed; what is read stays. */
	measure(made) {
		const { scrollTop } = this.box;
		const top = this.at(scrollTop);
		const into = scrollTop - this.tops[top];
		let wrong = false;
		for (const at of made) {
			const height = this.rows.get(at).offsetHeight;
			if (!height || height === this.heights[at]) continue;
			this.heights[at] = height;
			wrong = true;
		}
		if (wrong) {
			this.place();
			this.box.scrollTop = this.tops[top] + into;
		}
		for (const at of wrong ? this.rows.keys() : made) this.rows.get(at).style.top = `${this.tops[at]}px`;
	}

	/** Scrolls to *into* px below the top of the row at *at*. */
	scrollTo(at, into) {
		this.box.scrollTop = this.tops[at] + into;
		this.draw();
	}

	/** Scrolls until the row at *at* is in view. */
	show(at) {
		const { scrollTop, clientHeight } = this.box;
		if (this.tops[at] >= scrollTop && this.tops[at + 1] <= scrollTop + clientHeight) return;
		this.scrollTo(at, -clientHeight / 3);
	}

	isAtEnd() {
		return this.box.scrollTop + this.box.clientHeight >= this.tops[this.count];
	}

	toEnd() {
		for (let before = -1; before !== this.tops[this.count]; ) { // drawing may find the end to be further down
			before = this.tops[this.count];
			this.box.scrollTop = before + this.box.clientHeight;
			this.draw();
		}
	}
}

/** The place in *sorted* of the first number that is not below *wanted*. */
export function place(sorted, wanted) {
	let [low, high] = [0, sorted.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (sorted[middle] < wanted) low = middle + 1;
		else high = middle;
	}
	return low;
}
