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
