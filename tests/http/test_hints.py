"""Log lines about what a request contains without effect."""

import json
import logging
from typing import Any

import httpx
import pytest

from flowruns.http import hints
from flowruns.http.hints import PARAMETERS, hints_of
from flowruns.model.aliases import FIELD_ALIASES, PARAMETER_ALIASES
from flowruns.model.filters import FILTERS
from flowruns.model.runs import RunPut
from tests.conftest import RUNS


@pytest.fixture(autouse=True)
async def _info(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """Sets the level after the application is created, which else logs each request too."""
    caplog.set_level(logging.INFO, "flowruns")


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("status", "phase"), ("limit", "size"), ("flow_id", "flowId"), ("Phase", "phase"), ("phse", "phase"),
        ("page_size", "size"), ("per-page", "size"), ("created_after", "createdAfter"), ("tags", "tag"),
    ],
)  # fmt: skip
async def test_unknown_parameter_is_logged_with_the_similar_one(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, name: str, parameter: str
) -> None:
    assert (await client.get(RUNS, params={name: "S3CRET"})).status_code == 200
    assert caplog.messages == [f"unknown query parameter '{name}' is ignored; did you mean '{parameter}'?"]


async def test_parameter_that_is_similar_to_none_is_logged_alone(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get(RUNS, params={"xyzzy": ""})
    assert caplog.messages == ["unknown query parameter 'xyzzy' is ignored."]


@pytest.mark.parametrize("target", [RUNS, f"{RUNS}/a", "/api/v1/stats"])
async def test_unknown_parameter_of_each_read_is_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    await client.get(f"{target}?field=id")
    assert caplog.messages == ["unknown query parameter 'field' is ignored; did you mean 'fields'?"]


async def test_unknown_parameter_is_logged_once(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    for query in ("?limit=10", "?limit=20&size=5", "?limit=10&limit[]=3", "?Limit=1"):
        await client.get(f"{RUNS}{query}")
    assert caplog.messages == [
        "unknown query parameter 'limit' is ignored; did you mean 'size'?",
        "unknown query parameter 'Limit' is ignored; did you mean 'size'?",
    ]


async def test_names_that_were_logged_are_bounded(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "_MAX_NOTED", 3)
    for number in range(10):
        await client.get(f"{RUNS}?x{number}=")
    assert len(caplog.messages) == 3


async def test_several_unknown_parameters_are_one_line(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get(f"{RUNS}?limit=10&status=failed&status=running&size=2")
    assert caplog.messages == [
        "unknown query parameter 'limit' is ignored; did you mean 'size'?"
        " unknown query parameter 'status' is ignored; did you mean 'phase'?"
    ]


async def test_line_is_short_and_escaped_and_has_no_values(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["x" * 10_000, "%0A%1B[31m", "%FF", *(f"{number}" for number in range(1000))]
    await client.get(f"{RUNS}?" + "&".join(f"{name}=S3CRET" for name in names))
    (line,) = caplog.messages
    assert len(line) < 500
    assert line.isprintable()
    assert r"'\n\x1b[31m'" in line
    assert line.endswith(" (and 998 more)")
    assert "S3CRET" not in line


@pytest.mark.parametrize("target", [RUNS, "/api/v1/stats"])
async def test_names_beyond_those_of_a_line_are_logged_when_the_query_is_repeated(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    for _ in range(3):
        await client.get(f"{target}?{'&'.join(f'x{number}x=' for number in range(7))}")
    first, second = caplog.messages
    assert first.endswith(" (and 2 more)")
    assert second == "unknown query parameter 'x5x' is ignored. unknown query parameter 'x6x' is ignored."


async def test_known_parameters_are_not_logged(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    for query in ("", "?", "?&", "?size=1&order=asc&cursor=&phase=x&tag=a:b&createdBy=1", "?size=0"):
        await client.get(f"{RUNS}{query}")
    assert caplog.messages == []


async def test_every_alias_leads_to_a_parameter() -> None:
    assert set(PARAMETER_ALIASES.values()) < set(PARAMETERS)
    assert {filter.name for filter in FILTERS} < set(PARAMETERS)


PUT_ONLY: dict[str, Any] = {
    "phase": "S3CRET", "startTime": 1, "endTime": "x", "actions": {}, "outputs": {"S3CRET": 1}, "logs": [],
}  # fmt: skip


async def test_fields_that_only_put_accepts_are_one_line(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.post(RUNS, json={"flowId": "deploy", **PUT_ONLY, "createdAt": "x"})
    assert (response.status_code, response.json()["phase"]) == (201, "pending")
    (line,) = caplog.messages
    assert line == (
        "POST ignores 'phase', 'startTime', 'endTime', 'actions', 'outputs', 'logs' in the body;"
        f" set them with PUT {RUNS}/{{id}}"
    )


@pytest.mark.parametrize("field", PUT_ONLY)
async def test_each_of_these_fields_is_logged_unless_it_is_null(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    await client.post(RUNS, json={"flowId": "deploy", field: None})
    assert caplog.messages == []
    await client.post(RUNS, json={"flowId": "deploy", field: PUT_ONLY[field]})
    assert caplog.messages == [f"POST ignores '{field}' in the body; set it with PUT {RUNS}/{{id}}"]


async def test_other_bodies_are_not_logged(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    run = {"flowId": "deploy", "flowType": "selfServiceAction"}
    await client.post(RUNS, json=run | {"id": "a", "args": {"phase": 1}, "tags": [{"key": "phase", "value": "x"}]})
    await client.post(RUNS, json={"phase": "running"})  # 422
    await client.post(RUNS, json=run | {"id": "a", "phase": "running"})  # 409
    await client.put(f"{RUNS}/a", json=run | {"phase": "running"})
    assert caplog.messages == []


async def test_nothing_is_parsed_above_level_info(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "flowruns")
    monkeypatch.delattr(hints, "object_fields")
    monkeypatch.delattr(hints, "other_names")
    monkeypatch.delattr(hints, "_ending")
    body = json.dumps({"flowId": "deploy", "phase": "running", "status": "running"})
    assert (await client.post(RUNS, content=body, headers={"content-type": "application/json"})).status_code == 201
    assert (await client.get(f"{RUNS}?status=failed")).status_code == 200
    assert caplog.messages == []


RUN: dict[str, Any] = {"flowId": "deploy", "flowType": "selfServiceAction"}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("endtime", "endTime"), ("end_time", "endTime"), ("status", "phase"), ("Phase", "phase"), ("flowid", "flowId"),
        ("flow_type", "flowType"), ("labels", "tags"), ("inputs", "args"), ("log", "logs"), ("finishedAt", "endTime"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_unknown_field_is_logged_once_with_the_similar_one(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, method: str, name: str, field: str
) -> None:
    for _ in range(2):
        response = await client.request(method, RUNS + "/a" * (method == "PUT"), json={**RUN, name: "S3CRET"})
        assert response.is_success
    assert caplog.messages == [f"unknown field '{name}' in the body is ignored; did you mean '{field}'?"]


async def test_unknown_field_of_a_body_that_is_refused_is_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.post(RUNS, json={"flowid": "deploy"})).status_code == 422
    assert (await client.put(f"{RUNS}/a", json=[{"status": 1}])).status_code == 422
    assert (await client.put(f"{RUNS}/a", content=b"{", headers={"content-type": "application/json"})).is_error
    assert caplog.messages == ["unknown field 'flowid' in the body is ignored; did you mean 'flowId'?"]


async def test_run_as_get_returned_it_is_put_without_a_line(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.put(f"{RUNS}/a", json=RUN | {"actions": [{"id": "b"}], "logs": [{"message": "c"}]})
    run = (await client.get(f"{RUNS}/a")).json()
    counts = (await client.get(f"{RUNS}/a?fields=actionCounts,logCounts")).json()
    assert (await client.put(f"{RUNS}/a", json=run | counts)).status_code == 200
    assert caplog.messages == []


async def test_unknown_fields_of_a_large_body_are_a_short_line_without_values(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["x" * 10_000, "\n\x1b[31m", *(f"{number}" for number in range(20_000))]
    body = RUN | {"args": {"a": "x" * 100_000}} | dict.fromkeys(names, "S3CRET")
    assert (await client.put(f"{RUNS}/a", json=body)).status_code == 201
    (line,) = caplog.messages
    assert len(line) < 500
    assert line.isprintable()
    assert line.endswith(" (and 995 more)")  # at least: the others are not kept
    assert "S3CRET" not in line


async def test_every_alias_of_a_field_leads_to_one_that_a_body_has() -> None:
    assert set(FIELD_ALIASES.values()) < set(RunPut.__struct_encode_fields__)


@pytest.mark.parametrize(
    ("method", "parameters", "body", "expected"),
    [
        ("GET", ["size", "limit"], b"", ["unknown query parameter 'limit' is ignored; did you mean 'size'?"]),
        ("PUT", ["x"], b'{"xyzzy":1,"phase":"a"}', ["unknown field 'xyzzy' in the body is ignored."]),
        ("POST", [], b'{"phase":"a"}', [f"POST ignores 'phase' in the body; set it with PUT {RUNS}/{{id}}"]),
        ("POST", [], b"{", []),
        ("GET", ["size"], b"", []),
    ],
)
async def test_hints_are_those_of_one_request(
    method: str, parameters: list[str], body: bytes, expected: list[str]
) -> None:
    assert hints_of(method, parameters, body) == expected
