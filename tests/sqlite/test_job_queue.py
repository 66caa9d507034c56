"""Queues of jobs: batches, order, and who gets which outcome."""

import asyncio
import gc
import sqlite3
import sys
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flowruns.errors import Unavailable
from flowruns.sqlite.connection import Connection, Failed
from flowruns.sqlite.job_queue import MAX_JOBS, JobQueue, run_each
from tests.sqlite.jobs import Gate, Job, connect, perform_each, run_sql


async def test_jobs_that_wait_together_share_batches_in_order(connection: Connection) -> None:
    batches: list[list[int]] = []

    def perform(_: sqlite3.Connection, jobs: list[int]) -> list[int]:
        batches.append(jobs)
        return [-job for job in jobs]

    queue = JobQueue(connection, perform)
    count = 2 * MAX_JOBS + 1
    assert await asyncio.gather(*map(queue.run, range(count))) == [-job for job in range(count)]
    assert [len(batch) for batch in batches] == [MAX_JOBS, MAX_JOBS, 1]
    assert [job for batch in batches for job in batch] == list(range(count))


async def test_jobs_added_during_a_batch_make_the_next(connection: Connection) -> None:
    batches: list[int] = []

    def perform(connection: sqlite3.Connection, jobs: list[Job]) -> list[None]:
        batches.append(len(jobs))
        return [job(connection) for job in jobs]

    queue, gate = JobQueue(connection, perform), Gate()
    first = asyncio.create_task(queue.run(gate))
    await gate.reached()
    rest = asyncio.gather(*(queue.run(lambda _: None) for _ in range(5)))
    await asyncio.sleep(0)  # all of them are in the queue now
    gate.open()
    await asyncio.gather(first, rest)
    assert batches == [1, 5]


async def test_thread_takes_later_jobs_without_a_round_trip(connection: Connection, monkeypatch: Any) -> None:
    calls: list[object] = []
    call = connection.call

    async def counted(function: Callable[[sqlite3.Connection], Any]) -> Any:
        calls.append(function)
        return await call(function)

    monkeypatch.setattr(connection, "call", counted)
    await kept_busy(JobQueue(connection, perform_each), 5)
    assert len(calls) == 1


async def test_busy_queue_lets_others_of_its_connection_have_their_turn(connection: Connection) -> None:
    done: list[str] = []

    def perform(connection: sqlite3.Connection, jobs: list[Job]) -> list[Any]:
        done.append("busy")
        return perform_each(connection, jobs)

    busy, other, gate = JobQueue(connection, perform), JobQueue(connection, perform_each), Gate()
    first = asyncio.create_task(busy.run(gate))
    await gate.reached()
    waiting = asyncio.create_task(other.run(lambda _: done.append("other")))
    following = asyncio.create_task(kept_busy(busy, 40))
    for _ in range(2):
        await asyncio.sleep(0)  # until its first job is in the queue
    gate.open()
    await asyncio.gather(first, waiting, following)
    assert done.count("busy") == 41
    assert done[-1] != "other"


async def kept_busy(queue: JobQueue, count: int) -> None:
    """Runs *count* jobs, each added while the one before is performed."""
    gates = [Gate() for _ in range(count)]
    tasks = [asyncio.create_task(queue.run(gates[0]))]
    for gate, following in zip(gates, gates[1:], strict=False):
        await gate.reached()
        tasks.append(asyncio.create_task(queue.run(following)))
        await asyncio.sleep(0)  # it is in the queue now
        gate.open()
    gates[-1].open()
    await asyncio.gather(*tasks)


async def test_closed_connection_fails_all_waiting_jobs(path: Path) -> None:
    async with Connection(lambda: connect(path)) as connection:
        queue = JobQueue(connection, perform_each)
    outcomes = await asyncio.gather(*(queue.run(lambda _: None) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
    await queue.drain()


async def test_failed_outcome_is_raised_in_its_caller_only(connection: Connection) -> None:
    queue: JobQueue[int, int] = JobQueue(
        connection, lambda _, jobs: [Failed(ValueError(job)) if job % 2 else job for job in jobs]
    )
    outcomes = await asyncio.gather(*map(queue.run, range(4)), return_exceptions=True)
    assert list(map(repr, outcomes)) == ["0", "ValueError(1)", "2", "ValueError(3)"]


async def test_batch_that_raises_fails_every_job_and_the_next_one_works(connection: Connection) -> None:
    queue: JobQueue[str, Any] = JobQueue(
        connection, lambda reading, jobs: [reading.execute(job).fetchall() for job in jobs]
    )
    outcomes = await asyncio.gather(queue.run("select 1"), queue.run("select x"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [sqlite3.OperationalError] * 2
    assert await queue.run("select 1") == [(1,)]


async def test_read_of_a_locked_database_is_unavailable(connection: Connection, path: Path) -> None:
    queue: JobQueue[str, Any] = JobQueue(
        connection, lambda reading, jobs: [reading.execute(job).fetchall() for job in jobs]
    )
    with closing(connect(path)) as other:
        other.execute("begin exclusive")
        with pytest.raises(Unavailable) as locked:
            await queue.run("select * from t")
    assert locked.value.retry_after


async def test_reads_of_one_batch_fail_alone() -> None:
    def misled(_: sqlite3.Connection) -> None:
        raise LookupError

    with closing(connect(":memory:")) as connection:
        first, failed, wrong, last = run_each(connection, [lambda _: 1, misled, run_sql("select x"), lambda _: 2])
    assert (first, last) == (1, 2)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, LookupError)
    assert isinstance(wrong, Failed)
    assert isinstance(wrong.error, sqlite3.OperationalError)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks can start at once since Python 3.12: `.ci/matrix` has it")
async def test_closed_connection_fails_every_job_where_tasks_start_at_once(path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with Connection(lambda: connect(path)) as connection:
        queue = JobQueue(connection, perform_each)
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        for _ in range(2):
            with pytest.raises(ValueError, match="no active connection"):
                await queue.run(lambda _: None)
        await queue.drain()
    finally:
        loop.set_task_factory(None)


async def test_outcomes_beside_an_error_are_freed_without_a_collection(connection: Connection) -> None:
    """The frames of the error's traceback have the other outcomes of the batch, and the error: a cycle."""

    class Document:
        """An outcome."""

    documents: list[weakref.ref[Document]] = []

    def read(_: sqlite3.Connection) -> Document:
        document = Document()
        documents.append(weakref.ref(document))
        return document

    def fail(_: sqlite3.Connection) -> Document:
        raise Unavailable("no")

    queue = JobQueue(connection, run_each)
    gc.collect()
    gc.disable()
    try:
        outcomes = await asyncio.gather(queue.run(read), queue.run(fail), queue.run(read), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Document, Unavailable, Document]
        del outcomes
        await connection.call(lambda _: None)  # so that the thread has left the batch
        assert [document() for document in documents] == [None, None]
    finally:
        gc.enable()
