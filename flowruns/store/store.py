"""The store: runs without HTTP. The right query on the right connection."""

import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple, Self, TypedDict, TypeVar, Unpack

from msgspec.json import decode

from flowruns.errors import NotFound
from flowruns.model.cursors import FIRST_PAGE, CursorCodec, PageLinks, PageRequest, page_links
from flowruns.model.ids import Uuid7
from flowruns.model.preconditions import ALWAYS, Precondition
from flowruns.model.runs import FlowRun, RunPost, RunPut
from flowruns.settings import Synchronous
from flowruns.sqlite.connection import Failed, JobQueue, run_each
from flowruns.sqlite.database import Database, connect
from flowruns.sqlite.result_codes import translate
from flowruns.sqlite.writer import Writer
from flowruns.store import reads, writes
from flowruns.store.changes import ChangeNotifier, Subscription
from flowruns.store.filters import ALL, Where
from flowruns.store.reads import Change, Changes, PageRows, StoredRun
from flowruns.store.writes import Create, Delete, Put, Write, apply_writes

T = TypeVar("T")


class Page(NamedTuple):
    """A page of runs, of one snapshot: *docs* are JSON, joined by commas."""

    docs: bytes
    total: int
    links: PageLinks
    etag: str

    @property
    def runs(self) -> list[FlowRun]:
        """The runs as Structs."""
        return decode(b"[%b]" % self.docs, type=list[FlowRun])


class Sources(TypedDict, total=False):
    """Where a store has times and ids from."""

    clock: Callable[[], datetime]
    ids: Callable[[datetime], str] | None


class Options(Sources, total=False):
    """What `Store.connect` may be told."""

    lock_timeout: float
    synchronous: Synchronous
    owner: str
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
        self._changes: JobQueue[Sequence[Subscription], Sequence[Changes | Failed]] = JobQueue(database.pages, _changes)
        self._notifier = ChangeNotifier(self._changes.run)
        self._writer: Writer[Write, Any] = Writer(
            database.writing, self._write, lock_timeout, database.guard, self._notifier.notify
        )
        self._runs: JobQueue[str, StoredRun | None] = JobQueue(database.runs, _get)
        self._pages: JobQueue[tuple[Where, PageRequest], PageRows] = JobQueue(database.pages, _pages)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str | os.PathLike[str], **options: Unpack[Options]) -> AsyncIterator[Self]:
        """The store in the file *path*, as `connect` gives it; closed at the end."""
        async with aclosing(await cls.connect(path, **options)) as store:
            yield store

    @classmethod
    async def connect(
        cls,
        path: str | os.PathLike[str],
        *,
        lock_timeout: float = 5.0,
        synchronous: Synchronous = "full",
        owner: str = "",
        instance: str = "",
        clock: Callable[[], datetime] = _now,
        ids: Callable[[datetime], str] | None = None,
    ) -> Self:
        """The store in the file *path*, made if there is none, or in `:memory:`; the caller closes it, by `aclose`.

        A write waits *lock_timeout* seconds in all for a lock that another program holds. With *synchronous*
        "normal" it does not wait for the disk: a power cut may take the last writes. *owner* is what a second
        flowruns on this file is told, *instance* tells this opening of the file from others. *clock* tells the time,
        *ids* makes the id of a run that has none, by default a UUIDv7. Raises DatabaseInUse or DatabaseUnusable.
        """
        owner = owner or f"pid {os.getpid()}"
        database = await connect(os.fspath(path), lock_timeout=lock_timeout, synchronous=synchronous, owner=owner)
        instance = instance or token_hex(8)
        return cls(database, lock_timeout=lock_timeout, clock=clock, ids=ids or Uuid7(), instance=instance)

    async def aclose(self) -> None:
        """Finishes what was asked for, and leaves one file. Any event loop may close what another one has opened."""
        self.end_subscriptions()
        try:
            for room in (self._notifier, self._changes, self._writer, self._runs, self._pages):
                await room.drained()
        finally:
            await self._database.aclose()

    async def get(self, id: str) -> StoredRun:
        """The run. Raises NotFound."""
        stored = await self._runs.run(id)
        if stored is None:
            raise NotFound(id)
        return stored

    async def page(self, where: Where = ALL, page_request: PageRequest = FIRST_PAGE) -> Page:
        """The runs of *where* in *page_request*, their total and the page's cursors, of one snapshot."""
        rows = await self._pages.run((where, page_request))
        found_links = page_links(
            page_request, rows.lowest, rows.highest, older=bool(rows.older), newer=bool(rows.newer)
        )
        return Page(rows.docs, rows.total, found_links, str(rows.seq))

    async def count(self) -> int:
        """How many runs there are."""
        return (await self.page(page_request=PageRequest(size=1))).total

    async def position(self) -> int:
        """The number of the last write."""
        return int((await self.page(page_request=PageRequest(size=1))).etag)

    async def last_change(self, id: str) -> Change | None:
        """The last write to the run, even if it is gone by that; None: it was never there."""
        try:
            return await self._database.pages.call(partial(reads.last_change, id=id))
        except sqlite3.Error as error:
            raise translate(error) from error

    async def changes(self, where: Where, after: int, max_wait: float | None = None) -> Changes | None:
        """The next changes of *where* after number *after*, as soon as there is one.

        None is found after *max_wait* seconds of silence, or when the store was cleared: then *position* is below
        *after*. None comes back once `end_subscriptions` was called.
        """
        return await self._notifier.after(where, after, max_wait)

    async def follow(self, after: int = 0, where: Where = ALL) -> AsyncGenerator[Change]:
        """The changes of *where* after number *after*: past ones, each run once, then new ones, until
        `end_subscriptions` is called or the store is closed.
        """
        while (changes := await self.changes(where, after)) is not None:
            for change in changes.found:
                yield change
            after = changes.position

    def discard(self) -> None:
        """Has the file removed once it is closed, if this store has made it."""
        self._database.discard()

    def end_subscriptions(self) -> None:
        """Ends everybody's wait for changes, for good."""
        self._notifier.end()

    async def create(self, body: RunPost, *, by: int | None = None) -> tuple[str, StoredRun]:
        """The id and the run that *body* makes, created *by* a user. Raises AlreadyExists."""
        created: tuple[str, StoredRun] = await self._writer.run(Create(body.id, body.put(), by))
        return created

    async def put(
        self, id: str, body: RunPut, *, by: int | None = None, when: Precondition = ALWAYS
    ) -> tuple[StoredRun, bool]:
        """The run that *body* makes, written *by* a user, and whether it is new. Raises PreconditionFailed."""
        put: tuple[StoredRun, bool] = await self._writer.run(Put(id, body, by, when))
        return put

    async def delete(self, id: str, *, when: Precondition = ALWAYS) -> None:
        """Deletes the run. Raises NotFound or PreconditionFailed."""
        await self._writer.run(Delete(id, when))

    async def run_on_writer(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What *function* makes of the connection that writes, on its thread and in no transaction: an import, say."""
        return await self._database.writing.call(function)

    async def clear(self) -> None:
        """Deletes every run, and begins to count anew, as a new file does: for tests, since ETags come again."""
        await self._database.writing.call(writes.clear)
        self._notifier.notify()

    def _write(self, connection: sqlite3.Connection, writes: list[Write]) -> list[Any]:
        # The time is taken where writes have their order, so that times and ids have it too.
        return apply_writes(connection, writes, now=self._clock(), make_id=self._ids)


def _get(connection: sqlite3.Connection, ids: list[str]) -> Sequence[StoredRun | None | Failed]:
    try:
        return reads.get(connection, ids)
    except Exception:  # a damaged page, say: it takes only the runs on it
        return run_each(connection, [partial(_get_one, id=id) for id in ids])


def _get_one(connection: sqlite3.Connection, id: str) -> StoredRun | None:
    return reads.get(connection, [id])[0]


def _pages(connection: sqlite3.Connection, wanted: list[tuple[Where, PageRequest]]) -> list[PageRows | Failed]:
    """Equal requests share one read, but never one that has begun: a page shows every write acknowledged before."""
    unique = list(dict.fromkeys(wanted))
    queries = [partial(reads.page, where=where, page_request=page_request) for where, page_request in unique]
    found = dict(zip(unique, run_each(connection, queries), strict=True))
    return [found[one] for one in wanted]


def _changes(connection: sqlite3.Connection, wanted: list[Sequence[Subscription]]) -> list[Sequence[Changes | Failed]]:
    last = reads.last_number(connection)
    return [
        run_each(
            connection, [partial(reads.changes, where=where, after=after, last=last) for where, after in questions]
        )
        for questions in wanted
    ]
