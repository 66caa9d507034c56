"""Every SQL statement on runs: functions of a connection that run whole on its thread and return values."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple, TypeVar

from msgspec.json import decode

from flowruns.model.cursors import PageRequest
from flowruns.model.runs import FlowRun
from flowruns.store.filters import ALL, Where

T = TypeVar("T")

# A page ends early rather than take more memory than this, in bytes; its cursors go on from there.
MAX_PAGE_BYTES = 16 * 1024 * 1024

# What one read of changes takes: enough for a journey to pay off, little enough for many slow clients to hold.
MAX_CHANGES = 100

MAX_CHANGES_BYTES = 1024 * 1024


class StoredRun(NamedTuple):
    """A run as it lies in the store: HTTP sends *doc* as it is, `.run` decodes it."""

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


class PageRows(NamedTuple):
    """One snapshot of a page: *docs* are joined by commas, newest or oldest first as asked."""

    docs: bytes
    total: int
    seq: int  # of the last write: while it is the same, so is every page
    lowest: int | None
    highest: int | None
    older: bool
    newer: bool


def get(connection: sqlite3.Connection, ids: Sequence[str]) -> list[StoredRun | None]:
    """The run of each of the *ids*, None where there is none, from one snapshot."""
    marks, wanted = placeholders(ids)
    rows = connection.execute(
        f"select id, seq, cast(doc as blob) from run where id in ({marks}) and created_seq > 0", wanted
    )
    found = {id: StoredRun(seq, doc) for id, seq, doc in rows}
    return [found.get(id) for id in ids]


def page(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> PageRows:
    """The runs of *where* in *page_request*, with all that its cursors need, of one snapshot."""
    limit = sqlite3.SQLITE_LIMIT_LENGTH
    usual = connection.setlimit(limit, MAX_PAGE_BYTES)
    try:
        return PageRows(*connection.execute(*_page(where, page_request)).fetchone())
    except sqlite3.DataError:  # string or blob too big
        connection.setlimit(limit, usual)
        return _heavy_page(connection, where, page_request)
    finally:
        connection.setlimit(limit, usual)


def _page(where: Where, page_request: PageRequest) -> tuple[str, tuple[object, ...]]:
    position, toward_newer = page_request.start
    total, total_args = _total(where)
    # Nothing is walked where a total says that there is nothing: a filter may pass over many runs before its end.
    items = _walk(where, toward_newer, "doc", "iif((select total from counted), ?, 0)")
    if toward_newer != page_request.ascending:
        items = f"select * from ({items}) order by place {'asc' if page_request.ascending else 'desc'} limit -1"
    # One row, as each costs a fight for the interpreter's lock; and nothing beside `page`, as in a join its documents
    # would be copied to a table of their own.
    counted = "(select total from counted)"
    sql = f"""
        with counted(total) as materialized (select {total}),
        page as not materialized (
            select cast(ifnull(group_concat(doc, ','), '') as blob) as docs, min(place) as lowest, max(place) as highest
            from ({items})
        )
        select docs, {counted}, (select seq from clock), lowest, highest,
            iif({counted}, exists (select 1 {_chosen(where, "< ifnull(lowest, ?)")}), 0),
            iif({counted}, exists (select 1 {_chosen(where, ">= ifnull(highest + 1, ?)")}), 0)
        from page
    """
    args = where.args
    return sql, (*total_args, position, *args, page_request.size, position, *args, position, *args)


def _chosen(where: Where, bound: str) -> str:
    """The runs of *where*, deleted ones left out, that lie within *bound*. It comes first, as SQLite begins a walk at
    the first bound of two, and "> 0" is there for the indexes that hold no others.
    """
    return f"from {where.source} where {where.place} {bound} and {where.clause} and {where.place} > 0"


def _walk(where: Where, toward_newer: bool, column: str, limit: str) -> str:
    """The runs from the cut on, to the side that is read, nearest first."""
    bound, order = (">= ?", "asc") if toward_newer else ("< ?", "desc")
    return (
        f"select {where.place} as place, {column} {_chosen(where, bound)} order by {where.place} {order} limit {limit}"
    )


def _total(where: Where) -> tuple[str, tuple[object, ...]]:
    """The expression that counts the runs of *where*, as far as possible without counting."""
    if where is ALL:
        return "runs from clock", ()
    if where.tally is not None:
        return f"ifnull(sum(runs), 0) from tally where {where.tally}", where.args
    counted = where._replace(source=where.counted or where.source)
    return f"count(*) {_chosen(counted, '> 0')}", where.args


def _heavy_page(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> PageRows:
    """The page row by row, until it has its bytes; at least one run."""
    position, toward_newer = page_request.start
    total, total_args = _total(where)
    connection.execute("begin")
    try:
        taken: list[tuple[int, bytes]] = []
        size = 0
        sql = _walk(where, toward_newer, "cast(doc as blob)", "?")
        for row in connection.execute(sql, (position, *where.args, page_request.size)):
            size += len(row[1])
            if taken and size > MAX_PAGE_BYTES:
                break
            taken.append(row)
        taken.sort(reverse=not page_request.ascending)
        numbers = [number for number, _ in taken]
        lowest, highest = min(numbers), max(numbers)
        rest = connection.execute(
            f"select (select {total}), seq, exists (select 1 {_chosen(where, '< ?')}),"
            f" exists (select 1 {_chosen(where, '> ?')}) from clock",
            (*total_args, lowest, *where.args, highest, *where.args),
        ).fetchone()
    finally:
        connection.execute("rollback")
    return PageRows(b",".join(doc for _, doc in taken), rest[0], rest[1], lowest, highest, rest[2], rest[3])


def documents(connection: sqlite3.Connection, where: Where, after: int, till: int) -> list[tuple[int, bytes]]:
    """The first runs of *where* that were created after number *after* and up to *till*, each with its number: some at
    a time, so that no read holds up the folding in of the log for long.
    """
    found: list[tuple[int, bytes]] = []
    size = 0
    sql = _walk(where, True, "cast(doc as blob)", str(MAX_CHANGES * 10))
    with closing(connection.execute(sql, (after + 1, *where.args))) as rows:
        for row in rows:
            if row[0] > till or size > MAX_CHANGES_BYTES:
                break
            found.append(row)
            size += len(row[1])
    return found


def count(connection: sqlite3.Connection, where: Where) -> int:
    """How many runs of *where* there are."""
    sql, args = _total(where)
    total: int = connection.execute(f"select (select {sql})", args).fetchone()[0]
    return total


class Change(NamedTuple):
    """The last write to a run, of change number *seq*. It left *doc*; None: it deleted the run."""

    seq: int
    id: str
    doc: bytes | None

    @property
    def run(self) -> FlowRun | None:
        """The run as a Struct, None if it is deleted."""
        return None if self.doc is None else decode(self.doc, type=FlowRun)


class Changes(NamedTuple):
    """What a read has *found*, in order of change numbers: all there is up to number *position*. Where that is below
    the number that was asked for, numbers have begun anew.
    """

    found: Sequence[Change]
    position: int
    last: int  # number of the last write: there may be more where *position* is below it


def last_change(connection: sqlite3.Connection, id: str) -> Change | None:
    """The last write to the run, None if there was none."""
    row = connection.execute("select seq, id, cast(doc as blob) from run where id = ?", (id,)).fetchone()
    return row and Change(*row)


def last_number(connection: sqlite3.Connection) -> int:
    """The number of the last write."""
    number: int = connection.execute("select seq from clock").fetchone()[0]
    return number


def changes(connection: sqlite3.Connection, where: Where, after: int, last: int) -> Changes:
    """The runs of *where* whose last write is after number *after*, deleted ones too: the first few, up to number
    *last*. That was the last one before this read: what is written in between has a higher number.
    """
    till = min(last, after + where.scan_limit)
    sql = (
        "select seq, id, cast(doc as blob) from run"
        f" where seq > ? and seq <= ? and {where.changed} order by seq limit {MAX_CHANGES}"
    )
    found: list[Change] = []
    size = 0
    with closing(connection.execute(sql, (after, till, *where.changed_args))) as rows:
        for row in rows:
            found.append(change := Change(*row))
            size += len(change.doc or b"")
            if size > MAX_CHANGES_BYTES or len(found) == MAX_CHANGES:
                return Changes(found, change.seq, last)
    return Changes(found, till, last)


def placeholders(values: Sequence[T]) -> tuple[str, list[T]]:
    """Subscription marks for *values*, and what to bind."""
    wanted = padded(values)
    return ",".join("?" * len(wanted)), wanted


def padded(values: Sequence[T]) -> list[T]:
    """*values*, each once, but for the last: there are few sizes, so that statements stay prepared."""
    wanted = list(dict.fromkeys(values))
    size = 1 << (len(wanted) - 1).bit_length()
    return wanted + wanted[-1:] * (size - len(wanted))
