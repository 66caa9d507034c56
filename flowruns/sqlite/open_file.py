"""Databases opened by the calling thread: for the commands on a file, without a server."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path

from flowruns.errors import DatabaseUnusable
from flowruns.settings import MEMORY
from flowruns.sqlite import datafile, lockfile, pragmas, wal
from flowruns.sqlite.identity.ownership import check_files, foreign_wal
from flowruns.sqlite.migrations import prepare, schema_version
from flowruns.sqlite.numbers import StartAfter, start_after
from flowruns.sqlite.result_codes import errors_as_unusable, primary_code

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
    if datafile.is_read_only(file):
        raise DatabaseUnusable(f"{file} is read-only, or its folder is; make both writable, or name another file")
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
        connection = stack.enter_context(closing(_reader(file)))
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
    DatabaseUnusable, also if the folder is read-only.
    """
    note = lockfile.left_note(file) if datafile.has_wal(file) else None
    if note is not None and foreign_wal(file, note):
        if not datafile.is_folder_writable(file):
            raise datafile.unreadable_wal(file)
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


def _reader(file: Path) -> sqlite3.Connection:
    """A connection that reads *file*, also where SQLite cannot create the -shm file that readers and writers share."""
    read_only = datafile.is_read_only(file)
    if read_only and not datafile.is_open(file):
        return _connect(datafile.immutable_uri(file), _prepare_reader)
    uri = f"{file.as_uri()}?mode=rw"  # never creates a database
    try:
        return _connect(uri, _prepare_reader)
    except sqlite3.OperationalError as error:
        if read_only and not datafile.has_wal(file):
            return _connect(datafile.immutable_uri(file), _prepare_reader)
        if read_only and not datafile.is_folder_writable(file):
            raise datafile.unreadable_wal(file) from None
        if primary_code(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise
    # The disk is full. An exclusive connection keeps in memory what would be in the -shm file (SQLite's page "WAL", 8).
    connection = _connect(uri, pragmas.set_exclusive, _prepare_reader)
    with suppress(OSError):  # what the first attempt has left; nobody else can use it now
        file.with_name(file.name + "-shm").unlink()
    return connection


def _prepare_reader(connection: sqlite3.Connection) -> None:
    pragmas.set_read_only(connection)
    connection.execute("select count(*) from sqlite_schema").fetchone()  # raises if the file cannot be read


def _connect(uri: str, *setups: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """A connection to the database at *uri* after all *setups*; closed if one of them fails."""
    connection = sqlite3.connect(uri, isolation_level=None, cached_statements=256, uri=True)
    try:
        pragmas.set_busy_timeout(connection, _LOCK_TIMEOUT)
        for setup in setups:
            setup(connection)
        pragmas.set_cache_size(connection, pragmas.BULK_CACHE_KIB)  # reads the schema, which may be damaged
    except sqlite3.Error:
        connection.close()
        raise
    return connection
