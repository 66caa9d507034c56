"""The care of a database file: copies, checks, old runs that go, and the room that they leave."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from msgspec import DecodeError

from flowruns import queries
from flowruns.conditions import ALWAYS
from flowruns.database import primary, schema
from flowruns.datafile import SCHEMA_VERSION
from flowruns.errors import CannotWrite
from flowruns.models import encode, utc
from flowruns.queries import Delete, Row

# Phases are an open vocabulary; these say in the usual words that a run went wrong, in whatever case.
FAILED = ("failed", "failure", "error", "errored", "timed_out", "timedout", "timed-out", "crashed")

MOST_FINDINGS = 100
_BATCH = 256  # runs that one statement concerns
_PAGES = 2048  # 8 MiB: little enough that Ctrl+C is heard at once
_BEAT = 1_000_000  # instructions of SQLite's machine, some 10 ms

At = Callable[[int, float | None], None]  # so much is done, which is this share of all


def copy(source: sqlite3.Connection, target: Path, at: At, pages: int = _PAGES) -> int:
    """The size in bytes of the copy of *source* that the empty file *target* becomes: all that was committed before.

    By SQLite's online backup, so many *pages* at a time, within one read: without it each write of a server would make
    the copy begin anew.
    """
    page_size: int = source.execute("pragma page_size").fetchone()[0]

    def copied(status: int, remaining: int, total: int) -> None:
        at((total - remaining) * page_size // 1_000_000, 1 - remaining / total if total else None)

    with closing(sqlite3.connect(str(target), isolation_level=None)) as copy:
        copy.execute("pragma synchronous = off")  # whoever calls has it written to the disk, once
        source.execute("begin")
        try:
            source.execute("select count(*) from sqlite_schema").fetchone()
            source.backup(copy, pages=pages, progress=copied)
        except sqlite3.OperationalError as error:
            if primary(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):  # of the target: the source is only read
                raise CannotWrite(f"the copy cannot be written: {error}; is the disk full?") from None
            raise
        finally:
            source.execute("rollback")
    return target.stat().st_size


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
        findings += islice(_run_faults(connection, live, at), MOST_FINDINGS)
        return Checked(live, deleted, version, findings)
    finally:
        connection.execute("rollback")


def _page_faults(connection: sqlite3.Connection, at: At) -> list[str]:
    """What SQLite finds wrong."""
    try:
        with heard(connection, lambda: at(0, None)):
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
    while batch := [Row(*row) for row in rows.fetchmany(_BATCH)]:
        wanted = []
        for row in batch:
            expected = _expected(row)
            if expected != row:
                yield f"run {row.id}: {_differing(row, expected)}"
            wanted += sorted(queries.tag_rows(expected or row))
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
        run = queries.Stored(row.seq, row.doc or b"").run
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
    for start in range(0, len(wanted), _BATCH):
        some = wanted[start : start + _BATCH]
        found += connection.execute(
            f"with wanted (k, v, n) as (values {', '.join(['(?, ?, ?)'] * len(some))})"
            " select count(*) from wanted cross join tag on key = k and value = v and created_seq = n",
            [value for tag in some for value in tag],
        ).fetchone()[0]
    return found


class Pruned(NamedTuple):
    """How many runs went, or would go, and how many that are as old stay, since they failed."""

    deleted: int
    kept: int


def prunable(connection: sqlite3.Connection, before: datetime, *, keep_failed: bool) -> Pruned:
    """What `prune` would do."""
    old: int = connection.execute(f"select count(*) {_OLD}", (utc(before),)).fetchone()[0]
    kept: int = 0
    if keep_failed:
        kept = connection.execute(f"select count(*) {_OLD} and {_HAS_FAILED}", (utc(before),)).fetchone()[0]
    return Pruned(old - kept, kept)


def prune(
    connection: sqlite3.Connection,
    before: datetime,
    at: At,
    commits: Callable[[], None],
    *,
    keep_failed: bool,
    now: datetime,
) -> Pruned:
    """What became of the runs that were created *before* then: all go or none, each as DELETE would do it, so that
    clients that follow are told.
    """
    connection.execute("begin immediate")
    try:
        pruned = prunable(connection, before, keep_failed=keep_failed)
        chosen = f"{_OLD} and not {_HAS_FAILED}" if keep_failed else _OLD
        done = last = 0
        while rows := connection.execute(
            f"select created_seq, id {chosen} and created_seq > ? order by created_seq limit {_BATCH}",
            (utc(before), last),
        ).fetchall():
            queries.write(connection, [Delete(id, ALWAYS) for _, id in rows], now=now, make_id=str)
            last = rows[-1][0]
            done += len(rows)
            at(done, done / pruned.deleted)
        commits()
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return pruned


# By the number, as times may go back: "+" keeps SQLite from walking the index of times, whose rows the walk moves.
_OLD = "from run where created_seq > 0 and +created_at < ?"
_HAS_FAILED = f"ifnull(lower(phase) in ({', '.join(repr(word) for word in FAILED)}), false)"


def vacuum(connection: sqlite3.Connection, at: At) -> None:
    """Writes the file anew without the room that deleted and replaced runs have left.

    What tells that a run was deleted stays: a client that was away, and goes on from a change before it, hears of it.
    """
    with heard(connection, lambda: at(0, None)):
        connection.execute("vacuum")


@contextmanager
def heard(connection: sqlite3.Connection, beat: Callable[[], None]) -> Iterator[None]:
    """While entered, statements that take long call *beat* now and then, and end with what it raises: so Ctrl+C is
    heard within them.
    """
    raised: list[BaseException] = []

    def call() -> int:
        try:
            beat()
        except BaseException as error:
            raised.append(error)
        return len(raised)

    connection.set_progress_handler(call, _BEAT)
    try:
        yield
    except sqlite3.OperationalError as error:
        if raised:
            raise raised[0] from None
        if primary(error) == sqlite3.SQLITE_INTERRUPT:  # it came between two lines of ours
            raise KeyboardInterrupt from None
        raise
    finally:
        connection.set_progress_handler(None, 0)
