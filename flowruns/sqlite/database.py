"""Connections on threads of their own: jobs that wait together travel, and commit, together.

The way to a connection's thread and back costs many times what SQLite needs for a row, so as few journeys as
possible are made: while jobs are performed, what is asked for gathers, and the thread goes on with it.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from secrets import token_bytes
from typing import Any, Generic, NamedTuple, TypeVar

import aiosqlite

from flowruns import datafile
from flowruns.errors import BEGUN, DatabaseUnusable, Unavailable
from flowruns.files import remove
from flowruns.settings import MEMORY, Synchronous

log = logging.getLogger("flowruns")

T = TypeVar("T")
J = TypeVar("J")

# Large enough to carry all that 64 busy connections ask, small enough to bound what one journey costs.
MOST_JOBS = 64

# On a connection that several lanes share, the others have their turn after so many journeys' worth of jobs.
_MOST_BATCHES = 16

# MIGRATIONS[1] is the SQL that makes version 2 of version 1; schema.sql is the newest.
MIGRATIONS: dict[int, str] = {
    1: """
        drop trigger run_moved;
        drop index tag_by_run;
        delete from tag where created_seq < 0;
        drop index run_by_phase;
        create index run_by_phase on run (phase, created_seq, flow_type) where created_seq > 0 and phase is not null;
    """,
}

_PAGE_SIZE = 4096  # a write dirties a dozen of these, and all of each goes to the log: 8192 makes a third more
_LOG_BYTES = 32 * 1024 * 1024  # until it is folded in: the more, the more often a page was written in the meantime
_WAIT_MS = 5000  # for another program's lock, where nobody asked for another time
_BULK_CACHE_KIB = 65536  # what an import of 1,000,000 runs touches again and again: the ends of its indexes
_LAST_WAIT_MS = 500  # for another program's lock, at the end
_CACHE_KIB = 8192
_PAGES_CACHE_KIB = 24576  # holds 10,000 runs: their pages need no system call
_RETRY_LATER = {
    sqlite3.SQLITE_BUSY: "locked by another program",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_IOERR: "out of reach: reading or writing it failed; is the disk full?",
}
_BROKEN = {
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_CANTOPEN: "out of reach: it cannot be opened",
    sqlite3.SQLITE_PERM: "out of reach: permission denied",
    sqlite3.SQLITE_PROTOCOL: "locked",
    sqlite3.SQLITE_NOMEM: "out of memory",
}


def schema() -> str:
    """The DDL: the copy that a wheel carries, else the file beside pyproject.toml."""
    from importlib import resources  # for a new file alone

    packaged = resources.files("flowruns") / "schema.sql"
    here = packaged if packaged.is_file() else Path(__file__).parents[1] / "schema.sql"
    return here.read_text(encoding="utf-8")


class Connection(aiosqlite.Connection):
    """A connection, and the thread that alone uses it. Event loops come and go above it: one may open it, others
    use it, and another one close it.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, iter_chunk_size=64)
        self._thread.daemon = True  # what was not closed does not keep a program from its end

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What *function* returns or raises, run whole on the thread; cancelling the caller does not stop it. Raises
        ValueError once it is closed.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Future[T] = loop.create_future()
        connection = self._conn
        if not self._running:
            raise ValueError("the connection is being closed")

        def perform() -> None:
            try:
                outcome: T | Failed = function(connection)
            except BaseException as error:
                outcome = Failed(error)
            call_soon(loop, _tell, [(None, told)], [outcome])

        # Not by aiosqlite's own `_execute`: its thread would end at the first answer to a loop that is closed.
        self._tx.put_nowait((None, perform))
        return await told


class Failed(NamedTuple):
    """The outcome of a job that raised."""

    error: BaseException


class Lane(Generic[J, T]):
    """Jobs to one connection: those that wait together are performed together, in order."""

    def __init__(
        self, connection: Connection, perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]]
    ) -> None:
        self._connection = connection
        self._perform = perform
        self._waiting: deque[tuple[J, asyncio.Future[T]]] = deque()
        self._driver: asyncio.Task[None] | None = None

    async def run(self, job: J) -> T:
        """The outcome of *job*. One that has begun goes on to its end when its caller is cancelled: CancelledError then
        says `BEGUN`.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._waiting.append((job, waiter))
        if self._driver is None or self._driver.get_loop() is not loop:  # that of a loop which is closed, perhaps
            self._driver = loop.create_task(self._drive())
        try:
            return await waiter
        except asyncio.CancelledError:
            if any(one is waiter for _, one in list(self._waiting)):
                raise  # it never begins
            raise asyncio.CancelledError(BEGUN) from None

    async def drained(self) -> None:
        """Returns once nothing of this loop waits or is under way."""
        while self._driver is not None and self._driver.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([self._driver])

    async def _drive(self) -> None:
        try:
            while self._waiting:
                await self._connection.call(self._perform_waiting)
        except Exception as error:  # the connection is closed
            refused = list(self._waiting)
            self._waiting.clear()
            _deliver(refused, [Failed(error)] * len(refused))
        finally:
            if self._driver is asyncio.current_task():
                self._driver = None

    def _perform_waiting(self, connection: sqlite3.Connection) -> None:
        """On the thread: performs what waits, and what has come meanwhile, which needs no journey of its own."""
        for _ in range(_MOST_BATCHES):
            if not (batch := self._taken()):
                break
            outcomes = _perform(self._perform, [job for job, _ in batch], connection)
            _deliver(batch, outcomes)

    def _taken(self) -> list[tuple[J, "asyncio.Future[T]"]]:
        """What waits, less what nobody waits for any more: the thread alone takes, the loop alone appends."""
        taken: list[tuple[J, asyncio.Future[T]]] = []
        while self._waiting and len(taken) < MOST_JOBS:
            one = self._waiting.popleft()
            if not one[1].done():
                taken.append(one)
        return taken


def _deliver(batch: Sequence[tuple[Any, "asyncio.Future[T]"]], outcomes: Sequence[T | Failed]) -> None:
    """Tells those who wait, each in its loop."""
    for loop in {waiter.get_loop() for _, waiter in batch}:
        call_soon(loop, _tell, batch, outcomes)


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Has *loop* call *function*; from any thread."""
    with suppress(RuntimeError):  # it is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *args)


def _tell(batch: Sequence[tuple[Any, "asyncio.Future[T]"]], outcomes: Sequence[T | Failed]) -> None:
    """Gives those who wait in this loop their outcomes."""
    loop = asyncio.get_running_loop()
    for (_, waiter), outcome in zip(batch, outcomes, strict=True):
        if waiter.done() or waiter.get_loop() is not loop:
            continue
        if isinstance(outcome, Failed):
            waiter.set_exception(outcome.error)
        else:
            waiter.set_result(outcome)


def _perform(
    perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]],
    jobs: list[J],
    connection: sqlite3.Connection,
) -> Sequence[T | Failed]:
    try:
        return perform(connection, jobs)
    except sqlite3.Error as error:
        return [Failed(translated(error))] * len(jobs)
    except Exception as error:
        return [Failed(error)] * len(jobs)


class Job(NamedTuple, Generic[J]):
    """A write, and the time (monotonic seconds) until which it may wait for another program's lock."""

    write: J
    deadline: float


class Writer(Generic[J, T]):
    """The one that writes: writes that wait together are performed in one transaction."""

    def __init__(
        self,
        connection: Connection,
        perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]],
        lock_timeout: float,
        guard: Callable[[], None],
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        """*perform* is given the open transaction; *guard* raises what must keep every write from happening;
        *committed* is called, on the thread, after each commit.
        """
        self._lock_timeout = lock_timeout
        self._busy_timeout = lock_timeout
        self._perform = perform
        self._guard = guard
        self._committed = committed
        self._lane: Lane[Job[J], T] = Lane(connection, self._commit)
        self.drained = self._lane.drained

    async def run(self, write: J) -> T:
        """The result of *write* once it is committed.

        A write that raises undoes itself and nothing else. Raises what it raises, or Unavailable.
        """
        return await self._lane.run(Job(write, time.monotonic() + self._lock_timeout))

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> Sequence[T | Failed]:
        try:
            return self._transaction(connection, jobs)
        except Exception:
            if len(jobs) == 1:
                raise
        # One of them breaks the transaction. Each alone, so that it takes no neighbour with it.
        outcomes: list[T | Failed] = []
        for job in jobs:
            outcomes += _perform(self._transaction, [job], connection)
        return outcomes

    def _transaction(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> Sequence[T | Failed]:
        self._guard()
        late = self._begin(connection, jobs)
        if late == len(jobs):
            return [_late() for _ in jobs]
        try:
            outcomes = self._perform(connection, [job.write for job in jobs[late:]])
        except BaseException:
            _roll_back(connection)
            raise
        try:
            connection.execute("commit")
        except sqlite3.Error:
            _roll_back(connection)
            _overwrite(connection)
            raise
        self._committed()
        return [*(_late() for _ in range(late)), *outcomes]

    def _begin(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> int:
        """Begins a transaction, and returns how many of the *jobs*, the first ones, waited too long for it."""
        late = 0
        while late < len(jobs):
            self._wait_at_most(connection, jobs[late].deadline - time.monotonic())
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError as error:
                if primary(error) != sqlite3.SQLITE_BUSY:
                    raise
                late += 1
            else:
                break
        return late

    def _wait_at_most(self, connection: sqlite3.Connection, seconds: float) -> None:
        seconds = max(0.0, round(seconds, 1))  # coarse, so that the usual case says nothing
        if seconds != self._busy_timeout:
            connection.execute(f"pragma busy_timeout = {int(seconds * 1000)}")
            self._busy_timeout = seconds


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # else SQLite has done it
        connection.execute("rollback")


def _overwrite(connection: sqlite3.Connection) -> None:
    """Puts a transaction that changes nothing where one whose commit failed lies in the log.

    That one may lie there whole: when the disk has room for it, but not for the index of the log. SQLite forgets it,
    but would find it when it reads the log after a crash, and do what was refused. No room is needed, and it does not
    matter whether this one succeeds.
    """
    with suppress(sqlite3.Error):
        connection.execute("begin immediate")
        version = connection.execute("pragma user_version").fetchone()[0]
        connection.execute(f"pragma user_version = {version}")  # writes its page, as no update to the same value does
        connection.execute("commit")
    with suppress(sqlite3.Error):
        _roll_back(connection)


def _late() -> Failed:
    return Failed(Unavailable("The database is locked by another program", retry_after=1))


def each(connection: sqlite3.Connection, reads: Sequence[Callable[[sqlite3.Connection], T]]) -> list[T | Failed]:
    """The outcomes of *reads*, one after the other."""
    outcomes: list[T | Failed] = []
    for read in reads:
        try:
            outcomes.append(read(connection))
        except sqlite3.Error as error:
            outcomes.append(Failed(translated(error)))
        except Exception as error:
            outcomes.append(Failed(error))
    return outcomes


def primary(error: sqlite3.Error) -> int:
    """SQLite's primary result code of *error*; 0 if Python's module raised it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def translated(error: sqlite3.Error) -> Exception:
    """*error* as one of ours if the database is to blame, else as it is: a fault of this program."""
    code = primary(error)
    if code in _RETRY_LATER:
        return Unavailable(f"The database is {_RETRY_LATER[code]}", retry_after=1)
    if code in _BROKEN:
        return Unavailable(f"The database is {_BROKEN[code]}")
    return error


class Database(NamedTuple):
    """An open database: the connection that writes, and two that read, so that slow pages hold up no other read.
    *guard* raises Unavailable once the file is not the one that was opened.
    """

    writing: Connection
    runs: Connection
    pages: Connection
    cursor_key: bytes
    guard: Callable[[], None]
    discard: Callable[[], None]  # has a file that was made removed at the end
    aclose: Callable[[], Awaitable[None]]  # leaves a file alone


async def connect(path: str, *, lock_timeout: float, owner: str, synchronous: Synchronous = "full") -> Database:
    """The database in the file *path*, made if there is none; the caller closes it.

    Raises DatabaseInUse or DatabaseUnusable; then nothing is changed. *owner* tells others who has it.
    """
    async with AsyncExitStack() as stack:
        if path == MEMORY:
            one = await _connection(stack, MEMORY, lock_timeout, prepare)
            return Database(one, one, one, await one.call(_cursor_key), _nothing, _nothing, stack.pop_all().aclose)
        file = datafile.real_path(path)
        datafile.check_name(file)
        stack.enter_context(datafile.claimed(file, owner))
        discarded: list[Path] = []
        stack.callback(remove, discarded)
        discard = _nothing if file.exists() else partial(discarded.append, file)
        with datafile.created(file), _usable(file):
            datafile.check_content(file)
            writable = os.access(file, os.W_OK)
            if not writable:
                log.warning("%s may only be read: writes are refused", file)
            durable = partial(_durable, synchronous=synchronous)
            one = await _connection(stack, str(file), lock_timeout, prepare, durable)
            key = await one.call(_cursor_key)
            guard = partial(_same_file, file, datafile.identity(file))
            if writable:
                stack.push_async_callback(_fold_in, one, file)
            runs = await _connection(stack, str(file), lock_timeout, _read_only)
            pages = await _connection(stack, str(file), lock_timeout, _read_only, _much_cached)
        return Database(one, runs, pages, key, guard, discard, stack.pop_all().aclose)


def _nothing() -> None:
    pass


@contextmanager
def opened(path: str, *, owner: str, make: bool = False) -> Iterator[sqlite3.Connection]:
    """The database in the file *path* for the calling thread, while nobody serves it; a file that it had to *make* is
    removed if the block fails. A commit waits for the disk.

    Raises DatabaseInUse or DatabaseUnusable, also for what SQLite raises in the block.
    """
    file = _found(path, make)
    with datafile.claimed(file, owner), datafile.created(file) if make else nullcontext(), _usable(file):
        datafile.check_content(file)
        with closing(_connected(file.as_uri())) as connection:
            prepare(connection)
            _durable(connection, "full")
            try:
                yield connection
            finally:
                with suppress(sqlite3.Error):  # else the log stays: it is part of the data
                    connection.execute("pragma wal_checkpoint(truncate)").fetchall()


@contextmanager
def reading(path: str | Path, *, older: bool = False) -> Iterator[sqlite3.Connection]:
    """The database in the file *path* for the calling thread, to be read only, whether it is served or not. What an
    empty file has: nothing.

    Raises DatabaseUnusable, also for what SQLite raises in the block, and for a file of an older schema unless *older*
    ones are asked for.
    """
    file = _found(path)
    with ExitStack() as stack:
        stack.enter_context(_usable(file))
        datafile.check_content(file)
        try:
            connection = stack.enter_context(closing(_read(f"{file.as_uri()}?mode=rw")))  # makes none
        except sqlite3.OperationalError:
            if not _lies_still(file):
                raise
            # In a folder where nothing can be written, not even the files that readers agree by: nobody writes there.
            connection = stack.enter_context(closing(_read(f"{file.as_uri()}?immutable=1")))
        version = connection.execute("pragma user_version").fetchone()[0]
        if version == 0:
            connection = stack.enter_context(closing(sqlite3.connect(MEMORY, isolation_level=None)))
            prepare(connection)
        elif version < datafile.SCHEMA_VERSION and not older:
            raise DatabaseUnusable(
                f"{file} was written by an older flowruns, with schema {version}: `flowruns serve` on it brings it"
                f" up to schema {datafile.SCHEMA_VERSION}"
            )
        yield connection


def _read(uri: str) -> sqlite3.Connection:
    connection = _connected(uri)
    try:
        _read_only(connection)
        connection.execute("select count(*) from sqlite_schema").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _lies_still(file: Path) -> bool:
    """Whether *file* is all there is, and nothing can be put beside it."""
    wal = file.with_name(file.name + "-wal")
    return not os.access(file.parent, os.W_OK) and not (wal.exists() and wal.stat().st_size)


def _found(path: str | Path, make: bool = False) -> Path:
    if path == MEMORY:
        raise DatabaseUnusable(f"{MEMORY} is gone with the program that has it; name a file")
    file = datafile.real_path(path)
    datafile.check_name(file)
    if not make and not file.exists():
        raise DatabaseUnusable(f"there is no database {file}; name another, or make it with `flowruns serve`")
    return file


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, isolation_level=None, cached_statements=256, uri=True)
    connection.execute(f"pragma busy_timeout = {_WAIT_MS}")
    connection.execute(f"pragma cache_size = {-_BULK_CACHE_KIB}")
    return connection


@contextmanager
def _usable(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        cure = "; is the disk full?" if primary(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL) else ""
        raise DatabaseUnusable(f"{file} cannot be used: {error}{cure}") from error


async def _connection(
    stack: AsyncExitStack, file: str, lock_timeout: float, *setups: Callable[[sqlite3.Connection], None]
) -> Connection:
    """A connection to *file* on which *setups* were run; *stack* closes it."""

    def set_up(connection: sqlite3.Connection) -> None:
        connection.execute(f"pragma busy_timeout = {int(lock_timeout * 1000)}")
        connection.execute(f"pragma cache_size = {-_CACHE_KIB}")
        for setup in setups:
            setup(connection)

    connection = Connection(partial(sqlite3.connect, file, isolation_level=None, cached_statements=256))
    await stack.enter_async_context(connection)
    await connection.call(set_up)
    return connection


async def _fold_in(connection: Connection, file: Path) -> None:
    """Writes the log into the file; SQLite removes it when the last connection closes.

    Where that cannot be, on a full disk or while another program has the lock, the log stays: it is part of the data.
    """

    def fold_in(writing: sqlite3.Connection) -> None:
        writing.execute(f"pragma busy_timeout = {_LAST_WAIT_MS}")
        writing.execute("pragma wal_checkpoint(truncate)").fetchall()

    try:
        await connection.call(fold_in)
    except sqlite3.Error as error:
        log.error("the log could not be folded in, keep %s-wal beside %s: %s", file, file.name, error)


def _same_file(file: Path, opened: datafile.Identity | None) -> None:
    if datafile.identity(file) != opened:
        raise Unavailable("The database file was removed or replaced; restart flowruns")


def _read_only(connection: sqlite3.Connection) -> None:
    connection.execute("pragma query_only = 1")
    connection.execute("pragma wal_autocheckpoint = 0")  # SQLite before 3.51.3: only one connection may


def _much_cached(connection: sqlite3.Connection) -> None:
    connection.execute(f"pragma cache_size = {-_PAGES_CACHE_KIB}")


def _durable(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    connection.execute(f"pragma synchronous = {synchronous}")  # full: an acknowledged write survives a power cut
    connection.execute(f"pragma fullfsync = {synchronous == 'full'}")  # on macOS fsync ends in the drive's own cache
    page_size: int = connection.execute("pragma page_size").fetchone()[0]
    connection.execute(f"pragma wal_autocheckpoint = {_LOG_BYTES // page_size}")
    connection.execute(f"pragma journal_size_limit = {_LOG_BYTES}")  # which the log keeps once folded in


def prepare(connection: sqlite3.Connection, migrations: dict[int, str] = MIGRATIONS) -> None:
    """Makes a new database ours, or brings an older one of ours up to date, each in one transaction. The older one
    stays beside it, in FILE.v1.bak and so on.

    WAL comes last, so that the main file itself says whose it is after a crash at any moment.
    """
    newest = max(migrations, default=0) + 1
    connection.execute(f"pragma page_size = {_PAGE_SIZE}")
    version = connection.execute("pragma user_version").fetchone()[0]
    if 0 < version < newest:
        _back_up(connection, version)
    connection.execute("begin exclusive")  # fails here, where it is told, if the file cannot be written
    try:
        if version == 0:
            _create(connection)
        else:
            for step in range(version, newest):
                _script(connection, migrations[step])
        if version != newest:  # else nothing is written, and a start waits for no disk
            connection.execute(f"pragma user_version = {newest}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
    if mode not in ("wal", "memory"):
        raise DatabaseUnusable("the database cannot be used: its file system does not allow write-ahead logging")


def _back_up(connection: sqlite3.Connection, version: int) -> None:
    file = Path(connection.execute("pragma database_list").fetchone()[2])
    copy = file.with_name(f"{file.name}.v{version}.bak")
    try:
        copy.unlink(missing_ok=True)
    except OSError as error:
        raise DatabaseUnusable(f"{copy}, for a copy of the older file, cannot be made: {error.strerror}") from None
    with datafile.created(copy):
        connection.execute("vacuum into ?", (str(copy),))


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"pragma application_id = {datafile.APPLICATION_ID}")
    _script(connection, schema())
    connection.execute("insert into clock values (0, 0, ?)", (token_bytes(32),))


def _script(connection: sqlite3.Connection, sql: str) -> None:
    """Runs the statements of *sql* in the open transaction, which executescript would commit first."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute(statement)  # one without its semicolon


def _cursor_key(connection: sqlite3.Connection) -> bytes:
    key: bytes = connection.execute("select cursor_key from clock").fetchone()[0]
    return key
