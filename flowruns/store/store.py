"""The store: runs without HTTP, over queues of jobs for the connections of a database."""

import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple, Self, TypedDict, TypeVar, Unpack

from msgspec.json import decode

from flowruns.errors import NotFound
from flowruns.model.cursors import FIRST_PAGE, CursorCodec, PageLinks, PageRequest, page_links
from flowruns.model.fields import ALL_FIELDS, Fields
from flowruns.model.ids import Uuid7
from flowruns.model.preconditions import ALWAYS, Precondition
from flowruns.model.runs import FlowRun, RunPost, RunPut
from flowruns.settings import Synchronous
from flowruns.sqlite.connection import require_asyncio
from flowruns.sqlite.database import Database, connect
from flowruns.sqlite.identity.watch import not_flushed
from flowruns.sqlite.numbers import StartAfter, is_skipped, last_number, start_after
from flowruns.sqlite.result_codes import translate
from flowruns.sqlite.writer import Writer
from flowruns.store import pages, reads, writes
from flowruns.store.changes import ChangeNotifier
from flowruns.store.filters import ALL, Where
from flowruns.store.holdings import Holdings
from flowruns.store.read_queues import ReadQueues
from flowruns.store.reads import Change, Changes, StoredRun
from flowruns.store.recent import RecentReads
from flowruns.store.stats import Stats
from flowruns.store.writes import Create, Delete, Put, Write, apply_writes

T = TypeVar("T")


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
        self._recent = RecentReads()
        self._reads = ReadQueues(database, self._recent)
        self._notifier = ChangeNotifier(self._reads.changes.run)
        self._writer: Writer[Write, Any] = Writer(
            database.writing, self._write, lock_timeout, database.watch, database.flusher, self._notifier.notify,
            lambda committed: self._recent.end(committed=committed),
        )  # fmt: skip

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
        self._recent.close()
        self._database.counted_pages.interrupt_statement()  # it may take seconds
        try:
            await self._notifier.drain()
            await self._writer.drain()
            await self._reads.drain()
        finally:
            await self._database.aclose()

    async def get(self, id: str, fields: Fields = ALL_FIELDS) -> StoredRun:
        """The run, or these *fields* of it. Raises NotFound."""
        self._database.watch.check_content()  # if it was overwritten, nothing that is read can be right
        stored = await self._reads.run(id, fields)
        if stored is None:
            raise NotFound(id)
        return stored

    async def page(self, where: Where = ALL, page_request: PageRequest = FIRST_PAGE) -> Page:
        """The page of the runs of *where* that *page_request* describes."""
        self._database.watch.check_content()
        rows = await self._reads.page(where, page_request)
        links = page_links(page_request, rows.lowest, rows.highest, older=bool(rows.older), newer=bool(rows.newer))
        return Page(rows.docs, rows.total, links, str(rows.seq))

    async def stats(self, where: Where = ALL) -> Stats:
        """The number of runs of *where* with each phase, flow, type and tag; its fields are of `STATS_FIELDS`."""
        self._database.watch.check_content()
        return await self._reads.stats(where)

    def check_file(self) -> None:
        """Raises Unavailable if the file was removed, replaced or overwritten, or its lock file was."""
        self._database.watch.check()

    async def count(self) -> int:
        """The number of runs."""
        return await self._read(pages.count)

    async def position(self) -> int:
        """The number of the last write."""
        return await self._read(last_number)

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
        """What *function* returns when called with the connection that writes, on its thread, outside a transaction.
        What it has written is on the disk then.
        """

        def flushed(connection: sqlite3.Connection) -> T:
            self._recent.begin_all()
            try:
                result = function(connection)
            finally:
                self._recent.end(committed=True)
            flusher = self._database.flusher
            if flusher is not None and not flusher.flush():
                raise not_flushed()
            return result

        try:
            return await self._database.writing.call(flushed)
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
        return apply_writes(connection, writes, now=self._clock(), make_id=self._ids, before_commit=self._recent.begin)
