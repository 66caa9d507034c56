"""The contract's tables and sentences, through HTTP; each test is named after what it says."""

import json
import re
from typing import Any
from uuid import UUID

import httpx
import pytest
from starlette.applications import Starlette

from flowruns import __version__
from flowruns.sqlite.datafile import SCHEMA_VERSION
from tests.conftest import RUNS
from tests.wire import call, error_details

Run = dict[str, Any]

FIELDS = [
    "id", "flowId", "flowType", "args", "phase", "startTime", "endTime", "actions", "outputs", "logs", "tags",
    "createdAt", "createdBy", "updatedAt", "updatedBy", "reviewedBy", "reviewedAt",
]  # fmt: skip
PUT = {"flowId": "deploy", "flowType": "automation"}
MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def details(response: httpx.Response, status: int = 422) -> dict[tuple[str | int, ...], str]:
    """The type of each detail by its place; the one shape is checked on the way."""
    assert response.status_code == status, response.text
    return dict(error_details(response.json()))


async def put(client: httpx.AsyncClient, id: str, /, **fields: Any) -> Run:
    response = await client.put(f"{RUNS}/{id}", json=PUT | fields)
    assert response.status_code in (200, 201), response.text
    run: Run = response.json()
    return run


class TestResources:
    async def test_post_returns_201_with_the_run_and_its_location(self, client: httpx.AsyncClient) -> None:
        response = await client.post(RUNS, json={"flowId": "deploy"})
        assert response.status_code == 201
        assert response.headers["location"] == f"{RUNS}/{response.json()['id']}"
        assert (await client.get(response.headers["location"])).json() == response.json()

    async def test_put_returns_201_when_it_creates_and_200_when_it_replaces(self, client: httpx.AsyncClient) -> None:
        created = await client.put(f"{RUNS}/a", json=PUT)
        replaced = await client.put(f"{RUNS}/a", json=PUT)
        assert (created.status_code, replaced.status_code) == (201, 200)
        assert created.headers["location"] == f"{RUNS}/a"
        assert "location" not in replaced.headers

    async def test_delete_returns_204_without_a_body_then_404(self, client: httpx.AsyncClient) -> None:
        await put(client, "a")
        response = await client.delete(f"{RUNS}/a")
        assert (response.status_code, response.content) == (204, b"")
        assert details(await client.delete(f"{RUNS}/a"), 404) == {("path", "id_"): "not_found"}
        assert details(await client.get(f"{RUNS}/a"), 404) == {("path", "id_"): "not_found"}

    @pytest.mark.parametrize("id", ["A", "a b", "ä", "a\n", "a%00"])
    async def test_an_id_off_the_pattern_is_404_for_get_and_422_for_put_and_delete(
        self, client: httpx.AsyncClient, id: str
    ) -> None:
        url = f"{RUNS}/{_escaped(id)}"
        assert details(await client.get(url), 404)
        for response in (await client.put(url, json=PUT), await client.delete(url)):
            assert details(response) == {("path", "id_"): "string_pattern_mismatch"}

    @pytest.mark.parametrize(("id", "escaped"), [(".", "%252E"), ("..", "%252e%252E")])
    async def test_ids_that_clients_remove_from_paths_can_be_escaped_twice(
        self, app: Starlette, client: httpx.AsyncClient, id: str, escaped: str
    ) -> None:
        assert (await put(client, escaped))["id"] == id
        assert (await client.put(f"{RUNS}/{escaped}", json={**PUT, "id": id})).status_code == 200
        assert (await call(app, "GET", f"{RUNS}/{id}", [(b"host", b"localhost")])).json["id"] == id
        assert details(await client.get(f"{RUNS}/%252E%252E%252E"), 404)
        assert (await client.delete(f"{RUNS}/{escaped}")).status_code == 204

    async def test_a_slash_in_an_id_makes_another_path(self, client: httpx.AsyncClient) -> None:
        assert details(await client.put(f"{RUNS}/a%2Fb", json=PUT), 404) == {("path",): "not_found"}

    @pytest.mark.parametrize(
        ("target", "allowed"),
        [
            (RUNS, "GET, HEAD, POST"),
            (f"{RUNS}/a", "DELETE, GET, HEAD, PUT"),
            ("/openapi.json", "GET, HEAD"),
            ("/health", "GET, HEAD"),
        ],
    )
    async def test_any_other_method_is_405_with_a_complete_allow(
        self, client: httpx.AsyncClient, target: str, allowed: str
    ) -> None:
        methods = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"}
        for method in methods - set(allowed.split(", ")):
            response = await client.request(method, target)
            assert response.headers["allow"] == allowed
            assert details(response, 405) == {("method",): "method_not_allowed"}

    @pytest.mark.parametrize("target", [RUNS, f"{RUNS}/a", f"{RUNS}/b", "/openapi.json", "/health", "/nothing"])
    async def test_head_responds_as_get_without_the_body(self, client: httpx.AsyncClient, target: str) -> None:
        await put(client, "a")
        get, head = await client.get(target), await client.head(target)
        assert head.status_code == get.status_code
        assert head.headers == get.headers
        assert head.content == b""

    @pytest.mark.parametrize(
        "target", [f"{RUNS}/", f"{RUNS}/a/", "/openapi.json/", "/api/v1", "/ui/x", "//api/v1/flow-runs", f"{RUNS}%0A"]
    )
    async def test_a_trailing_slash_or_newline_is_another_path(self, client: httpx.AsyncClient, target: str) -> None:
        await put(client, "a")
        assert details(await client.get(f"http://localhost{target}"), 404) == {("path",): "not_found"}

    async def test_health_has_status_version_schema_runs_and_instance(self, client: httpx.AsyncClient) -> None:
        await put(client, "a")
        health = (await client.get("/health")).json()
        assert re.fullmatch("[0-9a-f]{16}", health.pop("instance"))
        assert health == {"status": "ok", "version": __version__, "schema": SCHEMA_VERSION, "runs": 1}

    async def test_every_response_forbids_sniffing(self, client: httpx.AsyncClient) -> None:
        for response in (await client.get(RUNS), await client.get("/x"), await client.post(RUNS)):
            assert response.headers["x-content-type-options"] == "nosniff"


class TestFlowRun:
    async def test_every_response_carries_every_field_in_order(self, client: httpx.AsyncClient) -> None:
        run = await put(client, "a")
        assert list(run) == FIELDS
        assert list((await client.get(RUNS)).json()["items"][0]) == FIELDS
        assert list((await client.post(RUNS, json={"flowId": "b"})).json()) == FIELDS

    async def test_what_is_unset_is_null(self, client: httpx.AsyncClient) -> None:
        run = await put(client, "a")
        unset = {name for name, value in run.items() if value is None}
        assert unset == set(FIELDS) - {"id", "flowId", "flowType", "phase", "createdAt", "updatedAt"}

    async def test_post_makes_a_uuid7_that_sorts_by_creation(self, client: httpx.AsyncClient) -> None:
        ids = [(await client.post(RUNS, json={"flowId": "a"})).json()["id"] for _ in range(20)]
        assert {UUID(id).version for id in ids} == {7}
        assert ids == sorted(ids)

    async def test_a_new_run_is_pending(self, client: httpx.AsyncClient) -> None:
        assert (await put(client, "a"))["phase"] == "pending"
        assert (await client.post(RUNS, json={"flowId": "a"})).json()["phase"] == "pending"

    async def test_a_null_phase_in_put_stays_null(self, client: httpx.AsyncClient) -> None:
        assert (await put(client, "a", phase=None))["phase"] is None

    @pytest.mark.parametrize("phase", ["running", "A", "timed_out", "in-progress", "Z9", "x" * 64])
    async def test_any_word_is_a_phase_and_a_level(self, client: httpx.AsyncClient, phase: str) -> None:
        logs = [{"message": "", "level": phase}]
        actions = [{"id": "x", "phase": phase}]
        run = await put(client, "a", phase=phase, logs=logs, actions=actions)
        assert (run["phase"], run["logs"][0]["level"], run["actions"][0]["phase"]) == (phase, phase, phase)

    @pytest.mark.parametrize("phase", ["", "1a", "a b", "a\n", "ä", "-a", "x" * 65])
    async def test_what_is_no_word_is_no_phase_and_no_level(self, client: httpx.AsyncClient, phase: str) -> None:
        body = PUT | {
            "phase": phase,
            "logs": [{"message": "", "level": phase}],
            "actions": [{"id": "", "phase": phase}],
        }
        assert details(await client.put(f"{RUNS}/a", json=body)) == {
            ("body", "phase"): "string_pattern_mismatch",
            ("body", "logs", 0, "level"): "string_pattern_mismatch",
            ("body", "actions", 0, "phase"): "string_pattern_mismatch",
        }

    async def test_a_run_may_end_before_it_starts_or_without_having_started(self, client: httpx.AsyncClient) -> None:
        early, late = "2025-01-20T18:53:03.000Z", "2025-01-20T18:53:04.000Z"
        run = await put(client, "a", startTime=late, endTime=early, actions=[{"id": "x", "endTime": early}])
        assert (run["startTime"], run["endTime"]) == (late, early)
        assert run["actions"] == [{"id": "x", "phase": None, "startTime": None, "endTime": early}]

    async def test_a_log_gets_the_time_and_the_level_that_it_leaves_out(self, client: httpx.AsyncClient) -> None:
        run = await put(client, "a", logs=[{"message": "m"}, {"message": "n", "timestamp": None, "level": None}])
        for log in run["logs"]:
            assert log["timestamp"] == run["updatedAt"]
            assert (log["level"], log["action"]) == ("info", None)
        assert list(run["logs"][0]) == ["timestamp", "message", "level", "action"]

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ("2025-01-20T18:53:03.558Z", "2025-01-20T18:53:03.558Z"),
            ("2025-01-20T18:53:03Z", "2025-01-20T18:53:03.000Z"),
            ("2025-01-20T18:53:03.9999999Z", "2025-01-20T18:53:03.999Z"),
            ("2025-01-20T18:53:03.5+08:00", "2025-01-20T10:53:03.500Z"),
            ("2024-12-31T20:00:00-07:00", "2025-01-01T03:00:00.000Z"),
        ],
    )
    async def test_any_offset_comes_in_and_utc_with_milliseconds_goes_out(
        self, client: httpx.AsyncClient, sent: str, kept: str
    ) -> None:
        assert (await put(client, "a", startTime=sent))["startTime"] == kept

    @pytest.mark.parametrize(
        ("sent", "type"),
        [
            ("2025-01-20T18:53:03", "timezone_aware"),
            (1737399183, "datetime_type"),
            (True, "datetime_type"),
            ("yesterday", "datetime_parsing"),
            ("0001-01-01T00:00:00+14:00", "datetime_parsing"),
            ("9999-12-31T23:59:59-01:00", "datetime_parsing"),
            ("2025-02-30T00:00:00Z", "datetime_parsing"),
        ],
    )
    async def test_a_time_that_is_not_one_moment_is_422(
        self, client: httpx.AsyncClient, sent: object, type: str
    ) -> None:
        body = PUT | {"endTime": sent, "logs": [{"message": "", "timestamp": sent}]}
        assert details(await client.put(f"{RUNS}/a", json=body)) == {
            ("body", "endTime"): type,
            ("body", "logs", 0, "timestamp"): type,
        }

    @pytest.mark.parametrize(
        "value",
        [
            b'{"z":1,"a":2}',
            b'{"n":1e400,"m":-0,"k":1E5,"l":123456789012345678901234567890,"d":1.10}',
            b'{"e":"\\u00e9\\/\\u0000\\n","\\u0061":"\\ud83d\\ude00"}',
            b'{ "space" : [ 1 ,2 ] }',
            b'{"a":1,"a":2}',
            b"{}",
            b'{"n":' + b"9" * 309 + b"}",
            b'{"n":' + b"9" * 10_000 + b"}",
            b'{"d":' + b"[" * 100 + b"]" * 100 + b"}",
        ],
    )
    async def test_args_and_outputs_come_back_byte_for_byte(self, client: httpx.AsyncClient, value: bytes) -> None:
        body = b'{"flowId":"a","flowType":"automation","args":%b,"outputs":%b}' % (value, value)
        sent = await client.put(f"{RUNS}/a", content=body, headers={"content-type": "application/json"})
        assert sent.status_code == 201
        for answer in (sent, await client.get(f"{RUNS}/a"), await client.get(RUNS)):
            assert b'"args":%b,"phase"' % value in answer.content
            assert b'"outputs":%b,"logs"' % value in answer.content

    @pytest.mark.parametrize(
        "body",
        [
            b'{"flowId":"a","flowType":"automation","args":{"x":"\\ud800"}}',
            b'{"flowId":"a","flowType":"automation","args":{"x":"\\udc00 "}}',
            b'{"flowId":"a","flowType":"automation","ignored":"\\ud800"}',
            b'{"flowId":"a","flowType":"automation","args":{"x":"\xff"}}',
            b'{"flowId":"a","flowType":"automation","args":{"x":"\x00"}}',
            b'{"flowId":"a","flowType":"automation","args":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
            b'{"flowId":"a","flowType":"automation","ignored":' + b'{"a":' * 100_000,
        ],
    )
    async def test_json_that_cannot_be_kept_exactly_is_refused(self, client: httpx.AsyncClient, body: bytes) -> None:
        response = await client.put(f"{RUNS}/a", content=body, headers={"content-type": "application/json"})
        assert list(details(response).values()) == ["json_invalid"]

    async def test_text_with_nul_and_any_unicode_comes_back(self, client: httpx.AsyncClient) -> None:
        text = "\0 é \U0001f600 \u2028 \x7f"
        run = await put(client, "a", logs=[{"message": text}], tags=[{"key": text, "value": text}])
        assert run["logs"][0]["message"] == run["tags"][0]["key"] == text
        assert (await client.get(RUNS, params={"tag": f"{text}:{text}"})).json()["total"] == 1

    async def test_the_server_sets_created_and_updated(self, client: httpx.AsyncClient) -> None:
        first = await put(client, "a")
        assert first["createdAt"] == first["updatedAt"]
        assert MILLISECONDS.fullmatch(first["createdAt"])
        second = await put(client, "a", phase="running")
        assert second["createdAt"] == first["createdAt"]
        assert second["updatedAt"] >= first["updatedAt"]

    async def test_a_run_made_again_after_its_deletion_is_a_new_one(self, client: httpx.AsyncClient) -> None:
        await put(client, "a", tags=[{"key": "k", "value": "old"}])
        await put(client, "b")
        await client.delete(f"{RUNS}/a")
        await put(client, "a")
        page = (await client.get(RUNS)).json()
        assert [run["id"] for run in page["items"]] == ["a", "b"]
        assert (await client.get(RUNS, params={"tag": "k:old"})).json()["total"] == 0


class TestBodies:
    async def test_post_takes_its_five_fields_and_no_others(self, client: httpx.AsyncClient) -> None:
        body = {
            "id": "x", "flowId": "a", "flowType": "selfServiceAction", "args": {"k": 1},
            "tags": [{"key": "a", "value": "b"}], "phase": "running", "startTime": "nonsense", "logs": 3,
        }  # fmt: skip
        run = (await client.post(RUNS, json=body)).json()
        assert (run["id"], run["args"], run["tags"]) == ("x", {"k": 1}, [{"key": "a", "value": "b"}])
        assert (run["phase"], run["startTime"], run["logs"]) == ("pending", None, None)
        assert run["flowType"] == "selfServiceAction"

    @pytest.mark.parametrize("flow_type", ["automation", "scorecard", "reference", "x", 1])
    async def test_post_refuses_every_other_flow_type(self, client: httpx.AsyncClient, flow_type: object) -> None:
        response = await client.post(RUNS, json={"flowId": "a", "flowType": flow_type})
        assert details(response) == {("body", "flowType"): "literal_error"}

    @pytest.mark.parametrize("flow_type", ["automation", "selfServiceAction", "scorecard", "reference"])
    async def test_put_takes_every_flow_type(self, client: httpx.AsyncClient, flow_type: str) -> None:
        assert (await put(client, "a", flowType=flow_type))["flowType"] == flow_type

    async def test_put_names_every_flow_type_when_it_refuses_one(self, client: httpx.AsyncClient) -> None:
        response = await client.put(f"{RUNS}/a", json=PUT | {"flowType": "x"})
        assert details(response) == {("body", "flowType"): "enum"}
        msg = response.json()["detail"][0]["msg"]
        assert msg == "Input should be 'automation', 'selfServiceAction', 'scorecard' or 'reference'"

    async def test_put_replaces_what_it_leaves_out_becomes_null(self, client: httpx.AsyncClient) -> None:
        full = {
            "args": {"a": 1}, "phase": "failed", "startTime": "2025-01-20T18:53:03Z", "endTime": "2025-01-20T18:53:03Z",
            "actions": [{"id": "x"}], "outputs": {}, "logs": [{"message": ""}], "tags": [{"key": "k", "value": "v"}],
        }  # fmt: skip
        await put(client, "a", **full)
        run = await put(client, "a")
        assert [name for name in full if run[name] is not None] == ["phase"]
        assert run["phase"] == "pending"
        assert (await client.get(RUNS, params={"tag": "k:v"})).json()["total"] == 0

    async def test_the_id_of_a_put_body_must_equal_the_paths(self, client: httpx.AsyncClient) -> None:
        assert (await put(client, "a", id="a"))["id"] == "a"
        assert details(await client.put(f"{RUNS}/a", json=PUT | {"id": "b"})) == {("body", "id"): "value_error"}

    async def test_path_and_body_are_found_wrong_together(self, client: httpx.AsyncClient) -> None:
        assert details(await client.put(f"{RUNS}/A", json={"flowType": "automation"})) == {
            ("path", "id_"): "string_pattern_mismatch",
            ("body", "flowId"): "missing",
        }

    async def test_what_get_returned_can_be_put_back_as_it_is(self, client: httpx.AsyncClient) -> None:
        first = await put(client, "a", args={"x": 1}, logs=[{"message": "m"}], phase=None)
        again = (await client.put(f"{RUNS}/a", json=first)).json()
        assert again | {"updatedAt": first["updatedAt"]} == first

    async def test_server_set_fields_in_a_body_are_ignored(self, client: httpx.AsyncClient) -> None:
        mine = {
            "createdAt": "nonsense", "createdBy": 7, "updatedAt": 1, "updatedBy": 7, "reviewedBy": 7, "reviewedAt": "x"
        }  # fmt: skip
        run = await put(client, "a", **mine)
        assert (run["createdBy"], run["updatedBy"], run["reviewedBy"], run["reviewedAt"]) == (None, None, None, None)
        assert MILLISECONDS.fullmatch(run["createdAt"])

    async def test_null_for_an_optional_field_is_leaving_it_out(self, client: httpx.AsyncClient) -> None:
        response = await client.post(
            RUNS, json={"flowId": "a", "id": None, "flowType": None, "args": None, "tags": None}
        )
        assert response.status_code == 201
        assert response.json()["flowType"] == "selfServiceAction"

    @pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded", "text/plain; application/json",
                                      "application/jsonx", "", None])  # fmt: skip
    async def test_a_body_that_is_not_declared_as_json_is_415(
        self, client: httpx.AsyncClient, type: str | None
    ) -> None:
        headers = {} if type is None else {"content-type": type}
        for response in (
            await client.post(RUNS, content=b'{"flowId":"a"}', headers=headers),
            await client.put(f"{RUNS}/a", content=json.dumps(PUT), headers=headers),
            await client.post(RUNS, headers=headers),
        ):
            assert details(response, 415) == {("header", "content-type"): "unsupported_media_type"}
            assert "Content-Type: application/json" in response.text

    async def test_a_compressed_body_is_415(self, client: httpx.AsyncClient) -> None:
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        response = await client.post(RUNS, content=b'{"flowId":"a"}', headers=headers)
        assert details(response, 415) == {("header", "content-encoding"): "unsupported_media_type"}

    @pytest.mark.parametrize("type", ["application/json", "Application/JSON ; charset=utf-8", "application/json;x=y"])
    async def test_json_may_be_declared_with_parameters(self, client: httpx.AsyncClient, type: str) -> None:
        response = await client.post(RUNS, content=b'{"flowId":"a"}', headers={"content-type": type})
        assert response.status_code == 201

    async def test_a_body_over_8_mib_is_413_and_one_of_8_mib_is_not(self, client: httpx.AsyncClient) -> None:
        start = b'{"flowId":"a","args":{"x":"'
        fits = start + b"x" * (8 * 1024 * 1024 - len(start) - 3) + b'"}}'
        headers = {"content-type": "application/json"}
        assert (await client.post(RUNS, content=fits, headers=headers)).status_code == 201
        assert details(await client.post(RUNS, content=fits + b" ", headers=headers), 413) == {("body",): "too_large"}

    async def test_an_empty_body_is_missing(self, client: httpx.AsyncClient) -> None:
        response = await client.post(RUNS, headers={"content-type": "application/json"})
        assert details(response) == {("body",): "missing"}

    async def test_a_body_that_is_no_object_is_a_dict_type_error(self, client: httpx.AsyncClient) -> None:
        for body in ([], "x", 1, None):
            response = await client.post(RUNS, content=json.dumps(body), headers={"content-type": "application/json"})
            assert details(response) == {("body",): "dict_type"}

    async def test_broken_json_is_named_by_its_byte(self, client: httpx.AsyncClient) -> None:
        response = await client.post(RUNS, content=b'{"flowId": "a",}', headers={"content-type": "application/json"})
        assert details(response) == {("body", 15): "json_invalid"}


class TestConditions:
    async def test_every_response_with_one_run_has_a_strong_etag(self, client: httpx.AsyncClient) -> None:
        created = await client.put(f"{RUNS}/a", json=PUT)
        posted = await client.post(RUNS, json={"flowId": "a"})
        for response in (created, posted, await client.get(f"{RUNS}/a"), await client.get(RUNS)):
            assert re.fullmatch(r'"[^"]+"', response.headers["etag"])
        assert created.headers["etag"] == (await client.get(f"{RUNS}/a")).headers["etag"]

    async def test_an_etag_changes_with_every_write_and_never_comes_back(self, client: httpx.AsyncClient) -> None:
        seen = set()
        for _ in range(3):
            seen.add((await client.put(f"{RUNS}/a", json=PUT)).headers["etag"])
            seen.add((await client.put(f"{RUNS}/a", json=PUT)).headers["etag"])
            await client.delete(f"{RUNS}/a")
        assert len(seen) == 6

    async def test_if_none_match_is_304_without_a_body(self, client: httpx.AsyncClient) -> None:
        etag = (await client.put(f"{RUNS}/a", json=PUT)).headers["etag"]
        for value in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            for method in ("GET", "HEAD"):
                response = await client.request(method, f"{RUNS}/a", headers={"if-none-match": value})
                assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
        assert (await client.get(f"{RUNS}/a", headers={"if-none-match": '"x"'})).status_code == 200

    async def test_a_page_is_304_until_something_is_written(self, client: httpx.AsyncClient) -> None:
        await put(client, "a")
        etag = (await client.get(RUNS)).headers["etag"]
        assert (await client.get(RUNS, headers={"if-none-match": etag})).status_code == 304
        await put(client, "a", phase="running")
        assert (await client.get(RUNS, headers={"if-none-match": etag})).status_code == 200

    async def test_if_match_guards_put_and_delete(self, client: httpx.AsyncClient) -> None:
        old = (await client.put(f"{RUNS}/a", json=PUT)).headers["etag"]
        new = (await client.put(f"{RUNS}/a", json=PUT, headers={"if-match": old})).headers["etag"]
        for wrong in (old, f"W/{new}", '"x"', "garbage"):
            for response in (
                await client.put(f"{RUNS}/a", json=PUT | {"phase": "failed"}, headers={"if-match": wrong}),
                await client.delete(f"{RUNS}/a", headers={"if-match": wrong}),
            ):
                assert details(response, 412) == {("header", "if-match"): "precondition_failed"}
        assert (await client.get(f"{RUNS}/a")).json()["phase"] == "pending"
        assert (await client.delete(f"{RUNS}/a", headers={"if-match": f'"x", {new}'})).status_code == 204

    async def test_if_match_never_creates(self, client: httpx.AsyncClient) -> None:
        for value in ("*", '"1"'):
            response = await client.put(f"{RUNS}/a", json=PUT, headers={"if-match": value})
            assert details(response, 412) == {("header", "if-match"): "precondition_failed"}
        assert (await client.get(f"{RUNS}/a")).status_code == 404

    async def test_if_none_match_star_makes_put_create_only(self, client: httpx.AsyncClient) -> None:
        headers = {"if-none-match": "*"}
        assert (await client.put(f"{RUNS}/a", json=PUT, headers=headers)).status_code == 201
        response = await client.put(f"{RUNS}/a", json=PUT | {"phase": "failed"}, headers=headers)
        assert details(response, 412) == {("header", "if-none-match"): "precondition_failed"}
        await client.delete(f"{RUNS}/a")
        assert (await client.put(f"{RUNS}/a", json=PUT, headers=headers)).status_code == 201


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ({**PUT, "id": "b"}, {("body", "id"): "value_error"}),
            ({"flowId": "deploy", "flowType": "x", "id": "b"},
             {("body", "flowType"): "enum", ("body", "id"): "value_error"}),
            ({"flowId": "deploy", "flowType": "x", "id": "B"},
             {("body", "flowType"): "enum", ("body", "id"): "string_pattern_mismatch"}),
            ({"flowId": "deploy", "flowType": "x", "id": "a"}, {("body", "flowType"): "enum"}),
            ({"flowType": "automation", "id": None}, {("body", "flowId"): "missing"}),
            ({"flowType": "automation", "id": 7}, {("body", "flowId"): "missing", ("body", "id"): "string_type"}),
            ([{"id": "b"}], {("body",): "dict_type"}),
        ],
    )  # fmt: skip
    async def test_an_id_that_is_not_the_paths_is_named_beside_whatever_else_is_wrong(
        self, client: httpx.AsyncClient, body: Any, found: dict[tuple[str, ...], str]
    ) -> None:
        assert details(await client.put(f"{RUNS}/a", json=body)) == found
        for text, byte in (
            (b'{"id": "b"', 10),
            (b'{"flowId": 1, "id": "\xff"}', 21),
            (b'{"id": "b", "flowId": 1]', 23),
        ):
            broken = await client.put(f"{RUNS}/a", content=text, headers={"Content-Type": "application/json"})
            assert details(broken) == {("body", byte): "json_invalid"}

    async def test_a_cursor_is_named_beside_a_size_that_is_wrong(self, client: httpx.AsyncClient) -> None:
        found = details(await client.get(f"{RUNS}?cursor=abc&size=0"))
        assert found == {("query", "size"): "greater_than_equal", ("query", "cursor"): "value_error"}

    async def test_post_with_an_id_that_exists_is_409(self, client: httpx.AsyncClient) -> None:
        await put(client, "a")
        response = await client.post(RUNS, json={"flowId": "a", "id": "a"})
        assert details(response, 409) == {("body", "id"): "already_exists"}
        await client.delete(f"{RUNS}/a")
        assert (await client.post(RUNS, json={"flowId": "a", "id": "a"})).status_code == 201

    async def test_every_broken_field_is_named(self, client: httpx.AsyncClient) -> None:
        body = {
            "flowId": "A\n", "args": [], "outputs": 1, "phase": 1, "startTime": "x", "id": 5,
            "actions": [{"id": 1}, 2, {}], "logs": {"a": 1}, "tags": [{"key": "k"}, {"key": None, "value": 1}],
        }  # fmt: skip
        assert details(await client.put(f"{RUNS}/a", json=body)) == {
            ("body", "flowId"): "string_pattern_mismatch",
            ("body", "flowType"): "missing",
            ("body", "id"): "string_type",
            ("body", "args"): "dict_type",
            ("body", "phase"): "string_type",
            ("body", "startTime"): "datetime_parsing",
            ("body", "actions", 0, "id"): "string_type",
            ("body", "actions", 1): "dict_type",
            ("body", "actions", 2, "id"): "missing",
            ("body", "outputs"): "dict_type",
            ("body", "logs"): "list_type",
            ("body", "tags", 0, "value"): "missing",
            ("body", "tags", 1, "key"): "string_type",
            ("body", "tags", 1, "value"): "string_type",
        }

    async def test_at_most_100_details_are_listed_and_the_last_says_so(self, client: httpx.AsyncClient) -> None:
        for count, last in ((98, "string_type"), (99, "too_many_errors"), (50_000, "too_many_errors")):
            response = await client.post(
                RUNS, json={"id": "A", "flowId": "A", "tags": [{"key": "", "value": 1}] * count}
            )
            detail = response.json()["detail"]
            assert len(detail) == 100
            assert detail[-1]["type"] == last

    async def test_unknown_fields_are_ignored_wherever_they_are(self, client: httpx.AsyncClient) -> None:
        run = await put(
            client, "a", other=1, actions=[{"id": "x", "other": {}}], tags=[{"key": "", "value": "", "x": 1}]
        )
        assert run["actions"] == [{"id": "x", "phase": None, "startTime": None, "endTime": None}]
        assert run["tags"] == [{"key": "", "value": ""}]


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())
