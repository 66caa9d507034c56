"""`fields`: pages, runs and streams with some fields of their runs."""

import json
from typing import Any

import httpx
import pytest

from flowruns.model.cursors import PageRequest
from flowruns.model.fields import FIELDS, select_fields
from flowruns.store import pages
from flowruns.store.filters import ALL
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.http.test_events import delete
from tests.http.test_events import put as put_over
from tests.http.test_page_walks import fill, get_page, ids, walk
from tests.streams import Stream
from tests.test_contract import details, put
from tests.wire import Wire

LIGHT = "id,flowId,phase,actionCounts,logCounts,tags"


def without_items(page: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in page.items() if name != "items"}


@pytest.mark.parametrize("filters", [{}, {"phase": "failed"}, {"tag": "env:prod"}, {"createdBy": "1"}])
async def test_cursors_totals_and_etags_are_those_without(client: httpx.AsyncClient, filters: dict[str, str]) -> None:
    await fill(client, 7, phase="failed", tags=[{"key": "env", "value": "prod"}])
    for order in ("desc", "asc"):
        params = {"size": 3, "order": order, **filters}
        whole, light = await walk(client, **params), await walk(client, **params, fields=LIGHT)
        assert list(map(without_items, light)) == list(map(without_items, whole))
        assert ids(*light) == ids(*whole)
        for page in whole:  # the cursor of one serves the other
            if page["next_page"]:
                assert await get_page(client, page["next_page"], **params, fields="id")
    whole_etag = (await client.get(RUNS, params=filters)).headers["etag"]
    light_response = await client.get(RUNS, params={**filters, "fields": LIGHT}, headers={"If-None-Match": whole_etag})
    assert (light_response.status_code, light_response.headers["etag"]) == (304, whole_etag)


async def test_items_have_the_fields_alone_in_the_order_of_a_run(client: httpx.AsyncClient) -> None:
    await put(client, "r1", args={"secret": 1}, logs=[{"message": "m", "level": "error"}])
    (item,) = (await client.get(f"{RUNS}?fields=logCounts,+phase&fields=phase%2Cid")).json()["items"]
    assert list(item.items()) == [
        ("id", "r1"), ("phase", "pending"), ("logCounts", {"total": 1, "level": {"error": 1}}),
    ]  # fmt: skip


@pytest.mark.parametrize("target", [RUNS, f"{RUNS}/r1", f"{RUNS}/missing"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("value", ["id,nope", "", "id,"])
async def test_an_unknown_name_is_422_and_names_the_known_ones(
    client: httpx.AsyncClient, target: str, accept: str, value: str
) -> None:
    await put(client, "r1")
    response = await client.get(f"{target}?fields={value}", headers={"Accept": accept})
    assert response.status_code == 422
    assert details(response) == {("query", "fields"): "literal_error"}
    assert all(name in response.text for name in FIELDS)


async def test_a_run_has_the_fields_alone_with_its_own_etag(client: httpx.AsyncClient) -> None:
    await put(client, "r1", args={"a": 1})
    whole = await client.get(f"{RUNS}/r1")
    some = await client.get(f"{RUNS}/r1?fields=args")
    assert some.content == b'{"args":{"a":1}}'
    assert some.headers["etag"] == whole.headers["etag"]
    assert int(some.headers["content-length"]) == len(some.content)
    head = await client.head(f"{RUNS}/r1?fields=args")
    assert (head.content, head.headers["content-length"]) == (b"", some.headers["content-length"])
    unchanged = await client.get(f"{RUNS}/r1?fields=id", headers={"If-None-Match": whole.headers["etag"]})
    assert unchanged.status_code == 304


async def test_runs_read_at_once_have_their_own_fields(store: Store, client: httpx.AsyncClient) -> None:
    for id in ("r1", "r2"):
        await put(client, id)
    for fields in ((), ("id",), ("phase", "logCounts")):
        for id in ("r1", "r2"):
            whole = await store.get(id)
            assert (await store.get(id, fields)).doc == select_fields(whole.doc, fields)


@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_a_page_ends_at_the_same_large_run_with_fields(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    await fill(client, 9, args={"text": "x" * 1000})
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 3000)
    monkeypatch.setattr(pages, "MAX_QUICK_BYTES", 3000)
    whole, light = await walk(client, order=order), await walk(client, order=order, fields="id,phase")
    assert len(whole) > 1
    assert list(map(without_items, light)) == list(map(without_items, whole))
    assert [list(map(without_args, page["items"])) for page in whole] == [page["items"] for page in light]


def without_args(run: dict[str, Any]) -> dict[str, Any]:
    return {"id": run["id"], "phase": run["phase"]}


async def test_a_total_without_filters_is_not_counted_with_fields_either(store: Store) -> None:
    some = ALL._replace(fields=("id",))
    assert not some.must_count
    page = await store.page(some, PageRequest())
    assert (page.docs, page.total) == (b"", 0)


def test_a_stream_sends_the_fields_alone(server: str, wire: Wire) -> None:
    with Stream(server, f"?fields={LIGHT}") as light, Stream(server) as whole:
        number = put_over(wire, "r1", args={"blob": "x" * 100_000}, logs=[{"message": "m"}])
        one, other = light.event(), whole.event()
        assert (one.kind, one.id, list(one.json)) == ("run", number, LIGHT.split(","))
        assert (one.id, {name: other.json[name] for name in ("id", "flowId", "phase", "tags")}) == (
            other.id, {name: one.json[name] for name in ("id", "flowId", "phase", "tags")},
        )  # fmt: skip
        assert one.json["logCounts"] == {"total": 1, "level": {"info": 1}}
        delete(wire, "r1")
        assert light.event().data == whole.event().data == json.dumps({"id": "r1"}, separators=(",", ":"))


def test_a_stream_of_one_run_sends_the_fields_alone_and_resumes(server: str, wire: Wire) -> None:
    first = put_over(wire, "r1", phase="running")
    with Stream(server, "/r1?fields=phase") as stream:
        assert stream.event().json == {"phase": "running"}
    put_over(wire, "r1", phase="done")
    with Stream(server, "/r1?fields=phase", first) as stream:
        assert stream.event().json == {"phase": "done"}
