"""Reads that are answered from memory: they are never older than an acknowledged write, or than an earlier read."""

import asyncio
import random
from pathlib import Path

import pytest

from flowruns.errors import NotFound
from flowruns.model.cursors import PageRequest
from flowruns.model.runs import FlowType, RunPut
from flowruns.store import recent
from flowruns.store.filters import ALL, where
from flowruns.store.newest import Newest
from flowruns.store.reads import StoredRun
from flowruns.store.recent import RecentReads
from flowruns.store.rows import Row
from flowruns.store.stats import Stats
from flowruns.store.store import Store
from tests.sqlite.jobs import busy
from tests.waits import HANG

PUT = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION)
OLD, NEW = StoredRun(1, b"{}"), StoredRun(2, b"{}")
QUERY, RESULT = (ALL,), Stats(b"{}", 1)


def with_run() -> RecentReads:
    reads = RecentReads()
    reads.keep_run(reads.state, "x", OLD)
    reads.keep_result(reads.state, QUERY, RESULT)
    return reads


def write(reads: RecentReads, id: str, doc: bytes | None = b"{}") -> None:
    """Begins a transaction that replaces the run 1, with number 2, or deletes it."""
    old = Row(1, 1, id, "a", "b", None, "", None, None, None, None, None)
    reads.begin([old._replace(created_seq=-1 if doc is None else 1, seq=2, doc=doc)], {id: old})


def test_a_commit_replaces_the_run_and_drops_every_result() -> None:
    reads = with_run()
    assert (reads.run("x"), reads.result(QUERY)) == (OLD, RESULT)
    write(reads, "x")
    assert (reads.run("x"), reads.result(QUERY)) == (None, None)
    reads.end(committed=True)
    assert (reads.run("x"), reads.result(QUERY)) == (NEW, None)


@pytest.mark.parametrize(("change", "committed"), [(None, True), (b"{}", False)])
def test_a_run_that_is_deleted_or_whose_commit_failed_is_dropped(change: bytes | None, committed: bool) -> None:
    reads = with_run()
    write(reads, "x", change)
    reads.end(committed=committed)
    assert reads.run("x") is None


def test_only_runs_that_are_read_are_kept() -> None:
    reads = with_run()
    write(reads, "y")
    reads.end(committed=True)
    assert (reads.run("x"), reads.run("y")) == (OLD, None)


def test_newest_runs_are_those_of_the_last_commit() -> None:
    reads, kept = RecentReads(), Newest({"x": (1, b"old")}, total=1, seq=1)
    reads.keep_newest(reads.state, kept)
    write(reads, "x", b"new")
    reads.keep_newest(reads.state, kept)
    assert reads.newest() is None
    reads.end(committed=True)
    assert reads.newest() == Newest({"x": (1, b"new")}, total=1, seq=2)
    reads.end(committed=True)  # of a transaction that has changed nothing
    assert reads.newest() is not None
    write(reads, "x", b"never committed")
    reads.end(committed=False)
    assert reads.newest() is None
    reads.keep_newest(reads.state, kept)
    reads.begin_all()
    reads.end(committed=True)
    assert reads.newest() is None


@pytest.mark.parametrize("moment", ["before", "during"])
@pytest.mark.parametrize("whole", [False, True])
def test_what_a_transaction_may_have_changed_meanwhile_is_not_kept(moment: str, whole: bool) -> None:
    reads = RecentReads()
    states = {"before": reads.state}
    reads.begin_all() if whole else write(reads, "x")
    states["during"] = reads.state
    for ended in (False, True):
        if ended:
            reads.end(committed=True)
        reads.keep_run(states[moment], "x", OLD)
        reads.keep_run(states[moment], "y", OLD)
        reads.keep_result(states[moment], QUERY, RESULT)
        assert (reads.run("x"), reads.result(QUERY)) == (None, None)
        assert reads.run("y") == (None if whole else OLD)
    reads.keep_run(reads.state, "x", NEW)
    reads.keep_result(reads.state, QUERY, RESULT)
    assert (reads.run("x"), reads.result(QUERY)) == (NEW, RESULT)


def test_what_is_remembered_and_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_MAX_ENTRIES", 10)
    monkeypatch.setattr(recent, "_RUNS_BYTES", 100)
    reads = RecentReads()
    before = reads.state
    for number in range(100):
        write(reads, str(number))
        reads.end(committed=True)
        reads.keep_run(before, str(number % 7), OLD)
        assert reads.run(str(number % 7)) is None
    assert len(reads._changed) <= 11
    for number in range(100):
        reads.keep_run(reads.state, str(number), StoredRun(number, bytes(number)))
        assert sum(len(run.doc) for run in reads._runs.values.values()) <= 100
        assert len(reads._runs.values) <= 10


def test_runs_that_are_replaced_take_room_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_RUNS_BYTES", 100)
    reads = RecentReads()
    reads.keep_run(0, "x", OLD)
    for size in (60, 70, 80) * 3:
        reads.keep_run(reads.state, "y", StoredRun(1, bytes(size)))
        write(reads, "y", bytes(size + 1))
        reads.end(committed=True)
    assert reads.run("x") == OLD


def test_long_queries_and_long_ids_take_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = RecentReads()
    long = (where([("flowId", "x" * 1000)], []),)
    reads.keep_result(reads.state, long, RESULT)
    assert reads.result(long) is None
    for number in range(5000):
        reads.keep_result(reads.state, (where([("flowId", f"{number}")], []),), RESULT)
    assert len(reads._results.values) <= 1024
    before = reads.state
    write(reads, "x" * 1000)
    assert not reads._changed
    reads.keep_run(before, "x" * 1000, OLD)
    reads.end(committed=True)
    reads.keep_run(before, "x" * 1000, OLD)
    assert reads.run("x" * 1000) is None


async def test_store_that_is_being_closed_answers_nothing_from_memory(path: Path) -> None:
    store = await Store.connect(path)
    await store.put("x", PUT)
    writes = [asyncio.create_task(store.put(f"y{number}", PUT)) for number in range(3)]
    await asyncio.sleep(0)  # they are in the queue now
    closing = asyncio.create_task(store.aclose())
    acknowledged = 1
    while acknowledged < 4:
        assert (await store.page()).total >= acknowledged
        acknowledged = 1 + sum(write.done() for write in writes)
    await closing
    for read in (lambda: store.get("x"), store.page, store.stats):
        with pytest.raises(ValueError, match="connection"):
            await read()


async def test_repeated_reads_do_not_wait_for_a_thread(path: Path) -> None:
    async with Store.open(path) as store:
        await store.put("x", PUT)
        deploys = where([("flowId", "a"), ("tag", "k:v")], [])

        async def read() -> list[object]:
            return [await store.get("x"), await store.page(), await store.page(deploys), await store.stats()]

        found = await read()
        database = store._database
        async with busy(database.runs, database.pages, database.counted_pages):
            assert await asyncio.wait_for(read(), HANG / 2) == found


async def test_a_client_that_reads_without_a_pause_lets_others_run(path: Path) -> None:
    async with Store.open(path) as store:
        await store.put("x", PUT)
        for read in (lambda: store.get("x"), store.page, store.stats):
            await read()
            other = asyncio.create_task(asyncio.sleep(0))  # ends at its second turn
            for _ in range(3):
                await read()
            assert other.done()


@pytest.mark.parametrize("seed", range(4))
async def test_no_read_is_older_than_what_was_acknowledged_or_read(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    ids = [f"r{number}" for number in range(8)]
    seen = dict.fromkeys(ids, 0)  # the number of the newest write that somebody knows
    position = 0

    async def client() -> None:
        nonlocal position
        for _ in range(150):
            id = chance.choice(ids)
            known, known_position = seen[id], position
            kind = chance.choices(("get", "page", "put", "delete"), (60, 20, 15, 5))[0]
            try:
                if kind == "get":
                    run = await store.get(id)
                    assert run.seq >= known
                    seen[id] = max(seen[id], run.seq)
                elif kind == "page":
                    page = await store.page(ALL, PageRequest(size=chance.choice([1, 50])))
                    assert int(page.etag) >= known_position
                    position = max(position, int(page.etag))
                elif kind == "put":
                    run, _ = await store.put(id, PUT)
                    seen[id], position = max(seen[id], run.seq), max(position, run.seq)
                else:
                    await store.delete(id)
            except NotFound:
                pass

    async with Store.open(path) as store:
        await asyncio.gather(*(client() for _ in range(12)))
        runs = {run.id: run for run in (await store.page()).runs}
        for id in ids:
            for _ in range(2):  # the second is answered from memory
                if id in runs:
                    assert (await store.get(id)).run == runs[id]
                else:
                    with pytest.raises(NotFound):
                        await store.get(id)


async def test_after_a_reset_nothing_of_before_is_read(path: Path) -> None:
    async with Store.open(path) as store:
        await store.put("x", PUT)
        await store.get("x")
        await store.page()
        await store.clear()
        assert (await store.page()).runs == []
        with pytest.raises(NotFound):
            await store.get("x")
        await store.put("x", PUT)
        await store.get("x")
    with pytest.raises(ValueError, match="connection"):
        await store.get("x")
