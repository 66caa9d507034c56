"""SQLite's result codes as errors of flowruns."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowruns.errors import DatabaseUnusable, Unavailable

_RETRY_LATER = {
    sqlite3.SQLITE_BUSY: "The database is locked by another program",
    sqlite3.SQLITE_FULL: "The disk is full: the database cannot grow",
    sqlite3.SQLITE_IOERR: "Reading or writing the database failed; is the disk full?",
}

_BROKEN = {
    sqlite3.SQLITE_LOCKED: "The database is locked",
    sqlite3.SQLITE_READONLY: "The database is read-only",
    sqlite3.SQLITE_CORRUPT: "The database is damaged",
    sqlite3.SQLITE_NOTADB: "The database is damaged",
    sqlite3.SQLITE_CANTOPEN: "The database cannot be opened",
    sqlite3.SQLITE_PERM: "The database cannot be used: permission denied",
    sqlite3.SQLITE_PROTOCOL: "The database is locked",
    sqlite3.SQLITE_NOMEM: "SQLite is out of memory",
    sqlite3.SQLITE_INTERRUPT: "The database is being closed",
}

_CURES = {
    sqlite3.SQLITE_IOERR: "; is the disk full?",
    sqlite3.SQLITE_FULL: "; is the disk full?",
    sqlite3.SQLITE_ERROR: "; its tables are not those of the schema that its header names: restore it from a backup",
}

_OPCODES = 100_000  # of SQLite's virtual machine between two checks of the time: a millisecond


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code of *error*; 0 if Python's sqlite3 module raised it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def translate(error: sqlite3.Error) -> Exception:
    """Unavailable if the state of the database is the cause of *error*; else *error* itself, an internal error."""
    code = primary_code(error)
    if code in _RETRY_LATER:
        return Unavailable(_RETRY_LATER[code], retry_after=1)
    if code in _BROKEN:
        return Unavailable(_BROKEN[code])
    return error


@contextmanager
def time_limit(connection: sqlite3.Connection, seconds: float, message: str) -> Iterator[None]:
    """Ends the statement in the block after *seconds*. Raises Unavailable with *message* then."""
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _OPCODES)
    try:
        yield
    except sqlite3.OperationalError as error:
        if primary_code(error) == sqlite3.SQLITE_INTERRUPT and time.monotonic() > deadline:
            raise Unavailable(message) from None
        raise
    finally:
        connection.set_progress_handler(None, 0)


@contextmanager
def errors_as_unusable(file: Path) -> Iterator[None]:
    """Raises DatabaseUnusable, which names *file*, for each sqlite3.Error in the block."""
    try:
        yield
    except sqlite3.Error as error:
        cure = _CURES.get(primary_code(error), "")
        raise DatabaseUnusable(f"{file} cannot be used: {error}{cure}") from error
