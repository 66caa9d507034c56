"""The client that the generator `python` of openapi-generator makes."""

import os

from generated import ApiClient, Configuration, FlowRunsApi, FlowType, RunPost, RunPut, Tag
from generated.exceptions import UnprocessableEntityException

ARGS = {"ref": "main", "nested": {"list": [1, {"a": None}]}}

api = FlowRunsApi(ApiClient(Configuration(host=os.environ["FLOWRUNS_URL"])))
created = api.create_flow_run(RunPost(id="web-1", flowId="web"))
assert (created.id, created.flow_id, created.phase) == ("web-1", "web", "pending")
started = api.create_flow_run(RunPost(flowId="web", args=ARGS, tags=[Tag(key="a", value="b")]))
assert started.args == ARGS
failed = RunPut(flowId="web", flowType=FlowType.AUTOMATION, phase="failed", outputs=ARGS)
assert api.upsert_flow_run("web-1", failed).outputs == ARGS
page = api.get_flow_runs(flow_id=["web"], phase=["failed", "running"])
assert [(run.id, run.phase) for run in page.items] == [("web-1", "failed")]
one = api.get_flow_run("web-1")
assert (one.id, one.outputs) == ("web-1", ARGS)
refused = None
try:
    api.create_flow_run(RunPost.model_construct(flow_id="Not An Id"))
except UnprocessableEntityException as error:
    refused = error.data
assert refused is not None
((loc, kind),) = [([part.actual_instance for part in detail.loc], detail.type) for detail in refused.detail]
assert (loc, kind) == (["body", "flowId"], "string_pattern_mismatch")
ids: set[str] = set()
cursor: str | None = ""
while cursor is not None:
    read = api.get_flow_runs(size=100, cursor=cursor)
    ids |= {run.id for run in read.items}
    cursor = read.next_page
assert len(ids) == int(os.environ["EXPECTED_RUNS"])
