import { ARGS, check, URL, walk } from "./check";
import { createFlowRun, getFlowRun, getFlowRuns, upsertFlowRun } from "./generated";
import { client } from "./generated/client.gen";

client.setConfig({ baseUrl: URL });
const created = await createFlowRun({ body: { id: "web-1", flowId: "web" } });
const started = await createFlowRun({ body: { flowId: "web", args: ARGS, tags: [{ key: "a", value: "b" }] } });
const put = await upsertFlowRun({
	path: { id_: "web-1" }, body: { flowId: "web", flowType: "automation", phase: "failed", outputs: ARGS },
});
const some = await getFlowRuns({ query: { flowId: ["web"], phase: ["failed", "running"] } });
const one = await getFlowRun({ path: { id_: "web-1" } });
const refused = await createFlowRun({ body: { flowId: "Not An Id" } });
const walked = await walk(async (cursor) => {
	const { data } = await getFlowRuns({ query: { size: 100, cursor } });
	return data && { ...data, next: data.next_page };
});
check({
	created: created.data, started: started.data, put: put.data, one: one.data, some: some.data?.items,
	details: refused.error?.detail, walked,
});
