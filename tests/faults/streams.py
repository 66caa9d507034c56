"""Followers of changes that leave and come back, and a server that is killed and ended meanwhile: none of them may
miss what a run was last, and each holds what its filter gives, also whenever it has resumed.
"""

import asyncio
import json
import random
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from tests.conftest import RUNS
from tests.faults import progress, run_tasks
from tests.faults.clients import Findings, Run, Writer, acknowledged, at_work, crew
from tests.faults.crashes import NAME, WRITERS, ended_by
from tests.processes import serving
from tests.streams import ACCEPT, Event, Events
from tests.waits import FOREVER, HANG
from tests.wire import Wire, request

FOLLOWERS = 50
ENDED = "ended"  # the phase of the last writes, after which followers leave
_LAST_RUN = "last"
_LAST_RUNNING = "last-running"  # for those whose filter _LAST_RUN does not match
_TAG = {"key": "source", "value": "github-actions"}
_PHASES = ("failed", "running", ENDED)
_LOOK_SECONDS = 0.01  # between two looks at what cannot be waited for
_SLOW_SECONDS = 0.02  # that a slow follower takes for each piece


class Row(NamedTuple):
    """What the database has of a run in the end."""

    number: int
    run: Run | None  # None: deleted
    phase: str | None
    tags: list[Run]


Seen = tuple[int, Run | None]


@dataclass
class Place:
    """Where the server is, and what there is to be known of it."""

    url: str = ""  # empty: nowhere
    file: Path = Path()  # of the server
    one: str = ""  # the run that some follow alone, once there is one
    over: bool = False


class Snapshot(NamedTuple):
    """The first page of a follower's filter, and the number of the last change before it was read."""

    number: int
    runs: dict[str, Run]


@dataclass
class Follower:
    """A client that leaves at random, and resumes after the last number that it received. It applies `run`, `left` and
    `deleted` to the runs that it holds.
    """

    kind: str  # of KINDS
    chance: random.Random
    slow: bool
    events: int = 0
    connections: int = 0
    byes: int = 0
    done: bool = False
    seen: dict[str, Seen] = field(default_factory=dict)
    held: dict[str, Run] = field(default_factory=dict)
    compared: int = 0  # times that what it held after it had resumed was what its filter gave
    left: int = 0
    _number: int = 0  # of the last event
    _resumes: int = 0

    async def follow(self, place: Place) -> None:
        """Follows until it has received the last writes."""
        while not (self.done or place.over):
            with suppress(OSError, asyncio.IncompleteReadError):  # there is no server, or no more
                if place.url and (target := KINDS[self.kind](place)):
                    await self._connect(place, target)
            await asyncio.sleep(0 if self.done else _LOOK_SECONDS)  # until there may be a server again

    async def _connect(self, place: Place, target: str) -> None:
        address = urlsplit(place.url)
        snapshot = await _snapshot(address, target) if self.kind == "one phase" else None
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(request("GET", target, None, ACCEPT, f"Last-Event-ID: {self._resumes}"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), f"the response to a subscriber of {target} is {head!r}"
            self.connections += 1
            await self._read(reader, place, snapshot)
        finally:
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, place: Place, snapshot: Snapshot | None) -> None:
        parser = Events()
        while not self.done and (snapshot or self.chance.random() > 0.01):
            if self.slow:
                await asyncio.sleep(_SLOW_SECONDS)  # a slow client
            size = int(await reader.readuntil(b"\r\n"), 16)
            parser.feed((await reader.readexactly(size + 2))[:-2])
            for event in parser.events:
                self._take(event)
            parser.events.clear()
            self._resumes = parser.last_id or self._resumes
            if not size:
                return
            if snapshot and self._resumes >= snapshot.number:
                await self._compare(snapshot, place.file)
                snapshot = None

    async def _compare(self, snapshot: Snapshot, file: Path) -> None:
        """Raises AssertionError if it does not hold what the *snapshot* has, but for runs that have changed since."""
        held = dict(self.held)
        different = [id for id in held | snapshot.runs if held.get(id) != snapshot.runs.get(id)]
        numbers = await asyncio.to_thread(_numbers, file, different) if different else {}
        for id in different:
            said = f"a subscriber that resumed holds {held.get(id)!r:.200} of {id}, and the filter gives"
            assert numbers[id] > snapshot.number, f"{said} {snapshot.runs.get(id)!r:.200}"
        self.compared += 1

    def _take(self, event: Event) -> None:
        if event.kind == "bye":
            self.byes += 1
            return
        assert event.kind in ("run", "deleted", "left"), f"a subscriber of {self.kind} received {event}"
        assert event.id > self._number, f"a subscriber of {self.kind} received {event.id} after {self._number}"
        self._number = event.id
        self.events += 1
        id, run = event.json["id"], event.json if event.kind == "run" else None
        self.seen[id] = event.id, run
        if run is None:
            self.held.pop(id, None)
            self.left += event.kind == "left"
        else:
            self.held[id] = run
        last = id == _LAST_RUNNING if self.kind == "one phase" else run is not None and run["phase"] == ENDED
        self.done = last and (id in (_LAST_RUN, _LAST_RUNNING) or self.kind == "one run")

    def missed(self, rows: dict[str, Row], place: Place) -> list[str]:
        """The runs that it should have seen as they are, and has not."""
        return [
            f"a subscriber of {self.kind} last saw {id} as {self.seen.get(id, 'never')!r:.200}, not {row.number}"
            for id, row in rows.items()
            if fits(self.kind, id, row, place) and self.seen.get(id) != (row.number, row.run)
        ] + [
            f"a subscriber of {self.kind} holds {id}, which is {rows.get(id)!r:.200}"
            for id in self.held
            if id not in rows or rows[id].run is None or not fits(self.kind, id, rows[id], place)
        ]


KINDS: dict[str, Callable[[Place], str]] = {
    "all runs": lambda place: RUNS,
    "some phases": lambda place: f"{RUNS}?{'&'.join(f'phase={phase}' for phase in _PHASES)}",
    "one phase": lambda place: f"{RUNS}?phase=running&size=100",
    "a tag": lambda place: f"{RUNS}?tag={_TAG['key']}:{_TAG['value']}",
    "one run": lambda place: place.one and f"{RUNS}/{place.one}",
}


def fits(kind: str, id: str, row: Row, place: Place) -> bool:
    """Whether the stream of this *kind* tells of the run."""
    match kind:
        case "some phases":
            return row.phase in _PHASES
        case "one phase":
            return row.phase == "running"
        case "a tag":
            return _TAG in row.tags
        case "one run":
            return id == place.one
    return True


def run(rounds: int, seed: int) -> str:
    """Makes so many changes."""
    writers, chance = crew(WRITERS, seed), random.Random(seed)
    kinds = ["all runs", "one phase", *KINDS]  # twice as often as each other
    followers = [
        Follower(kinds[number % len(kinds)], random.Random(f"{seed} {number}"), slow=number % 7 == 3)
        for number in range(FOLLOWERS)
    ]
    place = Place()
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as folder, ThreadPoolExecutor(1) as pool:
        place.file = file = Path(folder) / NAME
        following = pool.submit(_follow, followers, place)
        try:
            _write(file, place, writers, rounds, chance, following)
            rows = _rows(file)
        finally:
            place.over = True
        following.result()
    missed = [one for follower in followers for one in follower.missed(rows, place)]
    deleted = sum(row.run is None for row in rows.values())
    summary = (
        f"{acknowledged(writers):,} changes by {WRITERS} writers, a kill -9 and an end in between,"
        f" {FOLLOWERS} subscribers that connected {sum(follower.connections for follower in followers):,} times and"
        f" received {sum(follower.byes for follower in followers)} byes and"
        f" {sum(follower.events for follower in followers):,} events in rising order,"
        f" {sum(follower.left for follower in followers):,} of runs that left;"
        f" {sum(follower.compared for follower in followers):,} times one that had resumed held what its filter gave;"
        f" {len(missed)} missed of the last states of {len(rows):,} runs, {deleted:,} deleted"
    )
    assert not missed, f"{summary}: {'; '.join(missed[:3])}"
    return f"stream: {summary}"


def _follow(followers: Sequence[Follower], place: Place) -> None:
    """Has the *followers* follow until each has received the last writes."""

    async def follow() -> None:
        async with asyncio.TaskGroup() as group:
            for follower in followers:
                group.create_task(follower.follow(place))

    run_tasks(follow())


def _write(
    file: Path,
    place: Place,
    writers: Sequence[Writer],
    changes: int,
    chance: random.Random,
    following: Future[None],
) -> None:
    """Has the *writers* make so many *changes* to the runs in *file*. The server is killed once, and ended once; the
    third stays until all is followed.
    """
    findings = Findings()
    for number, share in enumerate((chance.uniform(0.2, 0.5), chance.uniform(0.6, 0.9), 1)):
        with serving(file.parent, NAME, seconds=FOREVER) as server:
            findings.check(server.url, file, writers)
            place.url = server.url
            with at_work(writers, server.url):
                place.one = place.one or next(iter(writers[0].runs))
                while acknowledged(writers) < share * changes and not following.done():
                    progress(f"stream: {acknowledged(writers):,} of {changes:,} changes")
                    time.sleep(_LOOK_SECONDS)  # no event announces a number of acknowledged writes
                if number == 0:
                    place.url = ""
                    server.process.kill()
                    server.process.wait()
            if number == 1:
                place.url = ""
                ended_by(server.process, signal.SIGTERM)
            if number == 2:
                _last_writes(server.url, place)
                with suppress(TimeoutError):  # what is missed is reported
                    following.result(HANG)


def _last_writes(url: str, place: Place) -> None:
    with Wire(url) as wire:
        for id, phase in ((place.one, ENDED), (_LAST_RUNNING, "running"), (_LAST_RUN, ENDED)):
            body = json.dumps({"flowId": "last", "flowType": "automation", "phase": phase, "tags": [_TAG]}).encode()
            assert wire.ask("PUT", f"{RUNS}/{id}", body).status in (200, 201)


async def _snapshot(address: SplitResult, target: str) -> Snapshot:
    """The page at *target*. Raises OSError or IncompleteReadError if the server ends meanwhile."""
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request("GET", target, None, "Connection: close"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        assert head.startswith("HTTP/1.1 200 "), f"the response to {target} is {head!r}"
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:-1])
        page = json.loads(await reader.readexactly(int(headers["content-length"])))
    finally:
        writer.transport.abort()
    assert page["total"] == len(page["items"]), "the filter gives more than one page"
    return Snapshot(int(headers["etag"].strip('"')), {run["id"]: run for run in page["items"]})


def _numbers(file: Path, ids: Sequence[str]) -> dict[str, int]:
    """The number of the last write to each of the *ids*."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=HANG)) as connection:
        marks = ", ".join("?" * len(ids))
        return dict(connection.execute(f"select id, seq from run where id in ({marks})", ids).fetchall())


def _rows(file: Path) -> dict[str, Row]:
    """All that the database has, by id."""
    with closing(sqlite3.connect(file)) as connection:
        return {
            id: Row(number, doc and json.loads(doc), phase, json.loads(tags or "[]"))
            for id, number, doc, phase, tags in connection.execute("select id, seq, doc, phase, tags from run")
        }
