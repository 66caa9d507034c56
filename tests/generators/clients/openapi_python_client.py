"""The client that openapi-python-client generates."""

import os

from generated import Client
from generated.api.flow_runs import create_flow_run, get_flow_run, get_flow_runs, upsert_flow_run
from generated.models import (
    ErrorResponse,
    FlowRun,
    FlowRunPage,
    FlowType,
    RunPost,
    RunPostArgsType0,
    RunPut,
    RunPutOutputsType0,
    Tag,
)
from generated.types import UNSET, Unset

ARGS = {"ref": "main", "nested": {"list": [1, {"a": None}]}}

client = Client(base_url=os.environ["FLOWRUNS_URL"])
created = create_flow_run.sync(client=client, body=RunPost(id="web-1", flow_id="web"))
assert isinstance(created, FlowRun), created
assert (created.id, created.flow_id, created.phase) == ("web-1", "web", "pending")
args = RunPostArgsType0.from_dict(ARGS)
started = create_flow_run.sync(client=client, body=RunPost(flow_id="web", args=args, tags=[Tag("a", "b")]))
assert isinstance(started, FlowRun), started
assert started.args is not None
assert started.args.to_dict() == ARGS
outputs = RunPutOutputsType0.from_dict(ARGS)
put = upsert_flow_run.sync(
    "web-1", client=client, body=RunPut("web", FlowType.AUTOMATION, phase="failed", outputs=outputs)
)
assert isinstance(put, FlowRun), put
page = get_flow_runs.sync(client=client, flow_id=["web"], phase=["failed", "running"])
assert isinstance(page, FlowRunPage), page
found: list[tuple[str, str | None]] = [(run.id, run.phase) for run in page.items]
assert found == [("web-1", "failed")]
one = get_flow_run.sync("web-1", client=client)
assert isinstance(one, FlowRun), one
assert one.outputs is not None
assert one.outputs.to_dict() == ARGS
refused = create_flow_run.sync_detailed(client=client, body=RunPost("Not An Id"))
assert isinstance(refused.parsed, ErrorResponse), refused
assert [(error.loc, error.type_) for error in refused.parsed.detail] == [
    (["body", "flowId"], "string_pattern_mismatch")
]
ids: set[str] = set()
cursor: str | None | Unset = UNSET
while cursor is not None:
    read = get_flow_runs.sync(client=client, size=100, cursor=cursor)
    assert isinstance(read, FlowRunPage), read
    ids |= {run.id for run in read.items}
    cursor = read.next_page
assert len(ids) == int(os.environ["EXPECTED_RUNS"])
