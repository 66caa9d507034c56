"""Queries whose total must be counted: they delay no quick ones, and end by themselves or with the store."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from flowruns.errors import Unavailable
from flowruns.model.cursors import PageRequest
from flowruns.model.runs import FlowType, RunPut, Tag
from flowruns.store import pages
from flowruns.store.changes import ChangeNotifier, Subscription
from flowruns.store.filters import ALL, Where, by_id, where
from flowruns.store.reads import Changes
from flowruns.store.store import Store
from tests.sqlite.jobs import busy

PUT = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, tags=[Tag(key="k", value="v")])
COUNTED = where([("tag", "k:v"), ("phase", "pending")], [])


def endless(connection: sqlite3.Connection) -> None:
    connection.execute("with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n")


async def test_a_query_that_counts_delays_no_page_and_no_change(store: Store) -> None:
    await store.put("a", PUT)
    async with busy(store._database.counted_pages):
        counted = asyncio.create_task(store.page(COUNTED))
        assert (await store.page()).total == 1
        assert await store.changes(ALL, 0) is not None
        assert not counted.done()
    assert (await counted).total == 1


async def test_a_query_that_takes_too_long_is_unavailable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_COUNT_SECONDS", 0.01)
    monkeypatch.setattr(pages, "_page", lambda connection, where, page_request: endless(connection))
    with pytest.raises(Unavailable, match="narrow it") as refused:
        await store.page(COUNTED)
    assert refused.value.retry_after is None
    monkeypatch.undo()
    await store.put("a", PUT)
    assert (await store.page(COUNTED, PageRequest(size=1))).total == 1


async def test_a_slow_query_ends_with_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def page(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> None:
        connection.set_progress_handler(begun.set, 1000)
        endless(connection)

    monkeypatch.setattr(pages, "page", page)
    async with Store.open(path) as store:
        asked = asyncio.create_task(store.page(COUNTED))
        await asyncio.to_thread(begun.wait)
    with pytest.raises(Unavailable, match="being closed"):
        await asked


async def test_subscriptions_that_are_up_to_date_are_read_first_and_a_few_at_a_time() -> None:
    asked: list[list[int]] = []

    async def read(subscriptions: list[Subscription]) -> list[Changes]:
        asked.append([position for _, position in subscriptions])
        await asyncio.sleep(0)  # as a read of the database, it takes a turn of the loop
        return [Changes((), 100, 100) for _ in subscriptions]

    notifier = ChangeNotifier(read)  # type: ignore[arg-type]  # a list of one outcome's type is invariant
    positions = [*range(20), 95, 96]
    waiting = [asyncio.create_task(notifier.wait(by_id(str(number)), number)) for number in positions]
    while sum(map(len, asked)) < len(positions):  # noqa: ASYNC110  # nothing is found, so no future resolves
        await asyncio.sleep(0)  # as above
    assert asked[0][:2] == [96, 95]
    assert max(map(len, asked)) <= 8
    notifier.end()
    assert await asyncio.gather(*waiting) == [None] * len(positions)
