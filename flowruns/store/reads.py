"""Every SQL statement on runs: functions of a connection that run whole on its thread and return values."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeVar

from msgspec.json import decode

from flowruns.conditions import Precondition
from flowruns.database import Failed
from flowruns.errors import AlreadyExists, NotFound
from flowruns.filters import ALL, Where
from flowruns.models import FlowRun, Kept, RunLine, RunPut, encode, utc
from flowruns.paging import Window

T = TypeVar("T")

# A page ends early rather than take more memory than this, in bytes; its cursors go on from there.
MOST_PAGE_BYTES = 16 * 1024 * 1024

# What one read of changes takes: enough for a journey to pay off, little enough for many slow clients to hold.
MOST_CHANGES = 100
MOST_CHANGES_BYTES = 1024 * 1024


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
    marks, wanted = _marks(ids)
    rows = connection.execute(
        f"select id, seq, cast(doc as blob) from run where id in ({marks}) and created_seq > 0", wanted
    )
    found = {id: Stored(seq, doc) for id, seq, doc in rows}
    return [found.get(id) for id in ids]


def page(connection: sqlite3.Connection, where: Where, window: Window) -> Rows:
    """The runs of *where* in *window*, with all that its cursors need, of one snapshot."""
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
    total, total_args = _total(where)
    # Nothing is walked where a total says that there is nothing: a filter may pass over many runs before its end.
    items = _walk(where, up, "doc", "iif((select total from counted), ?, 0)")
    if up != window.ascending:
        items = f"select * from ({items}) order by place {'asc' if window.ascending else 'desc'} limit -1"
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
    return sql, (*total_args, cut, *args, window.size, cut, *args, cut, *args)


def _chosen(where: Where, bound: str) -> str:
    """The runs of *where*, deleted ones left out, that lie within *bound*. It comes first, as SQLite begins a walk at
    the first bound of two, and "> 0" is there for the indexes that hold no others.
    """
    return f"from {where.source} where {where.place} {bound} and {where.clause} and {where.place} > 0"


def _walk(where: Where, up: bool, column: str, limit: str) -> str:
    """The runs from the cut on, to the side that is read, nearest first."""
    bound, order = (">= ?", "asc") if up else ("< ?", "desc")
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


def _heavy_page(connection: sqlite3.Connection, where: Where, window: Window) -> Rows:
    """The page row by row, until it has its bytes; at least one run."""
    cut, up = window.start
    total, total_args = _total(where)
    connection.execute("begin")
    try:
        taken: list[tuple[int, bytes]] = []
        size = 0
        sql = _walk(where, up, "cast(doc as blob)", "?")
        for row in connection.execute(sql, (cut, *where.args, window.size)):
            size += len(row[1])
            if taken and size > MOST_PAGE_BYTES:
                break
            taken.append(row)
        taken.sort(reverse=not window.ascending)
        numbers = [number for number, _ in taken]
        lowest, highest = min(numbers), max(numbers)
        rest = connection.execute(
            f"select (select {total}), seq, exists (select 1 {_chosen(where, '< ?')}),"
            f" exists (select 1 {_chosen(where, '> ?')}) from clock",
            (*total_args, lowest, *where.args, highest, *where.args),
        ).fetchone()
    finally:
        connection.execute("rollback")
    return Rows(b",".join(doc for _, doc in taken), rest[0], rest[1], lowest, highest, rest[2], rest[3])


def documents(connection: sqlite3.Connection, where: Where, after: int, till: int) -> list[tuple[int, bytes]]:
    """The first runs of *where* that were created after number *after* and up to *till*, each with its number: some at
    a time, so that no read holds up the folding in of the log for long.
    """
    found: list[tuple[int, bytes]] = []
    size = 0
    sql = _walk(where, True, "cast(doc as blob)", str(MOST_CHANGES * 10))
    with closing(connection.execute(sql, (after + 1, *where.args))) as rows:
        for row in rows:
            if row[0] > till or size > MOST_CHANGES_BYTES:
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
    till = min(last, after + where.reach)
    sql = (
        "select seq, id, cast(doc as blob) from run"
        f" where seq > ? and seq <= ? and {where.changed} order by seq limit {MOST_CHANGES}"
    )
    found: list[Change] = []
    size = 0
    with closing(connection.execute(sql, (after, till, *where.changed_args))) as rows:
        for row in rows:
            found.append(change := Change(*row))
            size += len(change.doc or b"")
            if size > MOST_CHANGES_BYTES or len(found) == MOST_CHANGES:
                return Changes(found, change.seq, last)
    return Changes(found, till, last)


class Row(NamedTuple):
    """A row of `run`, its columns in their order. Below zero in *created_seq*: deleted."""

    created_seq: int
    seq: int
    id: str
    flow_id: str
    flow_type: str
    phase: str | None
    created_at: str
    created_by: int | None
    reviewed_at: str | None
    reviewed_by: int | None
    tags: str | None
    doc: bytes | None = None  # None, too, where it was not read


class Create(NamedTuple):
    """A run to be made; with an id of ours, if *id* is None. Done, it gives its id and what is stored."""

    id: str | None
    body: RunPut
    by: int | None


class Put(NamedTuple):
    """A run to be made or replaced. Done, it gives what is stored, and whether it is new."""

    id: str
    body: RunPut
    by: int | None
    when: Precondition


class Delete(NamedTuple):
    """A run to be deleted, which leaves a row without a document. Done, it gives None."""

    id: str
    when: Precondition


OnConflict = Literal["replace", "skip", "fail"]


class Restore(NamedTuple):
    """A run to be made or replaced by the line of an import; with an id of ours, if *id* is None. Done, it tells
    whether the run is new; None: there is one, and *on_conflict* leaves it as it is.
    """

    id: str | None
    body: RunLine
    on_conflict: OnConflict


Write = Create | Put | Delete | Restore


def write(
    connection: sqlite3.Connection, writes: Sequence[Write], *, now: datetime, make_id: Callable[[datetime], str]
) -> list[Any]:
    """What each of the *writes* gives, one after the other; an error in its place if it raised one.

    However many they are: the rows that they concern are read at once, each write is decided on them, and what
    has changed is written at once. So a refused write has no effect, and each sees those before it. In an open
    transaction, which an error from here must undo.
    """
    ids = [write.id or make_id(now) for write in writes]
    number, found = _find(connection, ids)
    batch = _Batch(number, utc(now), dict(found))
    outcomes = []
    for id, write in zip(ids, writes, strict=True):
        if isinstance(write, Create | Restore) and write.id is None:
            while id in batch.rows:  # taken, by somebody who chose it
                id = make_id(now)
                met = _find(connection, [id])[1]
                found.update(met)
                batch.rows |= met | batch.rows
        outcomes.append(batch.outcome(id, write))
    changed = [row for id, row in batch.rows.items() if row is not found.get(id)]
    _write_rows(connection, changed, found)
    _write_tags(connection, changed, found)
    return outcomes


def clear(connection: sqlite3.Connection) -> None:
    """Makes it as a new one, in a transaction of its own."""
    connection.execute("begin immediate")
    try:
        for table in ("run", "tag", "tally"):
            connection.execute(f"delete from {table}")
        connection.execute("update clock set seq = 0, runs = 0")
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


class _Batch:
    """The *rows* that writes are decided on, by id, and the last *number* that a write has taken."""

    def __init__(self, number: int, now: str, rows: dict[str, Row]) -> None:
        self.number = number
        self.now = now
        self.rows = rows

    def outcome(self, id: str, write: Write) -> Any:
        """What *write* gives, or the error that it raises, which then has changed nothing."""
        try:
            match write:
                case Create():
                    return id, self._create(id, write)
                case Put():
                    return self._put(id, write)
                case Delete():
                    return self._delete(id, write)
                case Restore():
                    return self._restore(id, write)
        except Exception as error:
            return Failed(error)

    def _create(self, id: str, write: Create) -> Stored:
        if self._live(id):
            raise AlreadyExists(id)
        return self._store(id, write.body, write.by, None)

    def _put(self, id: str, write: Put) -> tuple[Stored, bool]:
        row = self._live(id)
        write.when.require(row and str(row.seq))
        return self._store(id, write.body, write.by, row), row is None

    def _delete(self, id: str, write: Delete) -> None:
        row = self._live(id)
        if row is None:
            raise NotFound(id)
        write.when.require(str(row.seq))
        self.number += 1
        self.rows[id] = row._replace(created_seq=-self.number, seq=self.number, doc=None)

    def _restore(self, id: str, write: Restore) -> bool | None:
        row = self._live(id)
        if row and write.on_conflict == "fail":
            raise AlreadyExists(id)
        if row and write.on_conflict == "skip":
            return None
        self._store(id, write.body, None, row)
        return row is None

    def _live(self, id: str) -> Row | None:
        row = self.rows.get(id)
        return row if row and row.created_seq > 0 else None

    def _store(self, id: str, body: RunPut, by: int | None, row: Row | None) -> Stored:
        kept = row and Kept(row.created_at, row.created_by, row.reviewed_at, row.reviewed_by)
        run = body.run(id, now=self.now, by=by, kept=kept)
        doc, tags = encode(run), encode(run.tags).decode() if run.tags else None
        self.number += 1
        self.rows[id] = Row(
            row.created_seq if row else self.number, self.number, id, run.flow_id, run.flow_type, run.phase,
            run.created_at, run.created_by, run.reviewed_at, run.reviewed_by, tags, doc,
        )  # fmt: skip
        return Stored(self.number, doc)


_COLUMNS = Row._fields[:-1]  # without the document
_READ = ", ".join(_COLUMNS)
_TagRow = tuple[str, str, int]
_MOST_TAGS = 256  # written by one statement


def _find(connection: sqlite3.Connection, ids: Sequence[str]) -> tuple[int, dict[str, Row]]:
    """The number of the last write, and the rows of *ids*, deleted ones too, without their documents."""
    marks, wanted = _marks(ids)
    number, rows = connection.execute(
        f"select (select seq from clock), json_group_array(json_array({_READ})) from run where id in ({marks})",
        wanted,
    ).fetchone()
    return number, {row[2]: Row(*row) for row in decode(rows)}


def _write_rows(connection: sqlite3.Connection, rows: Sequence[Row], found: dict[str, Row]) -> None:
    """Writes the *rows* over those that were *found*.

    SQLite writes an index anew for each column that is named, so of a run that lives on only what changes is.
    """
    made: list[Row] = []
    changed: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        old = found.get(row.id)
        if old is None or old.created_seq != row.created_seq:
            made.append(row)
        else:
            columns = tuple(name for name, was, now in zip(_COLUMNS, old, row, strict=False) if was != now)
            changed.setdefault(columns, []).append(row)
    if made:
        marks = _rows_of_marks(len(made), len(_COLUMNS))
        new = ", ".join(f"{column} = excluded.{column}" for column in Row._fields)
        connection.execute(
            f"insert into run values {marks} on conflict do update set {new}", [value for row in made for value in row]
        )
    for columns, group in changed.items():
        marks = _rows_of_marks(len(group), len(columns) + 1)
        new = ", ".join(f"{column} = new.column{number}" for number, column in enumerate((*columns, "doc"), 2))
        values = attrgetter("created_seq", *columns, "doc")
        connection.execute(
            f"update run set {new} from (values {marks}) as new where created_seq = new.column1",
            [value for row in group for value in values(row)],
        )


def _rows_of_marks(rows: int, columns: int) -> str:
    """Question marks for so many *rows*, of so many *columns* and a document each."""
    return ", ".join([f"({'?, ' * columns}cast(? as text))"] * rows)


def _write_tags(connection: sqlite3.Connection, rows: Sequence[Row], found: dict[str, Row]) -> None:
    """Makes `tag` say what the *rows* do, in place of those that were *found*."""
    old: set[_TagRow] = set()
    new: set[_TagRow] = set()
    for row in rows:
        was = found.get(row.id)
        if was is None or (was.created_seq, was.tags) != (row.created_seq, row.tags):
            old |= tag_rows(was)
            new |= tag_rows(row)
    connection.executemany("delete from tag where (key, value, created_seq) = (?, ?, ?)", old - new)
    added = list(new - old)
    for start in range(0, len(added), _MOST_TAGS):
        some = _padded(added[start : start + _MOST_TAGS])
        connection.execute(
            f"insert or ignore into tag values {', '.join(['(?, ?, ?)'] * len(some))}",
            [value for tag in some for value in tag],
        )


def tag_rows(row: Row | None) -> set["_TagRow"]:
    """The rows of `tag` for *row*: none for a deleted one."""
    if row is None or row.tags is None or row.created_seq < 0:
        return set()
    return {(tag["key"], tag["value"], row.created_seq) for tag in decode(row.tags)}


def _marks(values: Sequence[T]) -> tuple[str, list[T]]:
    """Question marks for *values*, and what to bind."""
    wanted = _padded(values)
    return ",".join("?" * len(wanted)), wanted


def _padded(values: Sequence[T]) -> list[T]:
    """*values*, each once, but for the last: there are few sizes, so that statements stay prepared."""
    wanted = list(dict.fromkeys(values))
    size = 1 << (len(wanted) - 1).bit_length()
    return wanted + wanted[-1:] * (size - len(wanted))
