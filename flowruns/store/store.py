"""The store: runs without HTTP, over queues of jobs for the connections of a database."""

import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple, Self, TypedDict, TypeVar, Unpack

from msgspec.json import decode

from flowruns.errors import NotFound, Unavailable
from flowruns.model.cursors import FIRST_PAGE, CursorCodec, PageLinks, PageRequest, page_links
from flowruns.model.fields import ALL_FIELDS, Fields
from flowruns.model.ids import Uuid7
from flowruns.model.preconditions import ALWAYS, Precondition
from flowruns.model.runs import FlowRun, RunPost, RunPut
from flowruns.settings import Synchronous
from flowruns.sqlite.connection import Failed, require_asyncio
from flowruns.sqlite.database import Database, connect
from flowruns.sqlite.job_queue import JobQueue, run_each
from flowruns.sqlite.numbers import StartAfter, is_skipped, start_after
from flowruns.sqlite.result_codes import translate
from flowruns.sqlite.switching import quick_switches
from flowruns.sqlite.writer import Writer
from flowruns.store import pages, reads, writes
from flowruns.store import stats as statistics
from flowruns.store.changes import ChangeNotifier, Subscription
from flowruns.store.filters import ALL, Where
from flowruns.store.holdings import Holdings
from flowruns.store.pages import MAX_QUICK_BYTES, PageRows
from flowruns.store.reads import Change, Changes, StoredRun
from flowruns.store.rows import length_limit
from flowruns.store.stats import Stats
from flowruns.store.writes import Create, Delete, Put, Write, apply_writes

T = TypeVar("T")

J = TypeVar("J", bound=tuple[Any, ...])

MAX_BATCH_BYTES = 256 * 1024 * 1024  # of different pages that are read together, and so in memory together


class Page(NamedTuple):
    """A page of runs, read in one snapshot. *docs* is their JSON, joined by commas, with the fields of the query."""

    docs: bytes
    total: int
    links: PageLinks
    etag: str

    @property
    def runs(self) -> list[FlowRun]:
        """The runs as Structs, if the page has all fields."""
        return decode(b"[%b]" % self.docs, type=list[FlowRun])


class Sources(TypedDict, total=False):
    """The sources of times, ids and change numbers of a store."""

    clock: Callable[[], datetime]
    ids: Callable[[datetime], str] | None
    start_after: StartAfter


class Options(Sources, total=False):
    """The options of `Store.connect`."""

    lock_timeout: float
    synchronous: Synchronous
    holder: str
    instance: str


def _now() -> datetime:
    return datetime.now(UTC)


class Store:
    """Flow runs in one SQLite file: `async with Store.open("flowruns.db") as store: …`."""

    def __init__(
        self,
        database: Database,
        *,
        lock_timeout: float,
        clock: Callable[[], datetime],
        ids: Callable[[datetime], str],
        instance: str,
    ) -> None:
        self.instance = instance
        self.cursors = CursorCodec(database.cursor_key)
        self._database = database
        self._clock = clock
        self._ids = ids
        self._changes: JobQueue[Sequence[Subscription], Sequence[Changes | Failed]] = JobQueue(
            database.changes, _changes
        )
        self._notifier = ChangeNotifier(self._changes.run)
        self._writer: Writer[Write, Any] = Writer(
            database.writing, self._write, lock_timeout, database.watch, database.flusher, self._notifier.notify
        )
        self._runs: JobQueue[tuple[str, Fields], StoredRun | None] = JobQueue(database.runs, _get)
        self._large_runs: JobQueue[tuple[str, Fields], StoredRun | None] = JobQueue(database.large, _get_large)
        self._pages: JobQueue[tuple[Where, PageRequest], PageRows] = JobQueue(database.pages, _quick_pages)
        self._large_pages: JobQueue[tuple[Where, PageRequest], PageRows] = JobQueue(database.large, _pages)
        self._counted_pages: JobQueue[tuple[Where, PageRequest], PageRows] = JobQueue(database.counted_pages, _pages)
        self._stats: JobQueue[Where, Stats] = JobQueue(database.pages, _stats)
        self._counted_stats: JobQueue[Where, Stats] = JobQueue(database.counted_pages, _stats)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str | os.PathLike[str], **options: Unpack[Options]) -> AsyncIterator[Self]:
        """The store in the file *path*, as from `connect`; closed at the end of the block."""
        async with aclosing(await cls.connect(path, **options)) as store:
            yield store

    @classmethod
    async def connect(
        cls,
        path: str | os.PathLike[str],
        *,
        lock_timeout: float = 5.0,
        synchronous: Synchronous = "full",
        holder: str = "",
        instance: str = "",
        clock: Callable[[], datetime] = _now,
        ids: Callable[[datetime], str] | None = None,
        start_after: StartAfter = start_after,
    ) -> Self:
        """The store in the file *path*, created if there is none, or in `:memory:`; the caller closes it with `aclose`.

        A write waits at most *lock_timeout* seconds for another program's lock. With *synchronous* "normal" it does not
        wait for the disk, and a power cut may lose the last writes. *holder* is the text of the lock file, *instance*
        identifies this opening of the file. *clock* returns the time, *ids* generates the id of a run without one, by
        default a UUIDv7. *start_after* returns the number after which the writes of this opening begin. Raises
        DatabaseInUse or DatabaseUnusable.
        """
        require_asyncio()
        database = await connect(
            os.fspath(path),
            lock_timeout=lock_timeout,
            synchronous=synchronous,
            holder=holder or f"pid {os.getpid()}",
            start_after=start_after,
        )
        instance = instance or token_hex(8)
        return cls(database, lock_timeout=lock_timeout, clock=clock, ids=ids or Uuid7(), instance=instance)

    async def aclose(self) -> None:
        """Completes all pending jobs and closes the database. That leaves one file, unless another program reads it.
        May run in any event loop. Does nothing in a process that was forked since it was opened.
        """
        if self._database.writing.is_of_parent:
            return
        self.end_subscriptions()
        self._database.counted_pages.interrupt_statement()  # it may take seconds
        try:
            for queue in (self._notifier, self._changes, self._writer, self._runs, self._large_runs, self._pages,
                          self._large_pages, self._counted_pages, self._stats, self._counted_stats):  # fmt: skip
                await queue.drain()
        finally:
            await self._database.aclose()

    async def get(self, id: str, fields: Fields = ALL_FIELDS) -> StoredRun:
        """The run, or these *fields* of it. Raises NotFound."""
        self._database.watch.check_content()  # if it was overwritten, nothing that is read can be right
        try:
            stored = await self._runs.run((id, fields))
        except sqlite3.DataError:  # it is larger than `MAX_QUICK_BYTES`
            stored = await self._large_runs.run((id, fields))
        if stored is None:
            raise NotFound(id)
        return stored

    async def page(self, where: Where = ALL, page_request: PageRequest = FIRST_PAGE) -> Page:
        """The page of the runs of *where* that *page_request* describes."""
        self._database.watch.check_content()
        if where.must_count:
            rows = await self._counted_pages.run((where, page_request))
        else:
            try:
                rows = await self._pages.run((where, page_request))
            except sqlite3.DataError:  # it is larger than `MAX_QUICK_BYTES`
                rows = await self._large_pages.run((where, page_request))
        links = page_links(page_request, rows.lowest, rows.highest, older=bool(rows.older), newer=bool(rows.newer))
        return Page(rows.docs, rows.total, links, str(rows.seq))

    async def stats(self, where: Where = ALL) -> Stats:
        """The number of runs of *where* with each phase, flow, type and tag; its fields are of `STATS_FIELDS`."""
        self._database.watch.check_content()
        queue = self._counted_stats if statistics.must_count(where) else self._stats
        return await queue.run(where)

    def check_file(self) -> None:
        """Raises Unavailable if the file was removed, replaced or overwritten, or its lock file was."""
        self._database.watch.check()

    async def count(self) -> int:
        """The number of runs."""
        return await self._read(pages.count)

    async def position(self) -> int:
        """The number of the last write."""
        return await self._read(reads.last_number)

    async def is_skipped(self, number: int) -> bool:
        """Whether a client that has *number*, at most that of the last write, has it from another copy of the file."""
        return await self._read(partial(is_skipped, number=number))

    async def last_change(self, id: str) -> Change | None:
        """The last write to the run, even if that deleted it; None: the run never existed."""
        return await self._read(partial(reads.last_change, id=id))

    async def changes(
        self, where: Where, after: int, max_wait: float | None = None, holdings: Holdings | None = None
    ) -> Changes | None:
        """The next changes of *where* after number *after*, as soon as there is one. Runs that have left the filters
        are among them if the subscriber may hold them, according to *holdings*, which this updates.

        Without a change for *max_wait* seconds, none is `found`; after `clear`, `position` is below *after*. Returns
        None once `end_subscriptions` was called.
        """
        self._database.watch.check_content()
        return await self._notifier.wait(where, after, max_wait, holdings)

    async def follow(self, after: int = 0, where: Where = ALL) -> AsyncGenerator[Change]:
        """The changes of *where* after number *after*: past ones, once for each run, then new ones, until
        `end_subscriptions` is called or the store is closed.
        """
        holdings = Holdings(after)
        while (changes := await self.changes(where, after, holdings=holdings)) is not None:
            for change in changes.found:
                yield change
            after = changes.position

    def remove_on_close(self) -> None:
        """Removes the file after closing, if this store has created it."""
        self._database.remove_on_close()

    def end_subscriptions(self) -> None:
        """Ends all subscriptions to changes, also those that begin later."""
        self._notifier.end()

    async def create(self, body: RunPost, *, by: int | None = None) -> tuple[str, StoredRun]:
        """The id and the run of *body*, created *by* a user. Raises AlreadyExists."""
        created: tuple[str, StoredRun] = await self._writer.run(Create(body.id, body.put(), by))
        return created

    async def put(
        self, id: str, body: RunPut, *, by: int | None = None, when: Precondition = ALWAYS
    ) -> tuple[StoredRun, bool]:
        """The run of *body*, written *by* a user, and whether it is new. Raises PreconditionFailed."""
        put: tuple[StoredRun, bool] = await self._writer.run(Put(id, body, by, when))
        return put

    async def delete(self, id: str, *, when: Precondition = ALWAYS) -> None:
        """Deletes the run. Raises NotFound or PreconditionFailed."""
        await self._writer.run(Delete(id, when))

    async def run_on_writer(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What *function* returns when called with the connection that writes, on its thread, outside a transaction."""
        try:
            return await self._database.writing.call(function)
        except sqlite3.Error as error:
            raise translate(error) from error

    async def clear(self) -> None:
        """Deletes every run and restarts the numbers. For tests only, as ETags repeat."""
        self._database.watch.restarted()
        await self.run_on_writer(writes.clear)
        self._notifier.notify()

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        self._database.watch.check_content()
        try:
            return await self._database.changes.call(read)
        except sqlite3.Error as error:
            raise translate(error) from error

    def _write(self, connection: sqlite3.Connection, writes: list[Write]) -> list[Any]:
        # The time is read on the thread that orders the writes, so that times and ids are in the same order.
        return apply_writes(connection, writes, now=self._clock(), make_id=self._ids)


def _get(connection: sqlite3.Connection, jobs: list[tuple[str, Fields]]) -> Sequence[StoredRun | None | Failed]:
    try:
        return _get_all(connection, jobs)
    except Exception:  # such as a damaged page, which breaks only the runs on it
        return run_each(connection, [partial(_get_one, job=job) for job in jobs])


def _get_one(connection: sqlite3.Connection, job: tuple[str, Fields]) -> StoredRun | None:
    return _get_all(connection, [job])[0]


def _get_all(connection: sqlite3.Connection, jobs: list[tuple[str, Fields]]) -> list[StoredRun | None]:
    with length_limit(connection, MAX_QUICK_BYTES):
        stored = reads.get(connection, [id for id, _ in jobs])
    return [run.select(fields) if run and fields else run for run, (_, fields) in zip(stored, jobs, strict=True)]


def _get_large(connection: sqlite3.Connection, jobs: list[tuple[str, Fields]]) -> Sequence[StoredRun | None | Failed]:
    """Equal jobs share a read, as those of `_pages` do."""
    return _read_distinct(connection, jobs, _get_one_large)


def _get_one_large(connection: sqlite3.Connection, id: str, fields: Fields) -> StoredRun | None:
    with quick_switches():
        stored = reads.get_large(connection, id)
        return stored.select(fields) if stored and fields else stored


def _quick_pages(connection: sqlite3.Connection, requests: list[tuple[Where, PageRequest]]) -> list[PageRows | Failed]:
    return _read_distinct(connection, requests, pages.quick_page)


def _pages(connection: sqlite3.Connection, requests: list[tuple[Where, PageRequest]]) -> list[PageRows | Failed]:
    left = MAX_BATCH_BYTES

    def page(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> PageRows:
        nonlocal left
        if left <= 0:
            raise Unavailable("The server is reading too many large pages", retry_after=1)
        with quick_switches():
            rows = pages.page(connection, where, page_request)
        left -= len(rows.docs)
        return rows

    return _read_distinct(connection, requests, page)


def _read_distinct(connection: sqlite3.Connection, jobs: list[J], read: Callable[..., T]) -> list[T | Failed]:
    """Equal *jobs*, the arguments of *read*, share a read, but never one that has begun: a page has every write
    acknowledged before it.
    """
    distinct = list(dict.fromkeys(jobs))
    queries = [lambda connection, job=job: read(connection, *job) for job in distinct]
    outcomes = dict(zip(distinct, run_each(connection, queries), strict=True))
    return [outcomes[job] for job in jobs]


def _stats(connection: sqlite3.Connection, queries: list[Where]) -> list[Stats | Failed]:
    """Equal queries share a read, as those of `_pages` do."""
    distinct = list(dict.fromkeys(queries))
    reads = [partial(statistics.stats, where=where) for where in distinct]
    outcomes = dict(zip(distinct, run_each(connection, reads), strict=True))
    return [outcomes[where] for where in queries]


def _changes(connection: sqlite3.Connection, jobs: list[Sequence[Subscription]]) -> list[Sequence[Changes | Failed]]:
    last = reads.last_number(connection)
    return [
        run_each(
            connection, [partial(reads.changes, where=where, after=after, last=last) for where, after in subscriptions]
        )
        for subscriptions in jobs
    ]
