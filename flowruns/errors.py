"""What flowruns raises on purpose, and how it is said. Each error carries the details that its answer names."""

from typing import NamedTuple


def one_line(text: str) -> str:
    """*text* with all escaped that would break its line, or colour it."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class ErrorDetail(NamedTuple):
    """One entry of an answer's `detail`: where, what, and which kind (contract, "Errors")."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


class FlowrunsError(Exception):
    """The base of every error below; *details* is never empty."""

    def __init__(self, *details: ErrorDetail) -> None:
        super().__init__("; ".join(detail.msg for detail in details))
        self.details = details


class Invalid(FlowrunsError):
    """A body, path or query breaks rules; every broken one is named."""


class BadRequest(FlowrunsError):
    """The bytes are not HTTP."""

    def __init__(self) -> None:
        super().__init__(ErrorDetail(("request",), "This is not a valid HTTP request", "bad_request"))


class Unauthorized(FlowrunsError):
    """A token is set and the request has none that fits."""

    def __init__(self) -> None:
        msg = "Send a token that this server knows: Authorization: Bearer TOKEN"
        super().__init__(ErrorDetail(("header", "authorization"), msg, "unauthorized"))


class Forbidden(FlowrunsError):
    """A host or an origin that this server does not serve."""


class NotFound(FlowrunsError):
    """No such run."""

    def __init__(self, id: str) -> None:
        super().__init__(ErrorDetail(("path", "id_"), f"There is no flow run {id!r}", "not_found"))


class PathNotFound(FlowrunsError):
    """No such path."""

    def __init__(self) -> None:
        super().__init__(ErrorDetail(("path",), "There is nothing at this path; see /openapi.json", "not_found"))


class MethodNotAllowed(FlowrunsError):
    """The path is there, the method is not; *allow* is the complete Allow header."""

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(ErrorDetail(("method",), f"{method} is not allowed here, only {allow}", "method_not_allowed"))
        self.allow = allow


class RequestTimeout(FlowrunsError):
    """The request's head or body did not come in time."""

    def __init__(self) -> None:
        super().__init__(ErrorDetail(("request",), "The request did not arrive in time", "request_timeout"))


class AlreadyExists(FlowrunsError):
    """POST with an id that exists."""

    def __init__(self, id: str) -> None:
        super().__init__(ErrorDetail(("body", "id"), f"There is a flow run {id!r} already", "already_exists"))


class PreconditionFailed(FlowrunsError):
    """If-Match or If-None-Match does not hold (RFC 9110 13.1); *header* is its name."""

    def __init__(self, header: str) -> None:
        msg = f"{header} does not hold: the run is not in the state that the request names"
        super().__init__(ErrorDetail(("header", header.lower()), msg, "precondition_failed"))


class BodyTooLarge(FlowrunsError):
    """The body has more than *limit* bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(ErrorDetail(("body",), f"The body is over {limit} bytes (--max-body)", "too_large"))


class UnsupportedMediaType(FlowrunsError):
    """The body is not plain application/json, by what *header* says of it."""

    def __init__(self, header: str = "content-type") -> None:
        msg = "Send JSON, not compressed, with the header Content-Type: application/json"
        super().__init__(ErrorDetail(("header", header), msg, "unsupported_media_type"))


class HeadersTooLarge(FlowrunsError):
    """The request's head is over *limit* bytes, or over so many *fields*."""

    def __init__(self, limit: int, fields: int) -> None:
        msg = f"The headers are over {limit} bytes (--max-head), or more than {fields}"
        super().__init__(ErrorDetail(("header",), msg, "headers_too_large"))


class Unavailable(FlowrunsError):
    """The database or the server cannot do this now; *retry_after* seconds may help, None: waiting does not."""

    def __init__(self, reason: str, retry_after: int | None = None, part: str = "database") -> None:
        super().__init__(ErrorDetail((part,), reason, "unavailable"))
        self.retry_after = retry_after


BEGUN = "it has begun, and may be done"  # what a CancelledError says if that is so


class Failure(Exception):
    """What was asked for cannot be done; the message is one line that names the cure."""


class CannotStart(Failure):
    """A server cannot start."""


class PortTaken(CannotStart):
    """The address cannot be listened on."""


class DatabaseInUse(CannotStart):
    """Another flowruns serves this database."""


class DatabaseUnusable(CannotStart):
    """The file is not ours, damaged, newer, or out of reach."""


class CannotStop(Failure):
    """A server cannot be stopped."""


class InputRefused(Failure):
    """Lines of an import break rules; each was named, and none is kept."""


class CannotWrite(Failure):
    """A file that was asked for cannot be written."""


class Unreachable(Failure):
    """No server answers at an address."""


class Refused(Failure):
    """A server does not do what it was asked: it answered *status*, for the reasons *details*."""

    def __init__(self, message: str, status: int = 503, details: tuple[ErrorDetail, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


class Busy(Refused):
    """A server cannot do it now."""
