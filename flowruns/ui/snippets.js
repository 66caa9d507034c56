// A request as a command or code. The token is a variable, as users share screens.

import { shellQuote } from "./share.js";

/** By name: the code for a request `{method, url, headers, body, hasToken}`. */
export const SNIPPETS = { curl, Python: python, JavaScript: javascript };

function curl({ method, url, headers, body, hasToken }) {
	return [
		`curl -s${headers.Accept ? "N" : ""}${method === "GET" ? "" : ` -X ${method}`} ${shellQuote(url)}`,
		hasToken && `-H "Authorization: Bearer $FLOWRUNS_TOKEN"`,
		...Object.entries(headers).map(([name, value]) => `-H ${shellQuote(`${name}: ${value}`)}`),
		body !== undefined && `--data-raw ${shellQuote(body)}`,
	].filter(Boolean).join(" \\\n  ");
}

/** Python's string literals take what JSON's have. */
function python({ method, url, headers, body, hasToken }) {
	const fields = Object.entries(headers).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
	if (hasToken) fields.push(`"Authorization": "Bearer " + os.environ["FLOWRUNS_TOKEN"]`);
	return [
		`${hasToken ? "import os\n" : ""}from urllib.request import Request, urlopen\n`,
		"request = Request(",
		`    ${JSON.stringify(url)},`,
		`    method=${JSON.stringify(method)},`,
		fields.length > 0 && `    headers={${fields.join(", ")}},`,
		body !== undefined && `    data=${JSON.stringify(body)}.encode(),`,
		")",
		"with urlopen(request) as response:",
		headers.Accept ? "    for line in response:\n        print(line.decode(), end=\"\")"
			: "    print(response.status, response.read().decode())",
	].filter(Boolean).join("\n");
}

function javascript({ method, url, headers, body, hasToken }) {
	const fields = Object.entries(headers).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
	if (hasToken) fields.push("Authorization: `Bearer ${token}`");
	return [
		`const response = await fetch(${JSON.stringify(url)}, {`,
		`  method: ${JSON.stringify(method)},`,
		fields.length > 0 && `  headers: { ${fields.join(", ")} },`,
		body !== undefined && `  body: ${JSON.stringify(body)},`,
		"});",
		"console.log(response.status, await response.text());",
	].filter(Boolean).join("\n");
}
