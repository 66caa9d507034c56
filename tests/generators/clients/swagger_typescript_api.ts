import { Api, type ErrorResponse, FlowType, type HttpResponse } from "./api";
import { ARGS, check, URL, walk } from "./check";

const { api } = new Api({ baseUrl: URL });
const created = await api.createFlowRun({ id: "web-1", flowId: "web" });
const started = await api.createFlowRun({ flowId: "web", args: ARGS, tags: [{ key: "a", value: "b" }] });
const put = await api.upsertFlowRun("web-1", { flowId: "web", flowType: FlowType.Automation, phase: "failed", outputs: ARGS });
const some = await api.getFlowRuns({ flowId: ["web"], phase: ["failed", "running"] });
const one = await api.getFlowRun("web-1");
const details = await api.createFlowRun({ flowId: "Not An Id" }).then(() => undefined,
	(response: HttpResponse<unknown, ErrorResponse>) => response.error.detail);
const walked = await walk(async (cursor) => {
	const { data } = await api.getFlowRuns({ size: 100, cursor });
	return { ...data, next: data.next_page };
});
check({
	created: created.data, started: started.data, put: put.data, one: one.data, some: some.data.items, details, walked,
});
