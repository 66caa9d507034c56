import axios, { isAxiosError } from "axios";
import { type ErrorResponse, getFlowruns } from "./api";
import { ARGS, check, URL, walk } from "./check";

axios.defaults.baseURL = URL;
const { createFlowRun, getFlowRun, getFlowRuns, upsertFlowRun } = getFlowruns();
const created = await createFlowRun({ id: "web-1", flowId: "web" });
const started = await createFlowRun({ flowId: "web", args: ARGS, tags: [{ key: "a", value: "b" }] });
const put = await upsertFlowRun("web-1", { flowId: "web", flowType: "automation", phase: "failed", outputs: ARGS });
const some = await getFlowRuns({ flowId: ["web"], phase: ["failed", "running"] }); // sent as phase[]=failed&phase[]=…
const one = await getFlowRun("web-1");
const details = await createFlowRun({ flowId: "Not An Id" }).then(() => undefined, (error: unknown) =>
	isAxiosError<ErrorResponse>(error) && error.status === 422 ? error.response?.data.detail : undefined);
const walked = await walk(async (cursor) => {
	const { data } = await getFlowRuns({ size: 100, cursor });
	return { ...data, next: data.next_page };
});
check({
	created: created.data, started: started.data, put: put.data, one: one.data, some: some.data.items, details, walked,
});
