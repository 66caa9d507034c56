import { createFlowRun, getFlowRun, getFlowRuns, upsertFlowRun } from "./api";
import { ARGS, check, walk } from "./check";

const created = await createFlowRun({ id: "web-1", flowId: "web" });
const started = await createFlowRun({ flowId: "web", args: ARGS, tags: [{ key: "a", value: "b" }] });
const put = await upsertFlowRun("web-1", { flowId: "web", flowType: "automation", phase: "failed", outputs: ARGS });
const some = await getFlowRuns({ flowId: ["web"], phase: ["failed", "running"] });
const one = await getFlowRun("web-1");
const refused = await createFlowRun({ flowId: "Not An Id" });
const walked = await walk(async (cursor) => {
	const { status, data } = await getFlowRuns({ size: 100, cursor });
	return status === 200 ? { ...data, next: data.next_page } : undefined;
});
check({
	created: created.status === 201 ? created.data : undefined,
	started: started.status === 201 ? started.data : undefined,
	put: put.status === 200 ? put.data : undefined,
	one: one.status === 200 ? one.data : undefined,
	some: some.status === 200 ? some.data.items : undefined,
	details: refused.status === 422 ? refused.data.detail : undefined,
	walked,
});
