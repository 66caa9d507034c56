"""The client for event loops."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from concurrent.futures import Future
from contextlib import aclosing
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Self

from flowruns.client.client import Change, Client, Order, Page, T
from flowruns.client.transport import Transport
from flowruns.model.plain import Run


class AsyncClient:
    """`Client` for event loops: the same methods, to be awaited, or, where they give many, iterated. `async with` or
    `aclose` closes it.

    Whatever is asked at the same time has a connection each, and a thread that alone uses it; who is cancelled ends
    both.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._make = partial(_Worker, url, token)
        self._url = Transport(url, token).url  # which refuses what is none
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
