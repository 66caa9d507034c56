"""What `flowruns check` looks at: pages, schema, counts, and each run."""

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
from flowruns.store import reads, writes
from flowruns.store.maintenance import BATCH, At, with_progress_handler
from flowruns.store.writes import Row

MAX_FINDINGS = 100


class Checked(NamedTuple):
    """What a check found: nothing in *findings* if all is well."""

    runs: int
    deleted: int
    schema: int
    findings: list[str]


def check(connection: sqlite3.Connection, at: At) -> Checked:
    """What is wrong with the database, in one snapshot of it; runs are looked at if its pages and its schema are well.

    One of an older schema is checked as far as SQLite can.
    """
    connection.execute("begin")
    try:
        version: int = connection.execute("pragma user_version").fetchone()[0]
        findings = _page_faults(connection, at)
        if findings or version < SCHEMA_VERSION:
            return Checked(0, 0, version, findings)
        findings += _schema_faults(connection)
        if findings:
            return Checked(0, 0, version, findings)
        live, deleted = connection.execute(
            "select count(*) filter (where created_seq > 0), count(*) filter (where created_seq < 0) from run"
        ).fetchone()
        findings += _count_faults(connection)
        findings += islice(_run_faults(connection, live, at), MAX_FINDINGS)
        return Checked(live, deleted, version, findings)
    finally:
        connection.execute("rollback")


def _page_faults(connection: sqlite3.Connection, at: At) -> list[str]:
    """What SQLite finds wrong."""
    try:
        with with_progress_handler(connection, lambda: at(0, None)):
            return [text for (text,) in connection.execute("pragma integrity_check(100)") if text != "ok"]
    except sqlite3.DatabaseError as error:
        return [f"pages: {error}"]


def _schema_faults(connection: sqlite3.Connection) -> list[str]:
    """What differs from the schema that this flowruns makes."""
    with closing(sqlite3.connect(":memory:")) as new:
        new.executescript(schema())
        wanted = _definitions(new)
    found = _definitions(connection)
    missing = [f"schema: {name} is missing" for name in wanted.keys() - found.keys()]
    other = [f"schema: {name} is another" for name in wanted.keys() & found.keys() if wanted[name] != found[name]]
    return sorted(missing + other)


def _definitions(connection: sqlite3.Connection) -> dict[str, str]:
    """The SQL of each table, index and trigger, less its layout. What others have added besides harms nothing."""
    rows = connection.execute("select type || ' ' || name, sql from sqlite_schema where sql is not null")
    return {name: re.sub(r"--.*|\s+", "", sql).lower() for name, sql in rows}


_COUNTS = (  # where SQL counts what is wrong, and how that is said
    ("select count(*) from clock where runs <> (select count(*) from run where created_seq > 0)",
     "clock: its number of runs is not theirs"),
    ("select count(*) from clock where seq < (select ifnull(max(seq), 0) from run)",
     "clock: there are later writes than its last"),
    ("select (select count(*) from clock) <> 1", "clock: it should have one row"),
    ("select count(*) from (select flow_id, flow_type, ifnull(phase, '') as phase, count(*) as runs from run"
     " where created_seq > 0 group by 1, 2, 3 except select * from tally)", "tally: kinds of runs counted wrongly"),
    ("select count(*) from (select * from tally except select flow_id, flow_type, ifnull(phase, ''), count(*) from run"
     " where created_seq > 0 group by 1, 2, 3)", "tally: kinds that it counts, and that no runs are of"),
    ("select count(*) from run where created_seq < 0 and doc is not null or created_seq > 0 and doc is null"
     " or created_seq > seq or created_seq < 0 and created_seq <> -seq", "run: rows with numbers that cannot be"),
)  # fmt: skip


def _count_faults(connection: sqlite3.Connection) -> list[str]:
    found = [(connection.execute(sql).fetchone()[0], said) for sql, said in _COUNTS]
    return [f"{said} ({number})" for number, said in found if number]


def _run_faults(connection: sqlite3.Connection, live: int, at: At) -> Iterator[str]:
    """Each run whose columns or tags say something else than its document."""
    tags = looked = 0
    rows = connection.execute(
        f"select {', '.join(Row._fields[:-1])}, cast(doc as blob) from run where created_seq > 0 order by created_seq"
    )
    while batch := [Row(*row) for row in rows.fetchmany(BATCH)]:
        wanted = []
        for row in batch:
            expected = _expected(row)
            if expected != row:
                yield f"run {row.id}: {_differing(row, expected)}"
            wanted += sorted(writes.tag_rows(expected or row))
        tags += len(wanted)
        if missing := len(wanted) - _found_tags(connection, wanted):
            yield f"tag: {missing} of the runs {batch[0].id} to {batch[-1].id} are missing"
        looked += len(batch)
        at(looked, looked / live)
    extra = connection.execute("select count(*) from tag").fetchone()[0] - tags
    if extra > 0:
        yield f"tag: there are {extra} that no run has"


def _expected(row: Row) -> Row | None:
    """The row of the document of *row*; None if that is no run."""
    try:
        run = reads.StoredRun(row.seq, row.doc or b"").run
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    tags = encode(run.tags).decode() if run.tags else None
    return Row(
        row.created_seq, row.seq, run.id, run.flow_id, run.flow_type, run.phase,
        run.created_at, run.created_by, run.reviewed_at, run.reviewed_by, tags, row.doc,
    )  # fmt: skip


def _differing(row: Row, expected: Row | None) -> str:
    if expected is None:
        return "its document is no run"
    names = [name for name, is_, should in zip(Row._fields, row, expected, strict=True) if is_ != should]
    return f"{', '.join(names)} not as in its document"


def _found_tags(connection: sqlite3.Connection, wanted: list[tuple[str, str, int]]) -> int:
    found = 0
    for start in range(0, len(wanted), BATCH):
        some = wanted[start : start + BATCH]
        found += connection.execute(
            f"with wanted (k, v, n) as (values {', '.join(['(?, ?, ?)'] * len(some))})"
            " select count(*) from wanted cross join tag on key = k and value = v and created_seq = n",
            [value for tag in some for value in tag],
        ).fetchone()[0]
    return found
