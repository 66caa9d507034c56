"""The checks of `flowruns check`: pages, schema, counts, and each run."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from msgspec import DecodeError

from flowruns.model.runs import encode
from flowruns.sqlite.datafile import SCHEMA_VERSION
from flowruns.sqlite.migrations import schema
from flowruns.sqlite.transactions import snapshot
from flowruns.store.maintenance import BATCH, OnProgress, progress_handler
from flowruns.store.reads import StoredRun
from flowruns.store.rows import Row, TagRow, tag_rows

MAX_FINDINGS = 100


class Checked(NamedTuple):
    """The result of a check; *findings* is empty if the database is ok."""

    runs: int
    deleted: int
    schema: int
    findings: list[str]


def check(connection: sqlite3.Connection, on_progress: OnProgress) -> Checked:
    """The errors of the database, in one snapshot. Counts and runs are checked only if pages and schema are ok.

    Of a database with an older schema, only the pages are checked.
    """
    with snapshot(connection):
        version: int = connection.execute("pragma user_version").fetchone()[0]
        findings = _page_errors(connection, on_progress)
        if findings or version < SCHEMA_VERSION:
            return Checked(0, 0, version, findings)
        findings += _schema_errors(connection)
        if findings:
            return Checked(0, 0, version, findings)
        live, deleted = connection.execute(
            "select count(*) filter (where created_seq > 0), count(*) filter (where created_seq < 0) from run"
        ).fetchone()
        findings += _count_errors(connection)
        findings += islice(_run_errors(connection, live, on_progress), MAX_FINDINGS)
        return Checked(live, deleted, version, findings)


def _page_errors(connection: sqlite3.Connection, on_progress: OnProgress) -> list[str]:
    """The errors that SQLite finds."""
    try:
        with progress_handler(connection, lambda: on_progress(0, None)):
            return [text for (text,) in connection.execute("pragma integrity_check(100)") if text != "ok"]
    except sqlite3.DatabaseError as error:
        return [f"pages: {error}"]


def _schema_errors(connection: sqlite3.Connection) -> list[str]:
    """The differences from `schema.sql`; additional tables, indexes and so on are allowed."""
    with closing(sqlite3.connect(":memory:")) as new:
        new.executescript(schema())
        expected = _definitions(new)
    actual = _definitions(connection)
    missing = [f"schema: {name} is missing" for name in expected.keys() - actual.keys()]
    changed = [
        f"schema: {name} was changed" for name in expected.keys() & actual.keys() if expected[name] != actual[name]
    ]
    return sorted(missing + changed)


def _definitions(connection: sqlite3.Connection) -> dict[str, str]:
    """The SQL of each table, index and trigger, without comments and white space."""
    rows = connection.execute("select type || ' ' || name, sql from sqlite_schema where sql is not null")
    return {name: re.sub(r"--.*|\s+", "", sql).lower() for name, sql in rows}


_COUNTS = (  # SQL that counts errors, and their description
    ("select count(*) from sequence where runs <> (select count(*) from run where created_seq > 0)",
     "sequence: runs is not the number of runs"),
    ("select count(*) from sequence where seq < (select ifnull(max(seq), 0) from run)",
     "sequence: seq is below the number of the last write"),
    ("select (select count(*) from sequence) <> 1", "sequence: it should have one row"),
    ("select count(*) from (select flow_id, flow_type, ifnull(phase, '') as phase, count(*) as runs from run"
     " where created_seq > 0 group by 1, 2, 3 except select * from run_counts)", "run_counts: wrong or missing counts"),
    ("select count(*) from (select * from run_counts except"
     " select flow_id, flow_type, ifnull(phase, ''), count(*) from run where created_seq > 0 group by 1, 2, 3)",
     "run_counts: wrong or superfluous counts"),
    ("select count(*) from (select key, value, count(*) from tag group by 1, 2 except select * from tag_counts)",
     "tag_counts: wrong or missing counts"),
    ("select count(*) from (select * from tag_counts except select key, value, count(*) from tag group by 1, 2)",
     "tag_counts: wrong or superfluous counts"),
    ("select count(*) from run where created_seq < 0 and doc is not null or created_seq > 0 and doc is null"
     " or abs(created_seq) > seq or former_seq > seq", "run: rows with impossible numbers"),
    ("select count(*) from skipped where exists (select 1 from run where seq between first and last)"
     " or exists (select 1 from run where created_seq between first and last)", "skipped: numbers that runs have"),
)  # fmt: skip


def _count_errors(connection: sqlite3.Connection) -> list[str]:
    counts = [(connection.execute(sql).fetchone()[0], description) for sql, description in _COUNTS]
    return [f"{description} ({count})" for count, description in counts if count]


def _run_errors(connection: sqlite3.Connection, live: int, on_progress: OnProgress) -> Iterator[str]:
    """An error for each run whose columns differ from its document, and for missing or superfluous rows of `tag`."""
    tags = checked = 0
    rows = connection.execute(
        f"select {', '.join(Row._fields[:-1])}, cast(doc as blob) from run where created_seq > 0 order by created_seq"
    )
    while batch := [Row(*row) for row in rows.fetchmany(BATCH)]:
        expected_tags = []
        for row in batch:
            expected = _expected(row)
            if expected != row:
                yield f"run {row.id}: {_difference(row, expected)}"
            expected_tags += sorted(set(tag_rows(expected or row)))
        tags += len(expected_tags)
        if missing := len(expected_tags) - _count_tags(connection, expected_tags):
            yield f"tag: rows missing for the runs {batch[0].id} to {batch[-1].id} ({missing})"
        checked += len(batch)
        on_progress(checked, checked / live)
    extra = connection.execute("select count(*) from tag").fetchone()[0] - tags
    if extra > 0:
        yield f"tag: rows that belong to no run ({extra})"


def _expected(row: Row) -> Row | None:
    """*row* as computed from its document; None if that is not a run."""
    try:
        run = StoredRun(row.seq, row.doc or b"").run
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    tags = encode(run.tags).decode() if run.tags else None
    return Row(
        row.created_seq, row.seq, run.id, run.flow_id, run.flow_type, run.phase,
        run.created_at, run.created_by, run.reviewed_at, run.reviewed_by, tags, row.former_seq, row.doc,
    )  # fmt: skip


def _difference(row: Row, expected: Row | None) -> str:
    if expected is None:
        return "its document is not a run"
    names = [name for name, is_, should in zip(Row._fields, row, expected, strict=True) if is_ != should]
    return f"columns that differ from its document: {', '.join(names)}"


def _count_tags(connection: sqlite3.Connection, tags: list[TagRow]) -> int:
    """The number of *tags* that are rows of `tag`."""
    found = 0
    for start in range(0, len(tags), BATCH):
        batch = tags[start : start + BATCH]
        found += connection.execute(
            f"with wanted (k, v, n) as (values {', '.join(['(?, ?, ?)'] * len(batch))})"
            " select count(*) from wanted cross join tag on key = k and value = v and created_seq = n",
            [value for tag in batch for value in tag],
        ).fetchone()[0]
    return found
