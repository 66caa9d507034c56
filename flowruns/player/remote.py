"""The runs of a server, through its API, and the functions that play them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypedDict, Unpack

from flowruns.client.api import Api
from flowruns.client.async_client import AsyncClient
from flowruns.client.async_driver import AsyncDriver
from flowruns.client.client import Client
from flowruns.client.responses import strong
from flowruns.client.streams import Event
from flowruns.errors import PRECONDITION_FAILED, Refused
from flowruns.model.lines import RunLine
from flowruns.model.runs import encode
from flowruns.player.player import Player, Report
from flowruns.player.runs import Found
from flowruns.player.script import Script


class Options(TypedDict, total=False):
    """The options of `play`."""

    seed: int
    speed: float
    report: Report


class RemoteRuns:
    """The runs of the server of *api*, whose requests *driver* performs."""

    def __init__(self, api: Api, driver: AsyncDriver) -> None:
        self._api = api
        self._driver = driver

    @property
    def name(self) -> str:
        """The address of the server."""
        return self._api.url

    def changes(self) -> AsyncGenerator[Event]:
        """As `Runs.changes`; reconnects if the server restarts."""
        return self._driver.items(self._api.watch())

    async def unfinished(self, phases: list[str]) -> AsyncGenerator[bytes]:
        """As `Runs.unfinished`."""
        async with aclosing(self._driver.items(self._api.pages(order="asc", phase=phases))) as pages:
            async for page in pages:
                for doc in page.docs:
                    yield doc

    async def get(self, id: str) -> Found:
        """As `Runs.get`."""
        doc, etag = await self._driver.result(self._api.tagged(id))
        return Found(doc, self._strong(etag))

    async def put(self, id: str, body: bytes, etag: str) -> str:
        """As `Runs.put`."""
        return self._strong((await self._driver.result(self._api.put(id, body, {"If-Match": etag}))).etag)

    async def create(self, line: RunLine) -> bool:
        """As `Runs.create`: it is created now, by the user of the token."""
        try:
            await self._driver.result(self._api.put(str(line.id), encode(line), {"If-None-Match": "*"}))
        except Refused as error:
            if error.status != PRECONDITION_FAILED:
                raise
            return False
        return True

    async def delete(self, id: str) -> None:
        """As `Runs.delete`."""
        await self._driver.result(self._api.delete(id))

    def _strong(self, etag: str | None) -> str:
        return strong(self._api.url, etag, "a player")


async def play_async(script: Script, client: AsyncClient, *, once: bool = False, **options: Unpack[Options]) -> None:
    """Plays *script* in the runs of the server of *client*, in the event loop of asyncio or trio: without end, or
    *once*, until no run is left to play. Cancel it to stop; the runs stay as they are, and a later call goes on with
    them.

    *options*: *seed* of the choices, 0 by default; *speed*, 2.0 plays twice as fast; *report* is called with the id of
    a run and what the player does. Raises Unreachable if no server responds at first, or *client* is closed; Refused.
    """
    if not isinstance(client, AsyncClient):
        raise TypeError("play_async needs an AsyncClient; play is for a Client")
    runs = RemoteRuns(client._operations.api, client._driver)  # private, but for this package
    await Player(script, runs, **options).play(once=once)


def play(script: Script, client: Client, *, once: bool = False, **options: Unpack[Options]) -> None:
    """As `play_async`, for programs without an event loop. It plays on connections of its own, with the address, the
    token and the timeout of *client*. Raises TypeError if *client* has a transport or an httpx client of its own.
    """
    if not isinstance(client, Client):
        raise TypeError("play needs a Client; play_async is for an AsyncClient")
    if client._driver.is_custom:
        raise TypeError("a transport or an httpx client of your own cannot play: use AsyncClient and play_async")

    async def run() -> None:
        driver = AsyncDriver(client._operations.url, client._driver.timeout)
        try:
            await Player(script, RemoteRuns(client._operations.api, driver), **options).play(once=once)
        finally:
            await driver.aclose()

    asyncio.run(run())
