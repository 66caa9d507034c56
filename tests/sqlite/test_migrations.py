"""New files get the newest schema, and files of every older schema are migrated without a loss."""

import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from flowruns.errors import DatabaseUnusable
from flowruns.model.runs import FlowType, RunPut, Tag
from flowruns.sqlite.datafile import APPLICATION_ID, SCHEMA_VERSION
from flowruns.sqlite.migrations import MIGRATIONS, prepare, schema
from flowruns.sqlite.numbers import count_on
from flowruns.store.filters import where
from flowruns.store.store import Store
from tests.sqlite.jobs import connect

OLDER = range(1, SCHEMA_VERSION)

RUNS = "select id, seq, created_seq, doc from run where created_seq > 0 order by created_seq desc"


SECOND = {
    1: """
create table note (            -- a comment; with a semicolon
    text text not null         -- 'and a quote
) strict;
create trigger noted after insert on note begin
    update sequence set seq = seq + 1;
    update sequence set seq = seq + 1;
end;
alter table run add column extra text;
"""
}


def version(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("pragma user_version").fetchone()[0]
    return number


def state(connection: sqlite3.Connection) -> tuple[int, list[str]]:
    return version(connection), list(connection.iterdump())


def test_schema_version_is_that_of_the_newest_migration() -> None:
    assert max(MIGRATIONS, default=0) + 1 == SCHEMA_VERSION
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize(("migrations", "newest"), [({}, 1), (SECOND, 2), (MIGRATIONS, SCHEMA_VERSION)])
def test_new_file_has_schema_sql_and_the_newest_version(path: Path, migrations: dict[int, str], newest: int) -> None:
    with closing(connect(path)) as connection, closing(connect(":memory:")) as expected:
        prepare(connection, migrations, count_on)
        expected.executescript(schema())
        tables = "select type, name, sql from sqlite_schema order by name"
        assert connection.execute(tables).fetchall() == expected.execute(tables).fetchall()
        assert version(connection) == newest
        assert connection.execute("pragma application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("select seq, runs, length(cursor_key) from sequence").fetchall() == [(0, 0, 32)]


def test_file_that_is_up_to_date_is_unchanged(path: Path) -> None:
    with closing(connect(path)) as connection:
        prepare(connection)
        before = state(connection)
        prepare(connection)
        assert state(connection) == before


def test_older_file_is_migrated_in_one_transaction(path: Path) -> None:
    with closing(connect(path)) as connection:
        prepare(connection, {})
        connection.execute("update sequence set seq = 5")
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        prepare(connection, SECOND | {2: "insert into note values ('a');"})
        assert [statement for statement in statements if statement.startswith(("begin ", "commit"))] == [
            "begin exclusive",
            "commit",
        ]
        assert version(connection) == 3
        assert connection.execute("select seq, text from sequence, note").fetchall() == [(7, "a")]
        assert connection.execute("select extra from run").fetchall() == []


@pytest.mark.parametrize(
    "migrations",
    [
        {1: "create table note (text text);\ncreate table run (n);"},
        {1: "create table note (text text);\nnonsense;"},
        {1: "update sequence set seq = 9;\ninsert into sequence values (null, 0, x'');"},
        SECOND | {2: "nonsense;"},
        {2: "create table note (text text);"},
    ],
)
def test_failing_migration_leaves_the_older_version_untouched(path: Path, migrations: dict[int, str]) -> None:
    with closing(connect(path)) as connection:
        prepare(connection, {})
        before = state(connection)
        with pytest.raises((sqlite3.Error, KeyError)):
            prepare(connection, migrations)
        assert state(connection) == before
        assert not connection.in_transaction
        prepare(connection, SECOND)
        assert version(connection) == 2


def test_last_statement_of_a_migration_needs_no_semicolon(path: Path) -> None:
    with closing(connect(path)) as connection:
        prepare(connection, {})
        prepare(connection, {1: "create table note (text text)"})
        assert connection.execute("select * from note").fetchall() == []


def restored(version: int, path: Path) -> None:
    """Makes *path* the file of an older flowruns."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((Path(__file__).parents[1] / "data" / f"schema_{version}.sql").read_text("utf-8"))
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(f"pragma user_version = {version}")
        connection.execute("pragma journal_mode = wal")


def shape(connection: sqlite3.Connection) -> dict[str, str]:
    """The statement that made each table, index and trigger, without comments and spaces."""
    found = connection.execute("select name, sql from sqlite_schema where sql is not null")
    return {name: re.sub(r"--.*|\s+", "", sql).lower() for name, sql in found}


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("version", OLDER)
async def test_older_file_is_what_a_new_one_would_be(path: Path, version: int) -> None:
    restored(version, path)
    async with Store.open(path):
        pass
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(":memory:")) as expected:
        expected.executescript(schema())
        assert shape(connection) == shape(expected)
        tags = "select key, value, count(*) from tag group by key, value"
        assert connection.execute("select * from tag_counts").fetchall() == connection.execute(tags).fetchall() != []
        assert connection.execute("pragma user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("version", OLDER)
async def test_older_file_keeps_its_runs(path: Path, version: int) -> None:
    restored(version, path)
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute(RUNS).fetchall()
    assert before
    async with Store.open(path) as store:
        page = await store.page()
        assert page.docs == b",".join(doc.encode() for _, _, _, doc in before)
        assert page.total == len(before)
        for id, seq, _, doc in before:
            assert await store.get(id) == (seq, doc.encode())


async def test_tags_of_runs_that_an_older_flowruns_deleted_do_not_come_back(path: Path) -> None:
    restored(1, path)
    with closing(sqlite3.connect(path)) as connection:
        id, key, value = connection.execute(
            "select id, key, value from run join tag using (created_seq) where created_seq < 0"
        ).fetchone()
    async with Store.open(path) as store:
        await store.put(id, RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, tags=[Tag(key="now", value="1")]))
        found = await store.page(where([("tag", f"{key}:{value}")], []))
        assert id not in [run.id for run in found.runs]
        assert [run.id for run in (await store.page(where([("tag", "now:1")], []))).runs] == [id]


@pytest.mark.parametrize("version", OLDER)
async def test_older_file_stays_beside_the_new_one(path: Path, version: int) -> None:
    restored(version, path)
    before = sorted(content(path))
    copy = path.with_name(f"{path.name}.v{version}.bak")
    copy.write_bytes(b"of an attempt that broke off")
    async with Store.open(path):
        pass
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, copy.name]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(content(copy)) == before
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("pragma user_version").fetchone() == (version,)
        assert connection.execute("pragma application_id").fetchone() == (APPLICATION_ID,)


async def test_without_a_copy_nothing_is_changed(path: Path) -> None:
    restored(1, path)
    before = content(path)
    path.with_name(f"{path.name}.v1.bak").mkdir()
    with pytest.raises(DatabaseUnusable, match="v1.bak"):
        async with Store.open(path):
            pass
    assert content(path) == before
