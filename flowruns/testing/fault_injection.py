"""ASGI middleware for tests: records requests, and injects error responses, dropped connections and delays."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flowruns.errors import ErrorDetail
from flowruns.http.requests import ClientDisconnected
from flowruns.http.responses import DROP, Message, Receive, Response, Scope, Send, detail_response
from flowruns.testing.arguments import check_number
from flowruns.testing.requests import RecordedRequest, RecordedRequests, RequestMatcher

__tracebackhide__ = True  # pytest shows the line of the test instead

# Clients send headers and body in two writes, so that an early response, as 404, often comes before the body arrives.
_UNREAD_BODY_SECONDS = 0.2  # such a response waits for the body, to record it

_UNREAD_BODY_BYTES = 1024 * 1024

_TYPES = {
    401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "already_exists", 412: "precondition_failed",
    500: "internal_error", 503: "unavailable",
}  # fmt: skip


class UnusedFaultWarning(UserWarning):
    """A test ended before any request got a fault that it had injected."""


@dataclass
class Injection:
    """A fault for the requests that match. With *delay* they wait, and continue. Otherwise they get *response*, or a
    closed connection if it is None: instead of their effect or, if *done*, after it. *name* is the call that made it.
    """

    name: str
    matcher: RequestMatcher
    times: int | None  # that are left; None: no limit
    delay: float | None = None  # seconds
    response: Response | None = None
    done: bool = False
    used: bool = False

    def __post_init__(self) -> None:
        if self.times is not None:
            check_number("times", self.times, 1, whole=True)
        if self.delay is not None:
            check_number("seconds", self.delay, 0)

    def __str__(self) -> str:
        return f"{self.name} for {self.matcher}"


class FaultInjector:
    """An ASGI application that records requests, and passes them to *app* unless an injection applies. Only `requests`
    may be used outside the event loop of the server.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.requests = RecordedRequests()
        self.injections: list[Injection] = []
        self._delays: set[asyncio.Timeout] = set()  # of the requests that wait now
        self._recoveries = 0
        self._in_flight: dict[asyncio.Task[Any] | None, Send] = {}

    def reset(self, app: Any) -> None:
        """Drops all injections and recorded requests; *app* receives the next requests."""
        self.app = app
        self.requests = RecordedRequests()  # a new list: a test may still hold the old one
        self.injections.clear()

    async def inject(self, injection: Injection) -> None:
        """Adds *injection*."""
        self.injections.append(injection)

    async def recover(self) -> None:
        """Drops all injections, also for the requests that wait for the end of a delay: they continue."""
        self.injections.clear()
        self._recoveries += 1
        for delay in self._delays:
            if not delay.expired():
                delay.reschedule(asyncio.get_running_loop().time())

    def unused(self) -> list[Injection]:
        """The injections for a number of requests that none has got."""
        return [one for one in self.injections if one.times is not None and not one.used]

    async def drop_all(self) -> None:
        """Closes the connections of the requests in flight, and returns once their tasks have ended."""
        dropped, self._in_flight = self._in_flight, {}
        tasks = [task for task in dropped if task is not None]
        for task in tasks:
            await dropped[task]({"type": DROP})
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Records the request, and responds."""
        request, task = RecordedRequest(scope), asyncio.current_task()
        self.requests.append(request)
        self._in_flight[task] = send
        try:
            with suppress(ClientDisconnected):
                await self._respond(request, scope, receive, send)
        except asyncio.CancelledError:
            if task in self._in_flight:  # otherwise `drop_all` cancelled it
                raise
        finally:
            self._in_flight.pop(task, None)

    async def _respond(self, request: RecordedRequest, scope: Scope, receive: Receive, send: Send) -> None:
        async def recording_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                request.record_body(message.get("body", b""), complete=not message.get("more_body", False))
            return message

        async def recording_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await _record_unread_body(request, recording_receive)
                request.status = message["status"]
            await send(message)

        app_receive: Receive = recording_receive
        recoveries = self._recoveries
        for injection in self._take_due(request):
            if recoveries != self._recoveries:  # during a delay
                break
            if injection.delay is not None:
                app_receive = await self._delay(app_receive, injection.delay)
                continue
            if injection.done and request.method not in ("GET", "HEAD"):  # these have no effect but their response
                await self.app(scope, app_receive, _discard)
            else:
                await _read_body(app_receive)
            if injection.response is None:
                await _record_unread_body(request, recording_receive)
                await send({"type": DROP})
            else:
                await injection.response(scope, app_receive, recording_send)
            return
        await self.app(scope, app_receive, recording_send)

    def _take_due(self, request: RecordedRequest) -> list[Injection]:
        """The injections for *request*: every delay, then the first other one. Counts them as used."""
        matching = [one for one in self.injections if one.matcher.matches(request.method, request.path)]
        due = [one for one in matching if one.delay is not None] + [one for one in matching if one.delay is None][:1]
        for injection in due:
            injection.used = True
            if injection.times is not None:
                injection.times -= 1
        self.injections = [one for one in self.injections if one.times != 0]
        return due

    async def _delay(self, receive: Receive, seconds: float) -> Receive:
        """A replacement for *receive*, after *seconds* or `recover`, also if the client disconnects meanwhile: a slow
        server does not notice that, unless it still has to read the body.
        """
        messages: deque[Message] = deque()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds) as timeout:
                self._delays.add(timeout)
                try:
                    while (message := await receive())["type"] == "http.request":
                        messages.append(message)
                    messages.append(message)
                    await asyncio.Event().wait()  # to the end of the delay
                finally:
                    self._delays.discard(timeout)

        async def delayed_receive() -> Message:
            return messages.popleft() if messages else await receive()

        return delayed_receive


async def _discard(message: Message) -> None:
    """Ignores a message of the response."""


async def _read_body(receive: Receive) -> None:
    """Returns once the whole request has arrived, or its client has disconnected."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _record_unread_body(request: RecordedRequest, receive: Receive) -> None:
    """Reads what the application has left unread of the body, if it arrives at once."""
    if request.expects_continue:  # the client waits for `100 Continue`, which reading would send
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_UNREAD_BODY_SECONDS):
            while not request.body_complete and len(request.body) < _UNREAD_BODY_BYTES:
                if (await receive())["type"] != "http.request":
                    return


def failure_response(status: int, retry_after: int | None) -> Response:
    """An error response with *status*, 400 to 599, and the header Retry-After, in whole seconds (RFC 9110 10.2.3).
    Raises TypeError or ValueError for other values.
    """
    check_number("status", status, 400, whole=True, most=599)
    if retry_after is not None:
        check_number("retry_after", retry_after, 0, whole=True)
    headers = [] if retry_after is None else [(b"retry-after", b"%d" % retry_after)]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    message = "This error was injected by the test"
    detail = ErrorDetail(("server",), message, _TYPES.get(status, "fault"))
    return detail_response(status, (detail,), *headers)
