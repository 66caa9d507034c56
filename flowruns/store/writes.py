"""Writes to runs: each kind of write, and how a batch of them is applied."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from flowruns.errors import AlreadyExists, NotFound
from flowruns.model.datetimes import format_datetime
from flowruns.model.json_items import encode_list, release
from flowruns.model.lines import RunLine
from flowruns.model.preconditions import Precondition
from flowruns.model.runs import FlowRun, PreservedFields, RunPut, encode_run
from flowruns.sqlite.connection import failed
from flowruns.sqlite.numbers import skip
from flowruns.sqlite.transactions import transaction
from flowruns.store.reads import StoredRun
from flowruns.store.rows import Row, find_rows, write_rows, write_tags


class Create(NamedTuple):
    """Creates a run, with a generated id if *id* is None. Its result is the id and the stored run."""

    id: str | None
    body: RunPut
    by: int | None


class Put(NamedTuple):
    """Creates or replaces a run. Its result is the stored run, and whether it is new."""

    id: str
    body: RunPut
    by: int | None
    when: Precondition


class Delete(NamedTuple):
    """Deletes a run, whose row stays without a document. Its result is None."""

    id: str
    when: Precondition


OnConflict = Literal["replace", "skip", "fail"]


class Restore(NamedTuple):
    """Creates or replaces a run by a line of an import, with a generated id if *id* is None. Its result is whether the
    run is new, or None if it exists and *on_conflict* is "skip".
    """

    id: str | None
    body: RunLine
    on_conflict: OnConflict


Write = Create | Put | Delete | Restore


def apply_writes(
    connection: sqlite3.Connection,
    writes: Sequence[Write],
    *,
    now: datetime,
    make_id: Callable[[datetime], str],
    before_commit: Callable[[Sequence[Row], Mapping[str, Row]], None] = lambda rows, old_rows: None,
) -> list[Any]:
    """The result of each of the *writes* in order, Failed for one that raises.

    All affected rows are read at once, each write is decided on them, and all changed rows are written at once. A write
    that raises changes nothing, and each write sees those before it. A transaction is open, which the caller rolls back
    if this function raises. *before_commit* is called with the rows that were written, if there are any, and with those
    that they replace, by id.
    """
    ids = [write.id or make_id(now) for write in writes]
    last, start, old_rows = find_rows(connection, ids)
    batch = _Batch(max(last, start), format_datetime(now), dict(old_rows))
    outcomes = []
    for id, write in zip(ids, writes, strict=True):
        if isinstance(write, Create | Restore) and write.id is None:
            while id in batch.rows:  # a client has chosen the same id
                id = make_id(now)
                row_of_id = find_rows(connection, [id])[2]
                old_rows.update(row_of_id)
                batch.rows |= row_of_id | batch.rows
        outcomes.append(batch.outcome(id, write))
    changed = [row for id, row in batch.rows.items() if row is not old_rows.get(id)]
    if changed:
        skip(connection, last, start)
    write_rows(connection, changed, old_rows)
    write_tags(connection, changed, old_rows)
    if changed:
        before_commit(changed, old_rows)
    return outcomes


def clear(connection: sqlite3.Connection) -> None:
    """Deletes everything and restarts the numbers, in a transaction of its own."""
    with transaction(connection):
        for table in ("run", "tag", "run_counts", "tag_counts", "skipped"):
            connection.execute(f"delete from {table}")
        connection.execute("update sequence set seq = 0, runs = 0")
        connection.execute("update opening set start = 0")


class _Batch:
    """A batch of writes: the affected *rows* by id, and the *number* of the last write."""

    def __init__(self, number: int, now: str, rows: dict[str, Row]) -> None:
        self.number = number
        self.now = now
        self.rows = rows

    def outcome(self, id: str, write: Write) -> Any:
        """The result of *write*, or Failed, and then *rows* are unchanged."""
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
            return failed(error)

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
        self.rows[id] = row._replace(created_seq=-row.created_seq, seq=self.number, doc=None)

    def _restore(self, id: str, write: Restore) -> bool | None:
        row = self._live(id)
        if row and write.on_conflict == "fail":
            raise AlreadyExists(id)
        if row and write.on_conflict == "skip":
            return None
        self._store(id, write.body, None, row)
        return row is None

    def _live(self, id: str) -> Row | None:
        """The row of the run, None if it does not exist or is deleted."""
        row = self.rows.get(id)
        return row if row and row.created_seq > 0 else None

    def _store(self, id: str, body: RunPut, by: int | None, row: Row | None) -> StoredRun:
        preserved = row and PreservedFields(row.created_at, row.created_by, row.reviewed_at, row.reviewed_by)
        run = body.run(id, now=self.now, by=by, preserved=preserved)
        doc, tags = encode_run(run), encode_list(run.tags).decode() if run.tags else None
        if run.logs:
            release(run.logs)  # which are not those of *body*
        self.number += 1
        self.rows[id] = Row(
            row.created_seq if row else self.number, self.number, id, run.flow_id, run.flow_type, run.phase,
            run.created_at, run.created_by, run.reviewed_at, run.reviewed_by, tags, self._former_seq(id, run), doc,
        )  # fmt: skip
        return StoredRun(self.number, doc)

    def _former_seq(self, id: str, run: FlowRun) -> int | None:
        """The number of the write that ended an earlier run with this *id*, of which *run* is the newest state."""
        old = self.rows.get(id)
        if old is None:
            return None
        if old.created_seq < 0:
            return old.seq
        same = (old.created_at, old.created_by) == (run.created_at, run.created_by)
        return old.former_seq if same else self.number
