"""Who runs: how each is started on which data, and what its requests may name."""

import asyncio
import http.client
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flowruns.model.cursors import Cursor, CursorCodec
from flowruns.model.runs import RunPut
from flowruns.model.validation import decode
from flowruns.store.filters import ALL
from flowruns.store.store import Store
from tests.benchmarks.operations import Known, Operation
from tests.benchmarks.processes import CHECKOUT, Server, python, serving
from tests.benchmarks.runs import BODIES, PAGE, RUNS, id_of

_TOGETHER = 1_000  # puts that wait at once while a store is filled
_CURSORS = 400
_UVICORN = (
    "--port", "0", "--loop", "uvloop", "--http", "httptools", "--ws", "none", "--backlog", "2048",
    "--no-access-log", "--no-proxy-headers", "--no-server-header",
)  # fmt: skip


@dataclass(frozen=True)
class Ceiling:
    """An application that only sends the *answers* of a file."""

    name: str
    app: str
    runs: int
    answers: Path

    def serving(self, operation: Operation, victims: int) -> AbstractContextManager[Server]:
        command = python("-m", "uvicorn", f"tests.benchmarks.{self.app}:app", *_UVICORN, "--lifespan", "off")
        return serving(command, {"BENCHMARK_ANSWERS": str(self.answers)})

    def known(self, server: Server, victims: int) -> Known:
        return Known(self.runs, ["any"], _victims(self.runs, victims))


@dataclass(frozen=True)
class Flowruns:
    """This checkout, perhaps without a *part*, on the database *template* of so many *runs*: on a copy, where an
    operation writes, or where others serve the same one.
    """

    name: str
    runs: int
    template: Path
    part: str | None = None

    @contextmanager
    def serving(self, operation: Operation, victims: int) -> Iterator[Server]:
        copy = operation.writes or self.part is not None
        file = copied(self.template, self.template.with_suffix(f".{self.part}.copy")) if copy else self.template
        if victims:
            fill(file, self.runs, self.runs + victims)
        module = ["flowruns"] if self.part is None else ["tests.benchmarks.parts", self.part]
        with serving(python("-m", *module, str(file), "--port", "0")) as server:
            yield server
        if copy:
            file.unlink()

    def known(self, server: Server, victims: int) -> Known:
        return Known(self.runs, cursors(self.template, self.runs), _victims(self.runs, victims))


@dataclass(frozen=True)
class Followed:
    """The *whole* with a follower of each of the *queries*, none of which what is written fits."""

    name: str
    whole: Flowruns
    queries: Sequence[str]

    @contextmanager
    def serving(self, operation: Operation, victims: int) -> Iterator[Server]:
        with self.whole.serving(operation, victims) as server, ExitStack() as stack:
            for query in self.queries:
                connection = stack.enter_context(closing(http.client.HTTPConnection(server.host)))
                connection.request("GET", f"{RUNS}{query}", headers={"Accept": "text/event-stream"})
                assert connection.getresponse().status == 200
            yield server

    def known(self, server: Server, victims: int) -> Known:
        return self.whole.known(server, victims)


@dataclass(frozen=True)
class Peer:
    """What one would write with FastAPI, SQLAlchemy and fastapi-pagination, under the interpreter *python*."""

    name: str
    runs: int
    template: Path
    python: str

    @contextmanager
    def serving(self, operation: Operation, victims: int) -> Iterator[Server]:
        if not self.template.exists():
            self._fill(self.template, 0, self.runs)
        file = copied(self.template, self.template.with_suffix(".copy"))
        if victims:
            self._fill(file, self.runs, self.runs + victims)
        command = [self.python, "-m", "uvicorn", "tests.benchmarks.peer:app", *_UVICORN]
        with serving(command, {"PEER_DATABASE": str(file)}) as server:
            yield server
        file.unlink()

    def known(self, server: Server, victims: int) -> Known:
        return Known(self.runs, walked(server), _victims(self.runs, victims))

    def _fill(self, file: Path, first: int, last: int) -> None:
        command = [self.python, "-m", "tests.benchmarks.peer", str(first), str(last)]
        subprocess.run(command, check=True, cwd=CHECKOUT, env={**os.environ, "PEER_DATABASE": str(file)})


Contender = Ceiling | Flowruns | Followed | Peer


def fill(file: Path, first: int, last: int) -> float:
    """Puts the runs from number *first* to before *last* into the store in *file*; returns how many a second."""
    began = time.perf_counter()
    asyncio.run(_fill(file, first, last))
    return (last - first) / (time.perf_counter() - began)


def cursors(file: Path, runs: int) -> list[str]:
    """Cursors at random depths of the list, as the server of *file* writes them: walking there would take too long."""
    connection = sqlite3.connect(file)
    codec = CursorCodec(connection.execute("select cursor_key from sequence").fetchone()[0])
    connection.close()
    cuts = [random.randrange(PAGE + 1, runs) for _ in range(_CURSORS)]
    return [codec.write(Cursor(cut, toward_newer=False), ALL.fingerprint + b"desc") for cut in cuts]


def walked(server: Server) -> list[str]:
    """The cursors of pages met on a walk from the first one, but the last one's: it is not full."""
    connection = http.client.HTTPConnection(server.host)
    found: list[str] = []
    target = f"{RUNS}?size={PAGE}"
    while len(found) < _CURSORS:
        connection.request("GET", target)
        cursor = json.load(connection.getresponse())["next_page"]
        if cursor is None:
            break
        found.append(cursor)
        target = f"{RUNS}?size={PAGE}&cursor={cursor}"
    connection.close()
    return found[:-1]


def peer(python: str | None, runs: int, folder: Path) -> Sequence[Peer]:
    """The peer, if one is asked for, by its interpreter or "" for this one."""
    return [] if python is None else [Peer("FastAPI", runs, folder / "peer.db", python or sys.executable)]


def _victims(runs: int, count: int) -> Iterator[int]:
    numbers = list(range(runs, runs + count))
    random.shuffle(numbers)
    return iter(numbers)


def copied(file: Path, to: Path) -> Path:
    """*to*, which is now a copy of the database *file*, that nobody has open."""
    shutil.copyfile(file, to)
    with to.open("rb+") as written:
        os.fsync(written.fileno())  # else the first commits wait until gigabytes of it are on the disk
    return to


async def _fill(file: Path, first: int, last: int) -> None:
    bodies = [decode(json.dumps(body).encode(), RunPut) for body in BODIES]
    async with Store.open(file) as store:
        before = await store.count()
        for start in range(first, last, _TOGETHER):
            numbers = range(start, min(start + _TOGETHER, last))
            await asyncio.gather(*(store.put(id_of(number), bodies[number % len(bodies)]) for number in numbers))
        assert await store.count() == before + last - first
