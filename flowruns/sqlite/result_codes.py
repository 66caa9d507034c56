"""SQLite's result codes as errors of flowruns."""

import sqlite3

from flowruns.errors import Unavailable

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


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code of *error*; 0 if Python's module raised it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def translate(error: sqlite3.Error) -> Exception:
    """*error* as one of ours if the database is to blame, else as it is: a fault of this program."""
    code = primary_code(error)
    if code in _RETRY_LATER:
        return Unavailable(f"The database is {_RETRY_LATER[code]}", retry_after=1)
    if code in _BROKEN:
        return Unavailable(f"The database is {_BROKEN[code]}")
    return error
