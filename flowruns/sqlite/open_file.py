"""Databases opened by the calling thread: for the commands on a file, without a server."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path

from flowruns.errors import DatabaseUnusable
from flowruns.settings import MEMORY
from flowruns.sqlite import datafile, lockfile, pragmas, wal
from flowruns.sqlite.identity.ownership import check_files, foreign_wal
from flowruns.sqlite.migrations import prepare, schema_version
from flowruns.sqlite.numbers import StartAfter, start_after
from flowruns.sqlite.result_codes import errors_as_unusable

_LOCK_TIMEOUT = 5.0  # seconds


@contextmanager
def open_exclusive(
    path: str,
    *,
    holder: str,
    make: bool = False,
    start_after: StartAfter = start_after,
    warn: Callable[[str], None] = wal.log.warning,
) -> Iterator[sqlite3.Connection]:
    """The database in the file *path*, locked; *holder* is the text of the lock file. With *make*, the file is created
    if there is none, and removed if the block fails. A commit waits for the disk. Writes begin at *start_after*.
    *warn* is called with a line if the WAL stays beside the file, because another program reads it.

    Raises DatabaseInUse or DatabaseUnusable, also for any sqlite3.Error in the block.
    """
    file = _existing_file(path, make)
    with (
        lockfile.locked(file, holder) as lock,
        datafile.created(file) if make else nullcontext(),
        errors_as_unusable(file),
    ):
        check_files(file, lock.note)
        with closing(_connect(file.as_uri())) as connection:
            prepare(connection, start_after=start_after)
            pragmas.set_durable(connection, "full")
            try:
                yield connection
            finally:
                wal.checkpoint(connection, file, warn)
                lock.keep("")


@contextmanager
def open_readonly(path: str | Path, *, older: bool = False) -> Iterator[sqlite3.Connection]:
    """The database in the file *path*, read-only, whether a server has it open or not. An empty file is read as a
    database without runs.

    Raises DatabaseUnusable, also for any sqlite3.Error in the block, and for an older schema unless *older*.
    """
    file = _existing_file(path)
    with ExitStack() as stack:
        stack.enter_context(errors_as_unusable(file))
        datafile.check_header(file)
        _set_aside_foreign_wal(file)
        try:
            connection = stack.enter_context(closing(_connect_reader(f"{file.as_uri()}?mode=rw")))  # never creates one
        except sqlite3.OperationalError:
            if not _is_immutable(file):
                raise
            # SQLite cannot create the -shm file that readers and writers share, but nothing can write there either.
            connection = stack.enter_context(closing(_connect_reader(f"{file.as_uri()}?immutable=1")))
        version = schema_version(connection)
        if version == 0:
            connection = stack.enter_context(closing(sqlite3.connect(MEMORY, isolation_level=None)))
            prepare(connection)
        elif version < datafile.SCHEMA_VERSION and not older:
            raise DatabaseUnusable(
                f"{file} was written by an older flowruns, with schema {version}; run `flowruns serve` on it to migrate"
                f" it to schema {datafile.SCHEMA_VERSION}"
            )
        yield connection


def _set_aside_foreign_wal(file: Path) -> None:
    """Renames the WAL beside *file* if it is certainly not of it, and no server has *file* open. Raises
    DatabaseUnusable.
    """
    note = lockfile.left_note(file) if datafile.has_wal(file) else None
    if note is not None and foreign_wal(file, note):
        with lockfile.locked(file, f"pid {os.getpid()}") as lock:
            check_files(file, lock.note)


def _existing_file(path: str | Path, make: bool = False) -> Path:
    if path == MEMORY:
        raise DatabaseUnusable(f"{MEMORY} exists only inside one process; name a file")
    file = datafile.real_path(path)
    datafile.check_path(file)
    if not make and not file.exists():
        raise DatabaseUnusable(f"there is no database {file}; name another file, or create it with `flowruns serve`")
    return file


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, isolation_level=None, cached_statements=256, uri=True)
    try:
        pragmas.set_busy_timeout(connection, _LOCK_TIMEOUT)
        pragmas.set_cache_size(connection, pragmas.BULK_CACHE_KIB)  # reads the schema, which may be damaged
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connect_reader(uri: str) -> sqlite3.Connection:
    connection = _connect(uri)
    try:
        pragmas.set_read_only(connection)
        connection.execute("select count(*) from sqlite_schema").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_immutable(file: Path) -> bool:
    """Whether *file* has no WAL and no files can be created beside it."""
    return not os.access(file.parent, os.W_OK) and not datafile.has_wal(file)
