import { ARGS, check, type Detail, URL, walk } from "./check";
import { Configuration, FlowRunsApi, ResponseError } from "./generated";

const api = new FlowRunsApi(new Configuration({ basePath: URL }));
const created = await api.createFlowRun({ runPost: { id: "web-1", flowId: "web" } });
const started = await api.createFlowRun({
	runPost: { flowId: "web", args: ARGS, tags: [{ key: "a", value: "b" }] },
});
const put = await api.upsertFlowRun({
	id: "web-1", runPut: { flowId: "web", flowType: "automation", phase: "failed", outputs: ARGS },
});
const some = await api.getFlowRuns({ flowId: ["web"], phase: ["failed", "running"] });
const one = await api.getFlowRun({ id: "web-1" });
const refused = await api.createFlowRun({ runPost: { flowId: "Not An Id" } }).then(() => undefined,
	(error: unknown) => error instanceof ResponseError ? error.response : undefined);
const { detail }: { detail: Detail[] } = await refused?.json();
const walked = await walk(async (cursor) => {
	const page = await api.getFlowRuns({ size: 100, cursor });
	return { ...page, next: page.nextPage };
});
check({ created, started, put, one, some: some.items, details: detail, walked });
