"""The database of a server: its file, its lock, and a connection for each kind of job."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from flowruns.errors import DatabaseUnusable
from flowruns.settings import MEMORY, Synchronous
from flowruns.sqlite import datafile, lockfile, pragmas, wal
from flowruns.sqlite.atomic_files import remove_files
from flowruns.sqlite.connection import Connection
from flowruns.sqlite.flusher import Flusher, flushing
from flowruns.sqlite.identity.ownership import check_files
from flowruns.sqlite.identity.pages import wal_path
from flowruns.sqlite.identity.read_only import ReadOnlyWatch
from flowruns.sqlite.identity.watch import FileWatch, Watch, watched
from flowruns.sqlite.migrations import prepare, schema_version
from flowruns.sqlite.numbers import StartAfter, start_after
from flowruns.sqlite.result_codes import errors_as_unusable

log = logging.getLogger("flowruns")


class Database(NamedTuple):
    """An open database: one connection that writes, and five that read, so that slow reads do not delay quick ones."""

    writing: Connection
    runs: Connection
    pages: Connection
    counted_pages: Connection  # for pages whose total takes a scan
    large: Connection  # for runs and pages of megabytes
    changes: Connection
    cursor_key: bytes
    watch: Watch
    flusher: Flusher | None  # of the WAL; None if commits are not flushed
    remove_on_close: Callable[[], None]  # removes the file after closing, if `connect` has created it
    aclose: Callable[[], Awaitable[None]]  # leaves one file, unless another program reads it


async def connect(
    path: str,
    *,
    lock_timeout: float,
    holder: str,
    synchronous: Synchronous = "full",
    start_after: StartAfter = start_after,
) -> Database:
    """The database in the file *path*, created if there is none; the caller closes it. *holder* is the text of the lock
    file. Its writes begin at *start_after*. If this user cannot write the file, or create files beside it, each write
    raises Unavailable.

    Raises DatabaseInUse or DatabaseUnusable, and then leaves the files unchanged.
    """
    prepared = partial(prepare, start_after=start_after, setup=pragmas.set_temporary_in_memory)
    if path == MEMORY:
        return await _connect_memory(lock_timeout, prepared)
    file = datafile.real_path(path)
    datafile.check_path(file)
    if datafile.is_read_only(file):
        return await _connect_read_only(file, lock_timeout, holder)
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(lockfile.locked(file, holder))
        discarded: list[Path] = []
        stack.callback(remove_files, discarded)
        remove_on_close = _do_nothing if file.exists() else partial(discarded.append, file)
        with datafile.created(file), errors_as_unusable(file):
            check_files(file, lock.note)
            datafile.warn_of_readers(file)
            watch = stack.enter_context(watched(file, lock))
            durable = partial(pragmas.set_durable, synchronous=synchronous)
            uri = file.as_uri()
            writing = await _connection(stack, uri, lock_timeout, prepared, durable)
            key = await writing.call(_cursor_key)
            await writing.call(partial(watch.begin, key=key))
            stack.push_async_callback(_checkpoint, writing, file, watch)
            flusher = None
            if synchronous == "full":
                flusher = stack.enter_context(flushing(wal_path(file), watch.flush_failed))
            readers = await _readers(stack, uri, lock_timeout)
        return Database(writing, *readers, key, watch, flusher, remove_on_close, stack.pop_all().aclose)


async def _connect_read_only(file: Path, lock_timeout: float, holder: str) -> Database:
    """As `connect`, for a *file* that is read-only. No file is created beside it, but for the lock file where that is
    possible.
    """
    async with AsyncExitStack() as stack:
        if datafile.is_folder_writable(file):
            check_files(file, stack.enter_context(lockfile.locked(file, holder)).note)
        else:
            lockfile.check_free(file)
            datafile.check_header(file)
            if datafile.has_wal(file):
                raise datafile.unreadable_wal(file)
        with errors_as_unusable(file):
            watch = ReadOnlyWatch(file)
            uri = file.as_uri() if datafile.has_wal(file) else datafile.immutable_uri(file)
            check_schema = partial(_check_schema, file)
            writing = await _connection(stack, uri, lock_timeout, pragmas.set_read_only, check_schema)
            key = await writing.call(_cursor_key)
            readers = await _readers(stack, uri, lock_timeout)
        datafile.warn_of_readers(file)
        log.warning("%s is read-only: writes are refused", file)
        return Database(writing, *readers, key, watch, None, _do_nothing, stack.pop_all().aclose)


async def _connect_memory(lock_timeout: float, prepare: Callable[[sqlite3.Connection], None]) -> Database:
    async with AsyncExitStack() as stack:
        shared = await _connection(stack, MEMORY, lock_timeout, prepare)
        key = await shared.call(_cursor_key)
        close = stack.pop_all().aclose
        return Database(shared, shared, shared, shared, shared, shared, key, Watch(), None, _do_nothing, close)


def _check_schema(file: Path, connection: sqlite3.Connection) -> None:
    """Raises DatabaseUnusable if *file*, which is read-only, would have to be created or migrated."""
    version = schema_version(connection)
    if version != datafile.SCHEMA_VERSION:
        what = f"was written by an older flowruns, with schema {version}" if version else "is empty"
        raise DatabaseUnusable(f"{file} {what}, and is read-only; run `flowruns serve` on it where it can be written")


def _do_nothing() -> None:
    pass


async def _readers(
    stack: AsyncExitStack, uri: str, lock_timeout: float
) -> tuple[Connection, Connection, Connection, Connection, Connection]:
    """The five connections of `Database` that read, in its order."""
    cache = partial(pragmas.set_cache_size, kib=pragmas.PAGES_CACHE_KIB)
    runs = await _connection(stack, uri, lock_timeout, pragmas.set_read_only)
    pages = await _connection(stack, uri, lock_timeout, pragmas.set_read_only, cache)
    counted_pages = await _connection(stack, uri, lock_timeout, pragmas.set_read_only)
    large = await _connection(stack, uri, lock_timeout, pragmas.set_read_only)
    changes = await _connection(stack, uri, lock_timeout, pragmas.set_read_only)
    return runs, pages, counted_pages, large, changes


async def _connection(
    stack: AsyncExitStack, uri: str, lock_timeout: float, *setups: Callable[[sqlite3.Connection], None]
) -> Connection:
    """A connection to the database at *uri* after all *setups*; *stack* closes it."""

    def set_up(connection: sqlite3.Connection) -> None:
        pragmas.set_busy_timeout(connection, lock_timeout)
        pragmas.set_cache_size(connection, pragmas.CACHE_KIB)
        for setup in setups:
            setup(connection)

    connection = Connection(partial(sqlite3.connect, uri, uri=True, isolation_level=None, cached_statements=256))
    await stack.enter_async_context(connection)
    await connection.call(set_up)
    return connection


async def _checkpoint(connection: Connection, file: Path, watch: FileWatch) -> None:
    """Empties the WAL, as `wal.checkpoint`; not into a file that was overwritten."""
    if not watch.keep_wal():
        await connection.call(partial(wal.checkpoint, file=file))


def _cursor_key(connection: sqlite3.Connection) -> bytes:
    key: bytes = connection.execute("select cursor_key from sequence").fetchone()[0]
    return key
