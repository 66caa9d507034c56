"""Responses, and the status, headers and body of each error (`flowruns/docs/api.md`, "Errors")."""

from asyncio import sleep
from collections.abc import Awaitable, Callable, Hashable, MutableMapping
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from msgspec.json import encode

from flowruns import errors
from flowruns.errors import ErrorDetail, FlowrunsError, Unavailable
from flowruns.store.reads import StoredRun

Scope = MutableMapping[str, Any]

Message = MutableMapping[str, Any]

Receive = Callable[[], Awaitable[Message]]

Send = Callable[[Message], Awaitable[None]]

Header = tuple[bytes, bytes]

DROP = "flowruns.drop"  # a message type besides those of ASGI: close the connection without a response

OWN_SERVER = "flowruns.own_server"  # a key in an ASGI scope: the server is that of `flowruns.server`

SENDING = "flowruns.sending"  # a key in an ASGI scope: a part of a large response was sent

STREAMING = "flowruns.streaming"  # a key in an ASGI scope: a stream has sent its headers

STATUS: dict[type[FlowrunsError], int] = {
    errors.BadRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.PathNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimeout: 408,
    errors.AlreadyExists: 409,
    errors.PreconditionFailed: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.HeadersTooLarge: 431,
    errors.Unavailable: 503,
}

_COMMON: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    # A cache revalidates it with its ETag; a proxy that compressed it would change the ETag, and so break If-Match.
    (b"cache-control", b"no-cache, no-transform"),
)

_EVENTS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store, no-transform"),  # compressing it would hold events back
    (b"x-accel-buffering", b"no"),
)

_JSON: tuple[Header, ...] = ((b"content-type", b"application/json"), *_COMMON)

PIECE_BYTES = 256 * 1024  # of a large body that are sent at once, and held for a client that does not read

# Of different large bodies that clients are reading; those that the store reads meanwhile are not among them
# (`flowruns.store.read_queues.MAX_BATCH_BYTES`).
MAX_LARGE_BYTES = 512 * 1024 * 1024


class Response(NamedTuple):
    """A complete response; an ASGI application. The body is *body*, or *parts* that are too large to be copied."""

    status: int
    headers: tuple[Header, ...]
    body: bytes | memoryview = b""
    parts: tuple[bytes | memoryview, ...] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, without the body if the method is HEAD; a large one piece by piece, as the client reads."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        if not self.parts and len(self.body) <= PIECE_BYTES:
            await send({"type": "http.response.body", "body": self.body})
            return
        scope[SENDING] = True
        for part in self.parts or (self.body,):
            for start in range(0, len(part), PIECE_BYTES):
                piece = bytes(part[start : start + PIECE_BYTES])  # as ASGI wants it
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await sleep(0)  # others have their turn, even if the client reads as fast as this sends
        await send({"type": "http.response.body", "body": b""})


class LargeBodies:
    """The large bodies that are being sent: equal ones are held once, however many clients read them slowly, and of
    different ones at most `MAX_LARGE_BYTES`.
    """

    def __init__(self) -> None:
        self._held: WeakValueDictionary[Hashable, memoryview] = WeakValueDictionary()

    def shared(self, key: Hashable, body: bytes) -> bytes | memoryview:
        """*body*, or its equal of the same *key* that is still being sent. Raises Unavailable if there are too many."""
        if len(body) <= PIECE_BYTES:
            return body
        held = self._held.get(key)
        if held is None or held.obj != body:
            if sum(map(len, self._held.values())) > MAX_LARGE_BYTES:
                raise Unavailable("The server is sending too many large responses", retry_after=1, part="server")
            self._held[key] = held = memoryview(body)
        return held


def json(body: bytes | memoryview, status: int = 200, *headers: Header) -> Response:
    """A response with *body*, which is JSON."""
    return Response(status, (*_JSON, (b"content-length", b"%d" % len(body)), *headers), body)


def stored(run: StoredRun, status: int = 200, *headers: Header) -> Response:
    """A response with the document of *run*, as stored."""
    return json(run.doc, status, etag(run.etag), *headers)


def page(docs: bytes | memoryview, etag_: str, total: int, **cursors: str | None) -> Response:
    """A FlowRunPage. *docs* are documents joined by commas."""
    links = encode({"total": total, **cursors})
    parts = (b'{"items":[', docs, b"],", links[1:])
    if len(docs) <= PIECE_BYTES:
        return json(b"".join(parts), 200, etag(etag_))
    size = (b"content-length", b"%d" % sum(map(len, parts)))
    return Response(200, (*_JSON, size, etag(etag_)), parts=parts)


def not_modified(etag_: str) -> Response:
    """304: the client has the current representation."""
    return Response(304, (*_COMMON, etag(etag_)))


def no_content(*headers: Header) -> Response:
    """204: done."""
    return Response(204, (*_COMMON, *headers))


def etag(value: str) -> Header:
    """The ETag header of *value*."""
    return b"etag", b'"%b"' % value.encode()


def events() -> Response:
    """The headers of a stream of server-sent events, which proxies must not cache or buffer."""
    return Response(200, _EVENTS)


def error_response(error: FlowrunsError) -> Response:
    """The error response for *error*."""
    return detail_response(STATUS[type(error)], error.details, *_extra_headers(error))


def internal_error() -> Response:
    """500, without the exception."""
    msg = "Internal error; the server's log names its place"
    return detail_response(500, (ErrorDetail(("server",), msg, "internal_error"),))


def detail_response(status: int, details: tuple[ErrorDetail, ...], *headers: Header) -> Response:
    """An error response with *details*."""
    entries = [{"loc": detail.loc, "msg": detail.msg, "type": detail.type} for detail in details]
    return json(encode({"detail": entries}), status, *headers)


def _extra_headers(error: FlowrunsError) -> list[Header]:
    match error:
        case errors.Unauthorized():
            return [(b"www-authenticate", b"Bearer")]
        case errors.MethodNotAllowed():
            return [(b"allow", error.allow.encode())]
        case errors.Unavailable(retry_after=int(seconds)):
            return [(b"retry-after", b"%d" % seconds)]
    return []
