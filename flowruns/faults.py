"""Between a server and its application, for tests: notes what was asked, and fails what it is told to.

Nothing imports this but `testing`.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, overload
from urllib.parse import parse_qsl

from flowruns.errors import Fault, one_line
from flowruns.responses import DROP, Answer, Message, Receive, Scope, Send, error_answer

_TYPES = {
    401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "already_exists", 412: "precondition_failed",
    500: "internal_error", 503: "unavailable",
}  # fmt: skip
_MOST_SHOWN = 20  # requests, in a report


class Wanted(NamedTuple):
    """Which requests are meant: those with this *method*, *path* (`*` for any characters) and run *id*; None: any."""

    method: str | None = None
    path: str | None = None
    id: str | None = None

    def fits(self, method: str, path: str) -> bool:
        """Whether a request is meant."""
        return (
            self.method in (None, method)
            and (self.path is None or fnmatchcase(path, self.path))
            and (self.id is None or path.endswith(f"/flow-runs/{self.id}"))
        )

    def __str__(self) -> str:
        return " ".join(filter(None, [self.method or "any method", self.path, self.id and f"of {self.id!r}"]))


class Asked:
    """A request as it came, and what it was answered."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = dict(parse_qsl(scope["query_string"].decode(errors="replace"), keep_blank_values=True))
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.body = b""
        self.status: int | None = None  # None: no answer, or not yet

    @property
    def json(self) -> Any:
        """The body, decoded. Raises ValueError."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        query = "?" + "&".join(f"{name}={value}" for name, value in self.query.items()) if self.query else ""
        body = self.body[:200].decode(errors="replace") + ("…" if len(self.body) > 200 else "")
        return one_line(f"{self.method} {self.path}{query} {self.status or 'no answer'} {body}".rstrip())


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

    def clear(self) -> None:
        """Forgets them all."""
        self._asked.clear()

    def of(self, method: str | None = None, path: str | None = None, *, id: str | None = None) -> list[Asked]:
        """Those that are meant, see `Wanted`."""
        wanted = Wanted(method, path, id)
        return [one for one in list(self._asked) if wanted.fits(one.method, one.path)]

    def count(self, method: str | None = None, path: str | None = None, *, id: str | None = None) -> int:
        """How many those are."""
        return len(self.of(method, path, id=id))

    def report(self) -> str:
        """The last of them, a line each."""
        asked = list(self._asked)
        lines = [repr(one) for one in asked[-_MOST_SHOWN:]]
        before = len(asked) - len(lines)
        return "\n".join([f"({before} before)"] * bool(before) + lines) or "(none)"

    def __repr__(self) -> str:
        return f"<{len(self)} requests>\n{self.report()}"


@dataclass
class Behaviour:
    """What is done to requests that are *wanted*. With a *delay* they wait, and go on. Without, they get *answer*, or a
    closed connection if it is None: in place of their effect or, if *done*, after it.
    """

    wanted: Wanted
    times: int | None  # that are left; None: always
    delay: float = 0.0
    answer: Answer | None = None
    done: bool = False


class Faulty:
    """An ASGI application around *app*, which it fails when told to."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.requests = Requests()
        self.behaviours: list[Behaviour] = []

    def reset(self, app: Any) -> None:
        """Forgets what was asked and what it was told; *app* answers from now on."""
        self.app = app
        self.requests.clear()
        self.behaviours.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Notes the request, and answers it or not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Asked(scope)
        self.requests.append(asked)

        async def receiving() -> Message:
            message = await receive()
            asked.body += message.get("body", b"")
            return message

        async def sending(message: Message) -> None:
            asked.status = message.get("status", asked.status)
            await send(message)

        for behaviour in self._due(asked):
            if behaviour.delay:
                await asyncio.sleep(behaviour.delay)
                continue
            await (self.app(scope, receiving, _nowhere) if behaviour.done else _drained(receiving))
            if behaviour.answer is None:
                await send({"type": DROP})
            else:
                await behaviour.answer(scope, receiving, sending)
            return
        await self.app(scope, receiving, sending)

    def _due(self, asked: Asked) -> list[Behaviour]:
        """What is to be done now: every delay, then the first that answers."""
        fitting = [one for one in self.behaviours if one.wanted.fits(asked.method, asked.path)]
        due = [one for one in fitting if one.delay] + [one for one in fitting if not one.delay][:1]
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


def failure(status: int, retry_after: float | None) -> Answer:
    """*status* in the one error shape."""
    headers = [] if retry_after is None else [(b"retry-after", b"%g" % retry_after)]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    fault = Fault(("server",), "The test asked for this answer", _TYPES.get(status, "fault"))
    return error_answer(status, (fault,), *headers)


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
    meant = requests.of(wanted.method, wanted.path, id=wanted.id)
    found = [one for one in meant if expected is None or not _differences(one, expected)]
    if len(found) == times or (times is None and found):
        return found
    number = "at least once" if times is None else f"{times} times"
    body = "" if expected is None else f" with {json.dumps(expected)}"
    lines = [f"{wanted}{body}: expected {number}, asked {len(found)} times"]
    for one in meant:
        lines += [f"  {one!r}", *(f"      {line}" for line in _differences(one, expected) if expected is not None)]
    if not meant:
        lines += ["no such request; there were:", *(f"  {line}" for line in requests.report().splitlines())]
    raise AssertionError("\n".join(lines))


def _differences(asked: Asked, expected: Any) -> list[str]:
    if expected is None:
        return []
    try:
        return unlike(asked.json, expected)
    except ValueError:
        return ["the body is not JSON"]
