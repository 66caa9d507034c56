"""The flush of commits to the disk: no write is acknowledged before it, and none after one has failed."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flowruns.errors import Unavailable
from flowruns.model.runs import FlowType, RunPut
from flowruns.sqlite.connection import Connection
from flowruns.sqlite.flusher import flushing
from flowruns.sqlite.identity.pages import wal_path
from flowruns.sqlite.identity.watch import Watch
from flowruns.sqlite.job_queue import MAX_JOBS
from flowruns.sqlite.writer import MIN_OVERLAPPED, Writer
from flowruns.store.filters import ALL
from flowruns.store.store import Store
from tests.sqlite.jobs import connect, insert, perform_each, run_sql
from tests.waits import HANG

PUT = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION)

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fdatasync"), reason="the flush is another call of the system; use Linux"
)


def read(path: Path) -> bytes:
    return path.read_bytes()


class Disk:
    """What the system does at each flush: it waits while the disk is held, and fails with *error*."""

    def __init__(self) -> None:
        self.threads: list[str] = []  # of the flushes
        self.error: OSError | None = None
        self._thread: str | None = None  # which alone is held
        self._free, self._reached = threading.Event(), threading.Event()
        self._free.set()

    def flush(self, handle: int) -> None:
        if self._thread in (None, threading.current_thread().name):
            self._reached.set()
            assert self._free.wait(HANG)
        self.threads.append(threading.current_thread().name)
        if self.error is not None:
            raise self.error

    @property
    def flushes(self) -> int:
        return len(self.threads)

    def hold(self) -> None:
        self._reached.clear()
        self._free.clear()

    def hold_thread(self, name: str) -> None:
        """Holds the flushes of this thread alone, and releases that of another."""
        free = self._free
        self._free = threading.Event()
        self._reached.clear()
        self._thread = name
        free.set()

    def release(self) -> None:
        self._free.set()

    async def reached(self) -> None:
        """Returns once a flush has begun."""
        assert await asyncio.to_thread(self._reached.wait, HANG)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(os, "fdatasync", disk.flush)
    yield disk
    disk.release()


async def test_write_is_acknowledged_once_it_is_on_the_disk(path: Path, disk: Disk) -> None:
    async with Store.open(path) as store:
        disk.hold()
        put = asyncio.create_task(store.put("x", PUT))
        await disk.reached()
        assert await store.get("x")
        assert not put.done()
        disk.release()
        await put


async def test_functions_that_wait_during_a_flush_share_the_next(
    connection: Connection, path: Path, disk: Disk
) -> None:
    flushed: list[int] = []
    with flushing(path, on_failure=lambda error: None) as flusher:
        disk.hold()
        flusher.after_flush(lambda _: flushed.append(0), here=False)
        await disk.reached()
        for number in range(1, 4):
            flusher.after_flush(lambda _, number=number: flushed.append(number), here=False)
        assert not flushed
        disk.release()
    assert flushed == [0, 1, 2, 3]
    assert disk.flushes == 2


async def test_writes_go_on_during_the_flush_of_others(path: Path, disk: Disk) -> None:
    async with Store.open(path) as store:
        disk.hold()
        first = asyncio.create_task(store.put("first", PUT))
        await disk.reached()  # on the writer's thread, as no other write waits
        count = MAX_JOBS + MIN_OVERLAPPED
        others = [asyncio.create_task(store.put(f"x{number}", PUT)) for number in range(count)]
        await asyncio.sleep(0)  # they wait now, for two batches
        disk.hold_thread("flush")
        await disk.reached()  # for the first of them
        while await store.count() < count + 1:
            pass  # until the second one is committed
        done = [put.done() for put in others[:MAX_JOBS]]
        disk.release()
        await asyncio.gather(first, *others)
        assert not any(done)


async def test_a_few_writes_wait_for_the_flush_of_others(path: Path, disk: Disk) -> None:
    async with Store.open(path) as store:
        disk.hold()
        first = asyncio.create_task(store.put("first", PUT))
        await disk.reached()
        count = MAX_JOBS + MIN_OVERLAPPED - 1
        others = [asyncio.create_task(store.put(f"x{number}", PUT)) for number in range(count)]
        await asyncio.sleep(0)  # they wait now, for two batches
        disk.release()
        await asyncio.gather(first, *others)
        assert disk.flushes == 3
        assert "flush" not in disk.threads


async def test_no_two_flushes_are_under_way_at_once(connection: Connection, path: Path, disk: Disk) -> None:
    with flushing(path, on_failure=lambda error: None) as flusher:
        disk.hold()
        flusher.after_flush(lambda _: None, here=False)
        await disk.reached()
        second = asyncio.create_task(asyncio.to_thread(flusher.flush))
        done, _ = await asyncio.wait([second], timeout=0.05)  # nothing shows that it waits
        assert not done
        disk.error = OSError(errno.EIO, "Input/output error")
        disk.release()
        assert not await second
        assert disk.flushes == 1  # the second would have succeeded, without what the first has lost


async def test_what_is_not_committed_is_not_flushed(path: Path, disk: Disk) -> None:
    async with Store.open(path, lock_timeout=0) as store:
        with closing(connect(path)) as other:
            other.execute("begin immediate")
            with pytest.raises(Unavailable):
                await store.put("x", PUT)
        assert not disk.flushes


async def test_a_function_on_the_writer_has_returned_once_its_writes_are_on_the_disk(path: Path, disk: Disk) -> None:
    async with Store.open(path) as store:
        await store.run_on_writer(run_sql("update sequence set runs = runs"))
        assert disk.flushes == 1
        disk.error = OSError(errno.EIO, "Input/output error")
        with pytest.raises(Unavailable, match="restart"):
            await store.run_on_writer(run_sql("update sequence set runs = runs"))


async def test_subscribers_are_notified_once_it_is_on_the_disk(connection: Connection, path: Path, disk: Disk) -> None:
    notified = threading.Event()
    with flushing(path, on_failure=lambda error: None) as flusher:
        writer = Writer(connection, perform_each, 0, Watch(), flusher, notified.set)
        disk.hold()
        write = asyncio.create_task(writer.run(insert(1)))
        await disk.reached()
        assert not notified.is_set()
        disk.release()
        assert await write == 1
        assert notified.is_set()


async def test_without_flush_a_commit_is_acknowledged_at_once(path: Path, disk: Disk) -> None:
    async with Store.open(path, synchronous="normal") as store:
        disk.hold()
        await store.put("x", PUT)
        assert not disk.flushes


async def test_write_that_is_being_flushed_is_completed_at_the_end(path: Path, disk: Disk) -> None:
    store = await Store.connect(path)
    disk.hold()
    put = asyncio.create_task(store.put("x", PUT))
    await disk.reached()
    threading.Thread(target=disk.release).start()
    await store.aclose()
    assert (await put)[1]
    assert disk.flushes
    assert os.listdir(path.parent) == [path.name]


async def test_nothing_is_served_after_a_failed_flush(path: Path, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    async with Store.open(path) as store:
        await store.put("old", PUT)
        disk.hold()
        puts = [asyncio.create_task(store.put("x", PUT))]
        await disk.reached()
        puts.append(asyncio.create_task(store.put("y", PUT)))  # waits for the next flush
        disk.error = OSError(errno.EIO, "Input/output error")
        disk.release()
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        disk.error = None  # a second flush would succeed, without what the first has lost
        for request in (store.put("z", PUT), store.get("old"), store.page(), store.stats(), store.changes(ALL, 0)):
            outcomes += await asyncio.gather(request, return_exceptions=True)
        with pytest.raises(Unavailable, match="restart"):
            store.check_file()
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 7
        before = read(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}-wal cannot be flushed: Input/output error; requests are refused until a restart"
    ]
    assert read(path) == before, "SQLite has copied a WAL into the file that may not be on the disk"
    assert wal_path(path).name in os.listdir(path.parent)
    async with Store.open(path) as store:
        await store.get("old")
