// The router: shows the view for the URL.

import { BASE, decodeId, hasToken, takeToken } from "./api.js";
import { CompareView } from "./compare.js";
import { byId, fill, h } from "./dom.js";
import { setKeys, showKeys } from "./keys.js";
import { ListView } from "./list.js";
import { RunView } from "./run.js";
import { tokenState } from "./states.js";

let view = null;
let viewPath = null;
let listQuery = "";

function currentRoute() {
	const path = location.pathname.slice(BASE.pathname.length);
	const id = /^runs\/(.+)$/.exec(path)?.[1];
	const View = id ? RunView : path === "compare" ? CompareView : ListView;
	return { path, View, id: id && decodeId(id), query: new URLSearchParams(location.search), state: history.state };
}

/** *silent*: only updates the address bar. */
function navigate(url, { state, silent } = {}) {
	if (silent) return history.replaceState(history.state, "", url);
	if (view instanceof ListView) listQuery = location.search;
	history.replaceState({ ...history.state, ...view?.state?.() }, "");
	// Tabs are not history entries: "back" leaves the run.
	const isTab = view instanceof RunView && new URL(url).pathname === location.pathname;
	if (isTab) history.replaceState(history.state, "", url);
	else history.pushState({ ...state, inside: true }, "", url);
	return show();
}

/** Returns to the list, in its previous state if possible. */
function back() {
	if (history.state?.inside) history.back();
	else navigate(BASE.href + listQuery);
}

async function load() {
	await takeToken();
	show();
}

function show() {
	const route = currentRoute();
	const title = route.id ?? (route.View === CompareView && "Compare");
	const separator = h("span", { ariaHidden: "true" }, "/");
	fill(byId("crumbs"),
		title && [h("a", { href: BASE.href + listQuery }, "Runs"), separator, h("span", { ariaCurrent: "page" }, title)]);
	if (view && route.path === viewPath) return view.update(route);
	view?.close();
	viewPath = route.path;
	const root = h("div.view");
	fill(byId("main"), root);
	scrollTo(0, 0);
	view = new route.View(root, { navigate, back, unauthorized, route });
	return view;
}

/** Shows the token form if *error* is a 401; returns whether it is. */
function unauthorized(error) {
	if (error.status !== 401) return false;
	view?.close();
	view = null;
	setKeys({});
	fill(byId("main"), tokenState(hasToken(), show));
	byId("token").focus();
	return true;
}

/** Handles plain clicks on links within the page. */
function onClick(event) {
	const link = event.target.closest("a[href]");
	const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
	if (event.defaultPrevented || !isPlain || !link?.href.startsWith(BASE.href) || link.target) return;
	event.preventDefault();
	navigate(link.href, { state: link.state });
}

history.scrollRestoration = "manual"; // the list restores it once its rows are drawn
addEventListener("popstate", load); // also fired by a new #token=…
document.addEventListener("click", onClick);
byId("help").onclick = showKeys;
byId("skip").onclick = () => byId("main").focus();
load();
