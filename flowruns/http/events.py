"""Changes as server-sent events (WHATWG HTML 9.2). The id of each event is the change number, from which a stream
resumes.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.json import encode

from flowruns.errors import NotFound, Unavailable
from flowruns.http import responses
from flowruns.http.requests import RequestReader
from flowruns.http.responses import STREAMING, Receive, Scope, Send
from flowruns.model.fields import Fields
from flowruns.settings import Settings
from flowruns.store.filters import Where, by_id
from flowruns.store.holdings import Holdings
from flowruns.store.reads import Change
from flowruns.store.store import Store

_SILENCE_SECONDS = 4  # at most; clients such as httpx give up after 5 without data

_PIECE_BYTES = 64 * 1024  # sent at once; the server buffers this much for a client that does not read

_RETRY_SECONDS = 5  # to wait at the limit

_RETRY = b"retry: 500\n"  # milliseconds, after which a browser connects again: a development server restarts often

_BYE = b"event: bye\ndata: {}\n\n"


class EventStreams:
    """Opens the streams of a store, and limits their number."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self._limit = min(settings.max_streams, settings.max_connections // 2)  # the rest is for other requests
        self._open = 0

    async def runs(self, request: RequestReader, where: Where) -> "EventStream":
        """The changes of the runs in *where*, from now on or after Last-Event-ID."""
        last = await self.store.position()
        return await _stream(self, request, where, last, last)

    async def run(self, request: RequestReader, id: str, fields: Fields) -> "EventStream":
        """The changes of these *fields* of one run, from its current state on or after Last-Event-ID. Raises
        NotFound if there is no such run, but not to a client that resumes: it receives the deletion.
        """
        last = await self.store.position()
        change = await self.store.last_change(id)
        if change is None:
            raise NotFound(id)
        stream = await _stream(self, request, by_id(id)._replace(fields=fields), change.seq - 1, max(last, change.seq))
        if change.doc is None and not stream.resumes:
            raise NotFound(id)
        return stream

    @contextmanager
    def count_open(self) -> Iterator[None]:
        """Counts a stream as open while entered. Raises Unavailable if that exceeds the limit."""
        if self._open >= self._limit:
            reason = f"The server has its maximum of {self._limit} streams (--max-streams, half of --max-connections)"
            raise Unavailable(reason, retry_after=_RETRY_SECONDS, part="server")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class EventStream(NamedTuple):
    """The changes of *where* after a change number; an ASGI application. It ends when the client disconnects or the
    store ends its subscriptions.
    """

    streams: EventStreams
    where: Where
    after: int
    resumes: bool  # after Last-Event-ID
    resync: bool  # Last-Event-ID is of another database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream; only the headers if the method is HEAD. Raises Unavailable, before it sends anything, if
        too many streams are open.
        """
        response = responses.events()
        if scope["method"] == "HEAD":
            await response(scope, receive, send)
            return
        with self.streams.count_open():
            scope[STREAMING] = True
            await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
            sender, disconnect = asyncio.create_task(self._send_events(send)), asyncio.create_task(_disconnect(receive))
            try:
                await asyncio.wait([sender, disconnect], return_when=asyncio.FIRST_COMPLETED)
            finally:
                sender.cancel()
                disconnect.cancel()
                await asyncio.wait([sender, disconnect])
        if not sender.cancelled():
            sender.result()  # raises the error of a failed read

    async def _send_events(self, send: Send) -> None:
        async def send_body(data: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})
            await asyncio.sleep(0)  # others have their turn, even if the client reads as fast as this sends

        position, store = self.after, self.streams.store
        holdings = self._holdings(position if self.resumes or self.resync else 0)
        await send_body(_RETRY + opening(position, resync=self.resync))
        while (changes := await store.changes(self.where, position, _SILENCE_SECONDS, holdings)) is not None:
            resync, position = changes.position < position, changes.position
            if resync:
                holdings = self._holdings(position)
            for piece in chunks(changes.found) if changes.found else [opening(position, resync=resync)]:
                await send_body(piece)
        await send_body(_BYE, more=False)

    def _holdings(self, resumed_after: int) -> Holdings | None:
        return Holdings(resumed_after) if self.where.can_be_left else None


async def _stream(streams: EventStreams, request: RequestReader, where: Where, start: int, last: int) -> EventStream:
    """The stream after the largest valid number in Last-Event-ID; after *start* without the header; after *last*, with
    a resync event, if none is valid.
    """
    numbers = request.last_event_ids(last)
    if numbers is None:
        return EventStream(streams, where, start, resumes=False, resync=False)
    for number in numbers:
        if not await streams.store.is_skipped(number):  # else of another copy of the database
            return EventStream(streams, where, number, resumes=True, resync=False)
    return EventStream(streams, where, last, resumes=False, resync=True)


async def _disconnect(receive: Receive) -> None:
    """Returns once the client has disconnected or the response is complete (ASGI, "Disconnect")."""
    while (await receive())["type"] != "http.disconnect":
        pass


def opening(position: int, *, resync: bool) -> bytes:
    """The number to resume from, as an event with data: clients parse those without data as JSON, too. After a resync
    event if the client has missed changes.
    """
    kinds = (b"resync", b"position") if resync else (b"position",)
    return b"".join(b"id: %d\nevent: %b\ndata: {}\n\n" % (position, kind) for kind in kinds)


def chunks(changes: Iterable[Change]) -> Iterator[bytes]:
    """The events of *changes*, in pieces of about 64 KiB: small events are joined, large ones split."""
    buffer = bytearray()
    for change in changes:
        data = encode({"id": change.id}) if change.doc is None else change.doc
        buffer += b"id: %d\nevent: %b\ndata: " % (change.seq, change.kind.encode())
        for start in range(0, len(data), _PIECE_BYTES):
            buffer += _data_lines(data[start : start + _PIECE_BYTES])
            if len(buffer) >= _PIECE_BYTES:
                yield bytes(buffer)
                buffer.clear()
        buffer += b"\n\n"
    yield bytes(buffer)


def _data_lines(data: bytes) -> bytes:
    """A part of a document as `data:` lines. JSON has raw line breaks only between values: a newline begins the next
    line, and a carriage return, which would do the same, becomes a space.
    """
    return data.replace(b"\r", b" ").replace(b"\n", b"\ndata: ")
