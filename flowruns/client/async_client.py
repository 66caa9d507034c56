"""The client for event loops."""

from collections.abc import AsyncGenerator, Collection
from typing import Any, Self

import httpx

from flowruns.client.async_driver import AsyncDriver
from flowruns.client.operations import Change, FieldNames, Operations, Order, Page, TaggedRun
from flowruns.model.python_values import Run, Stats


class AsyncClient:
    """`Client` for event loops, asyncio's or trio's: the same methods, as coroutines and asynchronous iterators.
    `async with` or `aclose` closes it.

    Cancelling a call closes the connection of its request. With `httpx.ASGITransport` as *transport* it needs no
    socket, but cannot watch: that transport collects whole responses.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: httpx.Timeout | float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._operations = Operations(url, token)
        self._driver = AsyncDriver(self._operations.url, timeout, transport, http)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._operations.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the watches, and closes the connections; those of other requests when these end."""
        await self._driver.aclose()

    def runs(
        self, *, limit: int | None = None, order: Order = "desc", fields: FieldNames = None, **filters: Any
    ) -> AsyncGenerator[Run]:
        """As `Client.runs`."""
        return self._driver.items(self._operations.runs(limit, order, fields, filters))

    def pages(
        self, *, limit: int | None = None, order: Order = "desc", fields: FieldNames = None, **filters: Any
    ) -> AsyncGenerator[Page]:
        """As `Client.pages`."""
        return self._driver.items(self._operations.pages(limit, order, fields, filters))

    async def stats(self, **filters: Any) -> Stats:
        """As `Client.stats`."""
        return await self._driver.result(self._operations.stats(filters))

    async def get(self, id: str) -> Run:
        """As `Client.get`."""
        return await self._driver.result(self._operations.get(id))

    async def tagged(self, id: str) -> TaggedRun:
        """As `Client.tagged`."""
        return await self._driver.result(self._operations.tagged(id))

    async def create(self, **fields: Any) -> Run:
        """As `Client.create`."""
        return await self._driver.result(self._operations.create(fields))

    async def put(
        self, id: str, *, if_match: str | None = None, if_none_match: str | None = None, **fields: Any
    ) -> Run:
        """As `Client.put`."""
        return await self._driver.result(self._operations.put(id, fields, if_match, if_none_match))

    async def update(self, id: str, **fields: Any) -> Run:
        """As `Client.update`."""
        return await self._driver.result(self._operations.update(id, fields))

    async def delete(self, id: str) -> None:
        """As `Client.delete`."""
        await self._driver.result(self._operations.delete(id))

    async def wait(  # the timeout of `Client.wait`, for one signature; `asyncio.timeout` works as well
        self,
        id: str,
        phase: str | Collection[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # as in `Client.wait`
    ) -> Run:
        """As `Client.wait`."""
        return await self._driver.result(self._operations.wait(id, phase, timeout))

    def watch(
        self,
        id: str | None = None,
        *,
        after: int | None = None,
        timeout: float | None = None,
        fields: FieldNames = None,
        **filters: Any,
    ) -> AsyncGenerator[Change]:
        """As `Client.watch`."""
        return self._driver.items(self._operations.watch(id, after, timeout, fields, filters))
