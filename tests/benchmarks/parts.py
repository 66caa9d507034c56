"""flowruns without some of its parts, to measure their cost: `python -m tests.benchmarks.parts PART DATABASE …`.

Use such a server for nothing else: its responses are made up, or not on the disk.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from flowruns.cli.main import main
from flowruns.model.cursors import PageRequest
from flowruns.model.datetimes import format_datetime
from flowruns.model.runs import encode
from flowruns.settings import Synchronous
from flowruns.sqlite import job_queue, pragmas, writer
from flowruns.store import pages, reads, recent, store
from flowruns.store.filters import Where
from flowruns.store.pages import PageRows
from flowruns.store.reads import StoredRun
from flowruns.store.writes import Create, Delete, Write

_known: dict[object, Any] = {}  # what was read, by what is read in its place
_durable, _get, _page = pragmas.set_durable, reads.get, pages.page


def synchronous_normal() -> None:
    """Commits wait for the disk at checkpoints only, as with `--synchronous normal`."""
    os.environ["FLOWRUNS_SYNCHRONOUS"] = "normal"


def without_sync() -> None:
    """Nothing waits for the disk."""
    synchronous_normal()
    pragmas.set_durable = _not_durable


def without_memory() -> None:
    """Each read goes to the database, also if nothing was written since the last one."""
    recent.RecentReads.keep_run = recent.RecentReads.keep_result = _keep_nothing  # type: ignore[method-assign]  # on purpose
    recent.RecentReads.keep_newest = _keep_nothing  # type: ignore[method-assign]  # on purpose


def without_statements() -> None:
    """The round trip to the thread and a commit of one page, but no run is read twice or written."""
    reads.get, store.apply_writes = _get_known, _written_nowhere
    pages.page = pages.quick_page = _page_known


def without_threads() -> None:
    """Neither statements nor threads: HTTP, checks and documents alone."""
    without_statements()
    writer.Writer.run = _write_here  # type: ignore[method-assign, assignment]  # that is the point
    job_queue.JobQueue.run = _read_here  # type: ignore[method-assign, assignment]  # as above


PARTS = {
    "synchronous normal": synchronous_normal,
    "no sync": without_sync,
    "no memory": without_memory,
    "no statements": without_statements,
    "no threads": without_threads,
}


def _not_durable(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    _durable(connection, synchronous)
    connection.execute("pragma synchronous = off")


def _keep_nothing(self: Any, *read: Any) -> None:
    pass


def _get_known(connection: sqlite3.Connection, ids: Sequence[str]) -> list[StoredRun | None]:
    if None not in _known:
        _known[None] = _get(connection, ids[:1])[0]
    return [_known[None]] * len(ids)


def _page_known(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> PageRows:
    if page_request not in _known:
        _known[page_request] = _page(connection, where, page_request)
    found: PageRows = _known[page_request]
    return found


def _written_nowhere(
    connection: sqlite3.Connection,
    writes: Sequence[Write],
    *,
    now: datetime,
    make_id: Callable[[datetime], str],
    before_commit: object,
) -> list[Any]:
    connection.execute("update sequence set seq = seq + 1")
    return _made(writes, now, make_id)


def _made(writes: Sequence[Write], now: datetime, make_id: Callable[[datetime], str]) -> list[Any]:
    outcomes: list[Any] = []
    for write in writes:
        id = write.id or make_id(now)
        if isinstance(write, Delete):
            outcomes.append(None)
            continue
        made = StoredRun(1, encode(write.body.run(id, now=format_datetime(now), by=write.by, preserved=None)))
        outcomes.append((id, made) if isinstance(write, Create) else (made, False))
    return outcomes


async def _write_here(self: Any, write: Write) -> Any:
    served: store.Store = self._perform.__self__
    return _made([write], served._clock(), served._ids)[0]


async def _read_here(self: Any, job: Any) -> Any:
    if job not in _known:
        _known[job] = (await self._connection.call(lambda connection: self._perform(connection, [job])))[0]
    return _known[job]


if __name__ == "__main__":
    PARTS[sys.argv.pop(1)]()
    raise SystemExit(main())
