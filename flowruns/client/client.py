"""A client of the API for programs in Python: runs as Structs, for threads and for event loops."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterator
from concurrent.futures import Future
from contextlib import aclosing, closing
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal, NamedTuple, Self, TypeVar

from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode, encode

from flowruns.errors import NotFound, Refused
from flowruns.models import FlowRun, RunPost, RunPut
from flowruns.remote import Event, Remote
from flowruns.values import Run, body, plain, query

T = TypeVar("T")
Order = Literal["desc", "asc"]

_PRECONDITION_FAILED = 412
_MOST_TRIES = 100  # of an update: so often nobody is late by chance


class Page(NamedTuple):
    """Some runs, and how many there are in *total*."""

    runs: list[Run]
    total: int


class Change(NamedTuple):
    """What has become of the run *id*: *run* is its state, None once it is deleted. *seq* is the number to go on after.

    With *kind* "resync" changes were missed, since the database is another one: read anew what you keep.
    """

    kind: Literal["run", "deleted", "resync"]
    seq: int
    id: str | None
    run: Run | None


class Client:
    """The runs of the server at *url*, which knows the caller by *token*. It keeps one connection, for one thread at a
    time; `with` or `close` closes it.

    Filters are the query parameters of a page, fields are those of a body, both by their names in JSON. A filter may
    have several values. Times may be datetimes, *tags* a dict. Every method may raise Unreachable, where no server
    answers, and Refused, whose *status* and *faults* say why the server does not do it; Busy, where waiting may help.
    TypeError is raised at a name that is none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._remote = Remote(url, token)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._remote.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; the next question opens another one."""
        self._remote.close()

    def abort(self) -> None:
        """Ends what another thread waits for, by Unreachable. Nothing more can be asked."""
        self._remote.abort()

    def runs(self, *, limit: int | None = None, order: Order = "desc", **filters: Any) -> Generator[Run]:
        """The runs that fit *filters*, at most *limit*, the newest first: each that was there when it began, once."""
        for page in self.pages(limit=limit, order=order, **filters):
            yield from page.runs

    def pages(self, *, limit: int | None = None, order: Order = "desc", **filters: Any) -> Generator[Page]:
        """Those runs in pages; at least one page."""
        for page in self._remote.pages(limit=limit, order=order, **_chosen(filters)):
            yield Page([self._run(doc) for doc in page.docs], page.total)

    def get(self, id: str) -> Run:
        """The run. Raises NotFound."""
        return self._run(self._remote.get(id))

    def create(self, **fields: Any) -> Run:
        """The run that a POST of *fields* makes: an action that somebody starts."""
        return self._run(self._remote.create(encode(body(RunPost, fields))))

    def put(self, id: str, **fields: Any) -> Run:
        """The run that a PUT of *fields* makes, in place of what is there: what is left out is gone."""
        return self._run(self._remote.put(id, encode(body(RunPut, fields))))

    def update(self, id: str, **fields: Any) -> Run:
        """The run with *fields* in place of its own, and all else as it is, whoever writes it meanwhile. Raises
        NotFound.
        """
        given, tries = body(RunPut, fields), 0
        while True:
            tries += 1
            doc, etag = self._remote.tagged(id)
            if etag is None or not etag.startswith('"'):
                raise Refused(f"{self._remote.url} tells no strong ETag, without which an update may undo others", 200)
            merged = {**self._decoded(doc, dict[str, Raw]), **given}
            try:
                return self._run(self._remote.put(id, encode(merged), etag))
            except Refused as error:
                if error.status != _PRECONDITION_FAILED or tries == _MOST_TRIES:
                    raise

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
        self._remote.delete(id)

    def wait(self, id: str, phase: str | Collection[str] | None = None, *, timeout: float | None = None) -> Run:
        """The run as soon as it is in *phase*, or in one of them; None: as soon as it has ended. Raises NotFound where
        it is not there or gets deleted, and TimeoutError after *timeout* seconds.
        """
        phases = {phase} if isinstance(phase, str) else phase
        until = _until(timeout)

        def fits(run: Run) -> bool:
            return run.end_time is not None if phases is None else run.phase in phases

        if fits(run := self.get(id)):
            return run
        with closing(self._changes(self._remote.states(id, until))) as changes:
            for change in changes:
                if change.kind == "deleted":
                    raise NotFound(id)
                if change.run and fits(change.run):
                    return change.run
        wanted = "has not ended" if phases is None else f"is not {' or '.join(sorted(phases))}"
        raise TimeoutError(f"the run {id!r} {wanted} within {timeout} s")

    def watch(
        self, id: str | None = None, *, after: int | None = None, timeout: float | None = None, **filters: Any
    ) -> Generator[Change]:
        """The changes of the run *id*, its present state first, or of the runs that fit *filters*, from now on; after
        number *after*, where it is given. For ever, or for *timeout* seconds; a server that goes is waited for.
        Raises NotFound.
        """
        chosen = _chosen(filters)
        if id is not None and chosen:
            raise TypeError("a filter chooses among all runs: give it, or an id")
        return self._changes(self._remote.watch(id, after=after, until=_until(timeout), **chosen))

    def _changes(self, events: Iterator[Event]) -> Generator[Change]:
        for event in events:
            match event.kind:
                case "run":
                    run = self._run(event.data)
                    yield Change("run", event.position or 0, run.id, run)
                case "deleted":
                    yield Change("deleted", event.position or 0, self._decoded(event.data, _Deleted).id, None)
                case "resync":
                    yield Change("resync", event.position or 0, None, None)

    def _run(self, doc: bytes) -> Run:
        return plain(self._decoded(doc, FlowRun))

    def _decoded(self, doc: bytes, type: type[T]) -> T:
        try:
            return decode(doc, type=type)
        except DecodeError as error:
            raise Refused(f"{self._remote.url} sends what is no flow run: {error}", 200) from None


class AsyncClient:
    """`Client` for event loops: the same methods, to be awaited, or, where they give many, iterated. `async with` or
    `aclose` closes it.

    Whatever is asked at the same time has a connection each, and a thread that alone uses it; who is cancelled ends
    both.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._make = partial(_Worker, url, token)
        self._url = Remote(url, token).url  # which refuses what is none
        self._idle: list[_Worker] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections, those in use as soon as they are not."""
        self._closed = True
        while self._idle:
            self._idle.pop().end()

    async def runs(self, *, limit: int | None = None, order: Order = "desc", **filters: Any) -> AsyncGenerator[Run]:
        """As `Client.runs`."""
        async with aclosing(self.pages(limit=limit, order=order, **filters)) as pages:
            async for page in pages:
                for run in page.runs:
                    yield run

    def pages(self, *, limit: int | None = None, order: Order = "desc", **filters: Any) -> AsyncGenerator[Page]:
        """As `Client.pages`."""
        return self._each(lambda client: client.pages(limit=limit, order=order, **filters))

    async def get(self, id: str) -> Run:
        """As `Client.get`."""
        return await self._asked(lambda client: client.get(id))

    async def create(self, **fields: Any) -> Run:
        """As `Client.create`."""
        return await self._asked(lambda client: client.create(**fields))

    async def put(self, id: str, **fields: Any) -> Run:
        """As `Client.put`."""
        return await self._asked(lambda client: client.put(id, **fields))

    async def update(self, id: str, **fields: Any) -> Run:
        """As `Client.update`."""
        return await self._asked(lambda client: client.update(id, **fields))

    async def delete(self, id: str) -> None:
        """As `Client.delete`."""
        await self._asked(lambda client: client.delete(id))

    async def wait(  # its timeout is the sync one's, so that both are called alike; `asyncio.timeout` works as well
        self,
        id: str,
        phase: str | Collection[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Run:
        """As `Client.wait`."""
        return await self._asked(lambda client: client.wait(id, phase, timeout=timeout))

    def watch(
        self, id: str | None = None, *, after: int | None = None, timeout: float | None = None, **filters: Any
    ) -> AsyncGenerator[Change]:
        """As `Client.watch`."""
        return self._each(lambda client: client.watch(id, after=after, timeout=timeout, **filters))

    async def _asked(self, ask: Callable[[Client], T]) -> T:
        worker = self._idle.pop() if self._idle else self._make()
        told = worker.ask(ask)
        try:
            return await asyncio.wrap_future(told)
        finally:
            if told.done() and not self._closed:
                self._idle.append(worker)
            else:
                worker.end()

    async def _each(self, ask: Callable[[Client], Generator[T]]) -> AsyncGenerator[T]:
        worker = self._make()
        try:
            given = await asyncio.wrap_future(worker.ask(ask))
            try:
                while (one := await asyncio.wrap_future(worker.ask(lambda client: next(given, None)))) is not None:
                    yield one
            finally:
                worker.ask(lambda client: given.close())
        finally:
            worker.end()


class _Worker:
    """A client, and the thread that alone uses it."""

    def __init__(self, url: str, token: str | None) -> None:
        self._client = Client(url, token)
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[Client], Any]] | None] = SimpleQueue()
        # A daemon: a program that forgets to close what it follows ends all the same.
        Thread(target=self._work, name="flowruns-client", daemon=True).start()

    def ask(self, function: Callable[[Client], T]) -> "Future[T]":
        """What *function* gives or raises, once those before it have."""
        told: Future[T] = Future()
        told.set_running_or_notify_cancel()  # whoever waits may go, but the thread goes on
        self._asked.put((told, function))
        return told

    def end(self) -> None:
        """Ends what waits for an answer, and, after what was asked before, the thread."""
        self._client.abort()
        self._asked.put(None)

    def _work(self) -> None:
        with self._client:
            while (one := self._asked.get()) is not None:
                told, function = one
                try:
                    told.set_result(function(self._client))
                except BaseException as error:
                    told.set_exception(error)


class _Deleted(Struct):
    id: str


def _chosen(filters: dict[str, Any]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for name, text in query(filters):
        chosen.setdefault(name, []).append(text)
    return chosen


def _until(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
