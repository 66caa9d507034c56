"""Streams of changes: parses server-sent events, and resumes broken streams."""

import re
import time
from collections.abc import Callable, Iterator
from math import inf
from typing import NamedTuple

from flowruns.errors import Busy, Unreachable

_MIN_PAUSE, _MAX_PAUSE = 0.1, 2.0  # seconds before a stream is opened again


class Event(NamedTuple):
    """An event of a stream. *kind* is `run` or `deleted`, with *data*; `resync`; `open` when a stream starts; `lost`
    when it breaks, until the next `open`. *position* is the change number to resume after. An empty *kind* carries
    only a position.
    """

    kind: str
    position: int | None = None
    data: bytes = b""


def seconds_left(deadline: float | None) -> float:
    """The seconds until *deadline*, in monotonic seconds; infinite for None."""
    return inf if deadline is None else max(0.0, deadline - time.monotonic())


def resume(
    stream: Callable[[int | None], Iterator[Event]],
    after: int | None,
    deadline: float | None = None,
    sleep: Callable[[float], object] = time.sleep,
    *,
    opened: bool = False,
) -> Iterator[Event]:
    """The events of successive streams, without end or until *deadline*, in monotonic seconds. *stream* opens a stream
    after a change number. When a stream ends, this sleeps, and opens the next one at the last position.

    Unreachable and Busy are raised only before the first `open`, or never if *opened*. Other errors are always raised.
    """
    position, pause, lost = after, _MIN_PAUSE, False
    while seconds_left(deadline):
        try:
            for event in stream(position):
                position = position if event.position is None else event.position
                if event.kind == "open":
                    if opened and not lost:
                        continue  # the stream was not reported as lost
                    opened, lost = True, False
                elif event.kind:
                    pause = _MIN_PAUSE  # not at `open`: a server may break each stream right after it
                if event.kind:
                    yield event
        except (Unreachable, Busy):
            if not opened:
                raise
            if not lost:
                lost = True
                yield Event("lost", position)
        sleep(min(pause, seconds_left(deadline)))
        pause = min(_MAX_PAUSE, 2 * pause)


def parse_events(lines: Iterator[bytes]) -> Iterator[Event]:
    """The events in the *lines* of a stream (WHATWG HTML, 9.2.6), after an `open`. Ends at `bye`, or with *lines*."""
    position: int | None = None
    kind, data = "", list[bytes]()
    opened = False
    for line in lines:
        if not line.endswith(b"\n"):
            return  # truncated
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
            # Without data there is no event to dispatch, but the id counts.
            yield Event(kind if data else "", position, b"\n".join(data))
            kind, data = "", []
