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
from flowruns.model.python_values import Run


class AsyncClient:
    """`Client` for event loops: the same methods, as coroutines and asynchronous iterators. `async with` or `aclose`
    closes it.

    Each concurrent call uses a connection and a thread of its own. Cancelling a call ends both.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._new_worker = partial(_Worker, url, token)
        self._url = Transport(url, token).url  # raises ValueError for an invalid url or token
        self._idle: list[_Worker] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the idle connections now, and each of the others when its call ends."""
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
        return self._iterate(lambda client: client.pages(limit=limit, order=order, **filters))

    async def get(self, id: str) -> Run:
        """As `Client.get`."""
        return await self._call(lambda client: client.get(id))

    async def create(self, **fields: Any) -> Run:
        """As `Client.create`."""
        return await self._call(lambda client: client.create(**fields))

    async def put(self, id: str, **fields: Any) -> Run:
        """As `Client.put`."""
        return await self._call(lambda client: client.put(id, **fields))

    async def update(self, id: str, **fields: Any) -> Run:
        """As `Client.update`."""
        return await self._call(lambda client: client.update(id, **fields))

    async def delete(self, id: str) -> None:
        """As `Client.delete`."""
        await self._call(lambda client: client.delete(id))

    async def wait(  # the timeout of `Client.wait`, for one signature; `asyncio.timeout` works as well
        self,
        id: str,
        phase: str | Collection[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Run:
        """As `Client.wait`."""
        return await self._call(lambda client: client.wait(id, phase, timeout=timeout))

    def watch(
        self, id: str | None = None, *, after: int | None = None, timeout: float | None = None, **filters: Any
    ) -> AsyncGenerator[Change]:
        """As `Client.watch`."""
        return self._iterate(lambda client: client.watch(id, after=after, timeout=timeout, **filters))

    async def _call(self, function: Callable[[Client], T]) -> T:
        worker = self._idle.pop() if self._idle else self._new_worker()
        future = worker.submit(function)
        try:
            return await asyncio.wrap_future(future)
        finally:
            if future.done() and not self._closed:
                self._idle.append(worker)
            else:
                worker.end()

    async def _iterate(self, function: Callable[[Client], Generator[T]]) -> AsyncGenerator[T]:
        worker = self._new_worker()
        try:
            items = await asyncio.wrap_future(worker.submit(function))
            try:
                while (item := await asyncio.wrap_future(worker.submit(lambda client: next(items, None)))) is not None:
                    yield item
            finally:
                worker.submit(lambda client: items.close())
        finally:
            worker.end()


class _Worker:
    """A client, and the one thread that uses it."""

    def __init__(self, url: str, token: str | None) -> None:
        self._client = Client(url, token)
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[Client], Any]] | None] = SimpleQueue()
        # A daemon thread does not keep a program alive that never closes its stream.
        Thread(target=self._work, name="flowruns-client", daemon=True).start()

    def submit(self, function: Callable[[Client], T]) -> "Future[T]":
        """The future result of *function*, which runs after the functions submitted before."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # cancelling it later has no effect on the thread
        self._jobs.put((future, function))
        return future

    def end(self) -> None:
        """Aborts the running function, and ends the thread once its queue is empty."""
        self._client.abort()
        self._jobs.put(None)

    def _work(self) -> None:
        with self._client:
            while (job := self._jobs.get()) is not None:
                future, function = job
                try:
                    future.set_result(function(self._client))
                except BaseException as error:
                    future.set_exception(error)
