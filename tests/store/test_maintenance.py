"""Backup, check, prune and vacuum of files, without the command line."""

import io
import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flowruns.sqlite.datafile import SCHEMA_VERSION
from flowruns.sqlite.numbers import count_on, last_number
from flowruns.sqlite.open_file import open_exclusive, open_readonly
from flowruns.store.filters import ALL
from flowruns.store.integrity import Checked, check
from flowruns.store.maintenance import FAILED, Pruned, backup, count_prunable, progress_handler, prune, vacuum
from flowruns.store.reads import changes
from flowruns.store.transfer import import_lines, read_lines
from tests.conftest import REAL_RUNS
from tests.sqlite.files import contents, unwritable
from tests.sqlite.test_migrations import restored

DAY = timedelta(days=1)
NOW = datetime(2025, 1, 20, 18, 53, 3, 558000, UTC)


def nothing(*_: object) -> None:
    """A callback that does nothing."""


@pytest.fixture
def filled(path: Path) -> Path:
    """A database of 346 real runs."""
    with (
        open_exclusive(str(path), holder="x", make=True, start_after=count_on) as connection,
        REAL_RUNS.open("rb") as file,
    ):
        import_lines(connection, read_lines([("x", file)]))
    return path


def checked(path: Path) -> Checked:
    with open_readonly(path, older=True) as connection:
        return check(connection, nothing)


def altered(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


# Reading leaves no trace


def test_reading_leaves_the_file_and_its_folder_as_they_were(filled: Path) -> None:
    before = contents(filled.parent)
    with open_readonly(str(filled)) as connection:
        assert connection.execute("select count(*) from run").fetchone() == (346,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("delete from run")
    assert contents(filled.parent) == before


@pytest.mark.parametrize("folder", [True, False])
def test_file_that_cannot_be_written_is_read_and_no_file_is_made_beside_it(filled: Path, folder: bool) -> None:
    with unwritable(filled.parent if folder else filled):
        assert checked(filled) == Checked(346, 0, SCHEMA_VERSION, [])
        assert os.listdir(filled.parent) == [filled.name]


# Check


def test_database_that_is_ok_has_no_findings(filled: Path) -> None:
    assert checked(filled) == Checked(346, 0, SCHEMA_VERSION, [])


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("update sequence set runs = 345", "sequence: runs is not the number of runs (1)"),
        ("update sequence set seq = 3", "sequence: seq is below the number of the last write (1)"),
        ("delete from run_counts where flow_type = 'reference'", "run_counts: wrong or missing counts (2)"),
        ("insert into run_counts values ('f', 'reference', '', 1)",
         "run_counts: wrong or superfluous counts (1)"),
        ("update tag_counts set runs = runs + 1 where key = 'source' and value = 'bamboo'",
         "tag_counts: wrong or missing counts (1)"),
        ("insert into tag_counts values ('a', 'b', 1)", "tag_counts: wrong or superfluous counts (1)"),
        ("drop index run_by_time", "schema: index run_by_time is missing"),
        ("drop trigger run_created; create trigger run_created after insert on run begin select 1; end",
         "schema: trigger run_created was changed"),
        ("update run set doc = '{}' where created_seq = 7", "run {id}: its document is not a run"),
        ("update run set doc = replace(doc, '\"flowType\":\"', '\"flowType\":\"x') where created_seq = 7",
         "run {id}: its document is not a run"),
        ("update run set created_by = 7 where created_seq = 7",
         "run {id}: columns that differ from its document: created_by"),
        ("update run set tags = null where created_seq = 7", "run {id}: columns that differ from its document: tags"),
        ("insert into tag values ('a', 'b', 7)", "tag: rows that belong to no run (1)"),
        ("insert into skipped values (300, 346), (400, 500)", "skipped: numbers that runs have (1)"),
    ],
)  # fmt: skip
def test_each_error_is_found(filled: Path, sql: str, finding: str) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        (id,) = connection.execute("select id from run where created_seq = 7").fetchone()
    altered(filled, sql)
    assert finding.format(id=id) in checked(filled).findings


def test_tag_that_is_missing_is_named(filled: Path) -> None:
    altered(filled, "delete from tag where created_seq = 7")
    (finding,) = checked(filled).findings
    assert finding.startswith("tag: rows missing for the runs ")
    assert finding.endswith(" (3)")


def test_damaged_page_is_found(filled: Path) -> None:
    data = bytearray(filled.read_bytes())
    with closing(sqlite3.connect(filled)) as connection:
        (root,) = connection.execute("select rootpage from sqlite_schema where name = 'run_by_flow'").fetchone()
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    filled.write_bytes(data)
    assert checked(filled).findings


def test_others_may_add_tables_and_views_of_their_own(filled: Path) -> None:
    altered(filled, "create table theirs (n); create view seen as select id from run")
    assert checked(filled).findings == []


def test_older_schema_is_checked_as_far_as_can_be(path: Path) -> None:
    restored(1, path)
    assert checked(path) == Checked(0, 0, 1, [])


# Prune


@pytest.fixture
def aged(path: Path) -> Path:
    """Runs of each of the last 1,000 hours, some of which failed."""
    phases = [None, "succeeded", "FAILED", "running", *FAILED]
    with open_exclusive(str(path), holder="x", make=True, start_after=count_on) as connection:
        runs = [
            {"id": f"r{hour}", "flowId": "f", "flowType": "automation", "phase": phases[hour % len(phases)],
             "createdAt": (NOW - timedelta(hours=hour)).isoformat(), "tags": [{"key": "k", "value": f"v{hour % 3}"}]}
            for hour in reversed(range(1000))
        ]  # fmt: skip
        import_lines(connection, read_lines([("x", io.BytesIO("\n".join(map(json.dumps, runs)).encode()))]))
    return path


@pytest.mark.parametrize("keep_failed", [False, True])
def test_prune_deletes_older_runs_and_subscribers_receive_the_changes(aged: Path, keep_failed: bool) -> None:
    with open_exclusive(str(aged), holder="x") as connection:
        before = last_number(connection)
        would = count_prunable(connection, NOW - DAY, keep_failed=keep_failed)
        done = prune(connection, NOW - DAY, nothing, nothing, keep_failed=keep_failed, now=NOW)
        assert would == done
        assert done.deleted + done.kept == 975
        assert (done.kept > 0) == keep_failed
        left = {id for (id,) in connection.execute("select id from run where created_seq > 0")}
        assert {f"r{hour}" for hour in range(25)} <= left
        assert len(left) == 25 + done.kept
        deleted: set[str] = set()
        position = before
        while found := changes(connection, ALL, position, last_number(connection)).found:
            assert all(change.doc is None for change in found)
            deleted |= {change.id for change in found}
            position = found[-1].seq
        assert len(deleted) == done.deleted
        assert not deleted & left
    assert checked(aged) == Checked(25 + done.kept, done.deleted, SCHEMA_VERSION, [])


def test_prune_that_is_interrupted_has_deleted_nothing(aged: Path) -> None:
    def at(done: int, share: float | None) -> None:
        if done > 300:
            raise KeyboardInterrupt

    with open_exclusive(str(aged), holder="x") as connection:
        with pytest.raises(KeyboardInterrupt):
            prune(connection, NOW - DAY, at, nothing, keep_failed=False, now=NOW)
        assert count_prunable(connection, NOW - DAY, keep_failed=False) == Pruned(975, 0)


# Backup, vacuum


def test_copy_has_committed_writes_only(filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.touch()
    with open_exclusive(str(filled), holder="x") as connection, open_readonly(str(filled)) as source:
        connection.execute("begin immediate")
        connection.execute("delete from tag")
        assert backup(source, target, nothing) == target.stat().st_size
        connection.execute("rollback")
    assert checked(target) == Checked(346, 0, SCHEMA_VERSION, [])


def test_copy_does_not_restart_while_others_write(filled: Path, tmp_path: Path) -> None:
    """Each write between its steps would restart SQLite's online backup."""
    target = tmp_path / "copy.db"
    target.touch()
    steps: list[float | None] = []
    with open_exclusive(str(filled), holder="x") as connection, open_readonly(str(filled)) as source:

        def at(done: int, share: float | None) -> None:
            connection.execute("update run set phase = 'x' || ? where created_seq = 1", (len(steps),))
            steps.append(share)

        backup(source, target, at, pages=10)
        assert len(steps) > 10
        assert steps[-1] == 1
        assert source.execute("select phase from run where created_seq = 1").fetchone() == (f"x{len(steps) - 1}",)
    with open_readonly(str(target)) as connection:
        assert connection.execute("select phase from run where created_seq = 1").fetchone() == ("neutral",)


def test_vacuum_makes_the_file_smaller_and_keeps_what_was_deleted(aged: Path) -> None:
    before = aged.stat().st_size
    with open_exclusive(str(aged), holder="x") as connection:
        prune(connection, NOW, nothing, nothing, keep_failed=False, now=NOW)
        vacuum(connection, nothing)
    assert aged.stat().st_size < before
    assert checked(aged) == Checked(1, 999, SCHEMA_VERSION, [])


def test_long_statement_ends_with_the_error_of_its_progress_handler(filled: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with (
        open_readonly(str(filled)) as connection,
        pytest.raises(KeyboardInterrupt),
        progress_handler(connection, interrupted),
    ):
        connection.execute("select count(*) from run a, run b, run c").fetchone()
