"""Operations of a client, without I/O. Each is a generator, a flow: it yields steps, which a driver performs and
answers, and the items that it finds. So it is written once, for threads and for event loops.
"""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from flowruns.errors import Unreachable

if TYPE_CHECKING:
    from httpx import Headers  # which only the drivers import

T = TypeVar("T")
R = TypeVar("R")


class Step(Struct):
    """What a driver does for a flow. Its errors are raised in the flow: httpx.RequestError, Closed, and TimeoutError
    when the deadline of the step is over.
    """


class Send(Step):
    """Sends a request, and resolves to its httpx.Response. The body of the response was read, unless it is a *stream*
    and its status is a success: then `Read` reads it. *deadline* is in seconds of `monotonic`.

    The driver sets *reused* if it sent the request on a connection that had been open before.
    """

    method: str
    url: str
    headers: "Headers"
    content: bytes | None = None
    stream: bool = False
    deadline: float | None = None
    reused: bool = False


class Read(Step):
    """Resolves to the next bytes of the open stream; to none at its end."""

    deadline: float | None = None


class Sleep(Step):
    """Resolves after some seconds."""

    seconds: float


class Done(Step):
    """The end of a flow, with its result. No flow yields it."""

    result: Any


Flow = Generator[Step | T, Any, R]


class Closed(Unreachable):
    """The client was closed meanwhile."""


def advance(resume: Callable[[Any], Step | T], value: Any) -> Step | T:
    """The next step or item of a flow; *resume* is its `send` or its `throw`."""
    try:
        return resume(value)
    except StopIteration as end:
        return Done(end.value)


def mapped(flow: Flow[T, Any], convert: Callable[[T], Iterable[R]]) -> Flow[R, None]:
    """*flow* with each of its items replaced by those that *convert* makes of it."""
    with closing(flow):
        step = advance(flow.send, None)
        while not isinstance(step, Done):
            if isinstance(step, Step):
                step = yield from _relay(flow, step)
            else:
                yield from convert(step)
                step = advance(flow.send, None)


def first(flow: Flow[T, Any]) -> Flow[Any, T | None]:
    """A flow with the first item of *flow* as its result, or None if there is none."""
    with closing(flow):
        step = advance(flow.send, None)
        while not isinstance(step, Done):
            if not isinstance(step, Step):
                return step
            step = yield from _relay(flow, step)
        return None


def _relay(flow: Flow[T, Any], step: Step) -> Flow[Any, Step | T]:
    """The next step or item of *flow*, after the driver of this flow has performed *step*."""
    try:
        answer = yield step
    except Exception as error:
        return advance(flow.throw, error)
    return advance(flow.send, answer)


def monotonic() -> float:
    """The time in seconds, on a clock that no library for tests freezes, as they do with `time.monotonic`."""
    return time.clock_gettime(time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic()


def deadline_after(timeout: float | None) -> float | None:
    """The time of `monotonic` in *timeout* seconds; None for none."""
    return None if timeout is None else monotonic() + timeout


def seconds_left(deadline: float | None) -> float:
    """The seconds until *deadline*; infinite for None."""
    return inf if deadline is None else max(0.0, deadline - monotonic())
