"""RecordedRequests to typed values: what is wrong is gathered, and told together."""

import re
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import parse_qsl

from msgspec import ValidationError, convert

from flowruns.errors import BodyTooLarge, ErrorDetail, Invalid, UnsupportedMediaType
from flowruns.http.responses import Receive, Scope
from flowruns.model.cursors import MAX_PAGE_SIZE, CursorCodec, PageRequest
from flowruns.model.filters import integer
from flowruns.model.preconditions import Precondition, parse_precondition
from flowruns.model.runs import RunPut
from flowruns.model.validation import check_text, choice_detail, decode, limit_details, text_field
from flowruns.store.filters import Where, where

T = TypeVar("T")

CALLER = "flowruns.caller"  # where the guard leaves the caller's user id in an ASGI scope

EVENTS, JSON = "text/event-stream", "application/json"

_WEIGHT = re.compile(r"q=([01](?:\.\d{0,3})?)", re.ASCII | re.IGNORECASE)  # RFC 9110 12.4.2

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class ClientDisconnected(Exception):
    """The client left before its request was complete."""


class RequestReader:
    """One request. As a context manager it raises Invalid at its end if anything was wrong, naming all of it."""

    def __init__(self, scope: Scope, receive: Receive, max_body: int) -> None:
        self.scope = scope
        self._receive = receive
        self._max_body = max_body
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._body = b""
        self.details: list[ErrorDetail] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.details and error is None:
            raise Invalid(*limit_details(self.details))

    @property
    def caller(self) -> int | None:
        """The user id that belongs to the request's token, None for an anonymous caller."""
        caller: int | None = self.scope.get(CALLER)
        return caller

    def header(self, name: bytes) -> str | None:
        """The values of the header *name* (in lower case), joined as RFC 9110 5.3 says; None: not sent."""
        values = [value for key, value in self._headers if key == name]
        return b", ".join(values).decode("latin-1") if values else None

    def path(self, name: str, type: type[T]) -> T:
        """The path parameter *name*; after a detail, whatever was sent."""
        text = self.scope["path_params"][name]
        try:
            return convert(text, type)
        except ValidationError:
            self.details += check_text(text, type, ("path", name))
            return text  # type: ignore[no-any-return]  # for a message only: leaving raises

    async def body(self, type: type[T]) -> T | None:
        """The body as a *type*; None if it is invalid. Raises UnsupportedMediaType, BodyTooLarge or
        ClientDisconnected at once.
        """
        media_type = (self.header(b"content-type") or "").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise UnsupportedMediaType
        if self.header(b"content-encoding") not in (None, "identity"):
            raise UnsupportedMediaType("content-encoding")
        self._body = await self._bytes()
        try:
            return decode(self._body, type)
        except Invalid as error:
            self.details += error.details
            return None

    def check_same_id(self, id: str, sent: RunPut | None) -> None:
        """Notes the detail if the body has another id than *id*, also where it was refused and is not *sent* on."""
        told = text_field(self._body, "id") if sent is None else sent.id
        if told not in (None, id) and all(detail.loc != ("body", "id") for detail in self.details):
            self.details.append(ErrorDetail(("body", "id"), "Input should equal the id in the path", "value_error"))

    def precondition(self) -> Precondition:
        """What If-Match and If-None-Match ask for."""
        return parse_precondition(self.header(b"if-match"), self.header(b"if-none-match"))

    def wants_events(self) -> bool:
        """Whether Accept names text/event-stream, and application/json not at all or with less weight."""
        accept = (self.header(b"accept") or "").lower()
        if EVENTS not in accept:
            return False
        weights = dict(_weighed(part) for part in accept.split(","))
        return weights.get(EVENTS, 0) > weights.get(JSON, 0)

    def last_event_id(self, last: int) -> int | None:
        """The change number that Last-Event-ID names, if it is none after *last*; None if the header is empty or not
        sent. Raises ValueError if it is no number of this database.
        """
        text = self.header(b"last-event-id")
        if not text:
            return None
        if not _NUMBER.fullmatch(text) or int(text) > last:
            raise ValueError("of another database")
        return int(text)

    def page_query(self, cursors: CursorCodec) -> tuple[Where, PageRequest, bytes]:
        """The filters, the page_request and the fingerprint of both, by which *cursors* belong to them."""
        query: list[tuple[str, str]] = []
        if self.scope["query_string"]:
            text = self.scope["query_string"].decode(errors="replace")
            query = parse_qsl(text, keep_blank_values=True)
        named = dict(query)
        chosen = where(query, self.details)
        ascending = self._order(named.get("order", "desc")) == "asc"
        fingerprint = chosen.fingerprint + (b"asc" if ascending else b"desc")
        readable = not self.details  # else whether a cursor belongs to these filters cannot be judged
        page_request = PageRequest(None, self._size(named.get("size", "50")), ascending)
        text = named.get("cursor", "")
        if text and readable:
            try:
                page_request = page_request._replace(cursor=cursors.read(text, fingerprint))
            except ValueError:
                msg = "The cursor is damaged, or belongs to other filters or another order; start without one"
                self.details.append(ErrorDetail(("query", "cursor"), msg, "value_error"))
        return chosen, page_request, fingerprint

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

    async def _bytes(self) -> bytes:
        """The whole body. Raises BodyTooLarge as soon as that is known."""
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


def _weighed(part: str) -> tuple[str, float]:
    """A media range of Accept, and its weight (RFC 9110 12.5.1)."""
    media_type, *parameters = (word.strip() for word in part.split(";"))
    weights = [float(match[1]) for match in map(_WEIGHT.fullmatch, parameters) if match]
    return media_type, weights[0] if weights else 1.0
