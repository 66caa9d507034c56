"""Errors of SQLite as errors of flowruns."""

import sqlite3

import pytest

from flowruns.errors import Unavailable
from flowruns.sqlite.result_codes import translate


@pytest.mark.parametrize(
    ("code", "message", "retry_helps"),
    [
        (sqlite3.SQLITE_BUSY, "locked", True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked", True),
        (sqlite3.SQLITE_FULL, "full", True),
        (sqlite3.SQLITE_READONLY, "read-only", False),
        (sqlite3.SQLITE_READONLY_DBMOVED, "read-only", False),
        (sqlite3.SQLITE_IOERR_WRITE, "Reading or writing", True),
        (sqlite3.SQLITE_CORRUPT, "damaged", False),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged", False),
        (sqlite3.SQLITE_NOTADB, "damaged", False),
        (sqlite3.SQLITE_CANTOPEN, "cannot be opened", False),
    ],
)
def test_error_caused_by_the_database_is_unavailable(code: int, message: str, retry_helps: bool) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    translated = translate(error)
    assert isinstance(translated, Unavailable)
    assert message in str(translated)
    assert bool(translated.retry_after) is retry_helps


@pytest.mark.parametrize("code", [sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_MISUSE, None])
def test_error_of_this_program_is_unchanged(code: int | None) -> None:
    error = sqlite3.OperationalError("x")
    if code is not None:
        error.sqlite_errorcode = code
    assert translate(error) is error
