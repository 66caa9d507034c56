import createClient from "openapi-fetch";
import type { paths } from "./api";
import { ARGS, check, URL, walk } from "./check";

const RUNS = "/api/v1/flow-runs";
const RUN = "/api/v1/flow-runs/{id_}";
const web = { params: { path: { id_: "web-1" } } };

const client = createClient<paths>({ baseUrl: URL });
const created = await client.POST(RUNS, { body: { id: "web-1", flowId: "web" } });
const started = await client.POST(RUNS, { body: { flowId: "web", args: ARGS, tags: [{ key: "a", value: "b" }] } });
const put = await client.PUT(RUN, {
	...web, body: { flowId: "web", flowType: "automation", phase: "failed", outputs: ARGS },
});
const some = await client.GET(RUNS, { params: { query: { flowId: ["web"], phase: ["failed", "running"] } } });
const refused = await client.POST(RUNS, { body: { flowId: "Not An Id" } });
const walked = await walk(async (cursor) => {
	const { data } = await client.GET(RUNS, { params: { query: { size: 100, cursor } } });
	return data && { ...data, next: data.next_page };
});
check({
	created: created.data, started: started.data, put: put.data, one: (await client.GET(RUN, web)).data,
	some: some.data?.items, details: refused.error?.detail, walked,
});
