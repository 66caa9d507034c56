"""The runs of a server, asked for over HTTP: documents as they are stored, and their changes."""

import http.client
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from selectors import EVENT_READ, DefaultSelector
from threading import Event as Flag
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode

from flowruns.client.source import Page
from flowruns.client.streams import Event, parse_events, resume, seconds_left
from flowruns.errors import Busy, ErrorDetail, NotFound, Refused, Unreachable, one_line
from flowruns.model.cursors import MAX_PAGE_SIZE
from flowruns.settings import RUNS, TOKEN
from flowruns.version import __version__

EVENTS, JSON = "text/event-stream", "application/json"

Filters = Mapping[str, Any]  # query parameters of a page: one value, or a list of them

Headers = Mapping[str, str]

NO_HEADERS: Headers = {}

_TIMEOUT = 30.0  # seconds that an answer may take

_SILENCE = 45.0  # seconds that a stream may be silent: it says something every 15

_GATEWAYS = (502, 503, 504)  # what something before a server answers in its place


class Tagged(NamedTuple):
    """A run as it is stored, and its entity tag as the header has it; None: the answer has none."""

    doc: bytes
    etag: str | None


class Transport:
    """The runs of the server at *url*, as it sends them. One connection is kept and used again, by one thread at a
    time; each stream has one of its own. Raises ValueError at a *url* or a *token* that is none.

    Every method may raise Unreachable and Refused.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._address = address(url.rstrip("/").removesuffix(RUNS))
        self.url = self._address.geturl()
        if token is not None and not re.fullmatch(TOKEN, token):  # it is not repeated: it is a secret
            raise ValueError("a token has no spaces")
        self._token = token
        self._connection: http.client.HTTPConnection | None = None
        self._in_use: set[socket.socket] = set()
        self._aborted = Flag()

    @property
    def name(self) -> str:
        """What is asked."""
        return self.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; the next question opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abort(self) -> None:
        """Ends whatever answer another thread waits for, by Unreachable; nothing more can be asked."""
        self._aborted.set()
        for used in list(self._in_use):
            with suppress(OSError):  # it has just ended
                used.shutdown(socket.SHUT_RDWR)

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that fit *filters*, at most *limit*, in pages; at least one page."""
        if limit is not None and limit < 1:
            raise ValueError("limit is 1 or more, or None: all")
        left, cursor = limit, ""
        while True:
            size = MAX_PAGE_SIZE if left is None else min(left, MAX_PAGE_SIZE)
            page = self._page({"size": size, "order": order, "cursor": cursor, **filters})
            yield Page([bytes(doc) for doc in page.items], page.total)
            left = None if left is None else left - len(page.items)
            if page.next_page is None or left == 0:
                return
            cursor = page.next_page

    def runs(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[bytes]:
        """The runs that fit *filters*, at most *limit*."""
        for page in self.pages(limit=limit, order=order, **filters):
            yield from page.docs

    def get(self, id: str) -> bytes:
        """The run. Raises NotFound."""
        return self.tagged(id).doc

    def tagged(self, id: str) -> Tagged:
        """The run with its entity tag. Raises NotFound."""
        return self._ask("GET", _path(id), id=id)

    def create(self, body: bytes) -> bytes:
        """The run that the *body* of a POST makes."""
        return self._ask("POST", RUNS, body).doc

    def put(self, id: str, body: bytes, if_match: str | None = None) -> bytes:
        """The run that the *body* of a PUT makes, only if its entity tag is still *if_match*, where that is given."""
        return self._ask("PUT", _path(id), body, {} if if_match is None else {"If-Match": if_match}).doc

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
        self._ask("DELETE", _path(id), id=id)

    def watch(
        self, id: str | None = None, *, after: int | None = None, until: float | None = None, **filters: Any
    ) -> Iterator[Event]:
        """The changes of the run *id*, or of those that fit *filters*, for ever: after number *after*, else from now
        on, the present state of *id* first. It waits for a server that goes, and resumes where it was. It ends at
        *until*, in monotonic seconds.
        """
        return resume(lambda position: self.stream(id, position, filters, until), after, until, self._rest)

    def states(self, id: str, until: float | None = None) -> Iterator[Event]:
        """The states of the run *id*, the present one first, also where the server, or its database, is another by
        then; a server that goes is waited for from the beginning. It ends at *until*, in monotonic seconds.
        """
        return resume(lambda position: self.stream(id, None, {}, until), None, until, self._rest, opened=True)

    def stream(
        self, id: str | None, after: int | None, filters: Filters, until: float | None = None
    ) -> Iterator[Event]:
        """One stream of changes, until the server ends it, or at *until*."""
        with closing(self._connect(min(_SILENCE, seconds_left(until)))) as connection:
            headers = {"Accept": EVENTS} | ({} if after is None else {"Last-Event-ID": str(after)})
            try:
                with self._used(connection) as used:
                    answer = self._request(connection, "GET", _path(id) + _query(filters), None, headers)
                    with answer:
                        if answer.status != 200:
                            raise self._refusal(answer, answer.read(), id)
                        if _media_type(answer) != EVENTS:
                            raise self._stranger(200)
                        yield from parse_events(_lines(used, answer, until))
            except (OSError, http.client.HTTPException) as error:
                if not seconds_left(until):
                    return
                raise self._unreachable(error) from None

    def _page(self, query: Filters) -> "_Page":
        body = self._ask("GET", RUNS + _query(query)).doc
        try:
            return decode(body, type=_Page)
        except DecodeError:
            raise self._stranger(200) from None

    def _ask(
        self, method: str, target: str, body: bytes | None = None, headers: Headers = NO_HEADERS, id: str | None = None
    ) -> Tagged:
        """What is answered."""
        while True:
            used = self._connection is not None
            connection = self._connection = self._kept() or self._connect(_TIMEOUT)
            try:
                with self._used(connection):
                    answer = self._request(connection, method, target, body, headers)
                    content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # The server may close a connection that was used before, and has done nothing then; but what changes a
                # run is never sent twice.
                if used and method == "GET" and not isinstance(error, TimeoutError) and not self._aborted.is_set():
                    continue
                raise self._unreachable(error) from None
            except BaseException:
                self.close()
                raise
            if answer.status >= 300:
                raise self._refusal(answer, content, id)
            if answer.status != 204 and _media_type(answer) != JSON:
                raise self._stranger(answer.status)
            return Tagged(content, answer.headers["ETag"])

    def _kept(self) -> http.client.HTTPConnection | None:
        """The connection that is open, unless the server has closed it since: one that idles too long, say."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with DefaultSelector() as selector:
                selector.register(connection.sock, EVENT_READ)
                if selector.select(0):  # nothing was asked: it can be but the end
                    self.close()
        return self._connection

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        return kind(self._address.hostname or "", self._address.port, timeout=timeout)

    @contextmanager
    def _used(self, connection: http.client.HTTPConnection) -> Iterator[socket.socket]:
        """The socket of *connection*. While entered, `abort` ends what it waits for."""
        if connection.sock is None:
            connection.connect()
        used: socket.socket = connection.sock  # which forgets it where the answer is its last
        self._in_use.add(used)
        try:
            if self._aborted.is_set():  # it may not have seen this one
                raise ConnectionAbortedError("it was ended here")
            yield used
        finally:
            self._in_use.discard(used)

    def _rest(self, seconds: float) -> None:
        if self._aborted.wait(seconds):
            raise Unreachable(f"{self.url}: it was ended here")

    def _request(
        self, connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None, headers: Headers
    ) -> http.client.HTTPResponse:
        own: dict[str, str | bytes] = {"User-Agent": f"flowruns/{__version__}"}
        if self._token:
            own["Authorization"] = f"Bearer {self._token}".encode()
        if body is not None:
            own["Content-Type"] = "application/json"
        connection.request(method, self._address.path + target, body, {**own, **headers})
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> Unreachable:
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        return Unreachable(one_line(f"{self.url} cannot be reached: {why}"))

    def _refusal(self, answer: http.client.HTTPResponse, body: bytes, id: str | None) -> Exception:
        try:
            details = tuple(ErrorDetail(one.loc, one.msg, one.type) for one in decode(body, type=_Faults).detail)
        except DecodeError:
            if answer.status in _GATEWAYS:
                return Busy(f"{self.url} answers {answer.status}: what is behind it is away", answer.status)
            return self._stranger(answer.status)
        if id is not None and (answer.status == 404 or answer.status == 422):  # 422: no run can have that id
            return NotFound(id)
        cure = "; in the terminal, give it with --token or FLOWRUNS_TOKEN" if answer.status == 401 else ""
        kind = Busy if answer.status == 503 else Refused
        return kind(f"{self.url}: {_said(details)}{cure}", answer.status, details)

    def _stranger(self, status: int) -> Refused:
        return Refused(f"{self.url} is not a flowruns: it answered {status} in another shape", status)


def address(url: str) -> SplitResult:
    """The parts of the *url* of a server. Raises ValueError, whose message names the cure."""
    with suppress(ValueError):  # of the port
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query
        if good and re.fullmatch(r"[\x21-\x7e]+", url):
            return parts
    raise ValueError(f"{url!r} is no address of a server: give for example http://127.0.0.1:8000")


def _media_type(answer: http.client.HTTPResponse) -> str:
    return answer.headers.get_content_type()


def _lines(used: socket.socket, answer: http.client.HTTPResponse, until: float | None) -> Iterator[bytes]:
    """The lines of *answer* as they come, until it ends, or at *until*. Raises TimeoutError after a long silence."""
    while left := seconds_left(until):
        if until is not None:
            used.settimeout(min(_SILENCE, left))
        if not (line := answer.readline()):
            return
        yield line


class _Page(Struct):
    items: list[Raw]
    total: int
    next_page: str | None


class _Fault(Struct):
    loc: tuple[str | int, ...]
    msg: str
    type: str


class _Faults(Struct):
    detail: list[_Fault]


def _said(details: Sequence[ErrorDetail]) -> str:
    """*details* in one line; those of a query or a body say of what."""
    return "; ".join(
        f"{'.'.join(map(str, one.loc[1:]))}: {one.msg}" if one.loc[0] in ("query", "body") and one.loc[1:] else one.msg
        for one in details
    )


def _path(id: str | None) -> str:
    return RUNS if id is None else f"{RUNS}/{quote(id, safe='')}"


def _query(parameters: Filters) -> str:
    given = {name: value for name, value in parameters.items() if value not in ("", None)}
    return "?" + urlencode(given, doseq=True) if given else ""
