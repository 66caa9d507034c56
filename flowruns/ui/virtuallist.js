// A virtual list: only the rows in view are in the document.

import { h } from "./dom.js";

const OVERSCAN = 12; // rows above and below the view

/** Rows in *box*, which scrolls: *make(at)* creates a row, *height(at)* estimates its height. */
export class VirtualList {
	constructor(box, make, height) {
		Object.assign(this, { box, make, height, inner: h("div.inner"), rows: new Map(), count: 0, tops: [0] });
		box.append(this.inner);
		box.addEventListener("scroll", () => this.draw(), { passive: true });
	}

	reset(count) {
		this.heights = [];
		this.clear();
		this.grow(count);
	}

	grow(count) {
		this.count = count;
		for (let at = this.heights.length; at < count; at += 1) this.heights.push(this.height(at));
		this.layOut();
		this.draw();
	}

	refresh() {
		this.clear();
		this.draw();
	}

	clear() {
		this.rows.clear();
		this.inner.replaceChildren();
	}

	layOut() {
		this.tops = new Float64Array(this.count + 1);
		for (let at = 0; at < this.count; at += 1) this.tops[at + 1] = this.tops[at] + this.heights[at];
		this.inner.style.height = `${this.tops[this.count]}px`;
	}

	/** The index of the row at *top* px. */
	at(top) {
		return Math.min(Math.max(0, lowerBound(this.tops, top + 1) - 1), Math.max(0, this.count - 1));
	}

	draw() {
		const { scrollTop, clientHeight } = this.box;
		this.drawRange(this.at(scrollTop) - OVERSCAN, this.at(scrollTop + clientHeight) + OVERSCAN);
	}

	drawAll() {
		this.drawRange(0, this.count - 1);
	}

	drawRange(first, last) {
		const [from, to] = [Math.max(0, first), Math.min(this.count - 1, last)];
		for (const [at, row] of this.rows) {
			if (at >= from && at <= to) continue;
			row.remove();
			this.rows.delete(at);
		}
		const added = [];
		for (let at = from; at <= to; at += 1) {
			if (!this.rows.has(at)) added.push(at);
		}
		for (const at of added.toReversed()) { // in document order, for selections and screen readers
			this.rows.set(at, this.make(at));
			this.inner.insertBefore(this.rows.get(at), this.rows.get(at + 1) ?? null);
		}
		this.position(added);
	}

	/** Corrects wrong estimates, and keeps the first row in view where it is. */
	position(added) {
		const { scrollTop } = this.box;
		const first = this.at(scrollTop);
		const offset = scrollTop - this.tops[first];
		let wrong = false;
		for (const at of added) {
			const height = this.rows.get(at).offsetHeight;
			if (!height || height === this.heights[at]) continue;
			this.heights[at] = height;
			wrong = true;
		}
		if (wrong) {
			this.layOut();
			this.box.scrollTop = this.tops[first] + offset;
		}
		for (const at of wrong ? this.rows.keys() : added) this.rows.get(at).style.top = `${this.tops[at]}px`;
	}

	scrollTo(at, offset) {
		this.box.scrollTop = this.tops[at] + offset;
		this.draw();
	}

	show(at) {
		const { scrollTop, clientHeight } = this.box;
		if (this.tops[at] >= scrollTop && this.tops[at + 1] <= scrollTop + clientHeight) return;
		this.scrollTo(at, -clientHeight / 3);
	}

	isAtEnd() {
		return this.box.scrollTop + this.box.clientHeight >= this.tops[this.count];
	}

	scrollToEnd() {
		for (let end = -1; end !== this.tops[this.count]; ) { // drawing corrects heights
			end = this.tops[this.count];
			this.box.scrollTop = end + this.box.clientHeight;
			this.draw();
		}
	}
}

/** The index of the first number in *sorted* that is at least *value*. */
export function lowerBound(sorted, value) {
	let [low, high] = [0, sorted.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (sorted[middle] < value) low = middle + 1;
		else high = middle;
	}
	return low;
}
