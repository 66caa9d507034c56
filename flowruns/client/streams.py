"""Streams of changes: server-sent events, read and resumed."""

import re
import time
from collections.abc import Callable, Iterator
from math import inf
from typing import NamedTuple

from flowruns.errors import Busy, Unreachable

_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds before a stream is asked for again


class Event(NamedTuple):
    """What a stream tells: `run` and `deleted` with their *data*, `resync`; `open`, where it begins, and `lost`, where
    it breaks off until the next `open`. *position* is the number to resume from, and all that is told if *kind* is
    empty.
    """

    kind: str
    position: int | None = None
    data: bytes = b""


def seconds_left(until: float | None) -> float:
    """The seconds that are left."""
    return inf if until is None else max(0.0, until - time.monotonic())


def resume(
    stream: Callable[[int | None], Iterator[Event]],
    after: int | None,
    until: float | None = None,
    rest: Callable[[float], object] = time.sleep,
    *,
    opened: bool = False,
) -> Iterator[Event]:
    """What streams tell for ever, or until *until*, in monotonic seconds: *stream* begins one, after a number; when it
    ends, the next begins where it was, after a *rest*.

    Raises what the first one raises before it is open, unless one was *opened* before, and NotFound or Refused of a
    later one.
    """
    position, pause, lost = after, _PAUSE, False
    while seconds_left(until):
        try:
            for event in stream(position):
                position = position if event.position is None else event.position
                if event.kind == "open":
                    if opened and not lost:
                        continue  # nobody has missed it
                    opened, lost = True, False
                elif event.kind:
                    pause = _PAUSE  # a server that begins, but tells nothing, may never come to it
                if event.kind:
                    yield event
        except (Unreachable, Busy):
            if not opened:
                raise
            if not lost:
                lost = True
                yield Event("lost", position)
        rest(min(pause, seconds_left(until)))
        pause = min(_LONGEST_PAUSE, 2 * pause)


def parse_events(lines: Iterator[bytes]) -> Iterator[Event]:
    """The events that the *lines* of a stream tell (WHATWG HTML, 9.2.6), `open` first; until `bye`, or the end."""
    position: int | None = None
    kind, data = "", list[bytes]()
    opened = False
    for line in lines:
        if not line.endswith(b"\n"):
            return  # cut off
        field, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"id":
            position = int(value) if re.fullmatch(rb"\d{1,18}", value) else position
        elif field == b"event":
            kind = value.decode(errors="replace")
        elif field == b"data":
            data.append(value)
        elif line.strip() == b"":
            if not opened:
                opened = True
                yield Event("open", position)
            if kind == "bye":
                return
            # Without data it is no event, but its id counts.
            yield Event(kind if data else "", position, b"\n".join(data))
            kind, data = "", []
