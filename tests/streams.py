"""A client of streams: parses server-sent events as in WHATWG HTML 9.2.6."""

import json
from typing import Any, NamedTuple

from tests.conftest import RUNS
from tests.wire import Wire, request

ACCEPT = "Accept: text/event-stream"


class Event(NamedTuple):
    id: int  # the last that was sent
    kind: str
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Events:
    """A parser. Its *events* are those received and not yet taken, without those that only have a *position*."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last_id: int | None = None  # of blocks that are complete
        self.positions = 0
        self.retry: list[int] = []
        self._rest = b""
        self._id: int | None = None
        self._kind, self._data = "", list[str]()

    def feed(self, data: bytes) -> None:
        assert b"\r" not in data, "a carriage return ends a line, too"
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.decode())

    def _line(self, line: str) -> None:
        field, _, value = line.partition(": ")
        match field:
            case "id":
                self._id = int(value)
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "retry":
                self.retry.append(int(value))
            case "":
                self.last_id = self._id
                assert self._data, "a block without data reaches the handlers of some clients"
                if self._kind == "position":
                    assert self._data == ["{}"]
                    self.positions += 1
                else:
                    self.events.append(Event(self.last_id or 0, self._kind, "\n".join(self._data)))
                self._kind, self._data = "", []
            case _:
                raise AssertionError(line)


class Stream(Wire):
    """A stream of the server at *url*, whose first position was received."""

    def __init__(self, url: str, query: str = "", after: int | str | None = None, *lines: str) -> None:
        super().__init__(url)
        resume = () if after is None else (f"Last-Event-ID: {after}",)
        self.send(request("GET", f"{RUNS}{query}", None, ACCEPT, *resume, *lines))
        self.answer = self.head()
        assert self.answer.status == 200, (self.answer.status, self._read)
        assert self.answer.header(b"transfer-encoding") == b"chunked"
        self.parsed = Events()
        self.ended = False
        while not self.parsed.positions:
            self.chunk()

    @property
    def position(self) -> int | None:
        """The number to resume from."""
        return self.parsed.last_id

    def event(self) -> Event:
        """The next event."""
        while not self.parsed.events:
            self.chunk()
        return self.parsed.events.pop(0)

    def events(self, count: int) -> list[Event]:
        return [self.event() for _ in range(count)]

    def until_end(self) -> list[Event]:
        """All events until the body ends."""
        while not self.ended:
            self.chunk()
        events, self.parsed.events = self.parsed.events, []
        return events

    def chunk(self) -> None:
        assert not self.ended, "the body has ended"
        size, _, self._read = self._until(b"\r\n").partition(b"\r\n")
        length = int(size, 16)
        while len(self._read) < length + 2:
            self._more()
        data, self._read = self._read[:length], self._read[length + 2 :]
        self.ended = not length
        self.parsed.feed(data)
