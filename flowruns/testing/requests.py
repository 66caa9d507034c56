"""The requests that a test server received, and assertions about them."""

import json
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

from flowruns.errors import one_line
from flowruns.http.hints import hints_of
from flowruns.http.responses import Scope
from flowruns.model.python_values import parse
from flowruns.settings import RUNS, STATS
from flowruns.testing.arguments import check_number, cure

if TYPE_CHECKING:
    import httpx

__tracebackhide__ = True  # pytest shows the line of the test instead

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT")

_MAX_SHOWN = 20  # requests, in a report

_MAX_BODY_SHOWN = 200  # bytes of each

T = TypeVar("T")


def run_id(path: str) -> str | None:
    """The id of the run at *path*; None for another path."""
    _, found, id = path.rpartition(f"{RUNS}/")
    return id if found and "/" not in id else None


class RequestMatcher(NamedTuple):
    """Matches requests by *method*, *path* (`*` stands for any characters) and run *id*; None matches any."""

    method: str | None = None
    path: str | None = None
    id: str | None = None

    def matches(self, method: str, path: str) -> bool:
        """Whether a request with this *method* and *path* matches."""
        return (
            (self.method or method).upper() == method
            and fnmatchcase(path, self.path or "*")
            and (self.id is None or run_id(path) == self.id)
        )

    def __str__(self) -> str:
        return " ".join(filter(None, [self.method or "any method", self.path, self.id and f"of {self.id!r}"]))


def matcher_of(method: str | None, path: str | None, id: str | None) -> RequestMatcher:
    """The matcher of these arguments of a test. Raises ValueError for what no request has."""
    if method is not None and str(method).upper() not in _METHODS:
        raise ValueError(f"there is no method {method!r}{cure(str(method).upper(), _METHODS)}")
    if path is not None and not (isinstance(path, str) and path.startswith(("/", "*"))):
        raise ValueError(f"path is the whole path of a request, or begins with '*', not {path!r}")
    if id is not None and str(method).upper() == "POST":
        raise ValueError("a POST has no run's id in its path, so none has this id; leave id out")
    return RequestMatcher(method, path, id)


class RecordedRequest:
    """A request: `method`, `path`, the `id` of its run, `query`, `headers`, `body`, `json`, and the `status` of its
    response.
    """

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: str = scope["query_string"].decode(errors="replace")
        self.status: int | None = None  # None: no response, or not yet
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        sent = dict(self._headers)
        has_body = sent.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in sent
        self.expects_continue = bool(sent.get(b"expect"))
        self.body_complete = not has_body  # whether the server has read the whole body
        self._pieces: list[bytes] = []

    @property
    def id(self) -> str | None:
        """The id of the run in the path; None for another path."""
        return run_id(self.path)

    @cached_property
    def headers(self) -> "httpx.Headers":
        """The headers by their names, in any case; the values of a repeated one are joined by commas."""
        import httpx  # slow to import, and not needed by each test

        return httpx.Headers(self._headers)

    @property
    def query(self) -> dict[str, list[str]]:
        """The values of each parameter."""
        return parse_qs(self.query_string, keep_blank_values=True)

    @property
    def body(self) -> bytes:
        """The body, as far as the server has read it."""
        return b"".join(self._pieces)

    @property
    def json(self) -> Any:
        """The decoded body; None without a body. Raises ValueError if it is not JSON, or if the server did not read
        all of it.
        """
        if not self.body_complete:
            cause = f"it returned {self.status} first" if self.status else "there is no response yet"
            raise ValueError(f"the server did not read the {'whole ' if self.body else ''}body: {cause}")
        try:
            return parse(self.body) if self.body else None
        except ValueError as error:
            raise ValueError(f"the body is not JSON: {error}") from None

    @property
    def hints(self) -> list[str]:
        """What had no effect in the request, as the log of the server says it at level info."""
        if self.path.endswith((RUNS, STATS)) or (self.id is not None and self.method in ("GET", "HEAD", "PUT")):
            return hints_of(self.method, (name.removesuffix("[]") for name in self.query), self.body)
        return []

    def record_body(self, piece: bytes, *, complete: bool) -> None:
        """Appends a *piece* of the body, the last one if *complete*."""
        self._pieces.append(piece)
        self.body_complete = complete

    def __repr__(self) -> str:
        target = self.path + ("?" + self.query_string if self.query_string else "")
        body = self.body[:_MAX_BODY_SHOWN].decode(errors="replace") + ("…" if len(self.body) > _MAX_BODY_SHOWN else "")
        note = "" if self.body_complete else "(rest of the body not read)" if self.body else "(body not read)"
        return one_line(" ".join(filter(None, [self.method, target, str(self.status or "no response"), body, note])))


class RecordedRequests(list[RecordedRequest]):
    """The requests in the order in which they arrived."""

    def of(self, method: str | None = None, path: str | None = None, *, id: str | None = None) -> list[RecordedRequest]:
        """The requests that match, see `RequestMatcher`."""
        matcher = matcher_of(method, path, id)
        return [request for request in list(self) if matcher.matches(request.method, request.path)]

    def count(  # type: ignore[override]  # of requests by what they are, not of equal ones
        self, method: str | None = None, path: str | None = None, *, id: str | None = None
    ) -> int:
        """The number of requests that match, see `RequestMatcher`."""
        return len(self.of(method, path, id=id))

    def report(self) -> str:
        """The last requests, a line each, and what had no effect in them."""
        lines = last_lines(list(self), lambda request: "\n  ".join([repr(request), *request.hints]))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{len(self)} requests>\n{self.report()}"


def last_lines(items: Sequence[T], line: Callable[[T], str]) -> list[str]:
    """The *line* of each of the last *items*, after the number of those that are left out."""
    before = len(items) - _MAX_SHOWN
    return [*([f"({before} before)"] if before > 0 else []), *map(line, items[-_MAX_SHOWN:])] or ["(none)"]


def differences(body: Any, expected: Any, place: str = "") -> list[str]:
    """The places where the JSON *body* differs from *expected*. Objects may have more keys than expected."""
    if isinstance(expected, Mapping) and isinstance(body, Mapping):
        return [
            line
            for key, value in expected.items()
            for line in (
                differences(body[key], value, f"{place}.{key}") if key in body else [f"{place}.{key} is missing"]
            )
        ]
    return [] if body == expected else [f"{place or 'the body'} is {body!r}, not {expected!r}"]


def assert_requests(
    requests: RecordedRequests, matcher: RequestMatcher, times: int | None, expected: Any
) -> list[RecordedRequest]:
    """The requests that match, and whose JSON body contains *expected* (None: any body). Raises AssertionError unless
    there are *times* of them; None: at least one. The message shows the other requests, and how they differ.
    """
    if times is not None:
        check_number("times", times, 0, whole=True)
    candidates = requests.of(matcher.method, matcher.path, id=matcher.id)
    matching = [request for request in candidates if not _body_differences(request, expected)]
    if len(matching) == times or (times is None and matching):
        return matching
    number = "at least 1 request" if times is None else f"{times} request{'' if times == 1 else 's'}"
    body = "" if expected is None else f" with the JSON {json.dumps(expected, default=repr)}"
    lines = [f"{matcher}{body}: expected {number}, received {len(matching)}"]
    if candidates:
        shown = last_lines(
            candidates, lambda request: "\n      ".join([repr(request), *_body_differences(request, expected)])
        )
        lines += [f"  {line}" for line in shown]
    elif requests:
        cure = f" (path is the whole path, such as {RUNS!r}, or has *)" if matcher.path is not None else ""
        lines += [f"no request has this method, path and id{cure}; the server received:"]
        lines += [f"  {line}" for line in requests.report().splitlines()]
    else:
        lines += ["the server received no requests at all: does the code under test use flowruns.url?"]
    raise AssertionError("\n".join(lines))


def _body_differences(request: RecordedRequest, expected: Any) -> list[str]:
    if expected is None:
        return []
    try:
        if request.body_complete and not request.body:
            return ["it has no body"]
        return differences(request.json, expected)
    except ValueError as error:
        return [str(error)]
