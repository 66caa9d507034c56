"""A script that a server plays in its own store."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager

from msgspec import Raw
from msgspec.json import decode

from flowruns.client.streams import Event
from flowruns.errors import PRECONDITION_FAILED, Busy, PreconditionFailed, Refused, Unavailable, one_line
from flowruns.model.cursors import PageRequest
from flowruns.model.lines import RunLine
from flowruns.model.preconditions import Precondition
from flowruns.model.runs import RunPut
from flowruns.player.player import Player
from flowruns.player.runs import Found
from flowruns.player.script import Script
from flowruns.store.filters import where
from flowruns.store.store import Store

_START_SECONDS = 10.0  # a database that is locked, or a full disk, must not keep the server from its start

_RETRY_SECONDS = 0.5

_IF_NEW = Precondition(if_none_match="*")


class StoreRuns:
    """The runs of *store* for a player: as through the API, but without requests."""

    name = "this server"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def changes(self) -> AsyncGenerator[Event]:
        """As `Runs.changes`, until the store ends its subscriptions."""
        position = None
        while True:
            try:
                with _as_of_api():
                    if position is None:
                        position = await self._store.position()
                    yield Event("open")
                    async with aclosing(self._store.follow(position)) as changes:
                        async for change in changes:
                            position = change.seq
                            if change.doc is not None:
                                yield Event("run", data=change.doc)
                    return
            except Busy:
                yield Event("lost")
                await asyncio.sleep(_RETRY_SECONDS)  # no event tells that the database can be read again

    async def unfinished(self, phases: list[str]) -> AsyncGenerator[bytes]:
        """As `Runs.unfinished`."""
        chosen, request = where([("phase", phase) for phase in phases], []), PageRequest(ascending=True)
        while True:
            with _as_of_api():
                page = await self._store.page(chosen, request)
            for doc in decode(b"[%b]" % page.docs, type=list[Raw]):
                yield bytes(doc)
            if page.links.next is None:
                return
            request = request._replace(cursor=page.links.next)

    async def get(self, id: str) -> Found:
        """As `Runs.get`."""
        with _as_of_api():
            stored = await self._store.get(id)
        return Found(stored.doc, stored.etag)

    async def put(self, id: str, body: bytes, etag: str) -> str:
        """As `Runs.put`."""
        run = decode(body, type=RunPut)
        with _as_of_api():
            return (await self._store.put(id, run, when=Precondition(if_match=frozenset({etag}))))[0].etag

    async def create(self, line: RunLine) -> bool:
        """As `Runs.create`, with the `createdAt` and `createdBy` of *line*."""
        with _as_of_api():
            try:
                await self._store.put(str(line.id), line, by=line.created_by, when=_IF_NEW)
            except PreconditionFailed:
                return False
        return True

    async def delete(self, id: str) -> None:
        """As `Runs.delete`."""
        with _as_of_api():
            await self._store.delete(id)


@contextmanager
def _as_of_api() -> Iterator[None]:
    """Turns errors of the store into those of a client."""
    try:
        yield
    except PreconditionFailed as error:
        raise Refused(str(error), PRECONDITION_FAILED, error.details) from None
    except Unavailable as error:
        raise (Refused if error.retry_after is None else Busy)(str(error)) from error


@asynccontextmanager
async def playing(
    store: Store, script: Script, report: Callable[[str], None], *, start_seconds: float = _START_SECONDS
) -> AsyncIterator[None]:
    """While entered, plays *script* in *store*; entered once the runs at the beginning are there, or after
    *start_seconds*. If playing fails later, *report* is called with a line that says why, and the store goes on without
    the script. Raises Unavailable and Refused if it fails before.
    """
    player, entered = Player(script, StoreRuns(store)), False

    async def play() -> None:
        try:
            await player.play()
        except Exception as error:
            if not entered:
                raise
            report(f"flowruns: the script {script.name} has stopped: {one_line(str(error) or type(error).__name__)}")

    tasks = [asyncio.create_task(play()), asyncio.create_task(player.caught_up.wait())]
    try:
        await asyncio.wait(tasks, timeout=start_seconds, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            _raise_as_of_store(tasks[0])
        entered = True
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _raise_as_of_store(task: "asyncio.Task[None]") -> None:
    """Raises the error of *task*, if it has failed: that of the store where one is its cause."""
    try:
        task.result()
    except Refused as error:
        raise error.__cause__ or error  # noqa: B904  # the cause itself
