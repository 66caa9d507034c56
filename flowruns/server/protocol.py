"""HTTP below the application: deadlines, the size of a head, and bad requests in the one error shape.

uvicorn waits for ever for a head or a body, takes heads of any size, and answers what is not HTTP in plain text.
"""

from itertools import count
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from flowruns.errors import BadRequest, FlowrunsError, HeadersTooLarge, RequestTimeout, Unavailable
from flowruns.http.responses import error_response
from flowruns.server.cycle import Cycle
from flowruns.settings import Settings

MAX_HEADERS = 256  # of a head

_numbers = (
    count()
)  # of connections: the loop's clock counts milliseconds, in which more than one is with_progress_handler

_LINGER_SECONDS = 2  # that a client has to take a error_response: what it still sends would else break off the answer


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. `Server` calls `close_stalled` on each connection once a second: no timers here,
    where every request passes.
    """

    def __init__(self, settings: Settings, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._settings = settings

    def connection_made(self, transport: Any) -> None:
        """Starts the time for the first head. Over the most connections, the one that is silent longest makes room."""
        super().connection_made(transport)
        self.access_log = False  # also where an embedding program's root logger has handlers: ours is `RequestLog`
        self._state = "idle"  # "head", "body": of the request that is coming in
        self._refused = self._lingers = False
        self._running: RequestResponseCycle | None = None  # the request whose turn it is
        self._raw_bytes = self._head_bytes = 0
        self._began = self._heard = self.loop.time()  # when this state began; when a byte last came
        self._number = next(_numbers)
        self._crowded = False
        if len(self.connections) > self._settings.max_connections:
            others = [one for one in self.connections if isinstance(one, Protocol) and one is not self]
            silent = [one for one in others if one.is_idle]
            if silent:
                min(silent, key=lambda one: (one._heard, one._number)).transport.close()
            self._crowded = not silent

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the request that is being answered; uvicorn tells the last one that came, which may wait behind it."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses *data*, unless the request was refused already."""
        if self._refused:
            return
        self._heard = self.loop.time()
        self._parsed = False
        self._unset_keepalive_if_required()
        self._feed(data)
        if not self._parsed:
            # The parser keeps to itself what is not complete: count what went in.
            self._raw_bytes += len(data)
            self._check_size(self._raw_bytes)

    def _feed(self, data: bytes) -> None:
        while data and not self._refused:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as upgrade:
                # The parser leaves what follows such a head to another protocol, the body too. Here the header is to
                # be passed over (RFC 9110 7.8): a new parser is told the same head without it. Java's client sends one.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = HttpRequestParser(self)
            except HttpParserError:
                self._refuse(BadRequest())
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        kept = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, b"".join(kept))

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._state, self._began = "head", self._heard
        self._head_bytes = 0
        self._mark_parsed()

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer is passed over."""
        if self._state == "head":
            super().on_header(name, value.strip(b" \t"))  # the parser leaves the end's, where data was cut there
            self._head_bytes += len(name) + len(value) + 4  # ": " and the line's end

    def on_headers_complete(self) -> None:
        """The head is complete: the application gets the request, unless the head is too large."""
        self._check_size(self._head_bytes)
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":  # which always does
                self._refuse(BadRequest())
            return
        if len(self.headers) > MAX_HEADERS:
            self._refuse(HeadersTooLarge(self._settings.max_head, MAX_HEADERS))
        if self._crowded:
            reason = f"There are {self._settings.max_connections} connections in use (--max-connections)"
            self._refuse(Unavailable(reason, retry_after=1, part="server"))
        if not self._refused:
            super().on_headers_complete()  # which raises at a target that is none
            self._state = "body"
            self.cycle.__class__ = Cycle  # its class is named in the middle of uvicorn's method

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._mark_parsed()
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._mark_parsed()
        if not self._refused and not self.parser.should_upgrade():
            self._state = "idle"
            super().on_message_complete()

    def _mark_parsed(self) -> None:
        self._parsed, self._raw_bytes = True, 0

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Called by uvicorn when it is a request's turn."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """The answer is out: the time of a head that waited behind it begins now."""
        self._began = self._heard = self.loop.time()
        super().on_response_complete()

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it; uvicorn's returns nothing
        """Whether to stay open: a client that has closed its half still gets the answers to whole requests."""
        if self.is_streaming:  # who closes then has left: else it would be known at the next write
            self.transport.abort()  # nobody is to be waited for that takes the rest
            return False
        if self._refused:  # what came last; those before it are being answered
            return self._running is not None and not self._running.response_complete
        if self._answering and self._state == "idle":
            self.cycle.keep_alive = False
            return True
        if (self._answering and self._state == "head") or self.pipeline:
            self._refuse(BadRequest())  # what came of the last one; those before it are answered
            return True
        return False

    def shutdown(self) -> None:
        """Called by uvicorn when the server ends: a connection that was refused has no more to say."""
        if self._lingers:
            self.transport.close()
        else:
            super().shutdown()

    def close_stalled(self, now: float) -> None:
        """Ends a connection whose head or body has not come in time by *now*, in the loop's seconds."""
        if self._lingers and now - self._began > _LINGER_SECONDS:
            self.transport.close()
        if self._refused or self.transport.is_closing():
            return
        if self._state == "body" and not self._answering:  # the rest of a body that was refused
            if now - self._began > self._settings.body_timeout:
                self.transport.close()
        elif self._state == "body":
            if now - self._heard > self._settings.body_timeout and not self.flow.read_paused:
                self._refuse(RequestTimeout())
        elif now - self._began > self._settings.head_timeout and not self._answering:
            if self._state == "head":
                self._refuse(RequestTimeout())
            elif self.timeout_keep_alive_task is None:  # nothing but blank lines; else uvicorn's timer is running
                self.transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, or for the rest of a head, which clients send at once."""
        return self._state != "body" and not self._answering and not self.transport.is_closing()

    @property
    def is_streaming(self) -> bool:
        """Whether a stream has begun, and not ended."""
        running = self._running
        return isinstance(running, Cycle) and running.is_stream and not running.response_complete

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _check_size(self, size: int) -> None:
        if size > self._settings.max_head:
            self._refuse(HeadersTooLarge(self._settings.max_head, MAX_HEADERS))

    def _refuse(self, error: FlowrunsError) -> None:
        """Answers *error* to the request that is coming in, and closes."""
        if self._refused:
            return
        self._refused = True
        # The requests before this one are to have their answers; with the last of them it ends.
        if self._answering and self._state != "body":
            self.cycle.keep_alive = False
            return
        if self.pipeline:
            self.pipeline.popleft()  # this one
            last = self.pipeline[0][0] if self.pipeline else self._running
            if last is not None:
                last.keep_alive = False
            return
        answered = self._state == "body" and not self._answering  # and what is broken is the rest of its body
        if not answered and not (self._answering and self.cycle.response_started):
            answer = error_response(error)
            headers = [*self.server_state.default_headers, *answer.headers, (b"connection", b"close")]
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            # The parser knows the method once there is a target; before that, it tells the last request's.
            named = self._state != "idle" and self._head_bytes
            body = b"" if named and self.parser.get_method() == b"HEAD" else answer.body  # RFC 9110 9.3.2
            self.transport.write(STATUS_LINE[answer.status] + lines + b"\r\n" + body)
        if self._answering:
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        self._lingers, self._began = True, self.loop.time()
        self.transport.write_eof()
