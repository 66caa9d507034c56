"""Plays the runs that the rules of a script fit, many at a time, in an event loop: of asyncio or trio."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup
from msgspec import DecodeError, Struct
from msgspec.json import decode
from msgspec.structs import replace

from flowruns.client.steps import Closed
from flowruns.errors import PRECONDITION_FAILED, Busy, NotFound, Refused, Unreachable
from flowruns.model.datetimes import format_datetime
from flowruns.model.lines import RunLine
from flowruns.model.runs import RunPut, encode
from flowruns.player.progress import applied, untouched
from flowruns.player.runs import Runs
from flowruns.player.script import Script
from flowruns.player.starts import NewRun

T = TypeVar("T")

Report = Callable[[str, str], None]  # the id of a run, or nothing, and what the player does

_REQUESTS_AT_ONCE = 16

_MIN_PAUSE, _MAX_PAUSE = 0.1, 2.0  # seconds before a request is sent again


class Player:
    """Plays *script* in *runs*: the same *seed* makes the same choices for a run with the same id. *sleep*
    waits for a number of seconds of the script, divided by *speed*.
    """

    def __init__(
        self,
        script: Script,
        runs: Runs,
        *,
        seed: int = 0,
        speed: float = 1.0,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        report: Report = lambda id, text: None,
    ) -> None:
        self._script = script
        self._runs = runs
        self._seed = seed
        self._speed = speed
        self._sleep = sleep
        self._report = report
        self._requests = anyio.Semaphore(_REQUESTS_AT_ONCE)
        self._series = script.series(seed)
        self._playing: set[str] = set()  # the ids of the runs that are played
        self._left: dict[str, str] = {}  # the tags of our last writes to runs that a rule would fit now
        self._missed: dict[str, bytes] = {}  # the last change of such runs meanwhile: another rule may fit then
        self._one_ended = anyio.Event()
        self.caught_up = anyio.Event()  # it has started the runs at the beginning, and found those to play

    async def play(self, *, once: bool = False) -> None:
        """Plays without end; *once*: until no run is left to play, and starts none after the beginning. Raises
        Unreachable if no server responds at first, and Refused.
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, tasks)
                await self.caught_up.wait()
                for runs, kept in [] if once else self._series.later():
                    tasks.start_soon(self._start, runs, kept)
                if once:
                    await self._until_idle()
                    tasks.cancel_scope.cancel()
        except ExceptionGroup as errors:  # of one error, which has ended all tasks
            raise errors.exceptions[0]  # noqa: B904  # its cause is an error of httpx

    async def _until_idle(self) -> None:
        while self._playing:
            self._one_ended = anyio.Event()
            await self._one_ended.wait()

    async def _watch(self, tasks: TaskGroup) -> None:
        """Plays in *tasks* the runs that are there and those that change; ends all tasks at the end of the changes."""
        async with aclosing(self._runs.changes()) as events:
            async for event in events:
                match event.kind:
                    case "open" | "resync":
                        self._report("", f"follows {self._runs.name}")
                        await self._catch_up(tasks)
                    case "lost":
                        self._report("", "no server responds; waits for one")
                    case "run":
                        self._consider(tasks, event.data)
        tasks.cancel_scope.cancel()

    async def _catch_up(self, tasks: TaskGroup) -> None:
        if not self.caught_up.is_set():
            await self._start_first()
        await self._retried(partial(self._resume, tasks))
        self.caught_up.set()

    async def _resume(self, tasks: TaskGroup) -> None:
        """Plays the runs that are there, and goes on with those that this script has begun."""
        async with aclosing(self._runs.unfinished(self._script.phases)) as docs:
            async for doc in docs:
                self._consider(tasks, doc, resume=True)

    async def _start_first(self) -> None:
        """Creates the runs of the past and those at the beginning, but for those that exist from an earlier call."""
        lines = self._series.first(datetime.now(UTC))
        created = [await self._create(line) for line in lines]
        if lines:
            started, others = created.count(True), created.count(False)
            runs = f"{started} run{'s' * (started != 1)}"
            self._report("", f"has started {runs}" + f"; {others} existed before" * (others > 0))

    async def _start(self, runs: Iterator[NewRun], kept: int | None) -> None:
        """Creates each of *runs* after its delay, and deletes the oldest of them unless they are *kept*."""
        started = deque[str]()
        for delay, line in runs:
            await self._sleep(delay / self._speed)
            while not await self._create(line):
                line = next(runs).line  # from an earlier call: the next one
            self._report(str(line.id), f"{line.flow_id} started")
            if kept is None:
                continue
            started.append(str(line.id))
            if len(started) > kept:
                with suppress(NotFound):
                    await self._retried(partial(self._runs.delete, started.popleft()))

    async def _create(self, line: RunLine) -> bool:
        """As `Runs.create`, repeated until a server responds."""
        tries = 0

        async def create() -> bool:
            nonlocal tries
            tries += 1
            return await self._runs.create(line)

        # A request whose response was lost may have created the run.
        return await self._retried(create) or (tries > 1 and await self._is_there(line))

    async def _is_there(self, line: RunLine) -> bool:
        """Whether a run has been created as *line*; it may have been played since."""
        try:
            found = await self._retried(partial(self._runs.get, str(line.id)))
        except NotFound:
            return False
        return encode(untouched(_decoded(found.doc, RunPut))) == encode(untouched(line))

    def _consider(self, tasks: TaskGroup, doc: bytes, *, resume: bool = False) -> None:
        id = _decoded(doc, _Id).id
        if id in self._playing:  # most changes are our own writes
            self._missed[id] = doc
        elif self._script.part(id, _decoded(doc, RunPut), self._seed, resume=resume) is not None:
            self._playing.add(id)
            tasks.start_soon(self._play, tasks, id, resume)

    async def _play(self, tasks: TaskGroup, id: str, resume: bool) -> None:
        try:
            await self._perform(id, resume=resume)
        except NotFound:
            self._left.pop(id, None)
            self._report(id, "let go: it was deleted")
        except Refused as reason:
            self._report(id, f"let go: {reason}")
        self._playing.remove(id)
        missed = self._missed.pop(id, None)
        if missed is not None:
            self._consider(tasks, missed)
        self._one_ended.set()

    async def _perform(self, id: str, *, resume: bool) -> None:
        """Plays the run. Raises NotFound, and Refused, also if somebody else has changed it."""
        left = self._left.get(id)
        doc, etag = await self._retried(partial(self._runs.get, id))
        body = _decoded(doc, RunPut)
        part = self._script.part(id, body, self._seed, resume=resume)
        if part is None:  # it has changed meanwhile
            return
        for number, move in enumerate(() if etag == left else part.moves):  # else only we have changed it
            if number == 0:
                self._report(id, f"{body.flow_id} {body.phase}, played by the rule for {part.rule}")
            await self._sleep(move.delay / self._speed)
            before, body = body, applied(body, move, format_datetime(datetime.now(UTC)))
            etag = self._left[id] = await self._write(id, body, etag)  # now: the next one may be refused
            if body.phase != before.phase:
                self._report(id, f"{body.flow_id} {body.phase}")
        if self._script.part(id, body, self._seed) is None:
            self._left.pop(id, None)

    async def _write(self, id: str, body: RunPut, etag: str) -> str:
        """The tag of the run once it is *body*. Raises Refused, also if somebody else has changed it since *etag*."""
        content = encode(body)
        try:
            return await self._retried(partial(self._runs.put, id, content, etag))
        except Refused as error:
            if error.status != PRECONDITION_FAILED:
                raise
        found = await self._retried(partial(self._runs.get, id))  # NotFound: it was deleted
        stored = replace(_decoded(found.doc, RunPut), id=None)
        if encode(stored) != content:  # else by our own request, whose response was lost
            raise Refused("somebody else has changed it", PRECONDITION_FAILED)
        return found.etag

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of *call*, repeated until a server responds."""
        pause = _MIN_PAUSE
        while True:
            try:
                async with self._requests:
                    return await call()
            except Closed:  # another request would open the connections again
                raise
            except (Unreachable, Busy):
                await anyio.sleep(pause)  # no event tells that a server is back
                pause = min(_MAX_PAUSE, 2 * pause)


class _Id(Struct):
    id: str


def _decoded(doc: bytes, type: type[T]) -> T:
    try:
        return decode(doc, type=type)
    except DecodeError as error:
        raise Refused(f"the server sent an invalid flow run: {error}", 200) from None
