// Not a module: it runs before the first paint, so that no light page flashes in a dark room.
(() => {
	const NAMES = { system: "◐", light: "☀", dark: "☾" };
	const root = document.documentElement;
	let name = "system";
	try {
		name = localStorage.getItem("flowruns.theme") ?? name;
	} catch {
		// storage is forbidden: the choice lasts as long as the page
	}
	root.dataset.theme = name;
	addEventListener("DOMContentLoaded", () => {
		const button = document.getElementById("theme");
		const label = () => {
			button.textContent = NAMES[name];
			button.title = button.ariaLabel = `Theme: ${name}`;
		};
		label();
		button.onclick = () => {
			const names = Object.keys(NAMES);
			name = root.dataset.theme = names[(names.indexOf(name) + 1) % names.length];
			label();
			try {
				localStorage.setItem("flowruns.theme", name);
			} catch {
				// as above
			}
		};
	});
})();
