"""The database of a server: its file, its lock, and a connection for each kind of job."""

import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from flowruns.settings import MEMORY, Synchronous
from flowruns.sqlite import datafile, lockfile, pragmas, wal
from flowruns.sqlite.atomic_files import remove_files
from flowruns.sqlite.connection import Connection
from flowruns.sqlite.identity.ownership import check_files
from flowruns.sqlite.identity.watch import FileWatch, Watch, watched
from flowruns.sqlite.migrations import prepare
from flowruns.sqlite.numbers import StartAfter, start_after
from flowruns.sqlite.result_codes import errors_as_unusable

log = logging.getLogger("flowruns")


class Database(NamedTuple):
    """An open database: one connection that writes, and four that read, so that slow reads do not delay quick ones."""

    writing: Connection
    runs: Connection
    pages: Connection
    counted_pages: Connection  # for pages whose total takes a scan
    changes: Connection
    cursor_key: bytes
    watch: Watch
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
    file. Its writes begin at *start_after*.

    Raises DatabaseInUse or DatabaseUnusable, and then leaves the files unchanged.
    """
    prepared = partial(prepare, start_after=start_after)
    if path == MEMORY:
        return await _connect_memory(lock_timeout, prepared)
    async with AsyncExitStack() as stack:
        file = datafile.real_path(path)
        datafile.check_path(file)
        lock = stack.enter_context(lockfile.locked(file, holder))
        discarded: list[Path] = []
        stack.callback(remove_files, discarded)
        remove_on_close = _do_nothing if file.exists() else partial(discarded.append, file)
        with datafile.created(file), errors_as_unusable(file):
            check_files(file, lock.note)
            datafile.warn_of_readers(file)
            watch = stack.enter_context(watched(file, lock))
            writable = os.access(file, os.W_OK)
            if not writable:
                log.warning("%s is read-only: writes are refused", file)
            durable = partial(pragmas.set_durable, synchronous=synchronous)
            writing = await _connection(stack, str(file), lock_timeout, prepared, durable)
            key = await writing.call(_cursor_key)
            await writing.call(partial(watch.begin, key=key))
            if writable:
                stack.push_async_callback(_checkpoint, writing, file, watch)
            cache = partial(pragmas.set_cache_size, kib=pragmas.PAGES_CACHE_KIB)
            runs = await _connection(stack, str(file), lock_timeout, pragmas.set_read_only)
            pages = await _connection(stack, str(file), lock_timeout, pragmas.set_read_only, cache)
            counted_pages = await _connection(stack, str(file), lock_timeout, pragmas.set_read_only)
            changes = await _connection(stack, str(file), lock_timeout, pragmas.set_read_only)
        aclose = stack.pop_all().aclose
        return Database(writing, runs, pages, counted_pages, changes, key, watch, remove_on_close, aclose)


async def _connect_memory(lock_timeout: float, prepare: Callable[[sqlite3.Connection], None]) -> Database:
    async with AsyncExitStack() as stack:
        shared = await _connection(stack, MEMORY, lock_timeout, prepare)
        key = await shared.call(_cursor_key)
        return Database(shared, shared, shared, shared, shared, key, Watch(), _do_nothing, stack.pop_all().aclose)


def _do_nothing() -> None:
    pass


async def _connection(
    stack: AsyncExitStack, file: str, lock_timeout: float, *setups: Callable[[sqlite3.Connection], None]
) -> Connection:
    """A connection to *file* after all *setups*; *stack* closes it."""

    def set_up(connection: sqlite3.Connection) -> None:
        pragmas.set_busy_timeout(connection, lock_timeout)
        pragmas.set_cache_size(connection, pragmas.CACHE_KIB)
        for setup in setups:
            setup(connection)

    connection = Connection(partial(sqlite3.connect, file, isolation_level=None, cached_statements=256))
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
