"""The HTTP requests of a client: returns runs as stored JSON documents, and streams of changes."""

import http.client
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from selectors import EVENT_READ, DefaultSelector
from threading import Event as Flag
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from flowruns.client.responses import EVENTS, JSON, error_of, media_type, parse_page, unexpected_response, unreachable
from flowruns.client.source import Page
from flowruns.client.streams import Event, parse_events, resume, seconds_left
from flowruns.errors import Unreachable
from flowruns.model.cursors import MAX_PAGE_SIZE
from flowruns.settings import RUNS, TOKEN
from flowruns.version import __version__

Filters = Mapping[str, Any]  # query parameters of the list: one value, or a list of values

Headers = Mapping[str, str]

NO_HEADERS: Headers = {}

_RESPONSE_TIMEOUT = 30.0  # seconds

_STREAM_TIMEOUT = 45.0  # seconds without data; the server sends a comment every 15

_ABORTED = "the request was aborted"


class TaggedRun(NamedTuple):
    """A run as a stored JSON document, and the ETag header of the response; None: it has none."""

    doc: bytes
    etag: str | None


class Transport:
    """The HTTP connection to the server at *url*. It keeps one connection alive, for one thread at a time; each stream
    has a connection of its own. Raises ValueError if *url* or *token* is invalid.

    Every method may raise Unreachable and Refused.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._address = address(url.rstrip("/").removesuffix(RUNS))
        self.url = self._address.geturl()
        if token is not None and not re.fullmatch(TOKEN, token):  # the message must not repeat it: it is a secret
            raise ValueError("the token must not be empty or contain spaces or control characters")
        self._token = token
        self._connection: http.client.HTTPConnection | None = None
        self._sockets: set[socket.socket] = set()  # in use
        self._aborted = Flag()

    @property
    def name(self) -> str:
        """The address of the server."""
        return self.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abort(self) -> None:
        """Makes the request of another thread raise Unreachable, and every later one."""
        self._aborted.set()
        for used in list(self._sockets):
            with suppress(OSError):  # closed in the meantime
                used.shutdown(socket.SHUT_RDWR)

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that match *filters*, at most *limit*, in pages; at least one page."""
        if limit is not None and limit < 1:
            raise ValueError("limit must be 1 or more, or None for all runs")
        left, cursor = limit, ""
        while True:
            size = MAX_PAGE_SIZE if left is None else min(left, MAX_PAGE_SIZE)
            query = {"size": size, "order": order, "cursor": cursor, **filters}
            page = parse_page(self.url, self._request("GET", RUNS + _query(query)).doc)
            yield Page([bytes(doc) for doc in page.items], page.total)
            left = None if left is None else left - len(page.items)
            if page.next_page is None or left == 0:
                return
            cursor = page.next_page

    def runs(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[bytes]:
        """The runs that match *filters*, at most *limit*."""
        for page in self.pages(limit=limit, order=order, **filters):
            yield from page.docs

    def get(self, id: str) -> bytes:
        """The run. Raises NotFound."""
        return self.tagged(id).doc

    def tagged(self, id: str) -> TaggedRun:
        """The run with its entity tag. Raises NotFound."""
        return self._request("GET", _path(id), id=id)

    def create(self, body: bytes) -> bytes:
        """The run that a POST of *body* creates."""
        return self._request("POST", RUNS, body).doc

    def put(self, id: str, body: bytes, if_match: str | None = None) -> bytes:
        """The run that a PUT of *body* creates or replaces; with *if_match*, only if the run has this entity tag."""
        return self._request("PUT", _path(id), body, {} if if_match is None else {"If-Match": if_match}).doc

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
        self._request("DELETE", _path(id), id=id)

    def watch(
        self, id: str | None = None, *, after: int | None = None, deadline: float | None = None, **filters: Any
    ) -> Iterator[Event]:
        """The changes of the run *id*, or of the runs that match *filters*, without end or until *deadline*, in
        monotonic seconds. Starts after change number *after*; without it, starts now, with the current state of *id*
        first. Reconnects if the server restarts, and resumes at the last position.
        """
        return resume(lambda position: self.stream(id, position, filters, deadline), after, deadline, self._sleep)

    def states(self, id: str, deadline: float | None = None) -> Iterator[Event]:
        """The states of the run *id*, the current one first, until *deadline*, in monotonic seconds. Waits for a server
        that is not reachable yet. Each stream starts with the current state: another database may follow.
        """
        return resume(lambda position: self.stream(id, None, {}, deadline), None, deadline, self._sleep, opened=True)

    def stream(
        self, id: str | None, after: int | None, filters: Filters, deadline: float | None = None
    ) -> Iterator[Event]:
        """One stream of changes, until the server ends it, or until *deadline*."""
        with closing(self._connect(min(_STREAM_TIMEOUT, seconds_left(deadline)))) as connection:
            headers = {"Accept": EVENTS} | ({} if after is None else {"Last-Event-ID": str(after)})
            try:
                with self._in_use(connection) as used:
                    response = self._send(connection, "GET", _path(id) + _query(filters), None, headers)
                    with response:
                        if response.status != 200:
                            raise error_of(self.url, response, response.read(), id)
                        if media_type(response) != EVENTS:
                            raise unexpected_response(self.url, 200)
                        yield from parse_events(_lines(used, response, deadline))
            except (OSError, http.client.HTTPException) as error:
                if not seconds_left(deadline):
                    return
                raise unreachable(self.url, error) from None

    def _request(
        self, method: str, target: str, body: bytes | None = None, headers: Headers = NO_HEADERS, id: str | None = None
    ) -> TaggedRun:
        """The body of the response, and its ETag."""
        while True:
            reused = self._connection is not None
            connection = self._connection = self._open_connection() or self._connect(_RESPONSE_TIMEOUT)
            try:
                with self._in_use(connection):
                    response = self._send(connection, method, target, body, headers)
                    content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # The server may close an idle connection before it receives the request. Only GET is sent again: other
                # methods may have had an effect.
                if reused and method == "GET" and not isinstance(error, TimeoutError) and not self._aborted.is_set():
                    continue
                raise unreachable(self.url, error) from None
            except BaseException:
                self.close()
                raise
            if response.status >= 300:
                raise error_of(self.url, response, content, id)
            if response.status != 204 and media_type(response) != JSON:
                raise unexpected_response(self.url, response.status)
            return TaggedRun(content, response.headers["ETag"])

    def _open_connection(self) -> http.client.HTTPConnection | None:
        """The open connection; None if there is none, or if the server has closed it, as after its idle timeout."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with DefaultSelector() as selector:
                selector.register(connection.sock, EVENT_READ)
                if selector.select(0):  # no response is due: only the end of the connection is readable
                    self.close()
        return self._connection

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        return kind(self._address.hostname or "", self._address.port, timeout=timeout)

    @contextmanager
    def _in_use(self, connection: http.client.HTTPConnection) -> Iterator[socket.socket]:
        """The socket of *connection*. While entered, `abort` shuts it down."""
        if connection.sock is None:
            connection.connect()
        used: socket.socket = connection.sock  # http.client sets this to None at the last response
        self._sockets.add(used)
        try:
            if self._aborted.is_set():  # before the socket was added
                raise ConnectionAbortedError(_ABORTED)
            yield used
        finally:
            self._sockets.discard(used)

    def _sleep(self, seconds: float) -> None:
        if self._aborted.wait(seconds):
            raise Unreachable(f"{self.url}: {_ABORTED}")

    def _send(
        self, connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None, headers: Headers
    ) -> http.client.HTTPResponse:
        defaults: dict[str, str | bytes] = {"User-Agent": f"flowruns/{__version__}"}
        if self._token:
            defaults["Authorization"] = f"Bearer {self._token}".encode()
        if body is not None:
            defaults["Content-Type"] = "application/json"
        connection.request(method, self._address.path + target, body, {**defaults, **headers})
        return connection.getresponse()


def address(url: str) -> SplitResult:
    """The parts of the *url* of a server. Raises ValueError, which does not repeat what may be a secret."""
    if "@" in url or "#" in url:
        raise ValueError("the address of a server has no user, password or fragment; pass a token as such")
    with suppress(ValueError):  # invalid port
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query
        if valid and re.fullmatch(r"[\x21-\x7e]+", url):
            return parts
    raise ValueError(f"{url!r} is not a server address: use for example http://127.0.0.1:8000")


def _lines(used: socket.socket, response: http.client.HTTPResponse, deadline: float | None) -> Iterator[bytes]:
    """The lines of *response* as they arrive, until it ends, or until *deadline*. Raises TimeoutError when idle."""
    while left := seconds_left(deadline):
        if deadline is not None:
            used.settimeout(min(_STREAM_TIMEOUT, left))
        if not (line := response.readline()):
            return
        yield line


def _path(id: str | None) -> str:
    return RUNS if id is None else f"{RUNS}/{quote(id, safe='')}"


def _query(parameters: Filters) -> str:
    values = {name: value for name, value in parameters.items() if value not in ("", None)}
    return "?" + urlencode(values, doseq=True) if values else ""
