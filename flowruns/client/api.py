"""The requests of the API, as flows: runs as stored JSON documents, and streams of changes."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx

from flowruns.addresses import parse_url
from flowruns.client.connections import base_url
from flowruns.client.responses import check_status, media_type, parse_page, unexpected_response, unreachable
from flowruns.client.source import Filters, Page
from flowruns.client.steps import Flow, Read, Send, seconds_left
from flowruns.client.streams import Event, EventParser, resume
from flowruns.errors import Refused
from flowruns.model.cursors import MAX_PAGE_SIZE
from flowruns.settings import RUNS, STATS, TOKEN
from flowruns.version import __version__

_NO_HEADERS: Mapping[str, str] = {}

_EVENTS, _JSON = "text/event-stream", "application/json"

_MAX_URL = 65_536  # characters, of httpx; the server refuses such headers with 431


class TaggedDoc(NamedTuple):
    """A run as a stored JSON document, and the ETag header of the response; None: it has none."""

    doc: bytes
    etag: str | None


class Api:
    """The requests to the server at *url*. Raises ValueError if *url* or *token* is invalid.

    Every flow may raise Unreachable and Refused.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = parse_url(url.rstrip("/").removesuffix(RUNS))
        if token is not None and not re.fullmatch(TOKEN, token):  # the message must not repeat it: it is a secret
            raise ValueError("the token must not be empty or contain spaces or control characters")
        # No compression: a server on the same machine would spend time on it, and proxies drop the strong ETag.
        self._headers = {"User-Agent": f"flowruns/{__version__}", "Accept": _JSON, "Accept-Encoding": "identity"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Flow[Page, None]:
        """The runs that match *filters*, at most *limit*, in pages; at least one page."""
        if limit is not None and limit < 1:
            raise ValueError("limit must be 1 or more, or None for all runs")
        left, cursor = limit, ""
        while True:
            size = MAX_PAGE_SIZE if left is None else min(left, MAX_PAGE_SIZE)
            query = {"size": size, "order": order, "cursor": cursor, **filters}
            page = parse_page(self.url, (yield from self._request("GET", RUNS + _query(query))).doc)
            yield Page([bytes(doc) for doc in page.items], page.total)
            left = None if left is None else left - len(page.items)
            if page.next_page is None or left == 0:
                return
            cursor = page.next_page

    def stats(self, **filters: Any) -> Flow[Any, bytes]:
        """The statistics of the runs that match *filters*."""
        return (yield from self._request("GET", STATS + _query(filters))).doc

    def tagged(self, id: str, deadline: float | None = None) -> Flow[Any, TaggedDoc]:
        """The run with its entity tag. Raises NotFound, and TimeoutError at *deadline*."""
        return self._request("GET", _path(id), id=id, deadline=deadline)

    def get(self, id: str, deadline: float | None = None) -> Flow[Any, bytes]:
        """The run. Raises NotFound, and TimeoutError at *deadline*."""
        return (yield from self.tagged(id, deadline)).doc

    def create(self, body: bytes) -> Flow[Any, bytes]:
        """The run that a POST of *body* creates."""
        return (yield from self._request("POST", RUNS, body)).doc

    def put(self, id: str, body: bytes, conditions: Mapping[str, str]) -> Flow[Any, TaggedDoc]:
        """The run that a PUT of *body* creates or replaces. Raises Refused with status 412 unless *conditions*, headers
        of the request, hold.
        """
        return self._request("PUT", _path(id), body, conditions)

    def delete(self, id: str) -> Flow[Any, None]:
        """Deletes the run. Raises NotFound."""
        yield from self._request("DELETE", _path(id), id=id)

    def watch(
        self, id: str | None = None, *, after: int | None = None, deadline: float | None = None, **filters: Any
    ) -> Flow[Event, None]:
        """The changes of the run *id*, or of the runs that match *filters*, without end or until *deadline*. Starts
        after change number *after*; without it, starts now, with the current state of *id* first. Reconnects if the
        server restarts, and resumes at the last position.
        """
        return resume(lambda position: self.stream(id, position, filters, deadline), after, deadline)

    def states(self, id: str, deadline: float | None = None) -> Flow[Event, None]:
        """The states of the run *id*, the current one first, until *deadline*. Waits for a server that is not reachable
        yet. Each stream starts with the current state: another database may follow.
        """
        return resume(lambda _: self.stream(id, None, {}, deadline), None, deadline, opened=True)

    def stream(
        self, id: str | None, after: int | None, filters: Filters, deadline: float | None = None
    ) -> Flow[Event, None]:
        """One stream of the changes of the run *id*, or of the runs that match *filters*, after change number *after*.
        It ends when the server ends it, or at *deadline*. Raises NotFound.
        """
        headers = {"Accept": _EVENTS} | ({} if after is None else {"Last-Event-ID": str(after)})
        send = self.send("GET", _path(id) + _query(filters), None, headers, stream=True, deadline=deadline)
        parser = EventParser()
        try:
            response: httpx.Response = yield send
            check_status(self.url, response, id)
            if media_type(response) != _EVENTS:
                raise unexpected_response(self.url, response.status_code)
            while not parser.ended and seconds_left(deadline) and (chunk := (yield Read(deadline))):
                yield from parser.feed(chunk)
        except TimeoutError:
            return
        except httpx.RequestError as error:
            raise unreachable(self.url, error) from error

    def send(
        self,
        method: str,
        target: str,
        content: bytes | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        stream: bool = False,
        deadline: float | None = None,
    ) -> Send:
        """The step that sends a request for *target*, a path with a query. Raises Refused if it is too long."""
        url = base_url(self.url) + target
        if len(url) > _MAX_URL:
            raise Refused(f"{self.url}: the id or the filters have over {_MAX_URL} characters", 431)
        content_type = {} if content is None else {"Content-Type": _JSON}
        all_headers = httpx.Headers({**self._headers, **content_type, **headers}, encoding="utf-8")
        return Send(method, url, all_headers, content, stream, deadline)

    def _request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        id: str | None = None,
        deadline: float | None = None,
    ) -> Flow[Any, TaggedDoc]:
        """The body of the response, and its ETag."""
        while True:
            send = self.send(method, target, body, headers, deadline=deadline)
            try:
                response: httpx.Response = yield send
                break
            except httpx.RequestError as error:
                # The server may close an idle connection before it receives the request. Only GET is sent again: other
                # methods may have had an effect.
                if not send.reused or method != "GET" or isinstance(error, httpx.TimeoutException):
                    raise unreachable(self.url, error) from error
        check_status(self.url, response, id)
        if response.status_code != 204 and media_type(response) != _JSON:
            raise unexpected_response(self.url, response.status_code)
        return TaggedDoc(response.content, response.headers.get("ETag"))


def _path(id: str | None) -> str:
    if id is None:
        return RUNS
    # A segment of dots alone is a part of the id, not of the path (RFC 3986, 5.2.4).
    return f"{RUNS}/{id.replace('.', '%2E') if id in ('.', '..') else quote(id, safe='')}"


def _query(parameters: Filters) -> str:
    values = {name: value for name, value in parameters.items() if value not in ("", None)}
    return "?" + urlencode(values, doseq=True) if values else ""
