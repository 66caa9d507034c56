"""Pages, through HTTP: cursors, totals, filters, order (contract, "Pages")."""

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from flowruns.http.app import create_app
from flowruns.model.cursors import Cursor, PageRequest
from flowruns.model.runs import RunPost
from flowruns.sqlite.migrations import schema
from flowruns.store import pages
from flowruns.store.filters import ALL, where
from flowruns.store.pages import page_query
from flowruns.store.store import Store
from tests.conftest import RUNS, client_of
from tests.test_contract import details, put

Page = dict[str, Any]
CURSORS = ("current_page", "current_page_backwards", "previous_page", "next_page")


async def get_page(client: httpx.AsyncClient, cursor: str | None = None, **params: Any) -> Page:
    response = await client.get(RUNS, params=params | ({"cursor": cursor} if cursor else {}))
    assert response.status_code == 200, response.text
    page: Page = response.json()
    assert list(page) == ["items", "total", *CURSORS]
    return page


async def walk(
    client: httpx.AsyncClient, link: str = "next_page", cursor: str | None = None, **params: Any
) -> list[Page]:
    pages = [await get_page(client, cursor, **params)]
    while pages[-1][link]:
        pages.append(await get_page(client, pages[-1][link], **params))
    return pages


def ids(*pages: Page) -> list[str]:
    return [run["id"] for page in pages for run in page["items"]]


async def fill(client: httpx.AsyncClient, count: int, **fields: Any) -> list[str]:
    """Makes runs r000, r001, …; returns their ids, newest first."""
    made = [f"r{number:03}" for number in range(count)]
    for id in made:
        await put(client, id, **fields)
    return made[::-1]


async def test_pages_are_newest_first_in_order_of_creation(client: httpx.AsyncClient) -> None:
    made = await fill(client, 30)
    await put(client, "r010", phase="running")  # a replacement moves nothing
    assert ids(await get_page(client)) == made


async def test_an_empty_store_has_one_empty_page(client: httpx.AsyncClient) -> None:
    page = await get_page(client)
    assert (page["items"], page["total"], page["previous_page"], page["next_page"]) == ([], 0, None, None)
    assert (await get_page(client, page["current_page"]))["items"] == []


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize(("count", "size"), [(1, 1), (10, 3), (9, 3), (7, 100), (5, 1)])
async def test_walking_next_then_previous_gives_each_run_once_both_ways(
    client: httpx.AsyncClient, count: int, size: int, order: str
) -> None:
    made = await fill(client, count)
    expected = made if order == "desc" else made[::-1]
    there = await walk(client, size=size, order=order)
    assert ids(*there) == expected
    back = await walk(client, "previous_page", there[-1]["current_page_backwards"], size=size, order=order)
    assert ids(*back[::-1]) == expected
    assert {page["total"] for page in there + back} == {count}
    assert there[0]["previous_page"] is None
    assert back[-1]["previous_page"] is None


async def test_size_is_50_by_default_and_1_to_100(client: httpx.AsyncClient) -> None:
    await fill(client, 101)
    assert len((await get_page(client))["items"]) == 50
    assert len((await get_page(client, size=100))["items"]) == 100
    for size, type in (("0", "greater_than_equal"), ("-1", "greater_than_equal"), ("101", "less_than_equal"),
                       ("x", "int_parsing"), ("", "int_parsing"), ("1.0", "int_parsing"), ("٣", "int_parsing"),
                       ("9" * 5000, "int_parsing"), ("9" * 500, "less_than_equal")):  # fmt: skip
        assert details(await client.get(RUNS, params={"size": size})) == {("query", "size"): type}


async def test_current_page_gives_this_page_again(client: httpx.AsyncClient) -> None:
    await fill(client, 10)
    for page in await walk(client, size=3):
        again = await get_page(client, page["current_page"], size=3)
        assert again == page


async def test_current_page_keeps_its_place_when_runs_come(client: httpx.AsyncClient) -> None:
    await fill(client, 10)
    second = (await walk(client, size=3))[1]
    await put(client, "new")
    assert ids(await get_page(client, second["current_page"], size=3)) == ids(second)


async def test_current_page_backwards_ends_at_this_pages_last_item(client: httpx.AsyncClient) -> None:
    made = await fill(client, 10)
    for order, expected in (("desc", made), ("asc", made[::-1])):
        last = (await walk(client, size=4, order=order))[-1]
        assert ids(last) == expected[8:]
        assert ids(await get_page(client, last["current_page_backwards"], size=4, order=order)) == expected[6:]


async def test_a_cursor_works_at_another_size(client: httpx.AsyncClient) -> None:
    made = await fill(client, 10)
    second = (await get_page(client, size=3))["next_page"]
    assert ids(await get_page(client, second, size=7)) == made[3:]


async def test_a_cursor_survives_the_deletion_of_its_run(client: httpx.AsyncClient) -> None:
    made = await fill(client, 6)
    first = await get_page(client, size=3)
    for id in made[2:4]:
        await client.delete(f"{RUNS}/{id}")
    page = await get_page(client, first["next_page"], size=3)
    assert ids(page) == made[4:]
    assert ids(await get_page(client, page["previous_page"], size=3)) == made[:2]


@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_an_empty_page_beyond_an_end_leads_back_to_what_is_there(client: httpx.AsyncClient, order: str) -> None:
    made = await fill(client, 6)
    expected = made if order == "desc" else made[::-1]
    first = await get_page(client, size=3, order=order)
    for id in expected[3:]:
        await client.delete(f"{RUNS}/{id}")
    beyond = await get_page(client, first["next_page"], size=3, order=order)
    assert (beyond["items"], beyond["total"], beyond["next_page"]) == ([], 3, None)
    for link in ("previous_page", "current_page_backwards"):
        assert ids(await get_page(client, beyond[link], size=3, order=order)) == expected[:3]


async def test_an_empty_page_before_the_first_leads_on(client: httpx.AsyncClient) -> None:
    made = await fill(client, 4)
    back = (await walk(client, size=2))[1]["previous_page"]
    for id in made[:2]:
        await client.delete(f"{RUNS}/{id}")
    page = await get_page(client, back, size=2)
    assert (page["items"], page["previous_page"]) == ([], None)
    assert ids(await get_page(client, page["next_page"], size=2)) == made[2:]


async def test_an_empty_cursor_is_no_cursor(client: httpx.AsyncClient) -> None:
    made = await fill(client, 2)
    assert [run["id"] for run in (await client.get(f"{RUNS}?cursor=")).json()["items"]] == made


async def test_any_damaged_character_of_a_cursor_is_422(client: httpx.AsyncClient) -> None:
    await fill(client, 3)
    cursor = (await get_page(client, size=1))["next_page"]
    damaged = {
        cursor[:place] + char + cursor[place + 1 :] for place in range(len(cursor)) for char in "AZaz09-_=+/é \0"
    }
    damaged |= {cursor[:-1], cursor + "A", cursor + "=", cursor * 2, "x", "null", "0", "ü", " " + cursor, cursor + "\n"}
    for text in damaged - {cursor}:
        assert details(await client.get(RUNS, params={"cursor": text})) == {("query", "cursor"): "value_error"}


async def test_a_cursor_belongs_to_its_filters_in_any_order(client: httpx.AsyncClient) -> None:
    await fill(client, 4, phase="failed", tags=[{"key": "a", "value": "b"}, {"key": "c", "value": "d"}])
    query = "phase=failed&phase=running&tag=a:b&tag=c:d&createdAfter=2025-01-01T00:00:00Z"
    cursor = (await client.get(f"{RUNS}?{query}&size=2")).json()["next_page"]
    same = "createdAfter=2025-01-01T01:00:00%2B01:00&tag=c:d&phase=running&tag=a:b&phase=failed&phase=failed&unknown=1"
    assert len((await client.get(f"{RUNS}?{same}&cursor={cursor}")).json()["items"]) == 2
    for other in (
        "",
        "phase=failed",
        query + "&flowId=deploy",
        query + "&order=asc",
        query.replace("failed", "waiting"),
    ):
        assert details(await client.get(f"{RUNS}?{other}&cursor={cursor}")) == {("query", "cursor"): "value_error"}


async def test_a_cursor_survives_a_restart(path: Path) -> None:
    cursor = None
    for expected in (["r003", "r002"], ["r001", "r000"]):
        async with Store.open(path) as store, client_of(create_app(store)) as client:
            if cursor is None:
                await fill(client, 4)
            page = await get_page(client, cursor, size=2)
        assert ids(page) == expected
        cursor = page["next_page"]


KV = {"key": "k", "value": "v"}
EMPTY = {"key": "", "value": ""}
RUN_KINDS: dict[str, dict[str, Any]] = {
    "a": {"flowId": "x", "flowType": "automation", "phase": "failed", "tags": [KV]},
    "b": {"flowId": "x", "flowType": "reference", "phase": "running", "tags": [{"key": "k", "value": "v:w"}]},
    "c": {"flowId": "y", "flowType": "automation", "phase": None, "tags": [KV, EMPTY, KV]},
    "d": {"flowId": "y", "flowType": "scorecard", "phase": "failed"},
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("flowId=x", "ab"),
        ("flowId=x&flowId=y", "abcd"),
        ("flowId=z", ""),
        ("flowType=automation", "ac"),
        ("flowType=automation&flowType=reference", "abc"),
        ("phase=failed", "ad"),
        ("phase=failed&phase=running", "abd"),
        ("phase=pending", ""),
        ("flowId=x&phase=failed", "a"),
        ("flowId=y&flowType=automation&phase=failed", ""),
        ("tag=k:v", "ac"),
        ("tag=k:v:w", "b"),
        ("tag=k:v&tag=:", "c"),
        ("tag=k:v&tag=k:v", "ac"),
        ("tag=k:v&flowId=x", "a"),
        ("tag=k:v&phase=failed&flowType=automation", "a"),
        ("tag=k:", ""),
        ("createdBy=7", ""),
        ("createdBy=9223372036854775808", ""),
        ("createdBy=-99999999999999999999&flowId=x", ""),
        ("createdAfter=2020-01-01T00:00:00Z", "abcd"),
        ("createdAfter=2020-01-01T00:00:00Z&createdBefore=9999-01-01T00:00:00Z&flowId=y", "cd"),
        ("createdAfter=2020-01-01T00:00:00+01:00", "abcd"),
        ("createdAfter=9999-01-01T00:00:00Z", ""),
        ("createdBefore=2020-01-01T00:00:00Z", ""),
        ("createdBefore=9999-01-01T00:00:00Z&phase=failed", "ad"),
        ("unknown=1&flowid=z", "abcd"),
    ],
)
async def test_filters_choose(client: httpx.AsyncClient, query: str, expected: str) -> None:
    for id, fields in RUN_KINDS.items():
        await put(client, id, **fields)
    for order, ordered in (("desc", expected[::-1]), ("asc", expected)):
        page = (await client.get(f"{RUNS}?{query}&order={order}")).json()
        assert (ids(page), page["total"]) == (list(ordered), len(expected))
        one = (await client.get(f"{RUNS}?{query}&order={order}&size=1")).json()
        assert (ids(one), one["total"]) == (list(ordered[:1]), len(expected))
        assert (one["next_page"] is None) == (len(expected) < 2)


async def test_created_bounds_are_exclusive(client: httpx.AsyncClient) -> None:
    created = (await put(client, "a"))["createdAt"]
    assert (await get_page(client, createdAfter=created))["total"] == 0
    assert (await get_page(client, createdBefore=created))["total"] == 0


async def test_every_broken_query_value_is_named(client: httpx.AsyncClient) -> None:
    query = "flowId=X&flowType=x&phase=1&tag=novalue&createdBy=me&createdAfter=2025&createdBefore=2025-01-01T00:00:00"
    assert details(await client.get(f"{RUNS}?{query}&order=up&size=0&fields=nope&cursor=x")) == {
        ("query", "flowId"): "string_pattern_mismatch",
        ("query", "flowType"): "enum",
        ("query", "phase"): "string_pattern_mismatch",
        ("query", "tag"): "string_pattern_mismatch",
        ("query", "createdBy"): "int_parsing",
        ("query", "createdAfter"): "datetime_parsing",
        ("query", "createdBefore"): "timezone_aware",
        ("query", "order"): "literal_error",
        ("query", "size"): "greater_than_equal",
        ("query", "fields"): "literal_error",
        ("query", "cursor"): "value_error",
    }


async def test_a_name_with_brackets_is_the_name(client: httpx.AsyncClient) -> None:
    for phase in ("failed", "running", "pending"):
        body = {"flowId": "a", "flowType": "automation", "phase": phase}
        assert (await client.put(f"{RUNS}/{phase}", json=body)).status_code == 201
    page = (await client.get(f"{RUNS}?phase[]=failed&phase%5B%5D=running&size[]=1")).json()
    assert (page["total"], [run["id"] for run in page["items"]]) == (2, ["running"])
    rest = (await client.get(f"{RUNS}?phase=running&phase=failed&cursor={page['next_page']}")).json()
    assert [run["id"] for run in rest["items"]] == ["failed"]
    response = await client.get(f"{RUNS}?phase[]=1")
    assert [detail["loc"] for detail in response.json()["detail"]] == [["query", "phase"]]


async def test_a_hundred_values_of_a_filter_are_taken(client: httpx.AsyncClient) -> None:
    await put(client, "a", flowId="f99")
    query = "&".join(f"flowId=f{number}" for number in range(100))
    tags = "&".join(f"tag=k:{number}" for number in range(100))
    assert (await client.get(f"{RUNS}?{query}")).json()["total"] == 1
    assert (await client.get(f"{RUNS}?{tags}&{query}")).json()["total"] == 0


async def test_created_by_finds_the_runs_of_a_user(store: Store, client: httpx.AsyncClient) -> None:
    for user in (7, 8, 7, None):
        await store.create(RunPost(flow_id="a"), by=user)
    assert (await get_page(client, createdBy=7))["total"] == 2
    assert (await client.get(f"{RUNS}?createdBy=7&createdBy=8")).json()["total"] == 3


async def test_a_page_of_heavy_runs_ends_early_and_its_cursors_go_on(client: httpx.AsyncClient) -> None:
    heavy = {"x": "x" * 6_000_000}
    for number in range(5):
        await put(client, f"h{number}", args=heavy)
    for order, expected in (("desc", "43210"), ("asc", "01234")):
        pages = await walk(client, size=10, order=order)
        assert [len(page["items"]) for page in pages] == [2, 2, 1]
        assert ids(*pages) == [f"h{number}" for number in expected]
        back = await walk(client, "previous_page", pages[-1]["current_page_backwards"], size=10, order=order)
        assert ids(*back[::-1]) == ids(*pages)
        assert {page["total"] for page in pages + back} == {5}


@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_walks_are_exact_whatever_is_written_meanwhile(
    client: httpx.AsyncClient, order: str, chance: random.Random
) -> None:
    """Exactly once: every run that was there when the walk began and was not deleted during it."""
    there = {f"r{number}" for number in range(120)}
    for id in there:
        await put(client, id)
    deleted: set[str] = set()
    ended = asyncio.Event()

    async def write(name: int) -> None:
        made = 0
        while not ended.is_set():
            target = chance.choice(sorted(there - deleted))
            match chance.randrange(4):
                case 0:
                    await put(client, f"new-{name}-{made}")
                    made += 1
                case 1:
                    await client.put(
                        f"{RUNS}/{target}", json={"flowId": "x", "flowType": "reference"}, headers={"if-match": "*"}
                    )
                case 2 if len(deleted) < 80:
                    deleted.add(target)
                    await client.delete(f"{RUNS}/{target}")
                case _ if deleted:  # made again, it is another run
                    await put(client, chance.choice(sorted(deleted)))

    writers = [asyncio.create_task(write(name)) for name in range(4)]
    try:
        for link in ("next_page", "previous_page"):
            # The way back starts at an end that was reached before; what comes later lies behind it.
            first = (await walk(client, size=5, order=order))[-1]["current_page_backwards"]
            size = chance.randint(3, 9)
            seen = ids(*(await walk(client, link, first if link == "previous_page" else None, size=size, order=order)))
            missing = there - deleted - set(seen)
            twice = {id for id in seen if seen.count(id) > 1} - deleted
            assert not missing, f"missing {missing}"
            assert not twice, f"twice {twice}"
    finally:
        ended.set()
        await asyncio.gather(*writers)


async def test_a_page_shows_every_write_that_was_acknowledged_before(client: httpx.AsyncClient) -> None:
    async def write_then_read(number: int) -> None:
        await put(client, f"w{number}", flowId=f"f{number}")
        assert ids(await get_page(client, flowId=f"f{number}")) == [f"w{number}"]
        assert (await client.get(f"{RUNS}/w{number}")).status_code == 200
        assert f"w{number}" in ids(await get_page(client, size=100))

    await asyncio.gather(*(write_then_read(number) for number in range(64)))


async def test_total_and_items_are_of_one_snapshot(client: httpx.AsyncClient) -> None:
    async def write() -> None:
        for number in range(100):
            await put(client, f"s{number}", phase="failed")
            await client.delete(f"{RUNS}/s{number}")

    async def read(**params: Any) -> None:
        while not writing.done():
            page = await get_page(client, size=100, **params)
            assert len(page["items"]) == page["total"]

    writing = asyncio.create_task(write())
    await asyncio.gather(read(), read(phase="failed"), read(tag="a:b"), writing)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("", "SEARCH run USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        ("flowId=a", "SEARCH run USING COVERING INDEX run_by_flow (flow_id=? AND created_seq>? AND created_seq<?)"),
        ("flowId=a&phase=b&flowType=automation", "SEARCH run USING COVERING INDEX run_by_flow (flow_id=?"),
        ("phase=b", "SEARCH run USING COVERING INDEX run_by_phase (phase=? AND created_seq>? AND created_seq<?)"),
        ("phase=b&flowType=automation", "SEARCH run USING COVERING INDEX run_by_phase (phase=?"),
        ("flowType=automation", "SEARCH run USING COVERING INDEX run_by_type (flow_type=?"),
        ("createdBy=7", "SEARCH run USING COVERING INDEX run_by_creator (created_by=?"),
        ("tag=a:b&phase=c", "SEARCH lead USING PRIMARY KEY (key=? AND value=? AND created_seq>? AND created_seq<?)"),
        ("createdAfter=2025-01-01T00:00:00Z", "SEARCH timed USING COVERING INDEX run_by_time (created_at>?"),
    ],
)
def test_a_page_walks_an_index_from_its_cursor_on(query: str, index: str) -> None:
    sql, args = page_query(where(parse_qsl(query), []), PageRequest(Cursor(5, toward_newer=False)))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema())
        plan = [row[3] for row in connection.execute("explain query plan " + sql, args)]
    assert any(step.startswith(index) for step in plan), plan
    assert not any(step.split()[:2] == ["SCAN", "run"] for step in plan), plan


def test_the_unfiltered_total_is_no_count() -> None:
    sql, _ = page_query(ALL, PageRequest())
    assert "count(" not in sql
    assert "offset" not in sql


def filled(runs: int) -> sqlite3.Connection:
    """A database of so many *runs*: the first and the last hundred are of a rare flow, phase, user and tag."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(schema())
    connection.execute("insert into sequence values (0, 0, zeroblob(32))")
    connection.execute("begin")
    for number in range(1, runs + 1):
        rare = not 100 < number <= runs - 100
        connection.execute(
            "insert into run values (?, ?, ?, ?, 'automation', ?, ?, ?, null, null, null, '{}', null)",
            (number, number, f"r{number}", *(("rare", "rare", "2025", 1) if rare else ("usual", "usual", "2026", 2))),
        )
        connection.execute("insert into tag values ('k', ?, ?)", ("rare" if rare else "usual", number))
    connection.execute("commit")
    return connection


@pytest.fixture(scope="module")
def small_and_large() -> Iterator[dict[int, sqlite3.Connection]]:
    with closing(filled(1_000)) as small, closing(filled(8_000)) as large:
        yield {1_000: small, 8_000: large}


@pytest.mark.parametrize(
    "query", ["", "flowId=rare", "phase=rare", "createdBy=1", "tag=k:rare", "flowId=rare&phase=usual"]
)
@pytest.mark.parametrize("ascending", [False, True])
def test_a_page_costs_the_same_however_many_runs_there_are(
    small_and_large: dict[int, sqlite3.Connection], query: str, ascending: bool
) -> None:
    steps = {}
    for runs, connection in small_and_large.items():
        counted = 0

        def count() -> None:
            nonlocal counted
            counted += 1

        chosen = where(parse_qsl(query), []) if query else ALL
        connection.set_progress_handler(count, 10)
        for cut in (1, 50, 150, runs // 2, runs - 150, runs - 50, runs, 2 * runs):
            for up in (False, True):
                counted = 0
                pages.page(connection, chosen, PageRequest(Cursor(cut, up), 20, ascending))
                steps[runs, runs - cut if cut >= runs // 2 else cut, up] = counted
        connection.set_progress_handler(None, 0)
    # Walks that meet nothing but usual runs between the rare ones pass over none of them.
    for (runs, place, up), counted in steps.items():
        if runs == 8_000 and (1_000, place, up) in steps:
            assert counted <= 1.5 * steps[1_000, place, up] + 20, (place, up, counted, steps[1_000, place, up])


async def test_a_cursor_is_not_named_beside_errors_of_the_filters_that_it_may_belong_to(
    client: httpx.AsyncClient,
) -> None:
    cursor = (await get_page(client))["current_page"]
    response = await client.get(RUNS, params={"cursor": cursor, "phase": "1"})
    assert details(response) == {("query", "phase"): "string_pattern_mismatch"}
