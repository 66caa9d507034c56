"""The schema of a database file, and the migrations of older files."""

import sqlite3
from pathlib import Path
from secrets import token_bytes

from flowruns.errors import DatabaseUnusable
from flowruns.sqlite import datafile

# MIGRATIONS[1] migrates schema 1 to schema 2. schema.sql is the newest schema.
MIGRATIONS: dict[int, str] = {
    1: """
        drop trigger run_moved;
        drop index tag_by_run;
        delete from tag where created_seq < 0;
        drop index run_by_phase;
        create index run_by_phase on run (phase, created_seq, flow_type) where created_seq > 0 and phase is not null;
    """,
}

_PAGE_SIZE = 4096  # a write changes a dozen pages, and the WAL gets each of them whole: with 8192, a third more bytes


def schema() -> str:
    """The DDL: the copy in a wheel, else the file beside pyproject.toml."""
    from importlib import resources  # not needed for existing files

    packaged = resources.files("flowruns") / "schema.sql"
    file = packaged if packaged.is_file() else Path(__file__).parents[2] / "schema.sql"
    return file.read_text(encoding="utf-8")


def prepare(connection: sqlite3.Connection, migrations: dict[int, str] = MIGRATIONS) -> None:
    """Creates the schema in an empty database, or migrates an older one, in one transaction. Before a migration, the
    file is copied to FILE.v1.bak (with the number of its schema).

    WAL mode is set last, so that after a crash at any moment the header of the main file has our application id.
    """
    newest = max(migrations, default=0) + 1
    connection.execute(f"pragma page_size = {_PAGE_SIZE}")
    version = connection.execute("pragma user_version").fetchone()[0]
    if 0 < version < newest:
        _back_up(connection, version)
    _migrate(connection, version, newest, migrations)
    mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
    if mode not in ("wal", "memory"):
        raise DatabaseUnusable(
            "the database cannot be used: its file system does not support a WAL; move it to a local disk"
        )


def _migrate(connection: sqlite3.Connection, version: int, newest: int, migrations: dict[int, str]) -> None:
    connection.execute("begin exclusive")  # raises if the file cannot be written
    try:
        if version == 0:
            _create(connection)
        else:
            for step in range(version, newest):
                _script(connection, migrations[step])
        if version != newest:  # else nothing is written, and the start does not wait for the disk
            connection.execute(f"pragma user_version = {newest}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _back_up(connection: sqlite3.Connection, version: int) -> None:
    file = Path(connection.execute("pragma database_list").fetchone()[2])
    copy = file.with_name(f"{file.name}.v{version}.bak")
    try:
        copy.unlink(missing_ok=True)
    except OSError as error:
        raise DatabaseUnusable(f"{copy}, the backup before migration, cannot be written: {error.strerror}") from None
    with datafile.created(copy):
        connection.execute("vacuum into ?", (str(copy),))


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"pragma application_id = {datafile.APPLICATION_ID}")
    _script(connection, schema())
    connection.execute("insert into clock values (0, 0, ?)", (token_bytes(32),))


def _script(connection: sqlite3.Connection, sql: str) -> None:
    """Executes the statements of *sql* in the open transaction; executescript would commit it first."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute(statement)  # the last one may lack its semicolon
