"""`GET /api/v1/stats`, through HTTP."""

from typing import Any

import httpx
import pytest

from flowruns.http.app import create_app
from flowruns.settings import STATS, Settings
from flowruns.store.stats import STATS_FIELDS
from flowruns.store.store import Store
from tests.conftest import RUNS, client_of
from tests.test_contract import details, put

PROD = [{"key": "env", "value": "prod"}]


async def fill(client: httpx.AsyncClient) -> None:
    await put(client, "a", phase="failed", tags=PROD)
    await put(client, "b", phase="running", tags=PROD)
    await put(client, "c", phase=None, flowId="other")


async def get_stats(client: httpx.AsyncClient, query: str = "") -> Any:
    response = await client.get(f"{STATS}{query}")
    assert response.status_code == 200, response.text
    return response.json()


async def test_it_has_the_number_of_runs_with_each_value(client: httpx.AsyncClient) -> None:
    await fill(client)
    assert await get_stats(client) == {
        "total": 3,
        "phase": {"failed": 1, "running": 1},
        "flowId": {"deploy": 2, "other": 1},
        "flowType": {"automation": 3},
        "tag": {"env:prod": 2},
    }


async def test_filters_are_those_of_pages(client: httpx.AsyncClient) -> None:
    await fill(client)
    for query in ("?phase=failed", "?phase=failed&phase=running", "?tag=env:prod", "?createdBy=1", "?flowId=other"):
        assert (await get_stats(client, query))["total"] == (await client.get(f"{RUNS}{query}")).json()["total"]
    response = await client.get(f"{STATS}?phase=1&createdBy=x&tag=k")
    assert {loc[-1] for loc in details(response)} == {"phase", "createdBy", "tag"}


async def test_parameters_of_pages_alone_have_no_effect(client: httpx.AsyncClient) -> None:
    await fill(client)
    assert await get_stats(client, "?size=1&order=asc&cursor=x&unknown=1") == await get_stats(client)


@pytest.mark.parametrize("query", ["?fields=phase,total", "?fields=total&fields=phase"])
async def test_fields_are_chosen_as_those_of_runs(client: httpx.AsyncClient, query: str) -> None:
    await fill(client)
    assert list((await get_stats(client, query)).items()) == [("total", 3), ("phase", {"failed": 1, "running": 1})]
    response = await client.get(f"{STATS}?fields=total,logs")
    assert details(response) == {("query", "fields"): "literal_error"}
    assert all(name in response.text for name in STATS_FIELDS)


async def test_times_and_durations_are_sent_if_they_are_named(client: httpx.AsyncClient) -> None:
    run = await put(client, "a", startTime="2025-01-20T18:53:03.5Z", endTime="2025-01-20T18:54:03Z")
    day = run["createdAt"][:10]
    assert await get_stats(client, "?fields=day,duration") == {
        "day": {day: {"total": 1, "phase": {"pending": 1}}},
        "duration": {"total": 1, "median": 59.5, "p95": 59.5},
    }
    assert list(await get_stats(client)) == list(STATS_FIELDS)


@pytest.mark.parametrize("query", ["", "?tag=env:prod", "?phase=failed"])
async def test_its_etag_is_that_of_a_page(client: httpx.AsyncClient, query: str) -> None:
    await fill(client)
    etag = (await client.get(f"{STATS}{query}")).headers["etag"]
    assert etag == (await client.get(f"{RUNS}{query}")).headers["etag"]
    unchanged = await client.get(f"{STATS}{query}", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    await put(client, "a", phase="succeeded")
    changed = await client.get(f"{STATS}{query}", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


async def test_head_has_the_headers_and_other_methods_are_405(client: httpx.AsyncClient) -> None:
    await fill(client)
    whole, head = await client.get(STATS), await client.head(STATS)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["etag"]) == (str(len(whole.content)), whole.headers["etag"])
    response = await client.post(STATS, json={})
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


async def test_a_run_may_have_the_id_stats(client: httpx.AsyncClient) -> None:
    run = await put(client, "stats")
    assert (await client.get(f"{RUNS}/stats")).json() == run
    assert (await get_stats(client))["total"] == 1


async def test_it_needs_the_token_that_the_list_needs(store: Store) -> None:
    async with client_of(create_app(store, Settings(tokens={"secret": 7}))) as client:
        assert (await client.get(STATS)).status_code == (await client.get(RUNS)).status_code == 401
        allowed = await client.get(STATS, headers={"Authorization": "Bearer secret"})
        assert allowed.json()["total"] == 0
        foreign = await client.get(STATS, headers={"Authorization": "Bearer secret", "Origin": "https://evil.example"})
        assert foreign.status_code == 403
