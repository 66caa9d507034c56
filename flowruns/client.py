"""A client of the API over HTTP: pages of runs, one of them, its end, and the changes."""

import http.client
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import quote, urlencode, urlsplit

from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode

from flowruns import __version__
from flowruns.errors import NotFound, Refused, Unreachable

Filters = Mapping[str, Any]  # query parameters of a page: one value, or a list of them

MOST_SIZE = 100  # runs on a page
_TIMEOUT = 30.0  # seconds that an answer may take
_SILENCE = 45.0  # seconds that a stream may be silent: it says something every 15
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds before a stream is asked for again
_PATH = "/api/v1/flow-runs"


class Page(NamedTuple):
    """Some runs, as they are stored, and how many there are in *total*."""

    docs: list[bytes]
    total: int


class Event(NamedTuple):
    """What a stream tells: `run` and `deleted` with their *data*, `resync`; `open`, where it begins, and `lost`, where
    it breaks off until the next `open`. *position* is the number to resume from, and all that is told if *kind* is
    empty.
    """

    kind: str
    position: int | None = None
    data: bytes = b""


class Runs(Protocol):
    """Where runs are: a server, or a file."""

    @property
    def name(self) -> str:
        """What is asked."""

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that fit *filters*, at most *limit*, in pages; at least one page."""

    def runs(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[bytes]:
        """The runs that fit *filters*, at most *limit*."""

    def get(self, id: str) -> bytes:
        """The run. Raises NotFound."""

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""

    def watch(self, id: str | None = None, *, after: int | None = None, **filters: Any) -> Iterator[Event]:
        """The changes of the run *id*, or of those that fit *filters*, for ever: after number *after*, else from now
        on, the present state of *id* first.
        """

    def close(self) -> None:
        """Closes what is open."""


class Client:
    """The runs of the server at *url*. One connection is kept and used again; `watch` has one of its own.

    Every method may raise Unreachable and Refused.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/").removesuffix(_PATH)
        self._token = token
        self._address = urlsplit(self.url)
        self._connection: http.client.HTTPConnection | None = None

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

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that fit *filters*, at most *limit*, in pages; at least one page."""
        left, cursor = limit, ""
        while True:
            size = MOST_SIZE if left is None else min(left, MOST_SIZE)
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
        return self._ask("GET", _path(id), id=id)

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
        self._ask("DELETE", _path(id), id=id)

    def watch(self, id: str | None = None, *, after: int | None = None, **filters: Any) -> Iterator[Event]:
        """The changes of the run *id*, or of those that fit *filters*, for ever: after number *after*, else from now
        on, the present state of *id* first. It waits for a server that goes, and resumes where it was.
        """
        return resuming(lambda position: self.stream(id, position, filters), after)

    def stream(self, id: str | None, after: int | None, filters: Filters) -> Iterator[Event]:
        """One stream of changes, until the server ends it."""
        connection = self._connect(_SILENCE)
        with closing(connection):
            headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": str(after)})
            try:
                answer = self._request(connection, "GET", _path(id) + _query(filters), headers)
                with answer:
                    if answer.status != 200:
                        raise self._refusal(answer, answer.read(), id)
                    yield from events(iter(answer.readline, b""))
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None

    def _page(self, query: Filters) -> "_Page":
        body = self._ask("GET", _PATH + _query(query))
        try:
            return decode(body, type=_Page)
        except DecodeError:
            raise self._stranger(200) from None

    def _ask(self, method: str, target: str, id: str | None = None) -> bytes:
        """The body of the answer."""
        while True:
            used = self._connection is not None
            connection = self._connection = self._connection or self._connect(_TIMEOUT)
            try:
                answer = self._request(connection, method, target, {})
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # The server may close a connection that was used before, and has done nothing then; a DELETE is not
                # sent twice all the same.
                if used and method == "GET" and not isinstance(error, TimeoutError):
                    continue
                raise self._unreachable(error) from None
            except BaseException:
                self.close()
                raise
            if answer.status >= 300:
                raise self._refusal(answer, body, id)
            return body

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        return kind(self._address.hostname or "", self._address.port, timeout=timeout)

    def _request(
        self, connection: http.client.HTTPConnection, method: str, target: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        headers["User-Agent"] = f"flowruns/{__version__}"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection.request(method, self._address.path + target, headers=headers)
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> Unreachable:
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        return Unreachable(f"{self.url} cannot be reached: {why}")

    def _refusal(self, answer: http.client.HTTPResponse, body: bytes, id: str | None) -> Exception:
        try:
            faults = decode(body, type=_Faults).detail
        except DecodeError:
            return self._stranger(answer.status)
        if id is not None and (answer.status == 404 or answer.status == 422):  # 422: no run can have that id
            return NotFound(id)
        if answer.status == 503:
            return Busy(f"{self.url}: {_said(faults)}")
        cure = "; give one with --token or FLOWRUNS_TOKEN" if answer.status == 401 else ""
        return Refused(f"{self.url}: {_said(faults)}{cure}")

    def _stranger(self, status: int) -> Refused:
        return Refused(f"{self.url} is not a flowruns: it answered {status} in another shape")


class Busy(Refused):
    """A server cannot do it now."""


class _Page(Struct):
    items: list[Raw]
    total: int
    next_page: str | None


class _Fault(Struct):
    loc: list[str | int]
    msg: str


class _Faults(Struct):
    detail: list[_Fault]


def _said(faults: Sequence[_Fault]) -> str:
    """*faults* in one line; those of a query say of which parameter."""
    return "; ".join(f"{one.loc[1]}: {one.msg}" if one.loc[:1] == ["query"] else one.msg for one in faults)


def _path(id: str | None) -> str:
    return _PATH if id is None else f"{_PATH}/{quote(id, safe='')}"


def _query(parameters: Filters) -> str:
    given = {name: value for name, value in parameters.items() if value not in ("", None)}
    return "?" + urlencode(given, doseq=True) if given else ""


def resuming(stream: Callable[[int | None], Iterator[Event]], after: int | None) -> Iterator[Event]:
    """What streams tell for ever: *stream* begins one, after a number; when it ends, the next begins where it was.

    Raises what the first one raises before it is open, and NotFound or Refused of a later one.
    """
    position, pause, opened, lost = after, _PAUSE, False, False
    while True:
        try:
            for event in stream(position):
                position = position if event.position is None else event.position
                if event.kind == "open":
                    pause = _PAUSE
                    if opened and not lost:
                        continue  # nobody has missed it
                    opened, lost = True, False
                if event.kind:
                    yield event
        except (Unreachable, Busy):
            if not opened:
                raise
            if not lost:
                lost = True
                yield Event("lost", position)
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, 2 * pause)


def events(lines: Iterator[bytes]) -> Iterator[Event]:
    """The events that the *lines* of a stream tell (WHATWG HTML, 9.2.6), `open` first; until `bye`, or the end."""
    position: int | None = None
    kind, data = "", list[bytes]()
    opened = False
    for line in lines:
        if not line.endswith(b"\n"):
            return  # cut off
        field, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"id":
            position = int(value) if value.isdigit() else position
        elif field == b"event":
            kind = value.decode(errors="replace")
        elif field == b"data":
            data.append(value)
        elif line.strip() == b"":
            if not opened:
                opened = True
                yield Event("open", position)
            if kind == "bye":
                return
            # Without data it is no event, but its id counts.
            yield Event(kind if data else "", position, b"\n".join(data))
            kind, data = "", []
