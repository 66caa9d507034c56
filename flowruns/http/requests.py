"""Reads a request into typed values, and collects every error detail on the way."""

import asyncio
import re
from collections.abc import Callable
from contextlib import ExitStack
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import parse_qsl

from msgspec import ValidationError, convert

from flowruns.errors import BodyTooLarge, ErrorDetail, Invalid, UnsupportedMediaType
from flowruns.http.accept import prefers_events
from flowruns.http.responses import Receive, Scope
from flowruns.model.cursors import MAX_PAGE_SIZE, CursorCodec, PageRequest
from flowruns.model.error_details import choice_detail
from flowruns.model.fields import ALL_FIELDS, Fields, parse_fields
from flowruns.model.filters import integer
from flowruns.model.preconditions import Precondition, parse_precondition
from flowruns.model.runs import RunPost, RunPut, Slug, release_lists
from flowruns.model.validation import check_text, decode, limit_details, text_field
from flowruns.store.filters import Where, where
from flowruns.store.stats import COUNTED_FIELDS, STATS_FIELDS
from flowruns.switching import quick_switches

T = TypeVar("T")

A = TypeVar("A")

CALLER = "flowruns.caller"  # the key in an ASGI scope under which AccessMiddleware puts the caller's user id
STATUS_ONLY = "flowruns.status_only"  # a key in an ASGI scope: /health without a token
HEALTH = "/health"

_DOT_SEGMENTS = {"%2e": ".", "%2e%2e": ".."}  # ids that clients remove from paths (RFC 3986 5.2.4), escaped twice

_NUMBER = re.compile(r"\s*(\d{1,18})\s*", re.ASCII)

_MAX_POSITIONS = 8  # of one request, each of which takes a read

LAST_EVENT_ID = "lastEventId"  # the query parameter for clients that cannot send the header

_THREAD_BYTES = 64 * 1024  # of a body that the event loop decodes: 8 MiB of log lines would hold it up for a second

_parsing = Lock()


PageQuery = tuple[Where, PageRequest, bytes]  # with the fingerprint of its cursors


class ClientDisconnected(Exception):
    """The client disconnected before its request was complete."""


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """The values of each header *name* (in lower case) of a request."""
    return [value for key, value in scope["headers"] if key == name]


class RequestReader:
    """One request. As a context manager it raises Invalid on exit, with all details, if there are any."""

    def __init__(self, scope: Scope, receive: Receive, max_body: int) -> None:
        self.scope = scope
        self.details: list[ErrorDetail] = []
        self.raw_body = b""  # once `body` has read it
        self._large: ExitStack | None = None  # what a large body takes until its operation has ended
        self._body: RunPut | RunPost | None = None  # a large one, decoded
        self._receive = receive
        self._max_body = max_body
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._query: list[tuple[str, str]] | None = None  # once it is parsed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.details and error is None:
            raise Invalid(*limit_details(self.details))

    @property
    def caller(self) -> int | None:
        """The user id of the request's token, None for an anonymous caller."""
        caller: int | None = self.scope.get(CALLER)
        return caller

    def header(self, name: bytes) -> str | None:
        """The values of the header *name* (in lower case), joined by commas (RFC 9110 5.3); None if it is absent."""
        values = [value for key, value in self._headers if key == name]
        return b", ".join(values).decode("latin-1") if values else None

    def id(self) -> str:
        """The id in the path; the text as sent if it is invalid, for use in a message."""
        sent: str = self.scope["path_params"]["id_"]
        text = _DOT_SEGMENTS.get(sent.lower(), sent)
        try:
            return convert(text, Slug)
        except ValidationError:
            self.details += check_text(text, Slug, ("path", "id_"))
            return text  # the context manager raises

    def query(self) -> list[tuple[str, str]]:
        """The names and values of the query, in order. `name[]`, as axios and PHP write lists, is `name`."""
        if not self.scope["query_string"]:
            return []
        if self._query is None:
            pairs = parse_qsl(self.scope["query_string"].decode(errors="replace"), keep_blank_values=True)
            self._query = [(name.removesuffix("[]"), value) for name, value in pairs]
        return self._query

    async def body(self, type: type[T]) -> T | None:
        """The body as a *type*; None if it is invalid. Raises UnsupportedMediaType, BodyTooLarge or
        ClientDisconnected immediately.
        """
        media_type = (self.header(b"content-type") or "").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise UnsupportedMediaType
        if self.header(b"content-encoding") not in (None, "identity"):
            raise UnsupportedMediaType("content-encoding")
        self.raw_body = await self._read_body()
        if len(self.raw_body) > _THREAD_BYTES:
            self._large = ExitStack()
            self._large.enter_context(quick_switches())
        try:
            body = await self.parse_body(decode, type)
            if self._large is not None and isinstance(body, RunPut | RunPost):
                self._body = body
            return body
        except Invalid as error:
            self.details += error.details
            return None

    async def parse_body(self, parse: Callable[[bytes, A], T], argument: A) -> T:
        """What *parse* returns for the body, once it is read, and *argument*. A large body is parsed on a thread, and
        one at a time: the event loop would have to wait for each of several threads.
        """
        if self._large is None:
            return parse(self.raw_body, argument)

        def parse_alone() -> T:
            with _parsing:
                return parse(self.raw_body, argument)

        return await asyncio.to_thread(parse_alone)

    def release_body(self, *, is_unused: bool) -> None:
        """Ends what a large body takes, and frees it on a thread if it *is_unused*: if its operation was cancelled, the
        writer may still be encoding it.
        """
        if self._large is not None:
            self._large.close()
        if self._body is not None and is_unused:
            asyncio.get_running_loop().run_in_executor(None, release_lists, self._body)

    async def check_same_id(self, id: str, body: RunPut | None) -> None:
        """Adds a detail if the body's id differs from *id*. *body* is None if it is otherwise invalid."""
        body_id = await self.parse_body(text_field, "id") if body is None else body.id
        if body_id not in (None, id) and all(detail.loc != ("body", "id") for detail in self.details):
            self.details.append(ErrorDetail(("body", "id"), "Input should equal the id in the path", "value_error"))

    def precondition(self) -> Precondition:
        """The precondition of If-Match and If-None-Match."""
        return parse_precondition(self.header(b"if-match"), self.header(b"if-none-match"))

    def wants_events(self) -> bool:
        """Whether the client prefers a stream of events to JSON."""
        return prefers_events(self.header(b"accept") or "")

    def last_event_ids(self, last: int) -> list[int] | None:
        """The change numbers up to *last* in Last-Event-ID, or else in the query: the largest first, and 8 at most.
        None if both are empty or absent.
        """
        texts = (self.header(b"last-event-id") or "").split(",")
        if not any(texts):  # as browsers send it at first
            texts = [text for name, text in self.query() if name == LAST_EVENT_ID]
        if not any(texts):
            return None
        numbers = {int(match[1]) for match in map(_NUMBER.fullmatch, texts) if match}
        return sorted((number for number in numbers if number <= last), reverse=True)[:_MAX_POSITIONS]

    def fields(self) -> Fields:
        """The fields of runs that the query names."""
        return parse_fields(self.query(), self.details) if self.scope["query_string"] else ALL_FIELDS

    def stats_query(self) -> Where:
        """The filters and the fields of statistics."""
        query = self.query()
        return where(query, self.details)._replace(
            fields=parse_fields(query, self.details, STATS_FIELDS + COUNTED_FIELDS)
        )

    def page_query(self, cursors: CursorCodec) -> PageQuery:
        """The filters, the page request, and the fingerprint that ties *cursors* to the filters and the order."""
        query = self.query()
        parameters = dict(query)
        selected = where(query, self.details)
        ascending = self._order(parameters.get("order", "desc")) == "asc"
        fingerprint = selected.fingerprint + (b"asc" if ascending else b"desc")
        filters_valid = not self.details  # otherwise the cursor cannot be checked against them
        page_request = PageRequest(None, self._size(parameters.get("size", "50")), ascending)
        text = parameters.get("cursor", "")
        if text:
            try:
                cursor = cursors.read(text, fingerprint) if filters_valid else cursors.parse(text)
                page_request = page_request._replace(cursor=cursor)
            except ValueError:
                msg = "The cursor is damaged, or belongs to other filters or another order; start without a cursor"
                self.details.append(ErrorDetail(("query", "cursor"), msg, "value_error"))
        return selected._replace(fields=self.fields()), page_request, fingerprint

    def _size(self, text: str) -> int:
        size = integer(text, loc := ("query", "size"))
        match size:
            case ErrorDetail():
                self.details.append(size)
            case _ if size < 1:
                self.details.append(
                    ErrorDetail(loc, "Input should be greater than or equal to 1", "greater_than_equal")
                )
            case _ if size > MAX_PAGE_SIZE:
                msg = f"Input should be less than or equal to {MAX_PAGE_SIZE}"
                self.details.append(ErrorDetail(loc, msg, "less_than_equal"))
            case _:
                return size
        return 1

    def _order(self, text: str) -> str:
        if text not in ("desc", "asc"):
            self.details.append(choice_detail(("query", "order"), "literal_error", ("desc", "asc")))
        return text

    async def _read_body(self) -> bytes:
        """The whole body. Raises BodyTooLarge as soon as the size is known, ClientDisconnected if it is incomplete."""
        declared = self.header(b"content-length")
        if declared and declared.isdecimal() and int(declared) > self._max_body:
            raise BodyTooLarge(self._max_body)
        chunks, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body:
                raise BodyTooLarge(self._max_body)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks) if len(chunks) > 1 else chunk
