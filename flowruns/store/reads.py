"""The SQL that reads single runs, all runs, and changes. Each function runs whole on its connection's thread."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from msgspec.json import decode

from flowruns.model.fields import Fields, select_fields
from flowruns.model.runs import FlowRun
from flowruns.store.filters import Where
from flowruns.store.pages import scan_query
from flowruns.store.rows import placeholders

# Of one read: large enough to be worth a round trip, small enough to be held for many slow clients.
MAX_CHANGES = 100

MAX_CHANGES_BYTES = 1024 * 1024


class StoredRun(NamedTuple):
    """A run as it is stored: *doc* is the body of its responses, `.run` decodes it."""

    seq: int
    doc: bytes

    @property
    def etag(self) -> str:
        """The entity tag, without quotes: the number of the run's last write."""
        return str(self.seq)

    @property
    def run(self) -> FlowRun:
        """The run as a Struct."""
        return decode(self.doc, type=FlowRun)

    def select(self, fields: Fields) -> "StoredRun":
        """The run with these *fields* alone."""
        return StoredRun(self.seq, select_fields(self.doc, fields))


def get(connection: sqlite3.Connection, ids: Sequence[str]) -> list[StoredRun | None]:
    """The run of each of the *ids*, None if it does not exist, in one snapshot."""
    marks, arguments = placeholders(ids)
    rows = connection.execute(
        f"select id, seq, cast(doc as blob) from run where id in ({marks}) and created_seq > 0", arguments
    )
    runs = {id: StoredRun(seq, doc) for id, seq, doc in rows}
    return [runs.get(id) for id in ids]


def documents(connection: sqlite3.Connection, where: Where, after: int, last: int) -> list[tuple[int, bytes]]:
    """The numbers and documents of the first runs of *where* created after number *after* and up to *last*: limited in
    number and size, so that no read delays a checkpoint for long.
    """
    found: list[tuple[int, bytes]] = []
    size = 0
    sql = scan_query(where, True, "cast(doc as blob)", str(MAX_CHANGES * 10))
    with closing(connection.execute(sql, (after + 1, *where.args))) as rows:
        for row in rows:
            if row[0] > last or size > MAX_CHANGES_BYTES:
                break
            found.append(row)
            size += len(row[1])
    return found


class Change(NamedTuple):
    """The last write to a run, with change number *seq*. *doc* is the run after it; None: it deleted the run."""

    seq: int
    id: str
    doc: bytes | None

    @property
    def run(self) -> FlowRun | None:
        """The run as a Struct, None if it is deleted."""
        return None if self.doc is None else decode(self.doc, type=FlowRun)

    def select(self, fields: Fields) -> "Change":
        """The change with these *fields* of the run alone."""
        return self if self.doc is None else self._replace(doc=select_fields(self.doc, fields))


class Changes(NamedTuple):
    """The changes *found* by one read, in order: all up to number *position*. If that is below the number that the read
    started after, the store was cleared and its numbers restarted.
    """

    found: Sequence[Change]
    position: int
    last: int  # number of the last write; there may be more changes if *position* is below it


def last_change(connection: sqlite3.Connection, id: str) -> Change | None:
    """The last write to the run, None if there was none."""
    row = connection.execute("select seq, id, cast(doc as blob) from run where id = ?", (id,)).fetchone()
    return row and Change(*row)


def last_number(connection: sqlite3.Connection) -> int:
    """The number of the last write."""
    number: int = connection.execute("select seq from sequence").fetchone()[0]
    return number


def changes(connection: sqlite3.Connection, where: Where, after: int, last: int) -> Changes:
    """The first runs of *where*, including deleted ones, whose last write has a number above *after* and up to *last*.
    *last* is the number of the last write before this read: any write during it has a higher one.
    """
    end = _scan_end(connection, after, last, where.scan_limit)
    sql = (
        "select seq, id, cast(doc as blob) from run"
        f" where seq > ? and seq <= ? and {where.change_clause} order by seq limit {MAX_CHANGES}"
    )
    found: list[Change] = []
    size = 0
    with closing(connection.execute(sql, (after, end, *where.change_args))) as rows:
        for row in rows:
            change = Change(*row)
            found.append(change.select(where.fields) if where.fields else change)
            size += len(change.doc or b"")  # of the whole run, which was read
            if size > MAX_CHANGES_BYTES or len(found) == MAX_CHANGES:
                return Changes(found, change.seq, last)
    return Changes(found, end, last)


def _scan_end(connection: sqlite3.Connection, after: int, last: int, limit: int) -> int:
    """The number up to which one read scans, from the first write after *after* on: that of a write, as clients may
    resume from it. *limit* bounds the scan; numbers that no run has, such as skipped ones, do not count.
    """
    if last - after <= limit:
        return last
    first = connection.execute("select min(seq) from run where seq > ?", (after,)).fetchone()[0]
    if first is None or last - first < limit:
        return last
    end: int = connection.execute("select max(seq) from run where seq < ?", (first + limit,)).fetchone()[0]
    return end
