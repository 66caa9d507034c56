"""The schema of a database file, and the migrations of older files."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes

from flowruns.errors import DatabaseUnusable
from flowruns.sqlite import datafile, numbers
from flowruns.sqlite.numbers import StartAfter, start_after
from flowruns.sqlite.transactions import transaction

# MIGRATIONS[1] migrates schema 1 to schema 2. schema.sql is the newest schema.
MIGRATIONS: dict[int, str] = {
    1: """
        drop trigger run_moved;
        drop index tag_by_run;
        delete from tag where created_seq < 0;
        drop index run_by_phase;
        create index run_by_phase on run (phase, created_seq, flow_type) where created_seq > 0 and phase is not null;
    """,
    2: """
        drop trigger run_created;
        drop trigger run_written;
        drop trigger run_changed_kind;
        create table sequence (
            seq         integer not null,
            runs        integer not null,
            cursor_key  blob    not null
        ) strict;
        insert into sequence select seq, runs, cursor_key from clock;
        drop table clock;
        create table skipped (
            first       integer primary key,
            last        integer not null
        ) strict;
        create table run_counts (
            flow_id     text    not null,
            flow_type   text    not null,
            phase       text    not null,
            runs        integer not null,
            primary key (flow_id, flow_type, phase)
        ) strict, without rowid;
        insert into run_counts select flow_id, flow_type, phase, runs from tally;
        drop table tally;
        create table tag_counts (
            key         text    not null,
            value       text    not null,
            runs        integer not null,
            primary key (key, value)
        ) strict, without rowid;
        insert into tag_counts select key, value, count(*) from tag group by key, value;
        create trigger run_created after insert on run begin
            update sequence set seq = max(seq, new.seq), runs = runs + (new.created_seq > 0);
            insert into run_counts select new.flow_id, new.flow_type, ifnull(new.phase, ''), 1 where new.created_seq > 0
                on conflict do update set runs = runs + 1;
        end;

        create trigger run_written after update on run begin
            update sequence set seq = max(seq, new.seq), runs = runs + (new.created_seq > 0) - (old.created_seq > 0);
        end;

        create trigger run_changed_kind after update of flow_id, flow_type, phase, created_seq on run
        when (old.flow_id, old.flow_type, old.phase, old.created_seq > 0)
            is not (new.flow_id, new.flow_type, new.phase, new.created_seq > 0) begin
            update run_counts set runs = runs - 1 where old.created_seq > 0
                and (flow_id, flow_type, phase) = (old.flow_id, old.flow_type, ifnull(old.phase, ''));
            delete from run_counts where runs = 0
                and (flow_id, flow_type, phase) = (old.flow_id, old.flow_type, ifnull(old.phase, ''));
            insert into run_counts select new.flow_id, new.flow_type, ifnull(new.phase, ''), 1 where new.created_seq > 0
                on conflict do update set runs = runs + 1;
        end;
        alter table run add column former_seq integer;

        create trigger tag_added after insert on tag begin
            insert into tag_counts values (new.key, new.value, 1) on conflict do update set runs = runs + 1;
        end;

        create trigger tag_removed after delete on tag begin
            update tag_counts set runs = runs - 1 where (key, value) = (old.key, old.value);
            delete from tag_counts where runs = 0 and (key, value) = (old.key, old.value);
        end;
    """,
}

_PAGE_SIZE = 4096  # a write changes a dozen pages, and the WAL gets each of them whole: with 8192, a third more bytes


def schema() -> str:
    """The DDL: the copy in a wheel, else the file beside pyproject.toml."""
    from importlib import resources  # not needed for existing files

    packaged = resources.files("flowruns") / "schema.sql"
    file = packaged if packaged.is_file() else Path(__file__).parents[2] / "schema.sql"
    return file.read_text(encoding="utf-8")


def prepare(
    connection: sqlite3.Connection,
    migrations: dict[int, str] = MIGRATIONS,
    start_after: StartAfter = start_after,
    setup: Callable[[sqlite3.Connection], None] = lambda connection: None,
) -> None:
    """Creates the schema in an empty database, or migrates an older one, in one transaction. Before a migration, the
    file is copied to FILE.v1.bak (with the number of its schema). The writes of *connection* begin at *start_after*.
    *setup* is called with it after the migration, and before there are temporary tables.

    WAL mode is set last, so that after a crash at any moment the header of the main file has our application id.
    """
    newest = max(migrations, default=0) + 1
    connection.execute(f"pragma page_size = {_PAGE_SIZE}")
    version = schema_version(connection)
    if 0 < version < newest:
        _back_up(connection, version)
    _migrate(connection, version, newest, migrations, start_after)
    mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
    if mode not in ("wal", "memory"):
        raise DatabaseUnusable(
            "the database cannot be used: its file system does not support a WAL; move it to a local disk"
        )
    setup(connection)
    last = numbers.last_number(connection)
    numbers.set_start(connection, start_after(last) if version else last)


def schema_version(connection: sqlite3.Connection) -> int:
    """The number of the schema; 0 of an empty database. Raises DatabaseUnusable if the file holds something else."""
    version: int = connection.execute("pragma user_version").fetchone()[0]
    tables: int = connection.execute("select count(*) from sqlite_schema where type = 'table'").fetchone()[0]
    if bool(version) != bool(tables):
        raise DatabaseUnusable(
            f"{_file(connection)} cannot be used: its header says schema {version}, but it has"
            f" {'tables' if tables else 'no tables'}; restore it from a backup"
        )
    return version


def _migrate(
    connection: sqlite3.Connection, version: int, newest: int, migrations: dict[int, str], start_after: StartAfter
) -> None:
    with transaction(connection, "exclusive"):  # raises if the file cannot be written
        if version == 0:
            _create(connection, start_after(0))
        else:
            for step in range(version, newest):
                _script(connection, migrations[step])
        if version != newest:  # else nothing is written, and the start does not wait for the disk
            connection.execute(f"pragma user_version = {newest}")


def _back_up(connection: sqlite3.Connection, version: int) -> None:
    file = _file(connection)
    copy = file.with_name(f"{file.name}.v{version}.bak")
    try:
        copy.unlink(missing_ok=True)
    except OSError as error:
        raise DatabaseUnusable(f"{copy}, the backup before migration, cannot be written: {error.strerror}") from None
    with datafile.created(copy):
        connection.execute("vacuum into ?", (str(copy),))


def _file(connection: sqlite3.Connection) -> Path:
    return Path(connection.execute("pragma database_list").fetchone()[2])


def _create(connection: sqlite3.Connection, start: int) -> None:
    connection.execute(f"pragma application_id = {datafile.APPLICATION_ID}")
    _script(connection, schema())
    connection.execute("insert into sequence values (?, 0, ?)", (start, token_bytes(32)))
    numbers.skip(connection, 0, start)


def _script(connection: sqlite3.Connection, sql: str) -> None:
    """Executes the statements of *sql* in the open transaction; executescript would commit it first."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute(statement)  # the last one may lack its semicolon
