// The way in: which view shows what the address bar says.

import { BASE, decoded, hasToken, takeToken } from "./api.js";
import { CompareView } from "./compare.js";
import { fill, find, h } from "./dom.js";
import { listUrl } from "./filters.js";
import { showKeys, useKeys } from "./keys.js";
import { ListView } from "./list.js";
import { RunView } from "./run.js";
import { askToken } from "./states.js";

let view = null;
let shown = null; // the path of the view

/** What the address bar asks for, and the view for it. */
function place() {
	const path = location.pathname.slice(BASE.pathname.length);
	const id = /^runs\/(.+)$/.exec(path)?.[1];
	const View = id ? RunView : path === "compare" ? CompareView : ListView;
	return { path, View, id: id && decoded(id), query: new URLSearchParams(location.search), state: history.state };
}

/** Goes to *url*; *quiet*: it is shown, only the address bar has to know. */
function go(url, { state, quiet } = {}) {
	if (quiet) return history.replaceState(history.state, "", url);
	history.replaceState({ ...history.state, ...view?.state?.() }, "");
	// A tab is no step: "back" leaves the run.
	if (view instanceof RunView && new URL(url).pathname === location.pathname) history.replaceState(history.state, "", url);
	else history.pushState({ ...state, inside: true }, "", url);
	return show();
}

/** Back to the list, as it was if it was left for this. */
function leave() {
	if (history.state?.inside) history.back();
	else go(listUrl());
}

function arrive() {
	takeToken();
	show();
}

function show() {
	const wanted = place();
	const here = wanted.id ?? (wanted.View === CompareView && "Compare");
	fill(find("crumbs"), here && [h("a", { href: listUrl() }, "Runs"), h("span", { ariaHidden: "true" }, "/"), h("span", { ariaCurrent: "page" }, here)]);
	if (view && wanted.path === shown) return view.update(wanted);
	view?.close();
	shown = wanted.path;
	const root = h("div.view");
	fill(find("main"), root);
	scrollTo(0, 0);
	view = new wanted.View(root, { go, leave, refused, place: wanted });
	return view;
}

/** Shows the field for a token if *error* asks for one; returns whether it does. */
function refused(error) {
	if (error.status !== 401) return false;
	view?.close();
	view = null;
	useKeys({});
	fill(find("main"), askToken(hasToken(), show));
	find("token").focus();
	return true;
}

/** Links within the page change the view; others, and those for a new tab, are the browser's. */
function followLink(event) {
	const link = event.target.closest("a[href]");
	const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
	if (event.defaultPrevented || !plain || !link?.href.startsWith(BASE.href) || link.target) return;
	event.preventDefault();
	go(link.href, { state: link.state });
}

history.scrollRestoration = "manual"; // the list puts it back itself, once its rows are there
addEventListener("popstate", arrive); // a new #token=… in the address bar is one too
document.addEventListener("click", followLink);
find("help").onclick = showKeys;
find("skip").onclick = () => find("main").focus();
arrive();
