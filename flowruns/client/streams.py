"""Streams of changes: parses server-sent events, and resumes broken streams.

Not by httpx-sse: it reads the response by itself, and so once for threads and once for event loops; it drops comments,
the first of which means that the stream is open; and it decodes to text what is then parsed as bytes.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flowruns.client.steps import Closed, Flow, Sleep, mapped, seconds_left
from flowruns.errors import Busy, Unreachable

_MIN_PAUSE, _MAX_PAUSE = 0.1, 2.0  # seconds before a stream is opened again


class Event(NamedTuple):
    """An event of a stream. *kind* is `run`, `deleted` or `left`, with *data*; `resync`; `open` when a stream starts;
    `lost` when it breaks, until the next `open`. *position* is the change number to resume after. An empty *kind*
    carries only a position.
    """

    kind: str
    position: int | None = None
    data: bytes = b""


def resume(
    stream: Callable[[int | None], Flow[Event, Any]],
    after: int | None,
    deadline: float | None = None,
    *,
    opened: bool = False,
) -> Flow[Event, None]:
    """The events of successive streams, without end or until *deadline*. *stream* opens a stream after a change number.
    When a stream ends, this sleeps, and opens the next one at the last position.

    Unreachable and Busy are raised only before the first `open`, or never if *opened*. Other errors are always raised.
    """
    position, pause, lost = after, _MIN_PAUSE, False

    def reported(event: Event) -> Iterator[Event]:
        nonlocal position, pause, opened, lost
        position = position if event.position is None else event.position
        if event.kind == "open":
            if opened and not lost:
                return  # the stream was not reported as lost
            opened, lost = True, False
        elif event.kind:
            pause = _MIN_PAUSE  # not at `open`: a server may break each stream right after it
        if event.kind:
            yield event

    while seconds_left(deadline):
        try:
            yield from mapped(stream(position), reported)
        except Closed:
            raise
        except (Unreachable, Busy):
            if not opened:
                raise
            if not lost:
                lost = True
                yield Event("lost", position)
        yield Sleep(min(pause, seconds_left(deadline)))
        pause = min(_MAX_PAUSE, 2 * pause)


class EventParser:
    """Parses the bytes of a stream as they arrive (WHATWG HTML, 9.2.6). Each stream starts with `open`."""

    def __init__(self) -> None:
        self.ended = False  # by `bye`: what follows is ignored
        self._line = list[bytes]()  # the parts of the line that has not ended yet
        self._after_return = False
        self._opened = False
        self._position: int | None = None
        self._kind, self._data = "", list[bytes]()

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that *chunk* completes."""
        after_return, self._after_return = self._after_return, chunk.endswith(b"\r")
        if after_return:
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._line, lines[0]])
            self._line.clear()
        if rest:
            self._line.append(rest)
        return [event for line in lines for event in self._parse(line)]

    def _parse(self, line: bytes) -> Iterator[Event]:
        if self.ended:
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"id":
            self._position = int(value) if re.fullmatch(rb"\d{1,18}", value) else self._position
        elif field == b"event":
            self._kind = value.decode(errors="replace")
        elif not line:
            if not self._opened:
                self._opened = True
                yield Event("open", self._position)
            self.ended = self._kind == "bye"
            if not self.ended:
                # Without data there is no event to dispatch, but the id counts, as it does in `position`.
                kind = self._kind if self._data and self._kind != "position" else ""
                yield Event(kind, self._position, b"\n".join(self._data))
            self._kind, self._data = "", []
