"""Plain values as JSON and as queries, and errors for unknown names and values."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.json import decode, encode

from flowruns.model.python_values import as_tags, body, plain, query
from flowruns.model.runs import Action, FlowRun, Log, RunPost, RunPut, Tag

NOON = datetime(2025, 1, 20, 12, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("name", "value", "json"),
    [
        ("args", {"b": 2**80, "a": "ä"}, '{"b": 1208925819614629174706176, "a": "ä"}'),
        ("args", None, "null"),
        ("startTime", NOON, '"2025-01-20T10:00:00.000Z"'),
        ("startTime", "2025-01-20T10:00:00Z", '"2025-01-20T10:00:00Z"'),
        ("tags", {"env": "test"}, '[{"key": "env", "value": "test"}]'),
        ("tags", [Tag(key="env", value="test")], '[{"key": "env", "value": "test"}]'),
        ("actions", [Action(id="a", start_time="2025-01-20T10:00:00Z")],
         '[{"id": "a", "phase": null, "startTime": "2025-01-20T10:00:00.000Z", "endTime": null}]'),
        ("logs", [{"message": "m", "timestamp": NOON}], '[{"message": "m", "timestamp": "2025-01-20T10:00:00.000Z"}]'),
    ],
)  # fmt: skip
def test_values_become_json(name: str, value: Any, json: str) -> None:
    assert bytes(body(RunPut, {name: value})[name]).decode() == json


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"flow_id": "a"}, "a PUT has no field 'flow_id'; is it 'flowId'"),
        ({"createdAt": NOON}, "a PUT has no field 'createdAt'"),
        ({"colour": "red"}, "a PUT has no field 'colour', only flowId, flowType"),
        ({"args": {"a": float("inf")}}, "not JSON compliant"),
        ({"startTime": datetime(2025, 1, 20)}, "a datetime needs a time zone"),  # on purpose
        ({"args": {"a": object()}}, "JSON has no object"),
        ({"args": {"a": "\ud800"}}, "surrogates not allowed"),
    ],
)
def test_error_names_what_cannot_be_sent(fields: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        body(RunPut, fields)


def test_a_post_has_fewer_fields() -> None:
    with pytest.raises(TypeError, match="a POST has no field 'phase', only flowId, id, flowType, args, tags"):
        body(RunPost, {"phase": "running"})


def test_filters_become_a_query() -> None:
    filters = {"phase": ["failed", "running"], "createdBy": 7, "createdAfter": NOON, "tag": ("a:b",), "flowId": None}
    assert query(filters) == [
        ("phase", "failed"), ("phase", "running"), ("createdBy", "7"), ("createdAfter", "2025-01-20T10:00:00.000Z"),
        ("tag", "a:b"),
    ]  # fmt: skip
    with pytest.raises(TypeError, match="there is no filter 'flow_type'; is it 'flowType'"):
        query({"flow_type": "automation"})


def test_tags_that_are_no_dict_stay_as_they_are() -> None:
    assert as_tags(None) is None
    assert as_tags([{"key": "a", "value": "b"}]) == [{"key": "a", "value": "b"}]


def test_run_has_plain_args_and_outputs_and_goes_back() -> None:
    made = decode(
        b'{"flowId": "f", "flowType": "automation", "args": {"n": 1e400, "big": 123456789012345678901234567890},'
        b' "logs": [{"message": "m"}]}',
        type=RunPut,
    ).run("a1", now="2025-01-20T10:00:00.000Z", by=None, preserved=None)
    run = plain(decode(encode(made), type=FlowRun))
    assert (run.id, run.args, run.outputs) == (
        "a1", {"n": float("inf"), "big": 123456789012345678901234567890}, None,
    )  # fmt: skip
    assert run.logs
    assert isinstance(run.logs[0], Log)
