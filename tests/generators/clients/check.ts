/** What every program shows with the client of its tool, in types as strict as a program would want them. */

export const URL = process.env.FLOWRUNS_URL ?? "";
export const ARGS: { [key: string]: unknown } = { ref: "main", nested: { list: [1, { a: null }] } };

export interface Run {
	id: string;
	flowId: string;
	phase: string | null;
	args: { [key: string]: unknown } | null;
	outputs: { [key: string]: unknown } | null;
	createdAt: string | Date;
}

export interface Page {
	items: Run[];
	total: number;
	next: string | null;
}

export interface Detail {
	loc: (string | number)[];
	msg: string;
	type: string;
}

interface Shown {
	created?: Run; // by the first request of the README
	started?: Run; // with ARGS
	put?: Run; // web-1 as failed, with ARGS as outputs
	one?: Run; // web-1
	some?: Run[]; // the page of the flow `web` with the phases `failed` and `running`
	details?: Detail[]; // of a POST whose flowId is "Not An Id"
	walked: Run[]; // the items of all pages
}

/** Throws unless everything that was sent came back whole. */
export function check({ created, started, put, one, some, details, walked }: Shown): void {
	same("created", [created?.id, created?.flowId, created?.phase], ["web-1", "web", "pending"]);
	same("args", started?.args, ARGS);
	same("outputs", put?.outputs, ARGS);
	same("one", [one?.id, one?.phase, one?.outputs], ["web-1", "failed", ARGS]);
	same("filter", some?.map(({ id, phase }) => [id, phase]), [["web-1", "failed"]]);
	same("detail", details?.map(({ loc, type }) => [loc, type]), [[["body", "flowId"], "string_pattern_mismatch"]]);
	same("ids of all pages", new Set(walked.map(({ id }) => id)).size, Number(process.env.EXPECTED_RUNS));
}

function same(what: string, value: unknown, expected: unknown): void {
	const [found, wanted] = [value, expected].map((one) => JSON.stringify(one));
	if (found !== wanted) throw new Error(`${what}: ${found}, not ${wanted}`);
}

/** The items of all pages, each of which *read* gives for the cursor of the page before. */
export async function walk(read: (cursor: string | undefined) => Promise<Page | undefined>): Promise<Run[]> {
	const items: Run[] = [];
	for (let cursor: string | null | undefined; cursor !== null;) {
		const page: Page | undefined = await read(cursor);
		if (!page) throw new Error("no page");
		if (page.total !== Number(process.env.EXPECTED_RUNS)) throw new Error(`total: ${page.total}`);
		items.push(...page.items);
		cursor = page.next;
	}
	return items;
}
