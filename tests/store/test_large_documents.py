"""Runs and pages of megabytes: they are read apart from others, and no other request reads them."""

import asyncio

import pytest
from msgspec import Raw

from flowruns.errors import Unavailable
from flowruns.model.cursors import PageRequest
from flowruns.model.runs import FlowType, RunPut
from flowruns.store import pages, read_queues
from flowruns.store.store import Store
from tests.sqlite.jobs import busy

SMALL = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION)
LARGE = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, args=Raw(b'{"x":"%b"}' % ("日".encode() * 1_000_000)))


async def test_large_runs_and_pages_delay_no_small_ones(store: Store) -> None:
    await store.put("small", SMALL)
    large, _ = await store.put("large", LARGE)
    async with busy(store._database.large):
        asked = [asyncio.create_task(store.get("large")), asyncio.create_task(store.page())]
        assert (await store.get("small")).run.id == "small"
        assert len((await store.page(page_request=PageRequest(size=1, ascending=True))).runs) == 1
        assert not any(task.done() for task in asked)
    run, page = await asyncio.gather(*asked)
    assert run == large
    assert page.docs.startswith(large.doc)  # type: ignore[union-attr]  # the gathered results have one type


async def test_the_number_of_runs_is_known_without_reading_one(store: Store) -> None:
    await store.put("large", LARGE)
    async with busy(store._database.pages, store._database.large):
        assert await store.count() == 1


@pytest.mark.parametrize("fields", [(), ("id", "args")])
async def test_runs_of_any_size_are_read_in_the_same_way(
    store: Store, monkeypatch: pytest.MonkeyPatch, fields: tuple[str, ...]
) -> None:
    """Also below a limit of a page, so that pages end early, which are read run by run."""
    for name in ("r1", "r2", "r3"):
        await store.put(name, RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, args=Raw('{"x":"日本"}'.encode())))
    runs = [await store.get(name, fields) for name in ("r1", "r2", "r3")]
    monkeypatch.setattr(pages, "MAX_QUICK_BYTES", 50)
    monkeypatch.setattr("flowruns.store.read_queues.MAX_QUICK_BYTES", 50)
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 100)
    assert [await store.get(name, fields) for name in ("r1", "r2", "r3")] == runs
    request = PageRequest(ascending=True)
    for run in await asyncio.gather(*(store.get(name) for name in ("r1", "r2", "r3"))):
        page = await store.page(page_request=request)
        assert (page.docs, page.total) == (run.doc, 3)
        request = request._replace(cursor=page.links.next)
    assert request.cursor is None


async def test_different_large_reads_of_one_batch_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for id in ("a", "b", "c"):
        await store.put(id, LARGE)
    monkeypatch.setattr(read_queues, "MAX_BATCH_BYTES", 1)
    for reads in (
        [store.get(id) for id in ("a", "b", "a", "c")],
        [store.page(page_request=PageRequest(size=size)) for size in (1, 2, 1, 3)],
    ):
        outcomes = await asyncio.gather(*reads, return_exceptions=True)
        assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [False, True, False, True]
