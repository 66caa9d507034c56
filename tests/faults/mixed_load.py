"""A mixed load on asyncio. Every answer is known before it comes, as each run is in one request at a time."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.benchmarks.runs import id_of, pairs_that_fill_a_page
from tests.conftest import RUNS
from tests.faults.clients import BODIES
from tests.waits import HANG
from tests.wire import RUN, request

CLIENTS = 16
STALLED = 4  # uploads at any time
_READ_BYTES = 1024 * 1024  # that wait to be read, at the most
_CURSORS = 400
_LEFT_IDS = 16
_FILTERS = pairs_that_fill_a_page()
_PUTS = [json.dumps({name: value for name, value in body.items() if name != "id"}).encode() for body in BODIES]
_POSTS = [json.dumps({name: body[name] for name in ("flowId", "args", "tags")}).encode() for body in BODIES]
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
_ETAG = re.compile(rb'\r\netag: ("[^"]+")\r\n')
_LOCATION = re.compile(rb"\r\nlocation: \S+/(\S+)\r\n")
_NEXT_PAGE = re.compile(rb'"next_page":"([^"]+)"')


class Answer(NamedTuple):
    status: int
    head: bytes
    body: bytes

    @property
    def etag(self) -> str:
        return _found(_ETAG, self.head)


class Connection:
    """A connection of the load."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, method: str, target: str, body: bytes | None = None, /, *lines: str) -> Answer:
        self.writer.write(request(method, target, body, *lines))
        return await self.answer()

    async def answer(self) -> Answer:
        """The next answer."""
        async with asyncio.timeout(HANG):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            size = 0 if status in (204, 304) else int(_found(_LENGTH, head))
            return Answer(status, head, await self.reader.readexactly(size) if size else b"")


class Load:
    """Clients that ask for all there is, so often, and what they know."""

    def __init__(self, url: str, requests: int, runs: int, chance: random.Random) -> None:
        self.requests = requests
        self.sent = 0
        self.open = 0  # connections
        self.statuses: Counter[int] = Counter()
        self.stalls_cut = 0
        self.left = 0  # clients, midway
        self._url = urlsplit(url)
        self._chance = chance
        self._idle = [id_of(number) for number in range(runs)]  # runs that no request is about just now
        self._etags: dict[str, str] = {}  # of the runs whose state is known
        self._cursors: list[str] = []
        self._actions = [action for action, _ in _MIX]
        self._weights = [weight for _, weight in _MIX]

    @property
    def runs(self) -> int:
        return len(self._idle)

    async def go(self) -> None:
        """Sends all the requests."""
        async with asyncio.TaskGroup() as group:
            stalled = [group.create_task(self._stall(number)) for number in range(STALLED)]
            clients = [group.create_task(self._client()) for _ in range(CLIENTS)]
            await asyncio.wait(clients)
            for one in stalled:
                one.cancel()
        async with self._connected() as line:
            for number in range(_LEFT_IDS):
                _right(await line.ask("DELETE", f"{RUNS}/left-{number}"), 204, 404)

    async def _client(self) -> None:
        async with self._connected() as line:
            while self.sent < self.requests:
                self.sent += 1
                action = self._chance.choices(self._actions, self._weights)[0]
                answer = await action(self, line)
                if answer is not None:
                    self.statuses[answer.status] += 1

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        self.open += 1
        try:
            reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port, limit=_READ_BYTES)
            try:
                yield Connection(reader, writer)
            finally:
                writer.transport.abort()
        finally:
            self.open -= 1

    # Reads

    async def get(self, line: Connection) -> Answer:
        id = self._taken()
        known = self._etags.get(id)
        unchanged = known is not None and self._chance.random() < 0.1
        lines = [f"If-None-Match: {known}"] * unchanged
        answer = _right(await line.ask("GET", f"{RUNS}/{id}", None, *lines), 304 if unchanged else 200)
        assert known in (None, answer.etag), f"{id} has the ETag {answer.etag}, where {known} was acknowledged"
        self._given(id, answer.etag)
        return answer

    async def first_page(self, line: Connection) -> Answer:
        return self._page(_right(await line.ask("GET", f"{RUNS}?size=50"), 200))

    async def deep_page(self, line: Connection) -> Answer:
        cursor = self._chance.choice(self._cursors) if self._cursors else ""
        return self._page(_right(await line.ask("GET", f"{RUNS}?size=50&cursor={cursor}"), 200))

    async def filtered_page(self, line: Connection) -> Answer:
        return _right(await line.ask("GET", f"{RUNS}?size=50&{self._chance.choice(_FILTERS)}"), 200)

    def _page(self, answer: Answer) -> Answer:
        """*answer*, whose cursor is kept in place of another."""
        if found := _NEXT_PAGE.search(answer.body, len(answer.body) - 500):
            if len(self._cursors) == _CURSORS:
                self._cursors[self._chance.randrange(_CURSORS)] = found[1].decode()
            else:
                self._cursors.append(found[1].decode())
        return answer

    # Writes

    async def create(self, line: Connection) -> Answer:
        answer = _right(await line.ask("POST", RUNS, self._chance.choice(_POSTS)), 201)
        self._given(_found(_LOCATION, answer.head), answer.etag)
        return answer

    async def replace(self, line: Connection) -> Answer:
        id = self._taken()
        lines = self._if_match(id) if self._chance.random() < 0.5 else []
        answer = _right(await line.ask("PUT", f"{RUNS}/{id}", self._chance.choice(_PUTS), *lines), 200)
        self._given(id, answer.etag)
        return answer

    async def delete(self, line: Connection) -> Answer:
        id = self._taken()
        answer = _right(await line.ask("DELETE", f"{RUNS}/{id}", None, *self._if_match(id)), 204)
        self._etags.pop(id, None)
        return answer

    def _if_match(self, id: str) -> list[str]:
        """The header that holds a write to the state of the run *id*, if that is known."""
        return [f"If-Match: {self._etags[id]}"] if id in self._etags else []

    # Requests that are refused, and clients that leave

    async def refused(self, line: Connection) -> Answer:
        id = self._taken()
        match self._chance.randrange(6):
            case 0:
                answer = _right(await line.ask("GET", f"{RUNS}/nobody"), 404)
            case 1:
                answer = _right(await line.ask("POST", RUNS, b'{"flowId":"x","id":"%b"}' % id.encode()), 409)
            case 2:
                answer = _right(await line.ask("PUT", f"{RUNS}/{id}", RUN, 'If-Match: "0"'), 412)
            case 3:
                answer = _right(await line.ask("PUT", f"{RUNS}/{id}", RUN, "If-None-Match: *"), 412)
            case 4:
                answer = _right(await line.ask("PUT", f"{RUNS}/{id}", b'{"flowId":1,"tags":[{}]}'), 422)
            case _:
                answer = _right(await line.ask("GET", f"{RUNS}?size=0&createdBy=x"), 422)
        self._idle.append(id)
        return answer

    async def leave(self, line: Connection) -> None:
        """A client of its own leaves in the middle of its request, or of the answer."""
        page = request("GET", f"{RUNS}?size=100")
        put = request("PUT", f"{RUNS}/left-{self._chance.randrange(_LEFT_IDS)}", self._chance.choice(_PUTS))
        never = request("PUT", f"{RUNS}/never", self._chance.choice(_PUTS))
        data = self._chance.choice((page, page * 5, put, never[: self._chance.randrange(len(never))]))
        self.left += 1
        async with self._connected() as other:
            other.writer.write(data)
            if data.startswith(page):
                await other.reader.read(100)

    async def _stall(self, number: int) -> None:
        """Uploads that stop in their middle, one after the other: each is cut."""
        while True:
            async with self._connected() as line:
                line.writer.write(request("PUT", f"{RUNS}/never", _PUTS[number] * 2)[: -len(_PUTS[number])])
                _right(await line.answer(), 408)
                self.stalls_cut += 1

    def _taken(self) -> str:
        """A run that no other request is about, until it is given back."""
        place = self._chance.randrange(len(self._idle))
        self._idle[place], self._idle[-1] = self._idle[-1], self._idle[place]
        return self._idle.pop()

    def _given(self, id: str, etag: str) -> None:
        self._idle.append(id)
        self._etags[id] = etag


Action = Callable[[Load, Connection], Awaitable[Answer | None]]
_MIX: list[tuple[Action, int]] = [
    (Load.get, 500), (Load.first_page, 70), (Load.deep_page, 70), (Load.filtered_page, 60), (Load.create, 100),
    (Load.replace, 95), (Load.delete, 100), (Load.refused, 30), (Load.leave, 5),
]  # fmt: skip


def _right(answer: Answer, *statuses: int) -> Answer:
    assert answer.status in statuses, f"an answer is {answer.status}, not {statuses}: {answer.body[:500]!r}"
    return answer


def _found(pattern: re.Pattern[bytes], text: bytes) -> str:
    match = pattern.search(text)
    assert match, f"no {pattern.pattern!r} in {text!r}"
    return match[1].decode()
