"""Every SQL statement on runs: functions of a connection that run whole on its thread and return values."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.json import decode

from flowruns.conditions import Precondition
from flowruns.errors import AlreadyExists, NotFound
from flowruns.filters import ALL, Where
from flowruns.models import FlowRun, Kept, RunPut, encode
from flowruns.paging import Window

# A page ends early rather than take more memory than this, in bytes; its cursors go on from there.
MOST_PAGE_BYTES = 16 * 1024 * 1024


class Stored(NamedTuple):
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


class Rows(NamedTuple):
    """One snapshot of a page: *docs* are joined by commas, newest or oldest first as asked."""

    docs: bytes
    total: int
    seq: int  # of the last write: while it is the same, so is every page
    lowest: int | None
    highest: int | None
    older: bool
    newer: bool


def get(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Stored | None]:
    """The run of each of the *ids*, None where there is none, from one snapshot."""
    wanted = list(dict.fromkeys(ids))
    # Few sizes, so that the statements stay prepared.
    size = 1 << (len(wanted) - 1).bit_length()
    marks = ",".join("?" * size)
    rows = connection.execute(
        f"select id, seq, cast(doc as blob) from run where id in ({marks}) and created_seq > 0",
        wanted + wanted[-1:] * (size - len(wanted)),
    )
    found = {id: Stored(seq, doc) for id, seq, doc in rows}
    return [found.get(id) for id in ids]


def page(connection: sqlite3.Connection, where: Where, window: Window) -> Rows:
    """The runs of *where* in *window*, with all that its cursors need, in one statement."""
    limit = sqlite3.SQLITE_LIMIT_LENGTH
    usual = connection.setlimit(limit, MOST_PAGE_BYTES)
    try:
        return Rows(*connection.execute(*_page(where, window)).fetchone())
    except sqlite3.DataError:  # string or blob too big
        connection.setlimit(limit, usual)
        return _heavy_page(connection, where, window)
    finally:
        connection.setlimit(limit, usual)


def _page(where: Where, window: Window) -> tuple[str, tuple[object, ...]]:
    cut, up = window.start
    side, walk = (">= ?", "asc") if up else ("< ?", "desc")
    order = "asc" if window.ascending else "desc"
    total, total_args = _total(where)
    chosen = f"from {where.source} where {where.clause} and {where.place}"
    # One row, as each costs a fight for the interpreter's lock. The numbers are found in an index
    # alone, then the documents by number.
    sql = f"""
        with chosen(created_seq) as materialized (
            select {where.place} {chosen} > 0 and {where.place} {side} order by {where.place} {walk} limit ?
        ),
        items as (
            select group_concat(doc, ',') as docs, min(created_seq) as lowest, max(created_seq) as highest from (
                select created_seq, doc from chosen join run using (created_seq) order by created_seq {order} limit ?
            )
        )
        select cast(ifnull(docs, '') as blob), {total}, clock.seq, lowest, highest,
            exists (select 1 {chosen} > 0 and {where.place} < ifnull(lowest, ?)),
            exists (select 1 {chosen} >= ifnull(highest + 1, ?))
        from items, clock
    """
    args = where.args
    return sql, (*args, cut, window.size, window.size, *total_args, *args, cut, *args, cut)


def _total(where: Where) -> tuple[str, tuple[object, ...]]:
    """The expression that counts the runs of *where*, as far as possible without counting."""
    if where is ALL:
        return "clock.runs", ()
    if where.tally is not None:
        return f"(select ifnull(sum(runs), 0) from tally where {where.tally})", where.args
    return f"(select count(*) from {where.source} where {where.clause} and {where.place} > 0)", where.args


def _heavy_page(connection: sqlite3.Connection, where: Where, window: Window) -> Rows:
    """The page row by row, until it has its bytes; at least one run."""
    cut, up = window.start
    chosen = f"from {where.source} where {where.clause} and {where.place}"
    side, walk = (">= ?", "asc") if up else ("< ?", "desc")
    total, total_args = _total(where)
    connection.execute("begin")
    try:
        taken: list[tuple[int, bytes]] = []
        size = 0
        for row in connection.execute(
            f"select run.created_seq, cast(run.doc as blob) {chosen} > 0 and {where.place} {side}"
            f" order by {where.place} {walk} limit ?",
            (*where.args, cut, window.size),
        ):
            size += len(row[1])
            if taken and size > MOST_PAGE_BYTES:
                break
            taken.append(row)
        taken.sort(reverse=not window.ascending)
        numbers = [number for number, _ in taken]
        lowest, highest = min(numbers), max(numbers)
        rest = connection.execute(
            f"select {total}, clock.seq, exists (select 1 {chosen} > 0 and {where.place} < ?),"
            f" exists (select 1 {chosen} > ?) from clock",
            (*total_args, *where.args, lowest, *where.args, highest),
        ).fetchone()
    finally:
        connection.execute("rollback")
    return Rows(b",".join(doc for _, doc in taken), rest[0], rest[1], lowest, highest, rest[2], rest[3])


class _Row(NamedTuple):
    """What a write needs to know of the run that it meets, and the number it takes; *created_seq* None: no row."""

    next_seq: int
    created_seq: int | None
    seq: int | None
    created_at: str
    created_by: int | None
    reviewed_at: str | None
    reviewed_by: int | None
    tags: str | None

    @property
    def exists(self) -> bool:
        return self.created_seq is not None and self.created_seq > 0

    @property
    def tag(self) -> str | None:
        """The entity tag, None if the run does not exist."""
        return str(self.seq) if self.exists else None


def _find(connection: sqlite3.Connection, id: str) -> _Row:
    return _Row(
        *connection.execute(
            "select clock.seq + 1, run.created_seq, run.seq, run.created_at, run.created_by, run.reviewed_at,"
            " run.reviewed_by, run.tags from clock left join run on run.id = ?",
            (id,),
        ).fetchone()
    )


def create(
    connection: sqlite3.Connection,
    id: str | None,
    body: RunPut,
    *,
    now: str,
    by: int | None,
    make_id: Callable[[], str],
) -> tuple[str, Stored]:
    """The id and the run that *body* makes; *make_id* gives ids until one is free. Raises AlreadyExists."""
    given = id
    id = given or make_id()
    while (row := _find(connection, id)).exists:
        if given:
            raise AlreadyExists(given)
        id = make_id()
    return id, _write(connection, row, body.run(id, now=now, by=by, kept=None))


def put(
    connection: sqlite3.Connection, id: str, body: RunPut, *, now: str, by: int | None, when: Precondition
) -> tuple[Stored, bool]:
    """The run that *body* makes of the one with *id*, and whether it is new. Raises PreconditionFailed."""
    row = _find(connection, id)
    when.require(row.tag)
    kept = Kept(row.created_at, row.created_by, row.reviewed_at, row.reviewed_by) if row.exists else None
    return _write(connection, row, body.run(id, now=now, by=by, kept=kept)), not row.exists


def delete(connection: sqlite3.Connection, id: str, *, when: Precondition) -> None:
    """Deletes the run, which leaves a row without a document. Raises NotFound or PreconditionFailed."""
    row = _find(connection, id)
    if not row.exists:
        raise NotFound(id)
    when.require(row.tag)
    connection.execute(
        "update run set created_seq = ?, seq = ?, doc = null where id = ?", (-row.next_seq, row.next_seq, id)
    )


def _write(connection: sqlite3.Connection, row: _Row, run: FlowRun) -> Stored:
    doc = encode(run)
    tags = encode(run.tags).decode() if run.tags else None
    number = row.created_seq if row.created_seq and row.exists else row.next_seq
    values = (
        number, row.next_seq, run.flow_id, run.flow_type, run.phase, run.created_at, run.created_by,
        run.reviewed_at, run.reviewed_by, tags, doc, run.id,
    )  # fmt: skip
    if row.created_seq is None:
        connection.execute(
            "insert into run (created_seq, seq, flow_id, flow_type, phase, created_at, created_by,"
            " reviewed_at, reviewed_by, tags, doc, id) values (?,?,?,?,?,?,?,?,?,?,cast(? as text),?)",
            values,
        )
    elif row.exists:  # its place stays, so that its tags do
        connection.execute(
            "update run set seq = ?, flow_id = ?, flow_type = ?, phase = ?, created_at = ?, created_by = ?,"
            " reviewed_at = ?, reviewed_by = ?, tags = ?, doc = cast(? as text) where id = ?",
            values[1:],
        )
    else:
        connection.execute(
            "update run set created_seq = ?, seq = ?, flow_id = ?, flow_type = ?, phase = ?, created_at = ?,"
            " created_by = ?, reviewed_at = ?, reviewed_by = ?, tags = ?, doc = cast(? as text) where id = ?",
            values,
        )
    if tags != row.tags:
        _write_tags(connection, number, run, anew=row.tags is not None)
    return Stored(row.next_seq, doc)


def _write_tags(connection: sqlite3.Connection, number: int, run: FlowRun, *, anew: bool) -> None:
    if anew:
        connection.execute("delete from tag where created_seq = ?", (number,))
    connection.executemany(
        "insert or ignore into tag values (?, ?, ?)", [(tag.key, tag.value, number) for tag in run.tags or ()]
    )
