"""Values and errors to responses, each in the contract's shape."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from msgspec.json import encode

from flowruns import errors
from flowruns.errors import ErrorDetail, FlowrunsError
from flowruns.store.reads import StoredRun

Scope = MutableMapping[str, Any]

Message = MutableMapping[str, Any]

Receive = Callable[[], Awaitable[Message]]

Send = Callable[[Message], Awaitable[None]]

Header = tuple[bytes, bytes]

DROP = "flowruns.drop"  # a message of ours beside ASGI's: the connection is closed without an answer

STREAMING = "flowruns.streaming"  # in an ASGI scope: an answer has begun that is not known whole

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
    (b"cache-control", b"no-cache"),  # may be kept, with its ETag, but is asked for again
)

_EVENTS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

_JSON: tuple[Header, ...] = ((b"content-type", b"application/json"), *_COMMON)


class Response(NamedTuple):
    """A response that is known whole before it is sent; an ASGI application."""

    status: int
    headers: tuple[Header, ...]
    body: bytes = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, to HEAD without the body."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self.body})


def json(body: bytes, status: int = 200, *headers: Header) -> Response:
    """*body*, which is JSON."""
    return Response(status, (*_JSON, (b"content-length", b"%d" % len(body)), *headers), body)


def stored(run: StoredRun, status: int = 200, *headers: Header) -> Response:
    """The document of *run*, as it is stored."""
    return json(run.doc, status, etag(run.etag), *headers)


def page(docs: bytes, etag_: str, total: int, **cursors: str | None) -> Response:
    """A FlowRunPage of *docs*, which are joined by commas."""
    rest = encode({"total": total, **cursors})
    return json(b'{"items":[%b],%b' % (docs, rest[1:]), 200, etag(etag_))


def not_modified(etag_: str) -> Response:
    """304: the client has what GET would send."""
    return Response(304, (*_COMMON, etag(etag_)))


def deleted() -> Response:
    """204: it is gone."""
    return Response(204, _COMMON)


def etag(value: str) -> Header:
    """The ETag header of *value*."""
    return b"etag", b'"%b"' % value.encode()


def events() -> Response:
    """The head of a stream of server-sent events, which no proxy is to keep or to gather."""
    return Response(200, _EVENTS)


def error_response(error: FlowrunsError) -> Response:
    """*error* in the one error shape (contract, "Errors")."""
    return detail_response(STATUS[type(error)], error.details, *_more_headers(error))


def internal_error() -> Response:
    """500, without a word about the inside."""
    return detail_response(500, (ErrorDetail(("server",), "flowruns failed; its log says where", "internal_error"),))


def detail_response(status: int, details: tuple[ErrorDetail, ...], *headers: Header) -> Response:
    """*details* in the one error shape."""
    detail = [{"loc": detail.loc, "msg": detail.msg, "type": detail.type} for detail in details]
    return json(encode({"detail": detail}), status, *headers)


def _more_headers(error: FlowrunsError) -> list[Header]:
    match error:
        case errors.Unauthorized():
            return [(b"www-authenticate", b"Bearer")]
        case errors.MethodNotAllowed():
            return [(b"allow", error.allow.encode())]
        case errors.Unavailable(retry_after=int(seconds)):
            return [(b"retry-after", b"%d" % seconds)]
    return []
