"""Connections on threads of their own: jobs that wait together travel, and commit, together.

The way to a connection's thread and back costs many times what SQLite needs for a row, so as few journeys as
possible are made: while jobs are performed, what is asked for gathers, and the thread goes on with it.
"""

import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from flowruns.errors import DatabaseUnusable, Unavailable
from flowruns.settings import MEMORY, Synchronous
from flowruns.sqlite import datafile, lockfile
from flowruns.sqlite.atomic_files import remove_files
from flowruns.sqlite.connection import Connection
from flowruns.sqlite.migrations import prepare
from flowruns.sqlite.result_codes import primary_code

log = logging.getLogger("flowruns")

_LOG_BYTES = 32 * 1024 * 1024  # until it is folded in: the more, the more often a page was written in the meantime

_WAIT_MS = 5000  # for another program's lock, where nobody asked for another time

_BULK_CACHE_KIB = 65536  # what an import of 1,000,000 runs touches again and again: the ends of its indexes

_LAST_WAIT_MS = 500  # for another program's lock, at the end

_CACHE_KIB = 8192

_PAGES_CACHE_KIB = 24576  # holds 10,000 runs: their pages need no system call


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
        datafile.check_path(file)
        stack.enter_context(lockfile.locked(file, owner))
        discarded: list[Path] = []
        stack.callback(remove_files, discarded)
        discard = _nothing if file.exists() else partial(discarded.append, file)
        with datafile.created(file), _usable(file):
            datafile.check_header(file)
            writable = os.access(file, os.W_OK)
            if not writable:
                log.warning("%s may only be read: writes are refused", file)
            durable = partial(_durable, synchronous=synchronous)
            one = await _connection(stack, str(file), lock_timeout, prepare, durable)
            key = await one.call(_cursor_key)
            guard = partial(_same_file, file, datafile.file_identity(file))
            if writable:
                stack.push_async_callback(_fold_in, one, file)
            runs = await _connection(stack, str(file), lock_timeout, _read_only)
            pages = await _connection(stack, str(file), lock_timeout, _read_only, _much_cached)
        return Database(one, runs, pages, key, guard, discard, stack.pop_all().aclose)


def _nothing() -> None:
    pass


@contextmanager
def open_exclusive(path: str, *, owner: str, make: bool = False) -> Iterator[sqlite3.Connection]:
    """The database in the file *path* for the calling thread, while nobody serves it; a file that it had to *make* is
    removed if the block fails. A commit waits for the disk.

    Raises DatabaseInUse or DatabaseUnusable, also for what SQLite raises in the block.
    """
    file = _found(path, make)
    with lockfile.locked(file, owner), datafile.created(file) if make else nullcontext(), _usable(file):
        datafile.check_header(file)
        with closing(_connected(file.as_uri())) as connection:
            prepare(connection)
            _durable(connection, "full")
            try:
                yield connection
            finally:
                with suppress(sqlite3.Error):  # else the log stays: it is part of the data
                    connection.execute("pragma wal_checkpoint(truncate)").fetchall()


@contextmanager
def open_readonly(path: str | Path, *, older: bool = False) -> Iterator[sqlite3.Connection]:
    """The database in the file *path* for the calling thread, to be read only, whether it is served or not. What an
    empty file has: nothing.

    Raises DatabaseUnusable, also for what SQLite raises in the block, and for a file of an older schema unless *older*
    ones are asked for.
    """
    file = _found(path)
    with ExitStack() as stack:
        stack.enter_context(_usable(file))
        datafile.check_header(file)
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
    datafile.check_path(file)
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
        cure = "; is the disk full?" if primary_code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL) else ""
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


def _same_file(file: Path, opened: datafile.FileIdentity | None) -> None:
    if datafile.file_identity(file) != opened:
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


def _cursor_key(connection: sqlite3.Connection) -> bytes:
    key: bytes = connection.execute("select cursor_key from clock").fetchone()[0]
    return key
