"""Responses of a server to values and errors."""

import os
from collections.abc import Iterator, Sequence

import httpx
from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode

from flowruns.errors import Busy, ErrorDetail, NotFound, Refused, Unreachable, one_line

_GATEWAY_ERRORS = (502, 503, 504)  # a proxy may send these in place of the server


class RunPage(Struct):
    """A page of runs, as far as a client needs it."""

    items: list[Raw]
    total: int
    next_page: str | None


class _Detail(Struct):
    loc: tuple[str | int, ...]
    msg: str
    type: str


class _ErrorBody(Struct):
    detail: list[_Detail]


def media_type(response: httpx.Response) -> str:
    """The media type of *response*, without parameters."""
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def strong(url: str, etag: str | None, user: str) -> str:
    """*etag*, of a response of *url*, if it is a strong entity tag, which If-Match needs (RFC 9110 13.1.1). Raises
    Refused, which names the *user* of the tag.
    """
    if etag is None or not etag.startswith('"'):
        raise Refused(f"{url} sent no strong ETag, which {user} needs: turn off compression in the proxy", 200)
    return etag


def parse_page(url: str, body: bytes) -> RunPage:
    """The page in the *body* of a response of *url*. Raises Refused."""
    try:
        return decode(body, type=RunPage)
    except DecodeError:
        raise unexpected_response(url, 200) from None


def check_status(url: str, response: httpx.Response, id: str | None) -> None:
    """Raises NotFound, Refused or Busy if *response*, of *url* to a request for the run *id* (None: for none), is no
    success.
    """
    try:
        response.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise error_of(url, response.status_code, response.content, id) from error


def error_of(url: str, status: int, body: bytes, id: str | None) -> Exception:
    """The exception for an error response of *url* to a request for the run *id* (None: for none)."""
    try:
        parsed = decode(body, type=_ErrorBody)
    except DecodeError:
        if status in _GATEWAY_ERRORS:
            return Busy(f"{url} returned {status}: the proxy cannot reach the server behind it", status)
        return unexpected_response(url, status)
    details = tuple(ErrorDetail(detail.loc, detail.msg, detail.type) for detail in parsed.detail)
    if id is not None and (status == 404 or status == 422):  # 422: no run can have this id
        return NotFound(id)
    cure = "; on the command line, use --token or FLOWRUNS_TOKEN" if status == 401 else ""
    kind = Busy if status == 503 else Refused
    return kind(f"{url}: {_message(details)}{cure}", status, details)


def unexpected_response(url: str, status: int) -> Refused:
    """The exception for a response that is not of our API."""
    return Refused(
        f"{url} is not a flowruns server: it returned {status} in an unknown format; check the address", status
    )


def unreachable(url: str, error: httpx.RequestError) -> Unreachable:
    """The exception for a request to *url* that failed with *error*."""
    reason = next(filter(None, map(_reason, _causes(error))), str(error) or type(error).__name__)
    return Unreachable(one_line(f"{url} cannot be reached: {reason}"))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, and what it was raised from, by httpx, httpcore, anyio and the event loop."""
    while error is not None:
        yield error
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__


def _reason(error: BaseException) -> str | None:
    """The reason in the words of the system; None if *error* is not the system's."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # an event loop may have other words
    return error.strerror if isinstance(error, OSError) else None


def _message(details: Sequence[ErrorDetail]) -> str:
    """*details* in one line, with the parameter or the field where there is one."""
    return "; ".join(
        f"{'.'.join(map(str, detail.loc[1:]))}: {detail.msg}"
        if detail.loc[0] in ("query", "body") and detail.loc[1:]
        else detail.msg
        for detail in details
    )
