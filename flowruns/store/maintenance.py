"""The care of a database file: copies, checks, old runs that go, and the room that they leave."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from flowruns.errors import CannotWrite
from flowruns.model.datetimes import format_datetime
from flowruns.model.preconditions import ALWAYS
from flowruns.sqlite.result_codes import primary_code
from flowruns.store.writes import Delete, apply_writes

# Phases are an open vocabulary; these say in the usual words that a run went wrong, in whatever case.
FAILED = ("failed", "failure", "error", "errored", "timed_out", "timedout", "timed-out", "crashed")

BATCH = 256  # runs that one statement concerns

_PAGES = 2048  # 8 MiB: little enough that Ctrl+C is with_progress_handler at once

_BEAT = 1_000_000  # instructions of SQLite's machine, some 10 ms

At = Callable[[int, float | None], None]  # so much is done, which is this share of all


def backup(source: sqlite3.Connection, target: Path, at: At, pages: int = _PAGES) -> int:
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
            if primary_code(error) in (
                sqlite3.SQLITE_FULL,
                sqlite3.SQLITE_IOERR,
            ):  # of the target: the source is only read
                raise CannotWrite(f"the copy cannot be written: {error}; is the disk full?") from None
            raise
        finally:
            source.execute("rollback")
    return target.stat().st_size


class Pruned(NamedTuple):
    """How many runs went, or would go, and how many that are as old stay, since they failed."""

    deleted: int
    kept: int


def count_prunable(connection: sqlite3.Connection, before: datetime, *, keep_failed: bool) -> Pruned:
    """What `prune` would do."""
    old: int = connection.execute(f"select count(*) {_OLD}", (format_datetime(before),)).fetchone()[0]
    kept: int = 0
    if keep_failed:
        kept = connection.execute(f"select count(*) {_OLD} and {_HAS_FAILED}", (format_datetime(before),)).fetchone()[0]
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
        pruned = count_prunable(connection, before, keep_failed=keep_failed)
        chosen = f"{_OLD} and not {_HAS_FAILED}" if keep_failed else _OLD
        done = last = 0
        while rows := connection.execute(
            f"select created_seq, id {chosen} and created_seq > ? order by created_seq limit {BATCH}",
            (format_datetime(before), last),
        ).fetchall():
            apply_writes(connection, [Delete(id, ALWAYS) for _, id in rows], now=now, make_id=str)
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
    with with_progress_handler(connection, lambda: at(0, None)):
        connection.execute("vacuum")


@contextmanager
def with_progress_handler(connection: sqlite3.Connection, beat: Callable[[], None]) -> Iterator[None]:
    """While entered, statements that take long call *beat* now and then, and end with what it raises: so Ctrl+C is
    with_progress_handler within them.
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
        if primary_code(error) == sqlite3.SQLITE_INTERRUPT:  # it came between two lines of ours
            raise KeyboardInterrupt from None
        raise
    finally:
        connection.set_progress_handler(None, 0)
