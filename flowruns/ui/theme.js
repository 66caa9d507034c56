// Not a module: it runs before the first paint, so that the page never flashes in the wrong theme.
(() => {
	const ICONS = { system: "◐", light: "☀", dark: "☾" };
	const root = document.documentElement;
	let storage = null;
	try {
		storage = localStorage;
	} catch {
		// blocked: the choice lasts until the page is closed
	}
	root.dataset.theme = storage?.getItem("flowruns.theme") ?? "system";
	// A page that cannot start says why: a proxy may refuse scripts.
	addEventListener("error", async ({ target }) => {
		if (!(target instanceof HTMLScriptElement)) return;
		const loaded = new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));
		if (document.readyState === "loading") await loaded;
		document.getElementById("late").replaceWith(Object.assign(document.createElement("p"), {
			className: "state", role: "alert", textContent: `This page cannot start: ${await reason(target.src)}`,
		}));
	}, true);
	async function reason(src) {
		try {
			const response = await fetch(src);
			const { pathname } = new URL(src);
			if (response.ok) return `a script that ${pathname} needs has not loaded; the browser's console names it.`;
			const body = await response.json().catch(() => null); // a proxy sends no JSON
			const msg = body?.detail?.map((detail) => detail.msg).join("; ");
			return `${pathname} has the status ${response.status}${msg ? `: ${msg}` : ""}.`;
		} catch (error) {
			return `the server does not respond (${error.message}).`;
		}
	}
	addEventListener("DOMContentLoaded", () => {
		const button = document.getElementById("theme");
		const choose = (name) => {
			root.dataset.theme = name;
			button.textContent = ICONS[name];
			button.title = button.ariaLabel = `Theme: ${name}`;
		};
		choose(root.dataset.theme);
		button.onclick = () => {
			const names = Object.keys(ICONS);
			choose(names[(names.indexOf(root.dataset.theme) + 1) % names.length]);
			storage?.setItem("flowruns.theme", root.dataset.theme);
		};
	});
})();
