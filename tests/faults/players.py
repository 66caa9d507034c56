"""`flowruns play` beside other writers, some of which change or delete the runs that it plays."""

import asyncio
import random
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from flowruns import AsyncClient
from flowruns.errors import NotFound, Refused
from tests.benchmarks.processes import Server
from tests.faults import progress
from tests.faults.clients import damages
from tests.processes import serving, started
from tests.waits import FOREVER, HANG

NAME = "runs.db"
AT_ONCE = 200  # runs
WRITERS = 8
LINES = 12  # of each run
_SCRIPT = f"""
[[rule]]
flowId = "played"
steps = [
  {{ action = "work", for = "200s..400s", log = "line {{n}}", lines = {LINES} }},
  {{ outputs = {{ done = true }} }},
  {{ end = "succeeded" }},
]
"""
_TAKEN = 0.02  # of the writes of the writers: a run that is played is changed or deleted
_MAX_TAKEN = 0.25  # of the runs


class Work:
    """What clients do to the server at *url*, until *runs* runs have been created and have ended or been taken away."""

    def __init__(self, url: str, runs: int, chance: random.Random) -> None:
        self.writes = 0  # to other runs
        self.changed: dict[str, str] = {}  # the times of the changes of runs that were taken away
        self.deleted: set[str] = set()
        self.lines = 0
        self._url = url
        self._runs = runs
        self._chance = chance
        self._created = 0
        self._playing: set[str] = set()
        self._over = asyncio.Event()

    async def go(self) -> None:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch())
            writers = [group.create_task(self._write(number)) for number in range(WRITERS)]
            async with AsyncClient(self._url) as client:
                for _ in range(min(AT_ONCE, self._runs)):
                    await self._create(client)
            await self._over.wait()
            watch.cancel()
            await asyncio.wait(writers)

    async def _create(self, client: AsyncClient) -> None:
        if self._created < self._runs:
            id = f"run-{self._created}"
            self._created += 1
            self._playing.add(id)
            await client.create(flowId="played", id=id)

    async def _watch(self) -> None:
        """Creates a new run for each that has ended."""
        async with AsyncClient(self._url) as client:
            async for change in client.watch(flowId="played", after=0):
                if change.run is None or change.run.end_time is not None:
                    await self._ended(client, str(change.id))

    async def _ended(self, client: AsyncClient, id: str) -> None:
        if id in self._playing:
            self._playing.remove(id)
            progress(f"player: {self._created - len(self._playing):,} of {self._runs:,} runs, {self.writes:,} writes")
            await self._create(client)
            if not self._playing:
                self._over.set()

    async def _write(self, number: int) -> None:
        async with AsyncClient(self._url) as client:
            while not self._over.is_set():
                taken = len(self.changed) + len(self.deleted)
                if self._playing and taken < _MAX_TAKEN * self._created and self._chance.random() < _TAKEN:
                    await self._take(client, self._chance.choice(sorted(self._playing)))
                else:
                    await client.put(
                        f"other-{number}-{self._chance.randrange(100)}", flowId="other", flowType="automation"
                    )
                    self.writes += 1

    async def _take(self, client: AsyncClient, id: str) -> None:
        """Deletes the run, or changes it, unless it has ended meanwhile."""
        with suppress(NotFound, Refused):  # another writer was first, or the player
            run, etag = await client.tagged(id)
            if run.end_time is not None or id in self.changed:
                return
            if self._chance.random() < 0.5:
                self.deleted.add(id)
                await client.delete(id)
            else:
                changed = await client.put(id, if_match=etag, flowId="played", flowType=run.flow_type, phase="taken")
                self.changed[id] = changed.updated_at
        if id in self.changed or id in self.deleted:
            await self._ended(client, id)

    async def check(self) -> None:
        """Raises AssertionError unless each run is as the player or the writer that took it has left it."""
        wanted = [f"line {number}" for number in range(1, LINES + 1)]
        async with AsyncClient(self._url) as client:
            found = {run.id: run async for run in client.runs(flowId="played")}
        missing = {f"run-{number}" for number in range(self._runs)} - set(found) - self.deleted
        assert not missing, f"lost: {sorted(missing)[:5]}"
        for id, run in found.items():
            messages = [log.message for log in run.logs or []]
            if id in self.changed:
                assert run.updated_at == self.changed[id], f"{id} was written after somebody else had changed it"
                continue
            assert id not in self.deleted, f"{id} was deleted, and is back"
            assert (run.phase, messages) == ("succeeded", wanted), f"{id} is {run.phase}, with the lines {messages}"
            self.lines += len(messages)


def run(rounds: int, seed: int, speed: float = 20) -> str:
    """Plays so many runs."""
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as folder:
        (Path(folder) / "a.toml").write_text(_SCRIPT, "utf-8")
        file = Path(folder) / NAME
        with serving(file.parent, NAME, seconds=FOREVER) as server:
            args = ["play", "a.toml", "--url", server.url, "--speed", str(speed)]
            with (
                (Path(folder) / "said").open("w+", encoding="utf-8") as said,
                started(file.parent, *args, stdout=said.fileno(), seconds=FOREVER) as player,
            ):
                assert "follows" in player.stderr.readline()
                work = Work(server.url, rounds, random.Random(seed))
                began = time.perf_counter()
                asyncio.run(work.go())
                seconds = time.perf_counter() - began
                asyncio.run(work.check())
                cpu = [Server("", process.pid, 0).cpu() for process in (player, server.process)]
                player.send_signal(signal.SIGINT)
                assert player.wait(HANG) == 130
                said.seek(0)
                reports = said.read()
        assert (wrong := damages(file)) == [], f"the database is damaged: {wrong}"
    return (
        f"player: {rounds:,} runs, {min(AT_ONCE, rounds)} at once, in {seconds:.0f} s; {work.lines:,} log lines of"
        f" {work.lines // LINES:,} runs, 0 lost, 0 twice; {len(work.changed)} changed and {len(work.deleted)} deleted"
        f" by others, {reports.count('let go')} reported, 0 written afterwards; {work.lines / seconds:.0f} lines/s"
        f" beside {work.writes / seconds:.0f} other writes/s; CPU {cpu[0]:.1f} s player, {cpu[1]:.1f} s server;"
        " integrity ok"
    )
