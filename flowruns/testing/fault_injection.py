"""Between a server and its application, for tests: notes what was asked, and fails what it is told to.

Nothing imports this but `testing`.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, overload
from urllib.parse import parse_qs

from flowruns.errors import Fault, one_line
from flowruns.inputs import Disconnected
from flowruns.responses import DROP, Answer, Message, Receive, Scope, Send, error_answer

_TYPES = {
    401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "already_exists", 412: "precondition_failed",
    500: "internal_error", 503: "unavailable",
}  # fmt: skip
_MOST_SHOWN = 20  # requests, in a report
_MOST_BODY = 200  # bytes of each


class Wanted(NamedTuple):
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


class Asked:
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


class Requests(Sequence[Asked]):
    """What was asked, in the order in which it came."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []

    @overload
    def __getitem__(self, index: int) -> Asked: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Asked]: ...
    def __getitem__(self, index: int | slice) -> Asked | Sequence[Asked]:
        return self._asked[index]

    def __len__(self) -> int:
        return len(self._asked)

    def append(self, asked: Asked) -> None:
        """Notes one more."""
        self._asked.append(asked)

    def of(self, method: str | None = None, path: str | None = None, *, id: str | None = None) -> list[Asked]:
        """Those that are meant, see `Wanted`."""
        wanted = Wanted(method, path, id)
        return [one for one in list(self._asked) if wanted.fits(one.method, one.path)]

    def count(self, method: str | None = None, path: str | None = None, *, id: str | None = None) -> int:
        """How many those are."""
        return len(self.of(method, path, id=id))

    def report(self) -> str:
        """The last of them, a line each."""
        return "\n".join(last([repr(one) for one in list(self._asked)]))

    def __repr__(self) -> str:
        return f"<{len(self)} requests>\n{self.report()}"


@dataclass
class Behaviour:
    """What is done to requests that are *wanted*. With a *delay* they wait, and go on. Without, they get *answer*, or a
    closed connection if it is None: in place of their effect or, if *done*, after it.
    """

    wanted: Wanted
    times: int | None  # that are left; None: always
    delay: float | None = None  # seconds
    answer: Answer | None = None
    done: bool = False

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError("times is 1 or more, or None: until the test ends")
        if self.delay is not None and self.delay < 0:
            raise ValueError("a delay is 0 seconds or more")


class Faulty:
    """An ASGI application around *app*, which it fails when told to. All but `requests` is of the server's loop."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.requests = Requests()
        self.behaviours: list[Behaviour] = []
        self._under_way: dict[asyncio.Task[Any] | None, Send] = {}

    def reset(self, app: Any) -> None:
        """Forgets what was asked and what it was told; *app* answers from now on."""
        self.app = app
        self.requests = Requests()  # who holds the old ones keeps them
        self.behaviours.clear()

    async def drop_all(self) -> None:
        """Closes the connections of the requests that are under way, and returns once nothing more comes of them."""
        dropped, self._under_way = self._under_way, {}
        tasks = [task for task in dropped if task is not None]
        for task in tasks:
            await dropped[task]({"type": DROP})
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Notes the request, and answers it or not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked, task = Asked(scope), asyncio.current_task()
        self.requests.append(asked)
        self._under_way[task] = send
        try:
            with suppress(Disconnected):
                await self._answer(asked, scope, receive, send)
        except asyncio.CancelledError:
            if task in self._under_way:  # else it was dropped
                raise
        finally:
            self._under_way.pop(task, None)

    async def _answer(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        async def receiving() -> Message:
            message = await receive()
            asked.read(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            asked.status = message.get("status", asked.status)
            await send(message)

        coming: Receive = receiving
        for behaviour in self._due(asked):
            if behaviour.delay is not None:
                coming = await _held(coming, behaviour.delay)
                continue
            if behaviour.done and asked.method not in ("GET", "HEAD"):  # whose effect is their answer
                await self.app(scope, coming, _nowhere)
            else:
                await _drained(coming)
            if behaviour.answer is None:
                await send({"type": DROP})
            else:
                await behaviour.answer(scope, coming, sending)
            return
        await self.app(scope, coming, sending)

    def _due(self, asked: Asked) -> list[Behaviour]:
        """What is to be done now: every delay, then the first that answers."""
        fitting = [one for one in self.behaviours if one.wanted.fits(asked.method, asked.path)]
        due = [one for one in fitting if one.delay is not None] + [one for one in fitting if one.delay is None][:1]
        for one in due:
            if one.times is not None:
                one.times -= 1
        self.behaviours = [one for one in self.behaviours if one.times != 0]
        return due


async def _nowhere(message: Message) -> None:
    """Swallows an answer."""


async def _drained(receive: Receive) -> None:
    """Returns once the whole request has come: its client has sent it, and it is noted."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _held(receive: Receive, seconds: float) -> Receive:
    """What *receive* gives, after so many *seconds*. Raises Disconnected as soon as the client has left."""
    came: deque[Message] = deque()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (message := await receive())["type"] == "http.request":
                came.append(message)
            raise Disconnected

    async def again() -> Message:
        return came.popleft() if came else await receive()

    return again


def failure(status: int, retry_after: int | None) -> Answer:
    """*status* in the one error shape. Raises ValueError if it is no failure."""
    if not 400 <= status <= 599:
        raise ValueError(f"{status} is no failure: those are 400 to 599")
    headers = [] if retry_after is None else [(b"retry-after", b"%d" % retry_after)]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    fault = Fault(("server",), "The test asked for this answer", _TYPES.get(status, "fault"))
    return error_answer(status, (fault,), *headers)


def last(lines: Sequence[str]) -> list[str]:
    """The last of *lines*, and how many were before them."""
    before = len(lines) - _MOST_SHOWN
    return [*([f"({before} before)"] if before > 0 else []), *lines[-_MOST_SHOWN:]] or ["(none)"]


def unlike(body: Any, expected: Any, place: str = "") -> list[str]:
    """Where the JSON *body* does not have what is *expected*: objects may have more, all else is equal."""
    if isinstance(expected, Mapping) and isinstance(body, Mapping):
        return [
            line
            for key, value in expected.items()
            for line in (unlike(body[key], value, f"{place}.{key}") if key in body else [f"{place}.{key} is missing"])
        ]
    return [] if body == expected else [f"{place or 'the body'} is {body!r}, not {expected!r}"]


def check(requests: Requests, wanted: Wanted, times: int | None, expected: Any) -> list[Asked]:
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


def _differences(asked: Asked, expected: Any) -> list[str]:
    if expected is None:
        return []
    try:
        return unlike(asked.json, expected)
    except ValueError:
        return ["the body is not JSON"]
