// One run: its head, timeline, logs, args, outputs and JSON.

import { sendAgain } from "./again.js";
import { apiUrl, compareUrl, fetchPage, runUrl } from "./api.js";
import { announce, button, fill, h, plural, refill, setTitle } from "./dom.js";
import { failureBox } from "./failure.js";
import { Gantt } from "./gantt.js";
import { headOf } from "./head.js";
import { members, raw } from "./json.js";
import { setKeys } from "./keys.js";
import { retry, watchRun } from "./live.js";
import { countLines } from "./loglines.js";
import { LogView } from "./logs.js";
import { phaseMark, severity } from "./phases.js";
import { copy, putBody, putCurl } from "./share.js";
import { skeleton } from "./states.js";
import { ago } from "./time.js";
import { deleteLater } from "./toasts.js";
import { showTree } from "./tree.js";

const TABS = { timeline: "Timeline", logs: "Logs", args: "Args", outputs: "Outputs", json: "JSON" };
const MAX_OTHERS = 12; // runs of the same flow in the menu "Compare with"

export class RunView {
	constructor(root, { navigate, back, route, unauthorized }) {
		const { id, query } = route;
		Object.assign(this, { root, navigate, back, unauthorized, id, query, run: null });
		this.chart = { collapsed: new Set(), failedOnly: false, zoom: null };
		this.abort = new AbortController();
		setKeys({ Escape: back });
		setTitle(id);
		fill(root, skeleton());
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
		this.log = this.gantt = this.run = this.tab = null;
		setKeys({ Escape: this.back });
		fill(this.root, state);
		const title = this.root.querySelector("h1").textContent;
		setTitle(title);
		announce(title);
	}

	/** *doc*: the document as text. */
	show(doc) {
		const old = this.run;
		this.doc = doc;
		this.run = JSON.parse(doc);
		const { flowId, phase } = this.run;
		setTitle(`${phase ?? ""} ${flowId}`.trim());
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

	drawHeader() {
		const isOpen = Boolean(this.header.querySelector("details")?.open);
		refill(this.header, headOf(this.run, isOpen), failureBox(this.run));
	}

	tools() {
		const panel = h("div.panel");
		const ontoggle = (event) => event.target.open && this.loadOthers(panel);
		return h("div.buttons",
			button("Send again", () => sendAgain(this.doc, this.navigate)),
			button("Copy as curl", () => copy(putCurl(this.id, this.doc), "curl command")),
			button("Copy PUT body", () => copy(putBody(this.doc), "PUT body")),
			h("details.menu", { ontoggle }, h("summary", "Compare with"), panel),
			h("a.button", { href: apiUrl(this.id).href, target: "_blank", title: "The run as JSON" }, "API"),
			button("Delete", () => deleteLater([this.id], { deleted: () => this.root.isConnected && this.back() }), {
				className: "danger", title: "Deletes the run soon, unless you undo it or leave",
			}));
	}

	loadOthers(panel) {
		const { signal } = this.abort;
		const query = { flowId: this.run.flowId, size: MAX_OTHERS + 1, fields: "id,phase,startTime" };
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
		const logs = this.run.logs ?? [];
		const errors = logs.filter((entry) => severity(entry) === "error").length; // as in the list
		const counts = { timeline: this.run.actions?.length, logs: countLines(logs) };
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
		const query = Object.fromEntries(this.query);
		const isOpen = name === "logs" && this.tab === name && this.log.hasFilters(query);
		const { offsetLeft, parentElement } = this.tabs[Object.keys(TABS).indexOf(name)];
		if (this.tab !== name) parentElement.scrollLeft = offsetLeft - parentElement.offsetLeft;
		this.tab = name;
		Object.keys(TABS).forEach((other, at) => this.tabs[at].ariaCurrent = other === name ? "page" : null);
		this.panel.ariaLabel = TABS[name];
		if (isOpen) {
			this.log.query = query;
			this.log.select(query.line);
		} else {
			this.log?.close();
			this.log = this.shown = this.gantt = null;
			fill(this.panel);
			this.drawTab();
		}
		const keys = Object.keys(TABS).map((other, at) => [at + 1, () => this.navigate(this.tabUrl(other))]);
		setKeys({ Escape: this.back, ...Object.fromEntries(keys), ...this.log?.keys });
	}

	drawTab() {
		if (this.tab === "timeline") {
			if (this.gantt) this.gantt.setRun(this.run);
			else this.gantt = new Gantt(this.panel, this.run, this.chart);
		} else if (this.tab !== "logs") this.drawTree();
		else if (this.log) this.log.setRun(this.run);
		else this.log = new LogView(this.panel, this.run, Object.fromEntries(this.query), (query) => this.setQuery(query));
	}

	/** Redraws only a changed value: branches stay open. */
	drawTree() {
		const text = this.tab === "json" ? this.doc : raw(this.doc, members(this.doc)[this.tab]);
		if (text !== this.shown) showTree(this.panel, text, this.tab);
		this.shown = text;
	}

	setQuery(query) {
		this.query = new URLSearchParams(Object.entries({ tab: "logs", ...query }).filter(([, value]) => value));
		this.navigate(runUrl(this.id, this.query), { silent: true });
	}
}
