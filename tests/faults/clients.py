"""Clients that keep account: each writes runs of its own, and knows what was acknowledged of them."""

import json
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from tests.conftest import REAL_RUNS, RUNS
from tests.test_real_runs import in_utc
from tests.waits import HANG, eventually
from tests.wire import Reply, Wire, request

Run = dict[str, Any]
BODIES: list[Run] = [json.loads(line) for line in REAL_RUNS.read_bytes().splitlines()]
MOST_RUNS = 40  # of one writer, so that checks of them all stay quick
_AT_ONCE = 50  # reads that are sent before the first answer is read


class Connection(Wire):
    """A connection that the server may close in the middle of an answer: then ConnectionError is raised."""

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._read += data

    @property
    def broken_off(self) -> bool:
        """Whether an answer has come in part."""
        return bool(self._read)


class Write(NamedTuple):
    """A write, and what it does if it is done: *fields* are those of the run then, None of a deleted one."""

    method: str
    id: str | None  # None: the server makes it
    status: int  # that it is answered with
    fields: Run | None = None
    mark: str = ""  # in the run's tags
    headers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.id or 'a new run'}"

    def request(self) -> bytes:
        target = RUNS if self.method == "POST" else f"{RUNS}/{self.id}"
        body = None if self.method == "DELETE" else json.dumps(self.fields).encode()
        return request(self.method, target, body, *self.headers)


class Kept(NamedTuple):
    """A run as it was acknowledged."""

    document: Run
    etag: bytes | None  # None: not known


class Writer:
    """A client that writes runs that nobody else writes, one request at a time."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.acknowledged = 0
        self.refused = 0  # with 503
        self.broken_off = 0  # answers, in their middle
        self.silent = 0  # writes that were done without an answer
        self.begun = threading.Event()
        self.runs: dict[str, Kept | None] = {}  # None: deleted
        self.touched: set[str] = set()  # since they were looked at last
        self.unanswered: Write | None = None
        self._chance = random.Random(f"{seed} {name}")
        self._number = 0

    def work(self, url: str, over: Callable[[], bool]) -> None:
        """Writes, and reads what it wrote, until it is *over* or the server closes the connection."""
        with Connection(url) as wire:
            try:
                while not over():
                    self.write(wire)
                    self.begun.set()
                    if self._chance.random() < 0.1:
                        self.read(wire)
            except ConnectionError:
                self.broken_off += wire.broken_off

    def write(self, wire: Wire, *, refusable: bool = False) -> Reply:
        """The answer to the next write: the right one, or 503 if it is *refusable*."""
        write = self._next()
        self.unanswered = write
        wire.send(write.request())
        reply = self._answer(wire, write)
        self.unanswered = None
        if reply.status == 503 and refusable:
            reply.details(503)
            self.refused += 1
        else:
            said = f"the response to {write} is {reply.status}, not {write.status}: {reply.body[:300]!r}"
            assert reply.status == write.status, said
            if reply.status < 300:
                self._keep(write, reply)
                self.acknowledged += 1
        if write.id is not None:
            self.touched.add(write.id)
        return reply

    def read(self, wire: Wire) -> None:
        """Reads a run of its own, and finds what was acknowledged last."""
        if self.runs:
            id = self._chance.choice(list(self.runs))
            wire.send(request("GET", f"{RUNS}/{id}"))
            wrong = difference(id, self.runs[id], self._answer(wire, f"GET {id}"))
            assert not wrong, f"while it is served: {wrong}"

    def settle(self, found: dict[str, Run]) -> None:
        """Decides by the runs that were *found* whether the write without an answer was done."""
        write, self.unanswered = self.unanswered, None
        if write is None or write.status >= 300:
            return
        ids = [write.id] if write.id else [id for id, run in found.items() if write.mark in marks(run)]
        for id in ids:
            self.touched.add(id)
            run = found.get(id)
            if run is not None and write.mark in marks(run) and has(run, write.fields):
                self.runs[id] = Kept(run, None)
                self.silent += 1
            if run is None and write.fields is None:
                self.runs[id] = None
                self.silent += 1

    def _answer(self, wire: Wire, what: object) -> Reply:
        try:
            return wire.reply()
        except TimeoutError:
            raise AssertionError(f"{what} got no response within {HANG} s") from None

    def _keep(self, write: Write, reply: Reply) -> None:
        if write.fields is None:
            assert write.id
            self.runs[write.id] = None
            return
        run = reply.json
        assert has(run, write.fields), f"the response to {write} has {unlike(run, run | write.fields)}"
        assert write.id in (None, run["id"]), f"the response to {write} has the run {run['id']}"
        self.touched.add(run["id"])
        self.runs[run["id"]] = Kept(run, reply.header(b"etag"))

    def _next(self) -> Write:
        """The next write, by chance."""
        self._number += 1
        live = [id for id, kept in self.runs.items() if kept]
        weights = (0 if len(live) >= MOST_RUNS else 40, 35, 20, 5) if live else (1, 0, 0, 0)
        match self._chance.choices(("create", "replace", "delete", "refused"), weights)[0]:
            case "create":
                return self._create([id for id, kept in self.runs.items() if not kept][-MOST_RUNS:])
            case "replace":
                return self._put(self._chance.choice(live), 200)
            case "delete":
                return Write("DELETE", self._chance.choice(live), 204)
            case _:
                return self._refused(self._chance.choice(live))

    def _create(self, deleted: list[str]) -> Write:
        """A write that makes a run, one of those that were *deleted* or a new one."""
        if self._chance.random() < 0.2:
            return self._post(None, 201)
        id = self._chance.choice([*deleted, f"{self.name}-{self._number}"])
        return self._chance.choice((self._put, self._post))(id, 201)

    def _refused(self, id: str) -> Write:
        """A write that the state of the run *id* forbids."""
        return self._chance.choice(
            [
                self._post(id, 409),
                self._put(id, 412, "If-None-Match: *"),
                self._put(id, 412, 'If-Match: "0"'),
                Write("DELETE", id, 412, headers=('If-Match: "0"',)),
                Write("DELETE", f"{self.name}-never", 404),
            ]
        )

    def _put(self, id: str, status: int, *headers: str) -> Write:
        fields, mark = self._fields()
        return Write("PUT", id, status, fields | {"id": id}, mark, headers)

    def _post(self, id: str | None, status: int) -> Write:
        fields, mark = self._fields()
        posted = {name: fields[name] for name in ("flowId", "args", "tags")}
        return Write("POST", id, status, posted | ({"id": id} if id else {}), mark)

    def _fields(self) -> tuple[Run, str]:
        """A real run's fields, as they come back, and the tag that tells this write from all others."""
        run = self._chance.choice(BODIES)
        mark = f"{self.name}-{self._number}"
        return in_utc(run) | {"tags": [*(run["tags"] or []), {"key": "write", "value": mark}]}, mark


def marks(run: Run) -> list[str]:
    """The writes that *run* says it comes from: one."""
    return [tag["value"] for tag in run["tags"] or [] if tag["key"] == "write"]


def has(run: Run, fields: Run | None) -> bool:
    """Whether *run* has all these *fields*."""
    return fields is not None and all(name in run and run[name] == value for name, value in fields.items())


def unlike(run: Run, expected: Run) -> str:
    """The fields in which they differ."""
    names = run | expected
    return ", ".join(
        f"{name} {run.get(name)!r}, not {expected.get(name)!r}" for name in names if run.get(name) != expected.get(name)
    )


def difference(id: str, kept: Kept | None, reply: Reply) -> str:
    """What in the answer to a GET is not as it was *kept*; empty: nothing."""
    if reply.status != (200 if kept else 404):
        return f"{id} is {reply.status}, not {200 if kept else 404}"
    if kept and reply.json != kept.document:
        return f"{id} has {unlike(reply.json, kept.document)}"
    if kept and kept.etag not in (None, reply.header(b"etag")):
        return f"{id} has the ETag {reply.header(b'etag')!r}, not {kept.etag!r}"
    return ""


def crew(size: int, seed: int) -> list[Writer]:
    return [Writer(f"w{number}", seed) for number in range(size)]


def acknowledged(writers: Sequence[Writer]) -> int:
    return sum(writer.acknowledged for writer in writers)


def refused(writers: Sequence[Writer]) -> int:
    return sum(writer.refused for writer in writers)


def each(writers: Sequence[Writer], function: Callable[[Writer], object]) -> None:
    """Calls *function* with each of the *writers*, with all at once."""
    with ThreadPoolExecutor(len(writers)) as pool:
        list(pool.map(function, writers))


@contextmanager
def at_work(writers: Sequence[Writer], url: str) -> Iterator[None]:
    """While entered, the *writers* write, all at once; each has had an answer."""
    over = threading.Event()
    with ThreadPoolExecutor(len(writers)) as pool:
        for writer in writers:
            writer.begun.clear()
        working = [pool.submit(writer.work, url, over.is_set) for writer in writers]
        try:
            started = list(zip(writers, working, strict=True))
            eventually(lambda: all(writer.begun.is_set() or one.done() for writer, one in started))
            yield
        finally:
            over.set()
    for one in working:
        one.result()


@dataclass
class Findings:
    """What checks have found, in all rounds so far."""

    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    intact: int = 0  # times that SQLite found nothing wrong with the file

    def summary(self) -> str:
        """The numbers."""
        summary = f"{len(self.lost)} lost, {len(self.torn)} torn, {len(self.undone)} deletes undone"
        return f"{summary}, integrity ok {self.intact:,} times"

    def check(self, url: str, file: Path, writers: Sequence[Writer]) -> None:
        """Looks at all that the server at *url* has in *file*, where nobody else writes, while the *writers* rest.
        Raises AssertionError if anything is wrong.
        """
        found = walked(url)
        for writer in writers:
            writer.settle(found)
        runs = {id: kept for writer in writers for id, kept in writer.runs.items()}
        wrong = {id for id, kept in runs.items() if not self._right(id, kept, found.get(id))}
        self.torn += [f"{id} is a run that no client wrote" for id in found if id not in runs]
        touched = sorted(set().union(*(writer.touched for writer in writers)) - wrong)
        replies = zip(touched, asked(url, [f"{RUNS}/{id}" for id in touched]), strict=True)
        self.torn += filter(None, (difference(id, runs.get(id), reply) for id, reply in replies))
        for writer in writers:
            writer.touched.clear()
        self.torn += miscounted(url, found)
        damaged = damages(file)
        self.intact += not damaged
        if wrongs := self.lost + self.undone + self.torn + damaged:
            raise AssertionError(f"{self.summary()}: {'; '.join(wrongs[:5])}")

    def _right(self, id: str, kept: Kept | None, run: Run | None) -> bool:
        """Whether *run*, from a page, is as it was *kept*."""
        if run == (kept and kept.document):
            return True
        if kept is None:
            self.undone.append(f"{id} was deleted, and exists again")
        elif run is None:
            self.lost.append(f"{id} is gone, with write {marks(kept.document)}")
        elif marks(run) != marks(kept.document):
            self.lost.append(f"{id} is of write {marks(run)}, not {marks(kept.document)}")
        else:
            self.torn.append(f"{id} has {unlike(run, kept.document)}")
        return False


def walked(url: str) -> dict[str, Run]:
    """Every run by its id, from a walk through all pages, where each comes once and the total is their number."""
    found: dict[str, Run] = {}
    totals = set()
    cursor: str | None = ""
    with Wire(url) as wire:
        while cursor is not None:
            reply = wire.ask("GET", f"{RUNS}?size=100" + (cursor and f"&cursor={cursor}"))
            assert reply.status == 200, f"the response to a page request is {reply.status}: {reply.body[:300]!r}"
            page = reply.json
            for run in page["items"]:
                assert run["id"] not in found, f"a walk through the pages gave {run['id']} twice"
                found[run["id"]] = run
            totals.add(page["total"])
            cursor = page["next_page"]
    assert totals == {len(found)}, f"a walk gave {len(found)} runs, but the totals of pages are {totals}"
    return found


def miscounted(url: str, runs: dict[str, Run]) -> list[str]:
    """The filters whose total is not the number of the *runs* that they choose."""
    counts = Counter((name, run[name]) for run in runs.values() for name in ("flowId", "flowType", "phase"))
    for run in runs.values():
        counts.update({("tag", f"{tag['key']}:{tag['value']}") for tag in run["tags"] or []})
    expected = [(urlencode([query]), count) for query, count in counts.items() if query[1] is not None]
    replies = asked(url, [f"{RUNS}?size=1&{query}" for query, _ in expected])
    totals = [(query, count, reply.json.get("total")) for (query, count), reply in zip(expected, replies, strict=True)]
    return [f"the total of {query} is {total}, not {count}" for query, count, total in totals if total != count]


def asked(url: str, targets: Sequence[str], *lines: str) -> Iterator[Reply]:
    """The answers to a GET of each of the *targets*, with these header *lines*."""
    with Wire(url) as wire:
        for start in range(0, len(targets), _AT_ONCE):
            some = targets[start : start + _AT_ONCE]
            wire.send(b"".join(request("GET", target, None, *lines) for target in some))
            for _ in some:
                yield wire.reply()


def damages(file: Path) -> list[str]:
    """What SQLite finds wrong with the database in *file*, which is being served."""
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as connection:
        rows = connection.execute("pragma integrity_check").fetchall()
    return [row[0] for row in rows if row[0] != "ok"]
