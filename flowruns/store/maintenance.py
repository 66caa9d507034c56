"""Maintenance of a database file: backup, prune and vacuum."""

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
from flowruns.sqlite.transactions import snapshot, transaction
from flowruns.store.writes import Delete, apply_writes

# Phases are an open vocabulary: the common words for a failed run, compared without case.
FAILED = ("failed", "failure", "error", "errored", "timed_out", "timedout", "timed-out", "crashed")

BATCH = 256  # runs of one statement

_BACKUP_PAGES = 2048  # 8 MiB: small enough that Ctrl+C takes effect at once

_PROGRESS_OPCODES = 1_000_000  # of SQLite's virtual machine, some 10 ms

OnProgress = Callable[[int, float | None], None]  # the amount done, and its share of the total, None: unknown

# By number, as times may go back. "+" keeps SQLite from scanning the index of times, whose rows a prune changes.
_OLD = "from run where created_seq > 0 and +created_at < ?"

_HAS_FAILED = f"ifnull(lower(phase) in ({', '.join(repr(word) for word in FAILED)}), false)"


def backup(source: sqlite3.Connection, target: Path, on_progress: OnProgress, pages: int = _BACKUP_PAGES) -> int:
    """Copies *source* into the empty file *target*, with all writes committed before. Returns the size in bytes.

    SQLite's online backup copies a number of *pages* at a time. All steps are in one read transaction: otherwise each
    write of a server would restart it. The caller has to sync *target*. Raises CannotWrite.
    """
    page_size: int = source.execute("pragma page_size").fetchone()[0]

    def report(status: int, remaining: int, total: int) -> None:
        on_progress((total - remaining) * page_size // 1_000_000, 1 - remaining / total if total else None)

    with closing(sqlite3.connect(str(target), isolation_level=None)) as copy:
        copy.execute("pragma synchronous = off")
        with snapshot(source):
            try:
                source.execute("select count(*) from sqlite_schema").fetchone()
                source.backup(copy, pages=pages, progress=report)
                # So the copy needs no files beside it, and a WAL that is beside it is that of another file.
                copy.execute("pragma journal_mode = delete").fetchone()
            except sqlite3.OperationalError as error:
                # These are errors of the target, as the source is only read.
                if primary_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                    raise CannotWrite(f"the copy cannot be written: {error}; is the disk full?") from None
                raise
    return target.stat().st_size


class Pruned(NamedTuple):
    """The numbers of old runs that were deleted, or would be, and that were kept because they failed."""

    deleted: int
    kept: int


def count_prunable(connection: sqlite3.Connection, before: datetime, *, keep_failed: bool) -> Pruned:
    """The result that `prune` would have."""
    old: int = connection.execute(f"select count(*) {_OLD}", (format_datetime(before),)).fetchone()[0]
    kept: int = 0
    if keep_failed:
        kept = connection.execute(f"select count(*) {_OLD} and {_HAS_FAILED}", (format_datetime(before),)).fetchone()[0]
    return Pruned(old - kept, kept)


def prune(
    connection: sqlite3.Connection,
    before: datetime,
    on_progress: OnProgress,
    on_commit: Callable[[], None],
    *,
    keep_failed: bool,
    now: datetime,
) -> Pruned:
    """Deletes the runs created *before* a time, in one transaction, each as a DELETE does, so that subscribers receive
    the changes. *on_commit* is called just before the commit.
    """
    with transaction(connection):
        pruned = count_prunable(connection, before, keep_failed=keep_failed)
        done = 0
        for ids in _prunable(connection, before, keep_failed=keep_failed):
            apply_writes(connection, [Delete(id, ALWAYS) for id in ids], now=now, make_id=str)
            done += len(ids)
            on_progress(done, done / pruned.deleted)
        on_commit()
    return pruned


def _prunable(connection: sqlite3.Connection, before: datetime, *, keep_failed: bool) -> Iterator[list[str]]:
    """The ids of the runs to delete, in batches; each batch is read after the deletion of the one before."""
    prunable = f"{_OLD} and not {_HAS_FAILED}" if keep_failed else _OLD
    last = 0
    while rows := connection.execute(
        f"select created_seq, id {prunable} and created_seq > ? order by created_seq limit {BATCH}",
        (format_datetime(before), last),
    ).fetchall():
        yield [id for _, id in rows]
        last = rows[-1][0]


def size(connection: sqlite3.Connection) -> int:
    """The size of the database in bytes: that of its file, once the WAL is copied into it."""
    pages, page_size = (connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * page_size)


def vacuum(connection: sqlite3.Connection, on_progress: OnProgress) -> None:
    """Rewrites the file without free space.

    The rows of deleted runs stay, so that a subscriber that resumes from an earlier number receives the deletions.
    """
    with progress_handler(connection, lambda: on_progress(0, None)):
        connection.execute("vacuum")


@contextmanager
def progress_handler(connection: sqlite3.Connection, on_progress: Callable[[], None]) -> Iterator[None]:
    """Calls *on_progress* again and again during long statements, which end with what it raises. So Ctrl+C ends them,
    too.
    """
    raised: list[BaseException] = []

    def call() -> int:
        try:
            on_progress()
        except BaseException as error:
            raised.append(error)
        return len(raised)

    connection.set_progress_handler(call, _PROGRESS_OPCODES)
    try:
        yield
    except sqlite3.OperationalError as error:
        if raised:
            raise raised[0] from None
        if primary_code(error) == sqlite3.SQLITE_INTERRUPT:  # Ctrl+C between two Python instructions
            raise KeyboardInterrupt from None
        raise
    finally:
        connection.set_progress_handler(None, 0)
