// One run: who and when, its actions, its log, its args and outputs.

import { compareUrl, page, pageUrl } from "./api.js";
import { button, fill, h, plural, refill, say } from "./dom.js";
import { listUrl, tagLink } from "./filters.js";
import { showGantt } from "./gantt.js";
import { members, raw } from "./json.js";
import { useKeys } from "./keys.js";
import { persist, watch } from "./live.js";
import { LogView } from "./logs.js";
import { phaseMark, summary, took, typeName } from "./phases.js";
import { copy, putBody, putCurl } from "./share.js";

import { ago, full, tick } from "./time.js";
import { removeLater } from "./toasts.js";
import { showTree } from "./tree.js";

const TABS = { timeline: "Timeline", logs: "Logs", args: "Args", outputs: "Outputs" };
const OTHERS = 12; // runs of the same flow that can be chosen to compare with

export class RunView {
	constructor(root, { go, leave, place, refused }) {
		Object.assign(this, { root, go, leave, refused, id: place.id, query: place.query, abort: new AbortController(), folded: new Set(), run: null });
		useKeys({ Escape: leave });
		watch(this.id, this.abort.signal, { show: (doc) => this.show(doc), replace: (state) => this.replace(state), refused });
	}

	close() {
		this.abort.abort();
		this.log?.close();
	}

	/** Shows what *place* asks for: another tab, or another line. */
	update(place) {
		this.query = place.query;
		if (this.run) this.openTab();
	}

	/** Shows *state* in place of the run, which is built anew if it comes. */
	replace(state) {
		this.log?.close();
		this.log = this.run = this.tab = null;
		useKeys({ Escape: this.leave });
		fill(this.root, state);
		say(this.root.querySelector("h1").textContent);
	}

	/** Shows *doc*, the whole document as text. */
	show(doc) {
		const old = this.run;
		this.doc = doc;
		this.run = JSON.parse(doc);
		document.title = `${this.run.phase ?? ""} ${this.run.flowId} · flowruns`.trim();
		if (!old) this.build();
		else if (old.phase !== this.run.phase) say(`The run is ${this.run.phase ?? "without a phase"}`);
		this.drawHeader();
		this.drawCounts();
		if (old) this.drawTab();
		else this.openTab();
	}

	build() {
		this.header = h("section.head", { ariaLabel: "About this run" });
		this.tabs = Object.entries(TABS).map(([name, label]) => h("a.tab", { href: this.tabUrl(name) }, label, " ", h("span.count")));
		this.panel = h("section.tabpanel");
		fill(this.root, this.header, this.tools(), h("nav.tabs", { ariaLabel: "Parts of the run" }, this.tabs), this.panel);
	}

	// The head

	drawHeader() {
		const { run } = this;
		const who = (by) => by !== null && ` by user ${by}`;
		const facts = {
			Started: time(run.startTime), Ended: time(run.endTime), Took: took(run), Type: typeName(run.flowType),
			Created: [time(run.createdAt), who(run.createdBy)], Updated: [time(run.updatedAt), who(run.updatedBy)],
			Reviewed: (run.reviewedAt || run.reviewedBy !== null) && [time(run.reviewedAt), who(run.reviewedBy)],
		};
		refill(this.header,
			h("h1", phaseMark(run.phase), h("a", { href: listUrl({ flowId: run.flowId }), title: "All runs of this flow" }, run.flowId)),
			h("code.muted", run.id),
			h("dl.facts", Object.entries(facts).map(([name, value]) => value && h("div", h("dt", name), h("dd", value)))),
			run.tags?.length > 0 && h("div.tags", { role: "group", ariaLabel: "Tags" }, run.tags.map((tag) => tagLink(tag))));
	}

	tools() {
		const others = h("div.panel");
		return h("div.buttons",
			button("Copy as curl", () => copy(putCurl(this.id, this.doc), "The command that puts this run")),
			button("Copy PUT body", () => copy(putBody(this.doc), "The body that makes this run again")),
			h("details.menu", { ontoggle: (event) => event.target.open && this.offerOthers(others) }, h("summary", "Compare with"), others),
			button("Delete", () => removeLater(this.id), { className: "danger" }));
	}

	offerOthers(panel) {
		const { signal } = this.abort;
		const query = { flowId: this.run.flowId, size: OTHERS + 1 };
		const show = ({ items }) => {
			const found = items.filter(({ id }) => id !== this.id).slice(0, OTHERS);
			fill(panel, found.map((run) => h("a.choice", { href: compareUrl(run.id, this.id) },
				phaseMark(run.phase), run.id, h("span.muted", run.startTime && ago(run.startTime)))),
				found.length === 0 && h("p.muted", "This flow has no other run."));
		};
		persist(() => page(query, signal), signal, show, (error) => this.refused(error) || fill(panel, error.message));
	}

	// Tabs

	tabUrl(name) {
		return pageUrl(this.id, { tab: name });
	}

	drawCounts() {
		const { errors } = summary(this.run);
		Object.keys(TABS).forEach((name, at) => {
			const count = name === "timeline" ? this.run.actions?.length : name === "logs" ? this.run.logs?.length : 0;
			fill(this.tabs[at].querySelector(".count"), count > 0 && count.toLocaleString("en"),
				name === "logs" && errors > 0 && h("span.error", ` ${plural(errors, "error")}`));
		});
	}

	/** Opens the tab that the URL names, else the first with something to show. */
	openTab() {
		const named = this.query.get("tab");
		const { actions, logs } = this.run;
		const name = Object.hasOwn(TABS, named) ? named : actions?.length ? "timeline" : logs?.length ? "logs" : "args";
		const again = name === "logs" && this.tab === name && this.query.get("action") === this.log.action;
		this.tab = name;
		Object.keys(TABS).forEach((other, at) => this.tabs[at].ariaCurrent = other === name ? "page" : null);
		this.panel.ariaLabel = TABS[name];
		if (again) this.log.select(this.query.get("line"));
		else {
			this.log?.close();
			this.log = this.shown = null;
			fill(this.panel);
			this.drawTab();
		}
		const tabs = Object.keys(TABS).map((other, at) => [at + 1, () => this.go(this.tabUrl(other))]);
		useKeys({ Escape: this.leave, ...Object.fromEntries(tabs), ...this.log?.keys });
	}

	/** Brings the tab up to date with the run. */
	drawTab() {
		if (this.tab === "timeline") showGantt(this.panel, this.run, this.folded);
		else if (this.tab !== "logs") this.drawTree();
		else if (this.log) this.log.setRun(this.run);
		else this.log = new LogView(this.panel, this.run, Object.fromEntries(this.query), (query) => this.setQuery(query));
	}

	/** A tree stays as it was opened, unless what it shows has changed. */
	drawTree() {
		const text = raw(this.doc, members(this.doc)[this.tab]);
		if (text !== this.shown) showTree(this.panel, text, this.tab);
		this.shown = text;
	}

	/** Has the address bar say which line and action of the log are chosen. */
	setQuery(query) {
		this.query = new URLSearchParams(Object.entries({ tab: "logs", ...query }).filter(([, value]) => value));
		this.go(pageUrl(this.id, this.query), { quiet: true });
	}
}

function time(text) {
	const since = () => /.*(ago|now)/.exec(ago(text))?.[0] ?? "";
	return text ? h("time", { dateTime: text, title: text }, full(text), " ", tick(h("span.muted"), since)) : h("span.muted", "–");
}
