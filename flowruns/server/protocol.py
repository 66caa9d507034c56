"""HTTP below the application: deadlines, limits on headers and connections, and JSON errors for invalid requests.

uvicorn has no deadline for headers and bodies, no limit for headers, and responds to invalid HTTP in plain text. This
package overrides or reads these names of uvicorn, which it does not document:
- `Server`: `capture_signals`, `force_exit`, `on_tick`, `server_state`; `Config`: `get_loop_factory`
- `HttpToolsProtocol`: `_start_asgi_task`, `_unset_keepalive_if_required`, `access_log`, `connections`, `cycle`, `flow`,
  `headers`, `loop`, `on_response_complete`, `parser`, `pipeline`, `server_state`, `shutdown`, `transport`, `url`,
  `timeout_keep_alive_task`
- `RequestResponseCycle`: `chunked_encoding`, `default_headers`, `disconnected`, `expected_content_length`, `flow`,
  `keep_alive`, `message_event`, `on_response`, `response_complete`, `response_started`, `run_asgi`, `scope`, `send`,
  `transport`, `waiting_for_100_continue`
- `STATUS_LINE` of the same module, `FlowControl`, and `HIGH_WATER_LIMIT`
"""

import logging
import sys
from itertools import count
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from flowruns.errors import BadRequest, FlowrunsError, HeadersTooLarge, RequestTimeout, Unavailable
from flowruns.http.origins.cors import cors_headers
from flowruns.http.responses import OWN_SERVER, Header, error_response, internal_error
from flowruns.server.pacing import PacedProtocol
from flowruns.server.request_cycle import Cycle, LaterCycle
from flowruns.settings import Settings

log = logging.getLogger("flowruns")

MAX_HEADERS = 256  # in one request

_DRAIN_SECONDS = 2  # after an error response, before it closes: closing with unread input resets the connection

_NO_LINGER = pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # on, for 0 seconds

_numbers = count()  # orders connections within one millisecond, the resolution of the loop's clock


class WriteProgress:
    """Whether a client reads: the bytes that wait to be sent to it, as sampled."""

    def __init__(self) -> None:
        self._buffered = 0
        self._since = 0.0

    def stalled_seconds(self, buffered: int, now: float) -> float:
        """The seconds since the number of *buffered* bytes last fell; 0 while there are none."""
        if buffered < self._buffered or not self._buffered or not buffered:
            self._since = now
        self._buffered = buffered
        return now - self._since


class Protocol(PacedProtocol):
    """uvicorn's protocol with limits. `Server` calls `close_stalled` five times a second, at less cost than timers."""

    def __init__(self, settings: Settings, **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._settings = settings

    def connection_made(self, transport: Any) -> None:
        """Over the limit, closes the longest idle connection; if none is idle, requests of this one get 503."""
        super().connection_made(transport)
        self.access_log = False  # even if the root logger of an embedding program has handlers: `RequestLog` does it
        self._cycle_class = Cycle if self.loop.get_task_factory() is None else LaterCycle
        self._draining = False
        self._current: RequestResponseCycle | None = None  # the request that the application is processing
        self._unparsed_bytes = self._header_bytes = 0
        self._state_since = self._last_read = self.loop.time()
        self._number = next(_numbers)
        self._over_limit = False
        self._progress = WriteProgress()
        if len(self.connections) > self._settings.max_connections:
            others = [other for other in self.connections if isinstance(other, Protocol) and other is not self]
            idle = [other for other in others if other.is_idle]
            if idle:
                min(idle, key=lambda other: (other._last_read, other._number)).transport.close()
            self._over_limit = not idle

    def connection_lost(self, exc: Exception | None) -> None:
        """Notifies the current request; uvicorn notifies the last one received, which may be queued behind it."""
        if self._current is not None and not self._current.response_complete:
            self._current.disconnected = True
            self._current.message_event.set()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # after a reset uvicorn keeps the timer, which refers to this object

    def data_received(self, data: bytes) -> None:
        """Parses *data*, unless a request was rejected."""
        if not self._rejected:
            self._last_read = self.loop.time()
            super().data_received(data)

    def _feed(self, piece: bytes) -> None:
        self._parsed = False
        self._feed_parser(piece)
        if not self._parsed:
            # The parser calls back only for complete tokens, so count the bytes that it buffers.
            self._unparsed_bytes += len(piece)
            self._check_size(self._unparsed_bytes)

    def _feed_parser(self, data: bytes) -> None:
        while data and not self._rejected:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as upgrade:
                # At an Upgrade header the parser leaves the rest, the body too, to another protocol. Ignore the header
                # (RFC 9110 7.8): feed the same headers without it to a new parser. Java's client sends one.
                data = self._headers_without_upgrade() + data[upgrade.args[0] :]
                self.parser = HttpRequestParser(self)
            except HttpParserError as error:
                # A callback, of uvicorn or below, raised: an invalid target, or an internal error.
                cause = error.__context__ if isinstance(error, HttpParserCallbackError) else error
                if isinstance(cause, HttpParserError) or (isinstance(cause, AttributeError) and self._lacks_path()):
                    self._reject(BadRequest())
                else:
                    log.error("%s in a callback of the HTTP parser", type(cause).__name__, exc_info=cause)
                    self._reject(None)
                return

    def _lacks_path(self) -> bool:
        """Whether the target is `http://host`, at which uvicorn raises AttributeError."""
        return bool(self.url) and parse_url(self.url).path is None

    def _headers_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, lines)

    def on_message_begin(self) -> None:
        """A request line begins."""
        super().on_message_begin()
        self._state, self._state_since = "headers", self._last_read
        self._header_bytes = 0
        self._mark_parsed()

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        super().on_url(url)
        self._header_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are ignored."""
        if self._state == "headers":
            super().on_header(name, value.strip(b" \t"))  # the parser keeps trailing space where the data was split
            self._header_bytes += len(name) + len(value) + 4  # ": " and CRLF

    def on_headers_complete(self) -> None:
        """Passes the request to the application, unless its headers are too large."""
        self._check_size(self._header_bytes)
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":  # always an upgrade
                self._reject(BadRequest())
            return
        if len(self.headers) > MAX_HEADERS:
            self._reject(HeadersTooLarge(self._settings.max_head, MAX_HEADERS))
        if self._over_limit:
            reason = f"The server has its maximum of {self._settings.max_connections} connections (--max-connections)"
            self._reject(Unavailable(reason, retry_after=1, part="server"))
        if not self._rejected:
            super().on_headers_complete()  # raises if the target is invalid
            self._state = "body"

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._mark_parsed()
        if not self._rejected:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._mark_parsed()
        if not self._rejected and not self.parser.should_upgrade():
            self._state = "idle"
            super().on_message_complete()

    def _mark_parsed(self) -> None:
        self._parsed, self._unparsed_bytes = True, 0

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Called by uvicorn when the request is first in the queue."""
        self._current = cycle
        cycle.__class__ = self._cycle_class  # uvicorn's method that makes it hard-codes the class
        cycle.scope[OWN_SERVER] = True  # type: ignore[literal-required]  # an extension
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Restarts the deadline for headers that were received during the response."""
        self._state_since = self._last_read = self.loop.time()
        super().on_response_complete()

    def eof_received(self) -> bool:  # type: ignore[override]  # as in `PacedProtocol`
        """Whether to stay open: a client that has closed its half receives the responses to its complete requests."""
        if self.is_streaming:  # such a client has disconnected; otherwise only the next write would show it
            self.transport.abort()  # without waiting for the client to read the rest
            return False
        if self._unread and not self._rejected:
            self._eof = True
            return True
        if self._rejected:  # the last request; earlier ones may still be processed
            return self._current is not None and not self._current.response_complete
        if self.is_responding and self._state == "idle":
            self.cycle.keep_alive = False
            return True
        if (self.is_responding and self._state == "headers") or self.pipeline:
            self._reject(BadRequest())  # the incomplete last request; earlier ones get their responses
            return True
        return False

    def shutdown(self) -> None:
        """Called by uvicorn when the server stops: closes a connection whose error response is complete."""
        if self._draining:
            self.transport.close()
        else:
            super().shutdown()

    def close_stalled(self, now: float) -> None:
        """Ends the connection if headers or a body have not arrived, or the client has not read, by *now*, in the
        loop's seconds.
        """
        buffered = self.transport.get_write_buffer_size()
        if self._progress.stalled_seconds(buffered, now) > self._settings.body_timeout:
            self._reset()
            return
        if self._draining and now - self._state_since > _DRAIN_SECONDS:
            self.transport.close()
        if self._rejected or self.transport.is_closing():
            return
        if self._state == "body" and not self.is_responding:  # the rest of a body, after an error response
            if now - self._state_since > self._settings.body_timeout:
                self.transport.close()
        elif self._state == "body":
            if now - self._last_read > self._settings.body_timeout and not self.flow.read_paused:
                self._reject(RequestTimeout())
                if self._draining:
                    self.transport.close()  # without a drain: it sends nothing that would be left unread
        elif now - self._state_since > self._settings.head_timeout and not self.is_responding:
            if self._state == "headers":
                self._reject(RequestTimeout())
            elif self.timeout_keep_alive_task is None:  # only blank lines arrived; otherwise uvicorn's timer is running
                self.transport.close()

    def _reset(self) -> None:
        """Closes the connection with a reset: otherwise the data in its buffers would wait for the client to read."""
        self.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _NO_LINGER)
        self.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request or the rest of its headers, which clients send at once."""
        return self._state != "body" and not self.is_responding and not self.transport.is_closing()

    @property
    def is_streaming(self) -> bool:
        """Whether a stream has begun and not ended."""
        cycle = self._current
        return isinstance(cycle, Cycle) and cycle.is_stream and not cycle.response_complete

    def _check_size(self, size: int) -> None:
        if size > self._settings.max_head:
            self._reject(HeadersTooLarge(self._settings.max_head, MAX_HEADERS))

    def _reject(self, error: FlowrunsError | None) -> None:
        """Responds with *error*, None for an internal one, to the request that is being received, and closes the
        connection.
        """
        if self._rejected:
            return
        self._rejected = True
        # Earlier requests get their responses; the connection closes after the last of them.
        if self.is_responding and self._state != "body":
            self.cycle.keep_alive = False
            return
        if self.pipeline:
            self.pipeline.popleft()  # the rejected request
            last = self.pipeline[0][0] if self.pipeline else self._current
            if last is not None:
                last.keep_alive = False
            return
        responded = self._state == "body" and not self.is_responding  # and the rest of the body is invalid
        if not responded and not (self.is_responding and self.cycle.response_started):
            self._write_error(error)
        if self.is_responding:
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        self._draining, self._state_since = True, self.loop.time()
        self.transport.write_eof()

    def _write_error(self, error: FlowrunsError | None) -> None:
        response = error_response(error) if error else internal_error()
        headers = [*self.server_state.default_headers, *response.headers, *self._cors(), (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        # The parser knows the method once it has parsed a target; before that, it returns that of the last request.
        is_head = self._state != "idle" and self._header_bytes and self.parser.get_method() == b"HEAD"
        body = b"" if is_head else response.body  # RFC 9110 9.3.2
        self.transport.write(STATUS_LINE[response.status] + lines + b"\r\n" + body)

    def _cors(self) -> tuple[Header, ...]:
        """The headers that let a page of an allowed origin read the error, if its Origin has arrived."""
        received = self.headers if self._state != "idle" else []
        for origin in [value.decode("latin-1") for name, value in received if name == b"origin"]:
            if origin in self._settings.cors_origins:
                return cors_headers(origin)
        return ()
