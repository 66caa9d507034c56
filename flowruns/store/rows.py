"""The tables `run` and `tag`: their rows, and how they are looked up and written in batches."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import NamedTuple, TypeVar

from msgspec.json import Decoder, decode

from flowruns.model.runs import Tag

T = TypeVar("T")


class Row(NamedTuple):
    """A row of `run`. A negative *created_seq* marks a deleted run."""

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
    former_seq: int | None
    doc: bytes | None = None  # also None in a row from `find_rows`


TagRow = tuple[str, str, int]

_COLUMNS = Row._fields[:-1]  # without the document

_COLUMN_LIST = ", ".join(_COLUMNS)

_MAX_TAGS = 256  # rows of one statement

_decode_tags = Decoder(list[Tag]).decode


def find_rows(connection: sqlite3.Connection, ids: Sequence[str]) -> tuple[int, int, dict[str, Row]]:
    """The number of the last write, the number after which this opening of the database begins, and the rows of *ids*
    without their documents, including those of deleted runs.
    """
    marks, arguments = placeholders(ids)
    last, start, rows = connection.execute(
        "select (select seq from sequence), (select start from opening),"
        f" json_group_array(json_array({_COLUMN_LIST})) from run where id in ({marks})",
        arguments,
    ).fetchone()
    return last, start, {row[2]: Row(*row) for row in decode(rows)}


def read_doc(connection: sqlite3.Connection, created_seq: int) -> bytes:
    """The document of the row *created_seq*. Unlike the row of a statement, it is copied without holding the
    interpreter's lock: 35 MB take 30 ms.
    """
    with connection.blobopen("run", "doc", created_seq, readonly=True) as blob:
        return blob.read()


@contextmanager
def length_limit(connection: sqlite3.Connection, size: int) -> Iterator[None]:
    """Statements in the block raise sqlite3.DataError for a text or blob of more than *size* bytes, before they read
    it.
    """
    before = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, size)
    try:
        yield
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)


def write_rows(connection: sqlite3.Connection, rows: Sequence[Row], old_rows: dict[str, Row]) -> None:
    """Writes the *rows*; *old_rows* are those in the database, by id.

    SQLite updates the index of every column that a statement names, so an update names only the columns that change.
    """
    inserted: list[Row] = []
    updated: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        old = old_rows.get(row.id)
        if old is None or old.created_seq != row.created_seq:
            inserted.append(row)
        else:
            columns = tuple(name for name, was, now in zip(_COLUMNS, old, row, strict=False) if was != now)
            updated.setdefault(columns, []).append(row)
    if inserted:
        _insert(connection, inserted)
    for columns, group in updated.items():
        _update(connection, columns, group)


def _insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    marks = _marks_of_rows(len(rows), len(_COLUMNS))
    assignments = ", ".join(f"{column} = excluded.{column}" for column in Row._fields)
    connection.execute(
        f"insert into run ({', '.join(Row._fields)}) values {marks} on conflict do update set {assignments}",
        [value for row in rows for value in row],
    )


def _update(connection: sqlite3.Connection, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Sets *columns* and the document of the *rows*."""
    marks = _marks_of_rows(len(rows), len(columns) + 1)
    assignments = ", ".join(f"{column} = new.column{number}" for number, column in enumerate((*columns, "doc"), 2))
    values = attrgetter("created_seq", *columns, "doc")
    connection.execute(
        f"update run set {assignments} from (values {marks}) as new where created_seq = new.column1",
        [value for row in rows for value in values(row)],
    )


def write_tags(connection: sqlite3.Connection, rows: Sequence[Row], old_rows: dict[str, Row]) -> None:
    """Updates `tag` from the tags of *old_rows* to those of *rows*."""
    old_tags: set[TagRow] = set()
    new_tags: set[TagRow] = set()
    for row in rows:
        old = old_rows.get(row.id)
        if old is None or (old.created_seq, old.tags) != (row.created_seq, row.tags):
            old_tags.update(tag_rows(old))
            new_tags.update(tag_rows(row))
    removed = (tag for tag in old_tags if tag not in new_tags)
    connection.executemany("delete from tag where (key, value, created_seq) = (?, ?, ?)", removed)
    added = [tag for tag in new_tags if tag not in old_tags]
    for start in range(0, len(added), _MAX_TAGS):
        batch = padded(added[start : start + _MAX_TAGS])
        connection.execute(
            f"insert or ignore into tag values {', '.join(['(?, ?, ?)'] * len(batch))}",
            [value for tag in batch for value in tag],
        )


def tag_rows(row: Row | None) -> Iterator[TagRow]:
    """The rows of `tag` for *row*, none for a deleted run; equal tags more than once."""
    if row is not None and row.tags is not None and row.created_seq > 0:
        for tag in _decode_tags(row.tags):
            yield tag.key, tag.value, row.created_seq


def _marks_of_rows(rows: int, columns: int) -> str:
    """Question marks for a number of *rows* with a number of *columns* and a document each."""
    return ", ".join([f"({'?, ' * columns}cast(? as text))"] * rows)


def placeholders(values: Sequence[T]) -> tuple[str, list[T]]:
    """Question marks for *values*, and the arguments to bind."""
    arguments = padded(values)
    return ",".join("?" * len(arguments)), arguments


def padded(values: Sequence[T]) -> list[T]:
    """The distinct *values*, the last one repeated up to a power of two: few sizes, so statements stay prepared."""
    distinct = list(dict.fromkeys(values))
    size = 1 << (len(distinct) - 1).bit_length()
    return distinct + distinct[-1:] * (size - len(distinct))
