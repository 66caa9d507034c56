"""The queues of reads in front of the connections of a database: quick ones never wait for large or slow ones."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from flowruns.errors import Unavailable
from flowruns.model.cursors import PageRequest
from flowruns.model.fields import Fields
from flowruns.sqlite.connection import Failed
from flowruns.sqlite.database import Database
from flowruns.sqlite.job_queue import JobQueue, run_each
from flowruns.sqlite.numbers import last_number
from flowruns.store import pages, reads, stats
from flowruns.store.changes import Subscription
from flowruns.store.filters import Where
from flowruns.store.newest import Newest, is_first_page, newest
from flowruns.store.pages import MAX_QUICK_BYTES, PageRows
from flowruns.store.reads import Changes, StoredRun
from flowruns.store.recent import RecentReads
from flowruns.store.rows import length_limit
from flowruns.store.stats import Stats
from flowruns.switching import quick_switches

T = TypeVar("T")

# Of different large runs or pages that are read, and so in memory, together; while they are sent,
# `flowruns.http.responses.MAX_LARGE_BYTES` limits them.
MAX_BATCH_BYTES = 256 * 1024 * 1024

_Run = tuple[str, Fields]

_Page = tuple[Where, PageRequest]


class ReadQueues:
    """Reads that wait together share a batch, and equal ones a read."""

    def __init__(self, database: Database, recent: RecentReads) -> None:
        self._recent = recent
        self.changes: JobQueue[Sequence[Subscription], Sequence[Changes | Failed]] = JobQueue(
            database.changes, _changes
        )
        self._runs: JobQueue[_Run, StoredRun | None] = JobQueue(database.runs, _quick_runs)
        self._large_runs: JobQueue[_Run, StoredRun | None] = JobQueue(database.large, _large_runs)
        self._pages: JobQueue[_Page, PageRows] = JobQueue(database.pages, partial(_distinct, pages.quick_page))
        self._newest: JobQueue[tuple[()], Newest] = JobQueue(database.pages, partial(_distinct, newest))
        self._large_pages: JobQueue[_Page, PageRows] = JobQueue(database.large, _pages)
        self._counted_pages: JobQueue[_Page, PageRows] = JobQueue(database.counted_pages, _pages)
        self._stats: JobQueue[tuple[Where], Stats] = JobQueue(database.pages, partial(_distinct, stats.stats))
        self._counted_stats: JobQueue[tuple[Where], Stats] = JobQueue(
            database.counted_pages, partial(_distinct, stats.stats)
        )

    async def run(self, id: str, fields: Fields) -> StoredRun | None:
        """The run with these *fields*, None if it does not exist."""
        if not fields and (recent := self._recent.run(id)):
            await _let_others_run()
            return recent
        state = self._recent.state
        try:
            stored = await self._runs.run((id, fields))
        except sqlite3.DataError:  # it is larger than `MAX_QUICK_BYTES`
            return await self._large_runs.run((id, fields))
        if stored and not fields:
            self._recent.keep_run(state, id, stored)
        return stored

    async def page(self, where: Where, page_request: PageRequest) -> PageRows:
        """As `pages.page`."""
        query = where, page_request
        recent: PageRows | None = self._recent.result(query)
        if recent is not None:
            await _let_others_run()
            return recent
        state = self._recent.state
        if is_first_page(where, page_request) and (rows := (await self._newest_runs()).page(page_request.size)):
            self._recent.keep_result(state, query, rows)
            return rows
        try:
            rows = await (self._counted_pages if where.must_count else self._pages).run(query)
        except sqlite3.DataError:  # it is larger than `MAX_QUICK_BYTES`
            return await self._large_pages.run(query)
        self._recent.keep_result(state, query, rows)
        return rows

    async def _newest_runs(self) -> Newest:
        recent = self._recent.newest()
        if recent is not None:
            await _let_others_run()
            return recent
        state = self._recent.state
        found = await self._newest.run(())
        self._recent.keep_newest(state, found)
        return found

    async def stats(self, where: Where) -> Stats:
        """As `stats.stats`."""
        query = (where,)
        recent: Stats | None = self._recent.result(query)
        if recent is not None:
            await _let_others_run()
            return recent
        state = self._recent.state
        found = await (self._counted_stats if stats.must_count(where) else self._stats).run(query)
        self._recent.keep_result(state, query, found)
        return found

    async def drain(self) -> None:
        """Returns once no read of the running loop is waiting or being performed."""
        for queue in (self.changes, self._runs, self._large_runs, self._newest, self._pages, self._large_pages,
                      self._counted_pages, self._stats, self._counted_stats):  # fmt: skip
            await queue.drain()


async def _let_others_run() -> None:
    """As every other read does: a client in the same event loop may read in a loop of its own."""
    await asyncio.sleep(0)  # a turn of the loop


def _quick_runs(connection: sqlite3.Connection, jobs: list[_Run]) -> Sequence[StoredRun | None | Failed]:
    try:
        return _get(connection, jobs)
    except Exception:  # such as a damaged page, which breaks only the runs on it
        return run_each(connection, [partial(_get_one, job=job) for job in jobs])


def _get_one(connection: sqlite3.Connection, job: _Run) -> StoredRun | None:
    return _get(connection, [job])[0]


def _get(connection: sqlite3.Connection, jobs: list[_Run]) -> list[StoredRun | None]:
    with length_limit(connection, MAX_QUICK_BYTES):
        stored = reads.get(connection, [id for id, _ in jobs])
    return [run.select(fields) if run and fields else run for run, (_, fields) in zip(stored, jobs, strict=True)]


def _large_runs(connection: sqlite3.Connection, jobs: list[_Run]) -> list[StoredRun | None | Failed]:
    return _bounded(_large_run, lambda run: len(run.doc) if run else 0, connection, jobs)


def _large_run(connection: sqlite3.Connection, id: str, fields: Fields) -> StoredRun | None:
    stored = reads.get_large(connection, id)
    return stored.select(fields) if stored and fields else stored


def _pages(connection: sqlite3.Connection, jobs: list[_Page]) -> list[PageRows | Failed]:
    return _bounded(pages.page, lambda rows: len(rows.docs), connection, jobs)


def _bounded(
    read: Callable[..., T], size: Callable[[T], int], connection: sqlite3.Connection, jobs: Sequence[tuple[Any, ...]]
) -> list[T | Failed]:
    """As `_distinct`, for what may have megabytes: once `MAX_BATCH_BYTES` are read, the rest fails with Unavailable."""
    left = MAX_BATCH_BYTES

    def bounded(connection: sqlite3.Connection, *job: Any) -> T:
        nonlocal left
        if left <= 0:
            raise Unavailable("The server is reading too many large runs", retry_after=1)
        with quick_switches():
            found = read(connection, *job)
        left -= size(found)
        return found

    return _distinct(bounded, connection, jobs)


def _distinct(
    read: Callable[..., T], connection: sqlite3.Connection, jobs: Sequence[tuple[Any, ...]]
) -> list[T | Failed]:
    """The outcomes of *read* with each of the *jobs*. Equal jobs share a read, but never one that has begun: a page has
    every write acknowledged before it.
    """
    distinct = list(dict.fromkeys(jobs))
    queries = [lambda connection, job=job: read(connection, *job) for job in distinct]
    outcomes = dict(zip(distinct, run_each(connection, queries), strict=True))
    return [outcomes[job] for job in jobs]


def _changes(connection: sqlite3.Connection, jobs: list[Sequence[Subscription]]) -> list[Sequence[Changes | Failed]]:
    last = last_number(connection)
    return [
        run_each(
            connection, [partial(reads.changes, where=where, after=after, last=last) for where, after in subscriptions]
        )
        for subscriptions in jobs
    ]
