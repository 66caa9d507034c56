"""The schema of a database file, and the steps from older ones to it."""

import sqlite3
from pathlib import Path
from secrets import token_bytes

from flowruns.errors import DatabaseUnusable
from flowruns.sqlite import datafile

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


def schema() -> str:
    """The DDL: the copy that a wheel carries, else the file beside pyproject.toml."""
    from importlib import resources  # for a new file alone

    packaged = resources.files("flowruns") / "schema.sql"
    here = packaged if packaged.is_file() else Path(__file__).parents[2] / "schema.sql"
    return here.read_text(encoding="utf-8")


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
