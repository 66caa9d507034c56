"""The SQL that reads single runs, all runs, and changes. Each function runs whole on its connection's thread."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from msgspec.json import decode

from flowruns.model.fields import Fields, select_fields
from flowruns.model.runs import FlowRun
from flowruns.sqlite.transactions import snapshot
from flowruns.store.filters import Where
from flowruns.store.pages import scan_query
from flowruns.store.rows import placeholders, read_doc

# Of one read: large enough to be worth a round trip, small enough to be held for many slow clients.
MAX_CHANGES = 100

MAX_CHANGES_BYTES = 1024 * 1024

MAX_DEPARTURES = 1000  # without documents


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


def get_large(connection: sqlite3.Connection, id: str) -> StoredRun | None:
    """The run *id*; None if it does not exist. Reading it does not hold the interpreter's lock, whatever its size."""
    with snapshot(connection):
        row = connection.execute("select created_seq, seq from run where id = ? and created_seq > 0", (id,)).fetchone()
        return row and StoredRun(row[1], read_doc(connection, row[0]))


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
    """The last write to a run, with change number *seq*. *doc* is the run after it, None if it deleted the run, or if
    the run has *left* the filters: it matched them, and no longer does.
    """

    seq: int
    id: str
    doc: bytes | None
    left: bool = False

    @property
    def kind(self) -> Literal["run", "deleted", "left"]:
        """What the change is to a client that holds the runs that match the filters."""
        return "run" if self.doc is not None else "left" if self.left else "deleted"

    @property
    def run(self) -> FlowRun | None:
        """The run as a Struct, None if it is deleted or has left."""
        return None if self.doc is None else decode(self.doc, type=FlowRun)

    def select(self, fields: Fields) -> "Change":
        """The change with these *fields* of the run alone."""
        return self if self.doc is None else self._replace(doc=select_fields(self.doc, fields))


class Departure(NamedTuple):
    """A change of a run that does not match the filters, though an earlier state may have, which a client then holds.

    *created* is the number of the run's first write; 0: unknown; None: no state of this run matched, as what no PUT
    changes does not. *former* is the number of the write that ended an earlier run with its id; 0: there was none.
    """

    change: Change
    created: int | None
    former: int


class Changes(NamedTuple):
    """The changes *found* by one read, in order: all up to number *position*. If that is below the number that the read
    started after, the store was cleared and its numbers restarted. `Holdings` selects among the *departures*, by id.
    """

    found: Sequence[Change]
    position: int
    last: int  # number of the last write; there may be more changes if *position* is below it
    departures: Mapping[str, Departure] = MappingProxyType({})


def last_change(connection: sqlite3.Connection, id: str) -> Change | None:
    """The last write to the run, None if there was none."""
    row = connection.execute("select seq, id, cast(doc as blob) from run where id = ?", (id,)).fetchone()
    return row and Change(*row)


def changes(connection: sqlite3.Connection, where: Where, after: int, last: int) -> Changes:
    """The first runs of *where*, including deleted ones, whose last write has a number above *after* and up to *last*,
    and, if *where* has departures, those that a client may hold as of *after* and that do not match. *last* is the
    number of the last write before this read: any write during it has a higher one.
    """
    end = _scan_end(connection, after, last, where.scan_limit)
    found: list[Change] = []
    departures: dict[str, Departure] = {}
    size = 0
    with closing(connection.execute(*changes_query(where, after, end))) as rows:
        for seq, id, matches, doc, deleted, created, former in rows:
            if matches:
                change = Change(seq, id, doc)
                found.append(change.select(where.fields) if where.fields else change)
                size += len(doc or b"")  # of the whole run, which was read
            else:
                departures[id] = Departure(Change(seq, id, None, left=not deleted), created, former)
            full = len(found) == MAX_CHANGES or len(departures) == MAX_DEPARTURES
            if full or size > MAX_CHANGES_BYTES:
                return Changes(found, seq, last, departures)
    return Changes(found, end, last, departures)


def changes_query(where: Where, after: int, end: int) -> tuple[str, tuple[Any, ...]]:
    """The query of `changes`, and its arguments.

    A client holds a run as of *after* only if the run was created by then, or if another run had its id. A file that
    was of schema 2 or older has, for a run deleted then, the number of its deletion in place of that of its creation.
    """
    departures = "or former_seq > 0 or possible and (abs(created_seq) <= ? or created_seq = -seq)"
    sql = f"""
        select seq, id, matches, case when matches then cast(doc as blob) end, created_seq < 0,
            case when possible then iif(created_seq = -seq, 0, abs(created_seq)) end, ifnull(former_seq, 0)
        from (
            select *, {where.change_clause} as matches, {where.fixed_clause} as possible
            from run where seq > ? and seq <= ? and {where.change_scope}
        ) as run
        where matches {departures if where.departures else ""}
        order by seq
    """
    args = (*where.change_args, *where.fixed_args, after, end, *where.scope_args)
    return sql, (*args, after) if where.departures else args


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
