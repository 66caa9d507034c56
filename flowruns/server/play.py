"""A script that a server plays in its own store."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from msgspec import Raw
from msgspec.json import decode

from flowruns.errors import Busy, FlowrunsError, PreconditionFailed, Refused, Unavailable, one_line
from flowruns.model.cursors import PageRequest
from flowruns.model.preconditions import Precondition
from flowruns.model.runs import RunPut
from flowruns.player.player import Player
from flowruns.player.runs import Event, Found
from flowruns.player.script import Script
from flowruns.store.filters import where
from flowruns.store.store import Store

_PRECONDITION_FAILED = 412


class StoreRuns:
    """The runs of *store* for a player: as through the API, but without requests."""

    name = "this server"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def changes(self) -> AsyncGenerator[Event]:
        """As `Runs.changes`, until the store ends its subscriptions."""
        position = await self._store.position()
        yield Event("open")
        async with aclosing(self._store.follow(position)) as changes:
            async for change in changes:
                if change.doc is not None:
                    yield Event("run", change.doc)

    async def unfinished(self, phases: list[str]) -> AsyncGenerator[bytes]:
        """As `Runs.unfinished`."""
        chosen, request = where([("phase", phase) for phase in phases], []), PageRequest(ascending=True)
        while True:
            page = await self._store.page(chosen, request)
            for doc in decode(b"[%b]" % page.docs, type=list[Raw]):
                yield bytes(doc)
            if page.links.next is None:
                return
            request = request._replace(cursor=page.links.next)

    async def get(self, id: str) -> Found:
        """As `Runs.get`."""
        stored = await self._store.get(id)
        return Found(stored.doc, stored.etag)

    async def put(self, id: str, body: bytes, etag: str) -> str:
        """As `Runs.put`."""
        when = Precondition(if_match=frozenset({etag}))
        try:
            return (await self._store.put(id, decode(body, type=RunPut), when=when))[0].etag
        except PreconditionFailed as error:
            raise Refused(str(error), _PRECONDITION_FAILED, error.details) from None
        except Unavailable as error:
            raise Busy(str(error)) from None
        except FlowrunsError as error:
            raise Refused(str(error), 422, error.details) from None


@asynccontextmanager
async def playing(store: Store, script: Script, report: Callable[[str], None]) -> AsyncIterator[None]:
    """While entered, plays *script* in *store*. *report* is called with a line if that fails."""

    async def play() -> None:
        try:
            await Player(script, StoreRuns(store)).play()
        except Exception as error:
            report(f"flowruns: --play has stopped: {one_line(str(error) or type(error).__name__)}")
            raise

    task = asyncio.create_task(play())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # reported above
