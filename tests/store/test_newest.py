"""The newest runs in memory: a page of them is that of the database."""

import asyncio
import random
from pathlib import Path

import pytest
from msgspec import Raw

from flowruns.errors import NotFound
from flowruns.model.cursors import PageRequest
from flowruns.model.runs import FlowType, RunPost, RunPut
from flowruns.store import newest, pages
from flowruns.store.filters import ALL
from flowruns.store.newest import Newest
from flowruns.store.pages import page
from flowruns.store.rows import Row
from flowruns.store.store import Store
from tests.sqlite.jobs import busy
from tests.waits import HANG

RUN = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION)


def put(chance: random.Random) -> RunPut:
    return RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, args=Raw(b'{"x":"%s"}' % (b"x" * chance.randrange(400))))


async def pages_are_those_of_the_database(store: Store) -> None:
    for size in (1, 2, 3, 7, 100):
        request = PageRequest(size=size)
        stored = await store._database.pages.call(lambda connection, request=request: page(connection, ALL, request))
        for _ in range(2):
            assert await store._reads.page(ALL, request) == stored


@pytest.mark.parametrize("seed", range(6))
async def test_pages_are_those_of_the_database(path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(pages, "MAX_QUICK_BYTES", chance.choice([2_000, 4_000, 1_000_000]))
    monkeypatch.setattr(newest, "MAX_PAGE_SIZE", chance.choice([2, 5, 100]))
    ids = [f"r{number}" for number in range(12)]

    async def write() -> None:
        id = chance.choice(ids)
        kind = chance.choices(("put", "delete", "create"), (6, 3, 1))[0]
        try:
            if kind == "put":
                await store.put(id, put(chance))
            elif kind == "delete":
                await store.delete(id)
            else:
                await store.create(RunPost(flow_id="a"))
        except NotFound:
            pass

    async with Store.open(path) as store:
        for number in range(60):
            await asyncio.gather(*(write() for _ in range(chance.randrange(8))))
            if number == 30:
                await store.clear()
            await pages_are_those_of_the_database(store)


async def test_first_page_after_writes_does_not_wait_for_a_thread(path: Path) -> None:
    async with Store.open(path) as store:
        await store.put("x", RUN)
        await store.put("y", RUN)
        await store.page()
        async with busy(store._database.pages):
            await store.delete("x")  # one of the newest: which run takes its place is not known
            waiting = asyncio.create_task(store.page())
            await store.put("z", RUN)
            assert not waiting.done()
        assert (await waiting).total == (await store.page()).total == 2  # the second one is kept: nothing is written
        async with busy(store._database.pages):
            await store.put("y", RUN)
            await store.put("x", RUN)
            first = await asyncio.wait_for(store.page(page_request=PageRequest(size=2)), HANG)
            assert ([run.id for run in first.runs], first.total) == (["x", "z"], 3)


def test_newest_runs_are_bounded_in_number_and_size() -> None:
    kept = Newest({}, total=0, seq=0)
    for number in range(1, 300):
        doc = bytes(1000 * number)
        row = Row(number, number, f"r{number}", "a", "b", None, "", None, None, None, None, None, doc)
        after = kept.after([row], {})
        assert after is not None
        kept = after
        assert len(kept.runs) <= 100
        assert sum(len(doc) for _, doc in kept.runs.values()) <= pages.MAX_QUICK_BYTES
    assert list(kept.runs) == ["r297", "r298", "r299"]
    assert (kept.total, kept.page(4)) == (299, None)
