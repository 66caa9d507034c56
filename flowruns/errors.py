"""The exceptions that flowruns raises on purpose. Each `FlowrunsError` carries the details of its response."""

from typing import NamedTuple


def one_line(text: str) -> str:
    """*text* with control characters, line breaks and other non-printable characters escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class ErrorDetail(NamedTuple):
    """One entry of an error response's `detail` (`flowruns/docs/api.md`, "Errors")."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


class FlowrunsError(Exception):
    """The base of the errors that become a response. *details* is never empty."""

    def __init__(self, *details: ErrorDetail) -> None:
        super().__init__("; ".join(detail.msg for detail in details))
        self.details = details


class Invalid(FlowrunsError):
    """A body, path or query breaks rules. *details* names each broken field or parameter."""


class BadRequest(FlowrunsError):
    """The bytes are not HTTP."""

    def __init__(self) -> None:
        super().__init__(ErrorDetail(("request",), "This is not a valid HTTP request", "bad_request"))


class Unauthorized(FlowrunsError):
    """The server requires a token, and the request has no valid one; *hint* ends the message."""

    def __init__(self, hint: str = "") -> None:
        msg = f"Send a token of this server in the header Authorization: Bearer TOKEN{hint}"
        super().__init__(ErrorDetail(("header", "authorization"), msg, "unauthorized"))


class Forbidden(FlowrunsError):
    """The server does not serve this host or origin."""


class NotFound(FlowrunsError):
    """No run has this id."""

    def __init__(self, id: str) -> None:
        super().__init__(ErrorDetail(("path", "id_"), f"There is no flow run {id!r}", "not_found"))


class PathNotFound(FlowrunsError):
    """No route has this path."""

    def __init__(self) -> None:
        msg = "There is nothing at this path; runs are at /api/v1/flow-runs, the API documentation at /docs"
        super().__init__(ErrorDetail(("path",), msg, "not_found"))


class MethodNotAllowed(FlowrunsError):
    """The path does not support *method*; *allow* is the complete Allow header."""

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(ErrorDetail(("method",), f"{method} is not allowed here, only {allow}", "method_not_allowed"))
        self.allow = allow


class RequestTimeout(FlowrunsError):
    """The headers or the body did not arrive in time."""

    def __init__(self) -> None:
        super().__init__(ErrorDetail(("request",), "The request did not arrive in time", "request_timeout"))


class AlreadyExists(FlowrunsError):
    """A run has the id of this POST."""

    def __init__(self, id: str) -> None:
        super().__init__(ErrorDetail(("body", "id"), f"There is a flow run {id!r} already", "already_exists"))


class PreconditionFailed(FlowrunsError):
    """If-Match or If-None-Match is false (RFC 9110 13.1); *header* is its name."""

    def __init__(self, header: str) -> None:
        msg = f"{header} does not match the current state of the run; read the run again"
        super().__init__(ErrorDetail(("header", header.lower()), msg, "precondition_failed"))


class BodyTooLarge(FlowrunsError):
    """The body has more than *limit* bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(ErrorDetail(("body",), f"The body is over {limit} bytes (--max-body)", "too_large"))


class UnsupportedMediaType(FlowrunsError):
    """The body is not plain JSON, according to *header*."""

    def __init__(self, header: str = "content-type") -> None:
        msg = "Send uncompressed JSON with the header Content-Type: application/json"
        super().__init__(ErrorDetail(("header", header), msg, "unsupported_media_type"))


class HeadersTooLarge(FlowrunsError):
    """The request line and headers have more than *limit* bytes, or there are more than *fields* headers."""

    def __init__(self, limit: int, fields: int) -> None:
        msg = f"The headers are over {limit} bytes (--max-head), or there are more than {fields} of them"
        super().__init__(ErrorDetail(("header",), msg, "headers_too_large"))


class Unavailable(FlowrunsError):
    """The database or the server cannot do this now. *retry_after* is in seconds; None if retrying does not help."""

    def __init__(self, reason: str, retry_after: int | None = None, part: str = "database") -> None:
        super().__init__(ErrorDetail((part,), reason, "unavailable"))
        self.retry_after = retry_after


WRITE_BEGUN = "the write has begun, and may be committed"  # the argument of a CancelledError for which this is so


class Failure(Exception):
    """A command or a call failed. The message is one line that names the cure."""


class CannotStart(Failure):
    """A server cannot start."""


class PortTaken(CannotStart):
    """The server cannot listen on the address; *errno* is that of the operating system."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class DatabaseInUse(CannotStart):
    """Another flowruns has locked the database."""


class DatabaseUnusable(CannotStart):
    """The file is damaged, not readable, of a newer version, or not a flowruns database."""


class CannotStop(Failure):
    """A server cannot be stopped."""


class InputRefused(Failure):
    """Lines of an import break rules; nothing was imported."""


class CannotWrite(Failure):
    """An output file cannot be written."""


class Unreachable(Failure):
    """No server responds at an address."""


PRECONDITION_FAILED = 412  # the status of a `Refused` whose If-Match or If-None-Match is false


class Refused(Failure):
    """A server responded with the error *status* and *details*."""

    def __init__(self, message: str, status: int = 503, details: tuple[ErrorDetail, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


class Busy(Refused):
    """A server responded that it cannot do this now."""
