import { CreateFlowRunBody, CreateFlowRunResponse, GetFlowRunResponse, GetFlowRunsResponse, UpsertFlowRunBody, UpsertFlowRunResponse } from "./api";
import { ARGS, check, type Detail, URL, walk } from "./check";

const RUNS = `${URL}/api/v1/flow-runs`;

async function send(method: string, target: string, body: unknown): Promise<unknown> {
	const headers = { "Content-Type": "application/json" };
	return (await fetch(target, { method, headers, body: JSON.stringify(body) })).json();
}

async function read(target: string): Promise<unknown> {
	return (await fetch(target)).json();
}

const create = async (body: unknown) =>
	CreateFlowRunResponse.parse(await send("POST", RUNS, CreateFlowRunBody.parse(body)));
const failed = UpsertFlowRunBody.parse({ flowId: "web", flowType: "automation", phase: "failed", outputs: ARGS });
const created = await create({ id: "web-1", flowId: "web" });
const started = await create({ flowId: "web", args: ARGS, tags: [{ key: "a", value: "b" }] });
const put = UpsertFlowRunResponse.parse(await send("PUT", `${RUNS}/web-1`, failed));
const some = GetFlowRunsResponse.parse(await read(`${RUNS}?flowId=web&phase=failed&phase=running`));
const one = GetFlowRunResponse.parse(await read(`${RUNS}/web-1`));
if (CreateFlowRunBody.safeParse({ flowId: "Not An Id" }).success) throw new Error("zod takes what the server refuses");
const { detail } = await send("POST", RUNS, { flowId: "Not An Id" }) as { detail: Detail[] };
const walked = await walk(async (cursor) => {
	const page = GetFlowRunsResponse.parse(await read(`${RUNS}?size=100&cursor=${cursor ?? ""}`));
	return { ...page, next: page.next_page };
});
check({ created, started, put, one, some: some.items, details: detail, walked });
