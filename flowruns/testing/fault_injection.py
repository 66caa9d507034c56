"""Between a server and its application, for tests: notes what was asked, and fails what it is told to.

Nothing imports this but `testing`.
"""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flowruns.errors import ErrorDetail
from flowruns.http.requests import ClientDisconnected
from flowruns.http.responses import DROP, Message, Receive, Response, Scope, Send, detail_response
from flowruns.testing.requests import RecordedRequest, RecordedRequests, RequestMatcher

_TYPES = {
    401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "already_exists", 412: "precondition_failed",
    500: "internal_error", 503: "unavailable",
}  # fmt: skip


@dataclass
class Injection:
    """What is done to requests that are *wanted*. With a *delay* they wait, and go on. Without, they get *answer*, or a
    closed connection if it is None: in place of their effect or, if *done*, after it.
    """

    wanted: RequestMatcher
    times: int | None  # that are left; None: always
    delay: float | None = None  # seconds
    answer: Response | None = None
    done: bool = False

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError("times is 1 or more, or None: until the test ends")
        if self.delay is not None and self.delay < 0:
            raise ValueError("a delay is 0 seconds or more")


class FaultInjector:
    """An ASGI application around *app*, which it fails when told to. All but `requests` is of the server's loop."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.requests = RecordedRequests()
        self.behaviours: list[Injection] = []
        self._under_way: dict[asyncio.Task[Any] | None, Send] = {}

    def reset(self, app: Any) -> None:
        """Forgets what was asked and what it was told; *app* answers from now on."""
        self.app = app
        self.requests = RecordedRequests()  # who holds the old ones keeps them
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
        asked, task = RecordedRequest(scope), asyncio.current_task()
        self.requests.append(asked)
        self._under_way[task] = send
        try:
            with suppress(ClientDisconnected):
                await self._answer(asked, scope, receive, send)
        except asyncio.CancelledError:
            if task in self._under_way:  # else it was dropped
                raise
        finally:
            self._under_way.pop(task, None)

    async def _answer(self, asked: RecordedRequest, scope: Scope, receive: Receive, send: Send) -> None:
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

    def _due(self, asked: RecordedRequest) -> list[Injection]:
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
    """What *receive* gives, after so many *seconds*. Raises ClientDisconnected as soon as the client has left."""
    came: deque[Message] = deque()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (message := await receive())["type"] == "http.request":
                came.append(message)
            raise ClientDisconnected

    async def again() -> Message:
        return came.popleft() if came else await receive()

    return again


def failure_response(status: int, retry_after: int | None) -> Response:
    """*status* in the one error shape. Raises ValueError if it is no failure."""
    if not 400 <= status <= 599:
        raise ValueError(f"{status} is no failure: those are 400 to 599")
    headers = [] if retry_after is None else [(b"retry-after", b"%d" % retry_after)]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    fault = ErrorDetail(("server",), "The test asked for this answer", _TYPES.get(status, "fault"))
    return detail_response(status, (fault,), *headers)
