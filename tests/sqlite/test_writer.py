"""Group commit: writes that share a transaction, fail alone, and wait for locks."""

import asyncio
import os
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowruns.errors import WRITE_BEGUN, Unavailable
from flowruns.sqlite.connection import Connection
from flowruns.sqlite.identity.watch import Watch
from flowruns.sqlite.job_queue import MAX_JOBS
from flowruns.sqlite.writer import Writer
from tests.sqlite.jobs import Gate, Job, connect, failing, insert, numbers, perform_each, run_sql, together, traced
from tests.waits import HANG


async def writer_with_timeout(connection: Connection, seconds: float) -> Writer:
    """A writer that waits *seconds* for a lock."""
    await connection.call(lambda writing: writing.execute(f"pragma busy_timeout = {int(seconds * 1000)}"))
    return Writer(connection, perform_each, seconds, Watch())


async def test_begun_job_of_a_cancelled_caller_is_completed(writer: Writer, path: Path) -> None:
    gate = Gate()

    def job(connection: sqlite3.Connection) -> None:
        gate(connection)
        insert(1)(connection)

    caller = asyncio.create_task(writer.run(job))
    await gate.reached()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.open()
    await writer.drain()
    assert numbers(path) == [1]


async def test_waiting_job_of_a_cancelled_caller_never_begins(writer: Writer, path: Path) -> None:
    gate = Gate()
    first = asyncio.create_task(writer.run(gate))
    await gate.reached()
    waiting = [asyncio.create_task(writer.run(insert(number))) for number in range(4)]
    await asyncio.sleep(0)  # all of them are in the queue now
    waiting[1].cancel()
    waiting[3].cancel()
    gate.open()
    await first
    await asyncio.gather(*waiting, return_exceptions=True)
    assert numbers(path) == [0, 2]


async def test_cancellation_distinguishes_begun_jobs(writer: Writer) -> None:
    gate = Gate()
    begun = asyncio.create_task(writer.run(gate))
    await gate.reached()
    waiting = asyncio.create_task(writer.run(insert(1)))
    await asyncio.sleep(0)  # it is in the queue now
    for caller in (begun, waiting):
        caller.cancel()
    with pytest.raises(asyncio.CancelledError, match=WRITE_BEGUN):
        await begun
    with pytest.raises(asyncio.CancelledError) as never:
        await waiting
    gate.open()
    assert never.value.args == ()
    await writer.drain()


async def test_drain_waits_for_every_job(writer: Writer, path: Path) -> None:
    await writer.drain()
    tasks = [asyncio.create_task(writer.run(insert(number))) for number in range(3 * MAX_JOBS)]
    await asyncio.sleep(0)  # all of them are in the queue now
    await writer.drain()
    assert len(numbers(path)) == 3 * MAX_JOBS
    await asyncio.gather(*tasks)


async def test_writes_that_wait_together_commit_together(connection: Connection, writer: Writer, path: Path) -> None:
    statements: list[str] = []
    await traced(connection, statements.append)
    assert await together(writer, *map(insert, range(10))) == list(range(10))
    assert [statement for statement in statements if statement in ("begin immediate", "commit")] == [
        "begin immediate",
        "commit",
    ]
    assert numbers(path) == list(range(10))


async def test_write_returns_once_others_see_it(writer: Writer, path: Path) -> None:
    for number in range(5):
        assert await writer.run(insert(number)) == number
        assert number in numbers(path)


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (failing(5), ZeroDivisionError),
        (run_sql("insert into t values (5)", "insert into t values (1)"), sqlite3.IntegrityError),
        (run_sql("insert into t values (5)", "insert into nothing values (1)"), sqlite3.OperationalError),
        (run_sql("insert into t values (5)", "select ?"), sqlite3.ProgrammingError),
        (run_sql("savepoint inner", "insert into t values (5)", "insert into t values (1)"), sqlite3.IntegrityError),
    ],
)
async def test_failing_job_undoes_itself_and_nothing_else(
    writer: Writer, path: Path, job: Job, error: type[Exception]
) -> None:
    before, failed, after = await together(writer, insert(1), job, insert(2))
    assert (before, type(failed), after) == (1, error, 2)
    assert numbers(path) == [1, 2]
    assert await writer.run(insert(5)) == 5


async def test_error_that_undoes_the_transaction_takes_no_neighbour_with_it(writer: Writer, path: Path) -> None:
    undo = run_sql("insert or rollback into t values (1)")
    outcomes = await together(writer, insert(1), undo, insert(2))
    assert [type(outcome) for outcome in outcomes] == [int, sqlite3.IntegrityError, int]
    assert numbers(path) == [1, 2]


async def test_write_that_fails_the_commit_takes_no_neighbour_with_it(
    writer: Writer, connection: Connection, path: Path
) -> None:
    await connection.call(run_sql("pragma foreign_keys = 1"))
    await writer.run(run_sql("create table child (n references t deferrable initially deferred)"))
    outcomes = await together(writer, insert(1), run_sql("insert into child values (7)"), insert(2))
    assert [type(outcome) for outcome in outcomes] == [int, sqlite3.IntegrityError, int]
    assert numbers(path) == [1, 2]


async def test_full_disk_is_unavailable_and_no_lost_write_is_acknowledged(
    writer: Writer, connection: Connection, path: Path
) -> None:
    await writer.run(run_sql("create table big (b)"))
    await connection.call(run_sql("pragma max_page_count = 1"))  # that is, the current size
    before, full, after = await together(
        writer, insert(1), run_sql("insert into big values (zeroblob(99999))"), insert(2)
    )
    assert isinstance(full, Unavailable)
    assert full.retry_after
    assert "full" in str(full)
    assert numbers(path) == [result for result in (before, after) if isinstance(result, int)]
    await connection.call(run_sql("pragma max_page_count = 99999"))
    assert await writer.run(insert(3)) == 3


async def test_no_lost_write_is_acknowledged_in_random_trials(writer: Writer, path: Path) -> None:
    seed = os.urandom(4)
    rand = random.Random(seed)
    await writer.run(insert(0))
    acknowledged, doubtful, count = {0}, set[int](), 0
    for _ in range(15):
        tasks: dict[int, asyncio.Task[Any]] = {}
        for _ in range(rand.randrange(2 * MAX_JOBS)):
            count += 2
            job = rand.choices(
                [insert(count), failing(count), insert(0), run_sql("insert or rollback into t values (0)")],
                [20, 3, 3, 0.2],
            )[0]
            tasks[count] = asyncio.create_task(writer.run(job))
        for _ in range(rand.randrange(3)):
            await asyncio.sleep(0)  # at a random moment
        for number in rand.sample(sorted(tasks), len(tasks) // 10):
            tasks[number].cancel()
            doubtful.add(number)
        outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
        acknowledged.update(number for number, outcome in zip(tasks, outcomes, strict=True) if outcome == number)
    await writer.drain()
    assert acknowledged <= set(numbers(path)) <= acknowledged | doubtful, seed


async def test_lock_past_the_timeout_is_unavailable_and_the_next_write_works(writer: Writer, path: Path) -> None:
    with closing(connect(path)) as other:
        other.execute("begin immediate")
        for outcome in await together(writer, insert(1), insert(2)):
            assert isinstance(outcome, Unavailable)
            assert outcome.retry_after
        other.rollback()
        assert await writer.run(insert(3)) == 3
    assert numbers(path) == [3]


async def test_write_waits_for_a_lock_that_is_released_in_time(connection: Connection, path: Path) -> None:
    writer, begun = await writer_with_timeout(connection, HANG), threading.Event()
    await traced(connection, lambda _: begun.set())
    with closing(connect(path)) as other:
        other.execute("begin immediate")
        write = asyncio.create_task(writer.run(insert(1)))
        assert await asyncio.to_thread(begun.wait, HANG)
        other.rollback()
        assert await write == 1


async def test_write_that_waited_too_long_leaves_its_neighbours_alone(
    connection: Connection, writer: Writer, path: Path
) -> None:
    tries = 0
    with closing(connect(path)) as other:
        other.execute("begin immediate")

        def release(statement: str) -> None:
            nonlocal tries
            tries += statement == "begin immediate"
            if tries == 2 and other.in_transaction:
                other.rollback()

        await traced(connection, release)
        late, neighbour = await together(writer, insert(1), insert(2))
    assert isinstance(late, Unavailable)
    assert neighbour == 2
    assert numbers(path) == [2]


async def test_timeout_is_the_same_for_any_number_of_writes(
    connection: Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only waits for the lock move on."""
    now, timeout = 0, 200  # ms
    writer = await writer_with_timeout(connection, timeout / 1000)
    monkeypatch.setattr("flowruns.sqlite.writer.time", SimpleNamespace(monotonic=lambda: now / 1000))

    def measure(statement: str) -> None:
        nonlocal now, timeout
        if statement.startswith("pragma busy_timeout"):
            timeout = int(statement.rpartition("=")[2])
        now += timeout * (statement == "begin immediate")

    await traced(connection, measure)
    gate = Gate()
    busy = asyncio.create_task(connection.call(gate))
    await gate.reached()
    with closing(connect(path)) as other:
        other.execute("begin immediate")
        waiting = asyncio.create_task(together(writer, *map(insert, range(10 * MAX_JOBS))))
        for _ in range(2):
            await asyncio.sleep(0)  # all of them wait now
        gate.open()
        outcomes = await waiting
        other.rollback()
    await busy
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert now == 200  # each batch for itself would wait 2 seconds, each writer 128
    assert await writer.run(insert(1)) == 1


async def test_failing_file_check_prevents_every_write(connection: Connection, path: Path) -> None:
    class Gone(Watch):
        refuse = True

        def check(self, connection: sqlite3.Connection | None = None) -> None:
            if self.refuse:
                raise Unavailable("gone")

    watch = Gone()
    writer = Writer(connection, perform_each, 0, watch)
    assert [str(outcome) for outcome in await together(writer, insert(1), insert(2))] == ["gone"] * 2
    watch.refuse = False
    assert await together(writer, insert(3)) == [3]
    assert numbers(path) == [3]
