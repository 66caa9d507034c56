"""The requests that a test server received, and assertions about them."""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, overload
from urllib.parse import parse_qs

from flowruns.errors import one_line
from flowruns.http.responses import Scope

_MOST_SHOWN = 20  # requests, in a report

_MOST_BODY = 200  # bytes of each


class RequestMatcher(NamedTuple):
    """Which requests are meant: those with this *method*, *path* (`*` for any characters) and run *id*; None: any."""

    method: str | None = None
    path: str | None = None
    id: str | None = None

    def fits(self, method: str, path: str) -> bool:
        """Whether a request is meant."""
        return (
            (self.method or method).upper() == method
            and fnmatchcase(path, self.path or "*")
            and (self.id is None or path.endswith(f"/flow-runs/{self.id}"))
        )

    def __str__(self) -> str:
        return " ".join(filter(None, [self.method or "any method", self.path, self.id and f"of {self.id!r}"]))


class RecordedRequest:
    """A request as it came, and what it was answered."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: str = scope["query_string"].decode(errors="replace")
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.status: int | None = None  # None: no answer, or not yet
        self._pieces: list[bytes] = []

    @property
    def query(self) -> dict[str, list[str]]:
        """The values of each parameter."""
        return parse_qs(self.query_string, keep_blank_values=True)

    @property
    def body(self) -> bytes:
        """The body, as much of it as was read."""
        return b"".join(self._pieces)

    @property
    def json(self) -> Any:
        """The body, decoded. Raises ValueError."""
        return json.loads(self.body)

    def read(self, piece: bytes) -> None:
        """Notes a *piece* of the body."""
        self._pieces.append(piece)

    def __repr__(self) -> str:
        target = self.path + ("?" + self.query_string if self.query_string else "")
        body = self.body[:_MOST_BODY].decode(errors="replace") + ("…" if len(self.body) > _MOST_BODY else "")
        return one_line(f"{self.method} {target} {self.status or 'no answer'} {body}".rstrip())


class RecordedRequests(Sequence[RecordedRequest]):
    """What was asked, in the order in which it came."""

    def __init__(self) -> None:
        self._asked: list[RecordedRequest] = []

    @overload
    def __getitem__(self, index: int) -> RecordedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RecordedRequest]: ...
    def __getitem__(self, index: int | slice) -> RecordedRequest | Sequence[RecordedRequest]:
        return self._asked[index]

    def __len__(self) -> int:
        return len(self._asked)

    def append(self, asked: RecordedRequest) -> None:
        """Notes one more."""
        self._asked.append(asked)

    def of(self, method: str | None = None, path: str | None = None, *, id: str | None = None) -> list[RecordedRequest]:
        """Those that are meant, see `RequestMatcher`."""
        wanted = RequestMatcher(method, path, id)
        return [one for one in list(self._asked) if wanted.fits(one.method, one.path)]

    def count(self, method: str | None = None, path: str | None = None, *, id: str | None = None) -> int:
        """How many those are."""
        return len(self.of(method, path, id=id))

    def report(self) -> str:
        """The last of them, a line each."""
        return "\n".join(last_lines([repr(one) for one in list(self._asked)]))

    def __repr__(self) -> str:
        return f"<{len(self)} requests>\n{self.report()}"


def last_lines(lines: Sequence[str]) -> list[str]:
    """The last of *lines*, and how many were before them."""
    before = len(lines) - _MOST_SHOWN
    return [*([f"({before} before)"] if before > 0 else []), *lines[-_MOST_SHOWN:]] or ["(none)"]


def differences(body: Any, expected: Any, place: str = "") -> list[str]:
    """Where the JSON *body* does not have what is *expected*: objects may have more, all else is equal."""
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
    requests: RecordedRequests, wanted: RequestMatcher, times: int | None, expected: Any
) -> list[RecordedRequest]:
    """The requests that are *wanted* and whose body has what is *expected* (None: any). Raises AssertionError, with
    what was asked in their place, unless there are *times* of them; None: at least one.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    meant = requests.of(wanted.method, wanted.path, id=wanted.id)
    found = [one for one in meant if not _differences(one, expected)]
    if len(found) == times or (times is None and found):
        return found
    number = "at least once" if times is None else _times(times)
    body = "" if expected is None else f" with {json.dumps(expected)}"
    lines = [f"{wanted}{body}: expected {number}, asked {_times(len(found))}"]
    for one in meant[-_MOST_SHOWN:]:
        lines += [f"  {one!r}", *(f"      {line}" for line in _differences(one, expected))]
    if not meant:
        lines += ["no such request; there were:", *(f"  {line}" for line in requests.report().splitlines())]
    raise AssertionError("\n".join(lines))


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _differences(asked: RecordedRequest, expected: Any) -> list[str]:
    if expected is None:
        return []
    try:
        return differences(asked.json, expected)
    except ValueError:
        return ["the body is not JSON"]
