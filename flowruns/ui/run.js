// One run: header, timeline, logs, args and outputs.

import { compareUrl, fetchPage, runUrl } from "./api.js";
import { announce, button, fill, h, plural, refill } from "./dom.js";
import { listUrl, tagLink } from "./filters.js";
import { showGantt } from "./gantt.js";
import { members, raw } from "./json.js";
import { setKeys } from "./keys.js";
import { retry, watchRun } from "./live.js";
import { LogView } from "./logs.js";
import { elapsed, phaseMark, summary, typeName } from "./phases.js";
import { copy, putBody, putCurl } from "./share.js";
import { ago, dateTime, tick } from "./time.js";
import { deleteLater } from "./toasts.js";
import { showTree } from "./tree.js";

const TABS = { timeline: "Timeline", logs: "Logs", args: "Args", outputs: "Outputs" };
const MAX_OTHERS = 12; // runs of the same flow in the menu "Compare with"

export class RunView {
	constructor(root, { navigate, back, route, unauthorized }) {
		const { id, query } = route;
		Object.assign(this, { root, navigate, back, unauthorized, id, query, collapsed: new Set(), run: null });
		this.abort = new AbortController();
		setKeys({ Escape: back });
		watchRun(id, this.abort.signal,
			{ show: (doc) => this.show(doc), replace: (state) => this.replace(state), unauthorized });
	}

	close() {
		this.abort.abort();
		this.log?.close();
	}

	update({ query }) {
		this.query = query;
		if (this.run) this.openTab();
	}

	replace(state) {
		this.log?.close();
		this.log = this.run = this.tab = null;
		setKeys({ Escape: this.back });
		fill(this.root, state);
		announce(this.root.querySelector("h1").textContent);
	}

	/** *doc*: the document as text. */
	show(doc) {
		const old = this.run;
		this.doc = doc;
		this.run = JSON.parse(doc);
		const { flowId, phase } = this.run;
		document.title = `${phase ?? ""} ${flowId} · flowruns`.trim();
		if (!old) this.build();
		else if (old.phase !== phase) announce(`Phase: ${phase ?? "none"}`);
		this.drawHeader();
		this.drawCounts();
		if (old) this.drawTab();
		else this.openTab();
	}

	build() {
		this.header = h("section.head", { ariaLabel: "Run details" });
		this.tabs = Object.entries(TABS).map(([name, label]) =>
			h("a.tab", { href: this.tabUrl(name) }, label, " ", h("span.count")));
		this.panel = h("section.tabpanel");
		fill(this.root, this.header, this.tools(), h("nav.tabs", { ariaLabel: "Run" }, this.tabs), this.panel);
	}

	// Header

	drawHeader() {
		const { run } = this;
		const user = (id) => id !== null && ` by user ${id}`;
		const facts = {
			Started: time(run.startTime), Ended: time(run.endTime), Duration: elapsed(run), Type: typeName(run.flowType),
			Created: [time(run.createdAt), user(run.createdBy)], Updated: [time(run.updatedAt), user(run.updatedBy)],
			Reviewed: (run.reviewedAt || run.reviewedBy !== null) && [time(run.reviewedAt), user(run.reviewedBy)],
		};
		const flow = h("a", { href: listUrl({ flowId: run.flowId }), title: "All runs of this flow" }, run.flowId);
		const fact = ([name, value]) => value && h("div", h("dt", name), h("dd", value));
		refill(this.header, h("h1", phaseMark(run.phase), flow), h("code.muted", run.id),
			h("dl.facts", Object.entries(facts).map(fact)),
			run.tags?.length > 0 && h("div.tags", { role: "group", ariaLabel: "Tags" }, run.tags.map((tag) => tagLink(tag))));
	}

	tools() {
		const panel = h("div.panel");
		const ontoggle = (event) => event.target.open && this.loadOthers(panel);
		return h("div.buttons",
			button("Copy as curl", () => copy(putCurl(this.id, this.doc), "curl command")),
			button("Copy PUT body", () => copy(putBody(this.doc), "PUT body")),
			h("details.menu", { ontoggle }, h("summary", "Compare with"), panel),
			button("Delete", () => deleteLater(this.id), {
				className: "danger", title: "Deletes the run after a few seconds, unless you undo it or leave the page",
			}));
	}

	loadOthers(panel) {
		const { signal } = this.abort;
		const query = { flowId: this.run.flowId, size: MAX_OTHERS + 1 };
		const choice = (run) => h("a.choice", { href: compareUrl(run.id, this.id) },
			phaseMark(run.phase), run.id, h("span.muted", run.startTime && ago(run.startTime)));
		const show = ({ items }) => {
			const others = items.filter(({ id }) => id !== this.id).slice(0, MAX_OTHERS);
			fill(panel, others.map(choice), others.length === 0 && h("p.muted", "This flow has no other runs."));
		};
		const fail = (error) => this.unauthorized(error) || fill(panel, error.message);
		retry(() => fetchPage(query, signal), signal, show, fail);
	}

	// Tabs

	tabUrl(name) {
		return runUrl(this.id, { tab: name });
	}

	drawCounts() {
		const { errors } = summary(this.run);
		const counts = { timeline: this.run.actions?.length, logs: this.run.logs?.length };
		Object.keys(TABS).forEach((name, at) => {
			fill(this.tabs[at].querySelector(".count"), counts[name] > 0 && counts[name].toLocaleString("en"),
				name === "logs" && errors > 0 && h("span.error", ` ${plural(errors, "error")}`));
		});
	}

	/** Opens the tab in the URL, else the first one that is not empty. */
	openTab() {
		const named = this.query.get("tab");
		const { actions, logs } = this.run;
		const name = Object.hasOwn(TABS, named) ? named : actions?.length ? "timeline" : logs?.length ? "logs" : "args";
		const isOpen = name === "logs" && this.tab === name && this.query.get("action") === this.log.action;
		this.tab = name;
		Object.keys(TABS).forEach((other, at) => this.tabs[at].ariaCurrent = other === name ? "page" : null);
		this.panel.ariaLabel = TABS[name];
		if (isOpen) this.log.select(this.query.get("line"));
		else {
			this.log?.close();
			this.log = this.shown = null;
			fill(this.panel);
			this.drawTab();
		}
		const keys = Object.keys(TABS).map((other, at) => [at + 1, () => this.navigate(this.tabUrl(other))]);
		setKeys({ Escape: this.back, ...Object.fromEntries(keys), ...this.log?.keys });
	}

	drawTab() {
		if (this.tab === "timeline") showGantt(this.panel, this.run, this.collapsed);
		else if (this.tab !== "logs") this.drawTree();
		else if (this.log) this.log.setRun(this.run);
		else this.log = new LogView(this.panel, this.run, Object.fromEntries(this.query), (query) => this.setQuery(query));
	}

	/** Redraws only a changed value: branches stay open. */
	drawTree() {
		const text = raw(this.doc, members(this.doc)[this.tab]);
		if (text !== this.shown) showTree(this.panel, text, this.tab);
		this.shown = text;
	}

	setQuery(query) {
		this.query = new URLSearchParams(Object.entries({ tab: "logs", ...query }).filter(([, value]) => value));
		this.navigate(runUrl(this.id, this.query), { silent: true });
	}
}

function time(text) {
	if (!text) return h("span.muted", "–");
	const since = () => /.*(ago|now)/.exec(ago(text))?.[0] ?? "";
	return h("time", { dateTime: text, title: text }, dateTime(text), " ", tick(h("span.muted"), since));
}
