"""Changes as server-sent events (WHATWG HTML, 9.2): each has the change number as its id, so that streams resume."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.json import encode

from flowruns.errors import NotFound, Unavailable
from flowruns.http import responses
from flowruns.http.requests import RequestReader
from flowruns.http.responses import STREAMING, Receive, Scope, Send
from flowruns.settings import Settings
from flowruns.store.filters import Where, by_id
from flowruns.store.reads import Change
from flowruns.store.store import Store

_SILENCE_SECONDS = 15  # then a comment tells proxies and clients that the stream lives

_PIECE_BYTES = 64 * 1024  # that are sent at once: what a client that does not read makes the server hold

_RETRY_SECONDS = 5

_BYE = b"event: bye\ndata: {}\n\n"


class EventStreams:
    """The streams over a store, and how many are open."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self._most = min(settings.max_streams, settings.max_connections // 2)  # the rest is for other requests
        self._open = 0

    async def runs(self, request: RequestReader, where: Where) -> "EventStream":
        """The changes of *where*, from now on or from Last-Event-ID."""
        last = await self.store.position()
        return _stream(self, request, where, last, last)

    async def run(self, request: RequestReader, id: str) -> "EventStream":
        """The changes of one run, from its present state on or from Last-Event-ID. Raises NotFound, but not for a run
        that is gone to a client that may have seen it.
        """
        last = await self.store.position()
        change = await self.store.last_change(id)
        if change is None:
            raise NotFound(id)
        stream = _stream(self, request, by_id(id), change.seq - 1, max(last, change.seq))
        if change.doc is None and not stream.resumes:
            raise NotFound(id)
        return stream

    @contextmanager
    def counted(self) -> Iterator[None]:
        """While entered, one more is open. Raises Unavailable if that is one too many."""
        if self._open >= self._most:
            reason = f"There are {self._open} streams open (--max-streams, and at most half of --max-connections)"
            raise Unavailable(reason, retry_after=_RETRY_SECONDS, part="server")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class EventStream(NamedTuple):
    """The changes of *where* after a number; an ASGI application. It ends when its client leaves, or the store's news
    end.
    """

    feed: EventStreams
    where: Where
    after: int
    resumes: bool  # from Last-Event-ID
    lost: bool  # Last-Event-ID is of another database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, to HEAD the head alone. Raises Unavailable before it begins if there are too many."""
        head = responses.events()
        if scope["method"] == "HEAD":
            await head(scope, receive, send)
            return
        with self.feed.counted():
            scope[STREAMING] = True
            await send({"type": "http.response.start", "status": head.status, "headers": head.headers})
            telling, leaving = asyncio.create_task(self._tell(send)), asyncio.create_task(_left(receive))
            try:
                await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                telling.cancel()
                leaving.cancel()
                await asyncio.wait([telling, leaving])
        if not telling.cancelled():
            telling.result()  # raises what reading changes has raised

    async def _tell(self, send: Send) -> None:
        async def say(data: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        position = self.after
        await say(opening(position, lost=self.lost))
        while (changes := await self.feed.store.changes(self.where, position, _SILENCE_SECONDS)) is not None:
            lost, position = changes.position < position, changes.position
            for piece in chunks(changes.found) if changes.found else [opening(position, lost=lost)]:
                await say(piece)
        await say(_BYE, more=False)


def _stream(feed: EventStreams, request: RequestReader, where: Where, begin: int, last: int) -> EventStream:
    """The stream that Last-Event-ID asks for: from *begin* on without it; what is lost is told from *last* on."""
    try:
        after = request.last_event_id(last)
    except ValueError:
        return EventStream(feed, where, last, resumes=False, lost=True)
    return EventStream(feed, where, begin if after is None else after, resumes=after is not None, lost=False)


async def _left(receive: Receive) -> None:
    """Returns once the client has left, or has its whole answer (ASGI, "Disconnect")."""
    while (await receive())["type"] != "http.disconnect":
        pass


def comment(position: int) -> bytes:
    """A comment, and the number to resume from: no event, as it has no data."""
    return b":\nid: %d\n\n" % position


def opening(position: int, *, lost: bool) -> bytes:
    """What comes at once: a stream lives, from *position* on; what was before it is *lost* to the client."""
    return comment(position) + (b"id: %d\nevent: resync\ndata: {}\n\n" % position if lost else b"")


def chunks(changes: Iterable[Change]) -> Iterator[bytes]:
    """The events of *changes*, gathered, or a large one cut, to pieces."""
    gathered = bytearray()
    for change in changes:
        if change.doc is None:
            kind, data = b"deleted", encode({"id": change.id})
        else:
            kind, data = b"run", change.doc
        gathered += b"id: %d\nevent: %b\ndata: " % (change.seq, kind)
        for start in range(0, len(data), _PIECE_BYTES):
            gathered += _lines(data[start : start + _PIECE_BYTES])
            if len(gathered) >= _PIECE_BYTES:
                yield bytes(gathered)
                gathered.clear()
        gathered += b"\n\n"
    yield bytes(gathered)


def _lines(data: bytes) -> bytes:
    """A part of a document, within `data:` lines. JSON has raw line ends between its values only: a newline begins the
    next line, and a carriage return, which would do so too, becomes a space.
    """
    return data.replace(b"\r", b" ").replace(b"\n", b"\ndata: ")
