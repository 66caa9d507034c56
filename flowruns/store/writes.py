"""The SQL statements that write runs."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from msgspec.json import decode

from flowruns.errors import AlreadyExists, NotFound
from flowruns.model.datetimes import format_datetime
from flowruns.model.lines import RunLine
from flowruns.model.preconditions import Precondition
from flowruns.model.runs import PreservedFields, RunPut, encode
from flowruns.sqlite.connection import Failed
from flowruns.store.reads import StoredRun, padded, placeholders


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


def apply_writes(
    connection: sqlite3.Connection, writes: Sequence[Write], *, now: datetime, make_id: Callable[[datetime], str]
) -> list[Any]:
    """What each of the *writes* gives, one after the other; an error in its place if it raised one.

    However many they are: the rows that they concern are read at once, each write is decided on them, and what
    has changed is written at once. So a refused write has no effect, and each sees those before it. In an open
    transaction, which an error from here must undo.
    """
    ids = [write.id or make_id(now) for write in writes]
    number, found = _find(connection, ids)
    batch = _Batch(number, format_datetime(now), dict(found))
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

    def _create(self, id: str, write: Create) -> StoredRun:
        if self._live(id):
            raise AlreadyExists(id)
        return self._store(id, write.body, write.by, None)

    def _put(self, id: str, write: Put) -> tuple[StoredRun, bool]:
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

    def _store(self, id: str, body: RunPut, by: int | None, row: Row | None) -> StoredRun:
        preserved = row and PreservedFields(row.created_at, row.created_by, row.reviewed_at, row.reviewed_by)
        run = body.run(id, now=self.now, by=by, preserved=preserved)
        doc, tags = encode(run), encode(run.tags).decode() if run.tags else None
        self.number += 1
        self.rows[id] = Row(
            row.created_seq if row else self.number, self.number, id, run.flow_id, run.flow_type, run.phase,
            run.created_at, run.created_by, run.reviewed_at, run.reviewed_by, tags, doc,
        )  # fmt: skip
        return StoredRun(self.number, doc)


_COLUMNS = Row._fields[:-1]  # without the document

_READ = ", ".join(_COLUMNS)

_TagRow = tuple[str, str, int]

_MOST_TAGS = 256  # written by one statement


def _find(connection: sqlite3.Connection, ids: Sequence[str]) -> tuple[int, dict[str, Row]]:
    """The number of the last write, and the rows of *ids*, deleted ones too, without their documents."""
    marks, wanted = placeholders(ids)
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
    """Subscription marks for so many *rows*, of so many *columns* and a document each."""
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
        some = padded(added[start : start + _MOST_TAGS])
        connection.execute(
            f"insert or ignore into tag values {', '.join(['(?, ?, ?)'] * len(some))}",
            [value for tag in some for value in tag],
        )


def tag_rows(row: Row | None) -> set["_TagRow"]:
    """The rows of `tag` for *row*: none for a deleted one."""
    if row is None or row.tags is None or row.created_seq < 0:
        return set()
    return {(tag["key"], tag["value"], row.created_seq) for tag in decode(row.tags)}
