// Not a module: it runs before the first paint, so that no light page flashes in a dark room.
(() => {
	const NAMES = { system: "◐", light: "☀", dark: "☾" };
	const root = document.documentElement;
	let storage = null;
	try {
		storage = localStorage;
	} catch {
		// it is forbidden: the choice lasts as long as the page
	}
	root.dataset.theme = storage?.getItem("flowruns.theme") ?? "system";
	addEventListener("DOMContentLoaded", () => {
		const button = document.getElementById("theme");
		const choose = (name) => {
			root.dataset.theme = name;
			button.textContent = NAMES[name];
			button.title = button.ariaLabel = `Theme: ${name}`;
		};
		choose(root.dataset.theme);
		button.onclick = () => {
			const names = Object.keys(NAMES);
			choose(names[(names.indexOf(root.dataset.theme) + 1) % names.length]);
			storage?.setItem("flowruns.theme", root.dataset.theme);
		};
	});
})();
