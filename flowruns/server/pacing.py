"""The pace of a connection: what it has sent is parsed piece by piece, and others have their turn in between."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes. A piece of pipelined requests has few of them: others wait while it is parsed, and while it is answered.
_PARSED_AT_ONCE, _BODY_PARSED_AT_ONCE = 2 * 1024, 16 * 1024

_MAX_TOKENS = 64  # requests and chunks of bodies that are parsed without a pause: they take 5 ms with their responses

# For the threads of the store: while the loop is busy it releases the interpreter's lock for moments only, in which
# they cannot take it.
_PAUSE_SECONDS = 0.001


class Flow(FlowControl):
    """uvicorn's control of what is read, which reads nothing while *is_behind* returns true."""

    def __init__(self, transport: asyncio.Transport, is_behind: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._is_behind = is_behind

    def resume_reading(self) -> None:
        """Reads again, unless received bytes or requests wait: a client may send a million without reading a
        response.
        """
        if self.read_paused and not self._is_behind():
            super().resume_reading()


class PacedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which parses no request while another one waits for its turn. A subclass feeds the parser."""

    def connection_made(self, transport: Any) -> None:
        """Begins with nothing received."""
        super().connection_made(transport)
        self.flow = Flow(transport, self._is_behind)
        self._unread = b""  # received, and not yet parsed
        self._eof = False  # the client has closed its half, and there are unread bytes before that
        self._tokens = 0  # parsed since the last pause
        self._pausing = False
        self._state = "idle"  # or "headers", "body": the part of a request that is being received; the subclass sets it
        self._rejected = False  # the subclass sets it, and then nothing more is parsed

    def data_received(self, data: bytes) -> None:
        """Parses *data*, now or later."""
        if not self._unread:
            self._tokens = 0
        self._unread += data
        self._parse()

    def on_message_begin(self) -> None:
        """A request line begins."""
        super().on_message_begin()
        self._tokens += 1

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        super().on_body(body)
        self._tokens += 1

    def on_response_complete(self) -> None:
        """Continues with the next request."""
        super().on_response_complete()
        if self._unread:
            # Not here, while the application may be handling an exception: Python would put that in the place of what a
            # callback of the parser raises.
            self.loop.call_soon(self._continue)
        elif self.flow.read_paused or self._eof:
            self._continue()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's signature; uvicorn's returns None
        """The client has closed its half: returns whether to stay open."""
        raise NotImplementedError

    @property
    def is_responding(self) -> bool:
        """Whether the response to the last request that was parsed is incomplete."""
        return self.cycle is not None and not self.cycle.response_complete

    def _feed(self, piece: bytes) -> None:
        """Feeds *piece* to the parser."""
        raise NotImplementedError

    def _is_behind(self) -> bool:
        return bool(self._unread or self.pipeline)

    def _parse(self) -> None:
        """Parses what was received, piece by piece, until a request waits for the one before it, or others must have
        their turn.
        """
        while self._unread and not (self.pipeline or self._rejected or self._pausing):
            if self._tokens > _MAX_TOKENS:
                self._pause()
                return
            self._unset_keepalive_if_required()  # each response sets it, also if a part of the next request is here
            size = _BODY_PARSED_AT_ONCE if self._state == "body" else _PARSED_AT_ONCE
            piece, self._unread = self._unread[:size], self._unread[size:]
            self._feed(piece)

    def _pause(self) -> None:
        self._tokens, self._pausing = 0, True
        self.flow.pause_reading()
        self.loop.call_later(_PAUSE_SECONDS, self._end_pause)

    def _end_pause(self) -> None:
        self._pausing = False
        self._continue()

    def _continue(self) -> None:
        """Continues to parse, and then to read."""
        if self.transport.is_closing():
            return
        self._parse()
        if not (self._state == "body" and self.is_responding and len(self.cycle.body) > HIGH_WATER_LIMIT):
            self.flow.resume_reading()
        if self._eof and not self._unread:
            self._eof = False
            if not self.eof_received():
                self.transport.close()
