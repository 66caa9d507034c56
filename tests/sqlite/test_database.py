"""Group commit, locks, and the opening and closing of files: on a table of numbers, or on the real schema."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowruns.errors import BEGUN, DatabaseInUse, DatabaseUnusable, Unavailable
from flowruns.sqlite import database
from flowruns.sqlite.connection import MAX_JOBS, Connection, Failed, JobQueue, run_each
from flowruns.sqlite.database import Database
from flowruns.sqlite.datafile import APPLICATION_ID, SCHEMA_VERSION
from flowruns.sqlite.migrations import MIGRATIONS, prepare, schema
from flowruns.sqlite.result_codes import translate
from flowruns.sqlite.writer import Writer
from tests.waits import HANG

Job = Callable[[sqlite3.Connection], Any]


def connect(path: Path | str) -> sqlite3.Connection:
    """A connection of its own, as another program has it; it waits for nobody."""
    return sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)


@pytest.fixture
async def connection(path: Path) -> AsyncIterator[Connection]:
    """A connection on a thread, to a file with one table of numbers."""
    connection = Connection(lambda: connect(path))
    async with connection:
        await connection.call(lambda writing: writing.execute("create table t (n integer primary key)"))
        yield connection


@pytest.fixture
def writer(connection: Connection) -> Writer:
    """One that waits for no lock."""
    return Writer(connection, perform_each, 0, lambda: None)


async def patient(connection: Connection, seconds: float) -> Writer:
    """One that waits *seconds* for a lock."""
    await connection.call(lambda writing: writing.execute(f"pragma busy_timeout = {int(seconds * 1000)}"))
    return Writer(connection, perform_each, seconds, lambda: None)


def perform_each(connection: sqlite3.Connection, jobs: list[Job]) -> list[Any]:
    return [job(connection) for job in jobs]


async def traced(connection: Connection, callback: Callable[[str], object]) -> None:
    await connection.call(lambda writing: writing.set_trace_callback(callback))


def run_sql(*statements: str) -> Job:
    def job(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return job


def insert(number: int) -> Job:
    """A job whose result is its *number*."""

    def job(connection: sqlite3.Connection) -> int:
        connection.execute("insert into t values (?)", (number,))
        return number

    return job


def failing(number: int) -> Job:
    """A job that fails when its rows are there already."""

    def job(connection: sqlite3.Connection) -> None:
        insert(number)(connection)
        insert(number + 1)(connection)
        raise ZeroDivisionError

    return job


def numbers(path: Path) -> list[int]:
    """What another program finds in the table."""
    with closing(connect(path)) as other:
        return [number for (number,) in other.execute("select n from t order by n")]


async def together(writer: Writer, *jobs: Job) -> list[Any]:
    """The outcomes of *jobs* that wait together."""
    return await asyncio.gather(*map(writer.run, jobs), return_exceptions=True)


class Gate:
    """A job that stays on its thread until the gate is opened."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()
        self.open = self._opened.set

    def __call__(self, connection: sqlite3.Connection) -> None:
        self._reached.set()
        assert self._opened.wait(HANG)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, HANG)


async def test_jobs_that_wait_together_share_journeys_in_their_order(connection: Connection) -> None:
    journeys: list[list[int]] = []

    def perform(_: sqlite3.Connection, jobs: list[int]) -> list[int]:
        journeys.append(jobs)
        return [-job for job in jobs]

    lane = JobQueue(connection, perform)
    count = 2 * MAX_JOBS + 1
    assert await asyncio.gather(*map(lane.run, range(count))) == [-job for job in range(count)]
    assert [len(journey) for journey in journeys] == [MAX_JOBS, MAX_JOBS, 1]
    assert [job for journey in journeys for job in journey] == list(range(count))


async def test_what_is_asked_for_during_a_journey_makes_the_next(connection: Connection) -> None:
    journeys: list[int] = []

    def perform(connection: sqlite3.Connection, jobs: list[Job]) -> list[None]:
        journeys.append(len(jobs))
        return [job(connection) for job in jobs]

    lane, gate = JobQueue(connection, perform), Gate()
    first = asyncio.create_task(lane.run(gate))
    await gate.reached()
    rest = asyncio.gather(*(lane.run(lambda _: None) for _ in range(5)))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, rest)
    assert journeys == [1, 5]


async def test_the_thread_goes_on_with_what_came_meanwhile(connection: Connection, monkeypatch: Any) -> None:
    calls: list[object] = []
    call = connection.call

    async def counted(function: Callable[[sqlite3.Connection], Any]) -> Any:
        calls.append(function)
        return await call(function)

    monkeypatch.setattr(connection, "call", counted)
    await kept_busy(JobQueue(connection, perform_each), 5)
    assert len(calls) == 1


async def test_busy_lane_leaves_others_of_its_connection_their_turn(connection: Connection) -> None:
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
        await asyncio.sleep(0)  # until its first job waits
    gate.open()
    await asyncio.gather(first, waiting, following)
    assert done.count("busy") == 41
    assert done[-1] != "other"


async def kept_busy(lane: JobQueue, count: int) -> None:
    """Runs *count* jobs, each asked for while the one before is performed."""
    gates = [Gate() for _ in range(count)]
    tasks = [asyncio.create_task(lane.run(gates[0]))]
    for gate, following in zip(gates, gates[1:], strict=False):
        await gate.reached()
        tasks.append(asyncio.create_task(lane.run(following)))
        await asyncio.sleep(0)  # it waits now
        gate.open()
    gates[-1].open()
    await asyncio.gather(*tasks)


async def test_closed_connection_fails_all_that_waits(path: Path) -> None:
    async with Connection(lambda: connect(path)) as connection:
        lane = JobQueue(connection, perform_each)
    outcomes = await asyncio.gather(*(lane.run(lambda _: None) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
    await lane.drained()


async def test_failed_outcome_is_raised_to_its_caller_alone(connection: Connection) -> None:
    lane: JobQueue[int, int] = JobQueue(
        connection, lambda _, jobs: [Failed(ValueError(job)) if job % 2 else job for job in jobs]
    )
    outcomes = await asyncio.gather(*map(lane.run, range(4)), return_exceptions=True)
    assert list(map(repr, outcomes)) == ["0", "ValueError(1)", "2", "ValueError(3)"]


async def test_journey_that_fails_fails_for_all_and_the_next_one_works(connection: Connection) -> None:
    lane: JobQueue[str, Any] = JobQueue(
        connection, lambda reading, jobs: [reading.execute(job).fetchall() for job in jobs]
    )
    outcomes = await asyncio.gather(lane.run("select 1"), lane.run("select x"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [sqlite3.OperationalError] * 2
    assert await lane.run("select 1") == [(1,)]


async def test_read_of_a_locked_database_is_unavailable(connection: Connection, path: Path) -> None:
    lane: JobQueue[str, Any] = JobQueue(
        connection, lambda reading, jobs: [reading.execute(job).fetchall() for job in jobs]
    )
    with closing(connect(path)) as other:
        other.execute("begin exclusive")
        with pytest.raises(Unavailable) as locked:
            await lane.run("select * from t")
    assert locked.value.retry_after


async def test_begun_job_of_a_cancelled_caller_goes_on_to_its_end(writer: Writer, path: Path) -> None:
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
    await writer.drained()
    assert numbers(path) == [1]


async def test_waiting_job_of_a_cancelled_caller_is_never_begun(writer: Writer, path: Path) -> None:
    gate = Gate()
    first = asyncio.create_task(writer.run(gate))
    await gate.reached()
    waiting = [asyncio.create_task(writer.run(insert(number))) for number in range(4)]
    await asyncio.sleep(0)  # all of them wait now
    waiting[1].cancel()
    waiting[3].cancel()
    gate.open()
    await first
    await asyncio.gather(*waiting, return_exceptions=True)
    assert numbers(path) == [0, 2]


async def test_drained_waits_for_all_that_was_asked_for(writer: Writer, path: Path) -> None:
    await writer.drained()
    tasks = [asyncio.create_task(writer.run(insert(number))) for number in range(3 * MAX_JOBS)]
    await asyncio.sleep(0)
    await writer.drained()
    assert len(numbers(path)) == 3 * MAX_JOBS
    await asyncio.gather(*tasks)


async def test_reads_of_one_journey_fail_each_for_itself() -> None:
    def misled(_: sqlite3.Connection) -> None:
        raise LookupError

    with closing(connect(":memory:")) as connection:
        first, failed, wrong, last = run_each(connection, [lambda _: 1, misled, run_sql("select x"), lambda _: 2])
    assert (first, last) == (1, 2)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, LookupError)
    assert isinstance(wrong, Failed)
    assert isinstance(wrong.error, sqlite3.OperationalError)


async def test_writes_that_wait_together_commit_together(connection: Connection, writer: Writer, path: Path) -> None:
    said: list[str] = []
    await traced(connection, said.append)
    assert await together(writer, *map(insert, range(10))) == list(range(10))
    assert [statement for statement in said if statement in ("begin immediate", "commit")] == [
        "begin immediate",
        "commit",
    ]
    assert numbers(path) == list(range(10))


async def test_write_is_told_once_others_see_it(writer: Writer, path: Path) -> None:
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


async def test_full_disk_is_unavailable_and_nobody_is_told_what_is_not_so(
    writer: Writer, connection: Connection, path: Path
) -> None:
    await writer.run(run_sql("create table big (b)"))
    await connection.call(run_sql("pragma max_page_count = 1"))  # that is: what it has already
    before, full, after = await together(
        writer, insert(1), run_sql("insert into big values (zeroblob(99999))"), insert(2)
    )
    assert isinstance(full, Unavailable)
    assert full.retry_after
    assert "full" in str(full)
    assert numbers(path) == [told for told in (before, after) if isinstance(told, int)]
    await connection.call(run_sql("pragma max_page_count = 99999"))
    assert await writer.run(insert(3)) == 3


async def test_nobody_is_told_what_is_not_so_in_random_trials(writer: Writer, path: Path) -> None:
    seed = os.urandom(4)
    rand = random.Random(seed)
    await writer.run(insert(0))
    told, doubtful, count = {0}, set[int](), 0
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
            await asyncio.sleep(0)
        for number in rand.sample(sorted(tasks), len(tasks) // 10):
            tasks[number].cancel()
            doubtful.add(number)
        outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
        told.update(number for number, outcome in zip(tasks, outcomes, strict=True) if outcome == number)
    await writer.drained()
    assert told <= set(numbers(path)) <= told | doubtful, seed


async def test_lock_past_the_time_out_is_unavailable_and_the_next_write_works(writer: Writer, path: Path) -> None:
    with closing(connect(path)) as other:
        other.execute("begin immediate")
        for outcome in await together(writer, insert(1), insert(2)):
            assert isinstance(outcome, Unavailable)
            assert outcome.retry_after
        other.rollback()
        assert await writer.run(insert(3)) == 3
    assert numbers(path) == [3]


async def test_write_waits_for_a_lock_that_goes_in_time(connection: Connection, path: Path) -> None:
    writer, begun = await patient(connection, HANG), threading.Event()
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


async def test_time_out_is_in_all_however_many_wait(
    connection: Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only waits for the lock move on."""
    now, timeout = 0, 200  # ms
    writer = await patient(connection, timeout / 1000)
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
    assert now == 200  # each journey for itself would wait 2 seconds, each writer 128
    assert await writer.run(insert(1)) == 1


async def test_guard_keeps_every_write_from_happening(connection: Connection, path: Path) -> None:
    refuse = True

    def guard() -> None:
        if refuse:
            raise Unavailable("gone")

    writer = Writer(connection, perform_each, 0, guard)
    assert [str(outcome) for outcome in await together(writer, insert(1), insert(2))] == ["gone"] * 2
    refuse = False
    assert await together(writer, insert(3)) == [3]
    assert numbers(path) == [3]


@pytest.mark.parametrize(
    ("code", "says", "waiting_helps"),
    [
        (sqlite3.SQLITE_BUSY, "locked", True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked", True),
        (sqlite3.SQLITE_FULL, "full", True),
        (sqlite3.SQLITE_READONLY, "read-only", False),
        (sqlite3.SQLITE_READONLY_DBMOVED, "read-only", False),
        (sqlite3.SQLITE_IOERR_WRITE, "reading or writing", True),
        (sqlite3.SQLITE_CORRUPT, "damaged", False),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged", False),
        (sqlite3.SQLITE_NOTADB, "damaged", False),
        (sqlite3.SQLITE_CANTOPEN, "cannot be opened", False),
    ],
)
def test_what_the_database_is_to_blame_for_is_unavailable(code: int, says: str, waiting_helps: bool) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    ours = translate(error)
    assert isinstance(ours, Unavailable)
    assert says in str(ours)
    assert bool(ours.retry_after) is waiting_helps


@pytest.mark.parametrize("code", [sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_MISUSE, None])
def test_what_this_program_is_to_blame_for_stays_as_it_is(code: int | None) -> None:
    error = sqlite3.OperationalError("x")
    if code is not None:
        error.sqlite_errorcode = code
    assert translate(error) is error


# The file


@asynccontextmanager
async def open_database(path: Path | str, lock_timeout: float = 1, owner: str = "me") -> AsyncIterator[Database]:
    async with aclosing(await database.connect(str(path), lock_timeout=lock_timeout, owner=owner)) as opened:
        yield opened


async def count_on(database: Database) -> int:
    """The counter after one write."""
    writer = Writer(database.writing, perform_each, 1, database.guard)
    await writer.run(run_sql("update clock set seq = seq + 1"))
    return await read_counter(database.pages)


async def read_counter(connection: Connection) -> int:
    return await connection.call(lambda reading: reading.execute("select seq from clock").fetchone()[0])


def contents(folder: Path) -> dict[str, bytes | None]:
    return {file.name: file.read_bytes() if file.is_file() else None for file in folder.iterdir()}


async def test_closing_leaves_one_file_with_all_in_it(path: Path) -> None:
    for expected in (1, 2):
        async with open_database(path) as database:
            assert await count_on(database) == expected
        assert list(contents(path.parent)) == [path.name]


async def test_every_file_of_an_open_database_is_private(path: Path) -> None:
    async with open_database(path) as database:
        await count_on(database)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["flowruns.db", "flowruns.db-wal", "flowruns.db-shm", "flowruns.db.lock"], 0o600)


async def test_database_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_database(":memory:") as database, open_database(":memory:") as other:
        assert await count_on(database) == 1
        assert await read_counter(database.runs) == 1
        assert await read_counter(other.runs) == 0
    assert contents(tmp_path) == {}


async def test_readers_cannot_write(path: Path) -> None:
    async with open_database(path) as database:
        for reader in (database.runs, database.pages):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await reader.call(run_sql("update clock set seq = 9"))


async def test_cursor_key_is_that_of_the_file(path: Path, tmp_path: Path) -> None:
    keys = []
    for file in (path, path, tmp_path / "other.db"):
        async with open_database(file) as database:
            keys.append(database.cursor_key)
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 32


@pytest.mark.parametrize("name", ["flowruns.db", "./none/../flowruns.db", "link.db", "~/flowruns.db"])
async def test_second_opening_is_refused_under_every_name_and_the_first_goes_on(
    path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    os.symlink(path, "link.db")
    async with open_database(path) as database:
        with pytest.raises(DatabaseInUse, match=r"\(me\)"):
            async with open_database(name):
                pass
        assert await count_on(database) == 1


@pytest.mark.parametrize("name", ["file:x.db?mode=memory", ":memory", "a b.db", "%41.db", "ü😀.db", "x#y?z", "-x.db"])
async def test_name_is_taken_as_it_is(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    async with open_database(name) as database:
        assert await count_on(database) == 1
    assert list(contents(path.parent)) == [name]


def write_text(path: Path) -> None:
    path.write_text("id,flowId\n" * 100)


def write_database_of_others(path: Path) -> None:
    with closing(connect(path)) as other:
        other.execute("pragma journal_mode = wal")
        other.execute("create table t (n)")


def write_newer(path: Path) -> None:
    with closing(connect(path)) as newer:
        prepare(newer)
        newer.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")


def write_truncated(path: Path) -> None:
    with closing(connect(path)) as writing:
        prepare(writing)
    os.truncate(path, path.stat().st_size - 1)


def write_damaged(path: Path) -> None:
    with closing(connect(path)) as writing:
        prepare(writing)
    with path.open("r+b") as file:
        file.seek(100)  # the schema's own page, behind the header
        file.write(b"\xff" * 1000)


@pytest.mark.parametrize("write", [write_text, write_database_of_others, write_newer, write_truncated, write_damaged])
async def test_file_that_cannot_be_served_is_refused_and_not_a_byte_changed(
    path: Path, write: Callable[[Path], None]
) -> None:
    write(path)
    before = contents(path.parent)
    with pytest.raises(DatabaseUnusable, match=r"flowruns\.db"):
        async with open_database(path):
            pass
    assert contents(path.parent) == before


@pytest.mark.parametrize("name", [".", "none/x.db", "loop/x.db", "loop", "~nobody-of-this-name/x.db", "x" * 300])
async def test_name_that_no_file_can_have_is_refused(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    os.symlink("loop", "loop")
    with pytest.raises(DatabaseUnusable):
        async with open_database(name):
            pass
    assert [file.name for file in path.parent.iterdir()] == ["loop"]


async def test_new_file_whose_start_fails_leaves_nothing(path: Path) -> None:
    path.with_name("flowruns.db-journal").mkdir()  # where SQLite needs a file
    with pytest.raises(DatabaseUnusable):
        async with open_database(path):
            pass
    assert contents(path.parent) == {"flowruns.db-journal": None}


async def test_database_locked_by_another_program_does_not_start(path: Path) -> None:
    async with open_database(path):
        pass
    with closing(connect(path)) as other:
        other.execute("begin immediate")
        with pytest.raises(DatabaseUnusable, match="locked"):
            async with open_database(path, lock_timeout=0):
                pass
        other.rollback()
        async with open_database(path, lock_timeout=0) as database:
            assert await count_on(database) == 1


async def test_lock_of_another_program_holds_up_writes_not_reads(path: Path) -> None:
    async with open_database(path, lock_timeout=0) as database:
        with closing(connect(path)) as other:
            other.execute("begin immediate")
            with pytest.raises(Unavailable):
                await count_on(database)
            assert await read_counter(database.runs) == 0
            other.rollback()
            assert await count_on(database) == 1


async def test_reader_elsewhere_does_not_hold_up_closing(path: Path) -> None:
    with closing(connect(":memory:")) as other:
        async with open_database(path, lock_timeout=0) as database:
            await count_on(database)
            other.execute("attach ? as served", (str(path),))
            other.execute("begin")
            other.execute("select * from served.clock").fetchall()
            await count_on(database)
        other.rollback()
        assert other.execute("select seq from served.clock").fetchone() == (2,)


async def test_write_to_a_removed_file_is_unavailable_until_it_is_back(path: Path) -> None:
    aside = path.with_name("aside.db")
    async with open_database(path) as database:
        os.rename(path, aside)
        with pytest.raises(Unavailable, match="removed or replaced") as gone:
            await count_on(database)
        assert gone.value.retry_after is None
        assert await read_counter(database.runs) == 0
        os.rename(aside, path)
        assert await count_on(database) == 1


async def test_file_put_in_place_of_an_open_one_is_left_alone(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with open_database(copy):
        pass
    before = contents(tmp_path)[copy.name]
    async with open_database(path) as database:
        await count_on(database)
        os.replace(copy, path)
        with pytest.raises(Unavailable, match="removed or replaced"):
            await count_on(database)
    assert contents(tmp_path)[path.name] == before
    async with open_database(path) as database:
        assert await count_on(database) == 1


REFUSED = """
import asyncio, sys
from flowruns.sqlite.database import connect
from flowruns.errors import DatabaseUnusable

async def main():
    await connect(sys.argv[1], lock_timeout=0, owner="me")

sys.setswitchinterval(1e-6)  # a thread that outlives its loop meets the loop's end sooner or later
for _ in range(500):
    try:
        asyncio.run(main())
    except DatabaseUnusable:
        pass
"""


def test_refused_start_is_over_when_it_is_told(path: Path) -> None:
    path.with_name("flowruns.db-journal").mkdir()  # where SQLite needs a file
    refused = subprocess.run([sys.executable, "-c", REFUSED, str(path)], capture_output=True, text=True, check=True)
    assert refused.stderr == ""


SERVER = """
import asyncio, sys
from contextlib import aclosing
from flowruns.sqlite.database import connect

async def main():
    async with aclosing(await connect(sys.argv[1], lock_timeout=1, owner="other")) as database:
        await database.writing.call(lambda connection: connection.execute("update clock set seq = 7").rowcount)
        print("written", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


@contextmanager
def serving(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has *path* open and has written to it."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "written\n"
            yield process
        finally:
            process.kill()


async def test_acknowledged_write_survives_a_kill(path: Path) -> None:
    with serving(path) as process:
        with pytest.raises(DatabaseInUse, match=r"\(other\)"):
            async with open_database(path):
                pass
        process.kill()
    async with open_database(path) as database:
        assert await read_counter(database.runs) == 7
    assert list(contents(path.parent)) == [path.name]


# The schema and its versions

SECOND = {
    1: """
create table note (            -- a comment; with a semicolon
    text text not null         -- 'and a quote
) strict;
create trigger noted after insert on note begin
    update clock set seq = seq + 1;
    update clock set seq = seq + 1;
end;
alter table run add column extra text;
"""
}


def version(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("pragma user_version").fetchone()[0]
    return number


def state(connection: sqlite3.Connection) -> tuple[int, list[str]]:
    return version(connection), list(connection.iterdump())


def test_schema_has_the_number_that_files_are_checked_for() -> None:
    assert max(MIGRATIONS, default=0) + 1 == SCHEMA_VERSION
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize(("migrations", "newest"), [({}, 1), (SECOND, 2), (MIGRATIONS, SCHEMA_VERSION)])
def test_new_file_has_schema_sql_and_the_newest_number(path: Path, migrations: dict[int, str], newest: int) -> None:
    with closing(connect(path)) as connection, closing(connect(":memory:")) as expected:
        prepare(connection, migrations)
        expected.executescript(schema())
        tables = "select type, name, sql from sqlite_schema order by name"
        assert connection.execute(tables).fetchall() == expected.execute(tables).fetchall()
        assert version(connection) == newest
        assert connection.execute("pragma application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("select seq, runs, length(cursor_key) from clock").fetchall() == [(0, 0, 32)]


def test_file_that_is_up_to_date_stays_as_it_is(path: Path) -> None:
    with closing(connect(path)) as connection:
        prepare(connection)
        before = state(connection)
        prepare(connection)
        assert state(connection) == before


def test_older_file_is_brought_up_to_date_in_one_transaction(path: Path) -> None:
    with closing(connect(path)) as connection:
        prepare(connection, {})
        connection.execute("update clock set seq = 5")
        said: list[str] = []
        connection.set_trace_callback(said.append)
        prepare(connection, SECOND | {2: "insert into note values ('a');"})
        assert [statement for statement in said if statement.startswith(("begin ", "commit"))] == [
            "begin exclusive",
            "commit",
        ]
        assert version(connection) == 3
        assert connection.execute("select seq, text from clock, note").fetchall() == [(7, "a")]
        assert connection.execute("select extra from run").fetchall() == []


@pytest.mark.parametrize(
    "migrations",
    [
        {1: "create table note (text text);\ncreate table run (n);"},
        {1: "create table note (text text);\nnonsense;"},
        {1: "update clock set seq = 9;\ninsert into clock values (null, 0, x'');"},
        SECOND | {2: "nonsense;"},
        {2: "create table note (text text);"},
    ],
)
def test_failing_migration_leaves_the_older_version_untouched(path: Path, migrations: dict[int, str]) -> None:
    with closing(connect(path)) as connection:
        prepare(connection, {})
        before = state(connection)
        with pytest.raises((sqlite3.Error, KeyError)):
            prepare(connection, migrations)
        assert state(connection) == before
        assert not connection.in_transaction
        prepare(connection, SECOND)
        assert version(connection) == 2


def test_last_statement_of_a_migration_needs_no_semicolon(path: Path) -> None:
    with closing(connect(path)) as connection:
        prepare(connection, {})
        prepare(connection, {1: "create table note (text text)"})
        assert connection.execute("select * from note").fetchall() == []


async def test_log_that_cannot_be_folded_in_stays_and_loses_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def deny(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA else sqlite3.SQLITE_OK

    async with open_database(path, lock_timeout=0) as database:
        await database.writing.call(lambda writing: writing.execute("update clock set seq = 7"))
        await database.writing.call(lambda writing: writing.set_authorizer(deny))
    assert ["folded in" in record.message for record in caplog.records] == [True]
    async with open_database(path, lock_timeout=0) as database:
        found = await database.writing.call(lambda writing: writing.execute("select seq from clock").fetchone())
        assert found == (7,)


async def test_end_does_not_wait_for_another_programs_lock(path: Path) -> None:
    async with open_database(path, lock_timeout=2 * HANG) as database:
        await database.writing.call(lambda writing: writing.execute("update clock set seq = 7"))
        other = connect(path)
        other.execute("begin immediate")
        began = time.monotonic()
    with closing(other):
        assert time.monotonic() - began < HANG


async def test_cancelled_caller_is_told_whether_its_job_has_begun(writer: Writer) -> None:
    gate = Gate()
    begun = asyncio.create_task(writer.run(gate))
    await gate.reached()
    waiting = asyncio.create_task(writer.run(insert(1)))
    await asyncio.sleep(0)  # it waits now
    for caller in (begun, waiting):
        caller.cancel()
    with pytest.raises(asyncio.CancelledError, match=BEGUN):
        await begun
    with pytest.raises(asyncio.CancelledError) as never:
        await waiting
    gate.open()
    assert never.value.args == ()
    await writer.drained()
