"""Values and errors to responses, each in the contract's shape."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from msgspec.json import encode

from flowruns import errors
from flowruns.errors import Fault, FlowrunsError
from flowruns.store.reads import Stored

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
    errors.NoSuchPath: 404,
    errors.MethodNotAllowed: 405,
    errors.TimedOut: 408,
    errors.AlreadyExists: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.NotJson: 415,
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


class Answer(NamedTuple):
    """A response that is known whole before it is sent; an ASGI application."""

    status: int
    headers: tuple[Header, ...]
    body: bytes = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, to HEAD without the body."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self.body})


def json(body: bytes, status: int = 200, *headers: Header) -> Answer:
    """*body*, which is JSON."""
    return Answer(status, (*_JSON, (b"content-length", b"%d" % len(body)), *headers), body)


def stored(run: Stored, status: int = 200, *headers: Header) -> Answer:
    """The document of *run*, as it is stored."""
    return json(run.doc, status, etag(run.etag), *headers)


def page(docs: bytes, etag_: str, total: int, **cursors: str | None) -> Answer:
    """A FlowRunPage of *docs*, which are joined by commas."""
    rest = encode({"total": total, **cursors})
    return json(b'{"items":[%b],%b' % (docs, rest[1:]), 200, etag(etag_))


def not_modified(etag_: str) -> Answer:
    """304: the client has what GET would send."""
    return Answer(304, (*_COMMON, etag(etag_)))


def deleted() -> Answer:
    """204: it is gone."""
    return Answer(204, _COMMON)


def etag(value: str) -> Header:
    """The ETag header of *value*."""
    return b"etag", b'"%b"' % value.encode()


def events() -> Answer:
    """The head of a stream of server-sent events, which no proxy is to keep or to gather."""
    return Answer(200, _EVENTS)


def refusal(error: FlowrunsError) -> Answer:
    """*error* in the one error shape (contract, "Errors")."""
    return error_answer(STATUS[type(error)], error.faults, *_more_headers(error))


def fault_of_ours() -> Answer:
    """500, without a word about the inside."""
    return error_answer(500, (Fault(("server",), "flowruns failed; its log says where", "internal_error"),))


def error_answer(status: int, faults: tuple[Fault, ...], *headers: Header) -> Answer:
    """*faults* in the one error shape."""
    detail = [{"loc": fault.loc, "msg": fault.msg, "type": fault.type} for fault in faults]
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
