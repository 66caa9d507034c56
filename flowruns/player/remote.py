"""The runs of a server, through its API, and the functions that play them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypedDict, Unpack

from flowruns.client.api import Api
from flowruns.client.async_driver import AsyncDriver
from flowruns.errors import Refused
from flowruns.player.player import Player, Report
from flowruns.player.runs import Event, Found
from flowruns.player.script import Script


class Options(TypedDict, total=False):
    """The options of `play`."""

    seed: int
    speed: float
    report: Report


class RemoteRuns:
    """The runs of the server at *url*. Raises ValueError if *url* or *token* is invalid. Close it with `aclose`."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._api = Api(url, token)
        self._driver = AsyncDriver(self._api.url)

    @property
    def name(self) -> str:
        """The address of the server."""
        return self._api.url

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._driver.aclose()

    async def changes(self) -> AsyncGenerator[Event]:
        """As `Runs.changes`; reconnects if the server restarts."""
        async with aclosing(self._driver.items(self._api.watch())) as events:
            async for event in events:
                match event.kind:
                    case "open" | "resync":
                        yield Event("open")
                    case "lost":
                        yield Event("lost")
                    case "run":
                        yield Event("run", event.data)

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
        return self._strong(await self._driver.result(self._api.replace(id, body, etag)))

    def _strong(self, etag: str | None) -> str:
        if etag is None or not etag.startswith('"'):
            cure = "turn off compression in the proxy"
            raise Refused(f"{self._api.url} sent no strong ETag, which a player needs: {cure}", 200)
        return etag


async def play_async(
    script: Script, url: str, token: str | None = None, *, once: bool = False, **options: Unpack[Options]
) -> None:
    """Plays *script* in the runs of the server at *url*, in the event loop of asyncio: without end, or *once*, until no
    run is left to play. Cancel it to stop; the runs stay as they are, and a later call goes on with them.

    *options*: *seed* of the choices, 0 by default; *speed*, 2.0 plays twice as fast; *report* is called with the id of
    a run and what the player does. Raises Unreachable if no server responds at first, and Refused.
    """
    runs = RemoteRuns(url, token)
    try:
        await Player(script, runs, **options).play(once=once)
    finally:
        await runs.aclose()


def play(script: Script, url: str, token: str | None = None, *, once: bool = False, **options: Unpack[Options]) -> None:
    """As `play_async`, for programs without an event loop."""
    asyncio.run(play_async(script, url, token, once=once, **options))
