"""Plays the runs that the rules of a script fit, many at a time, in an event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TypeVar

from msgspec import DecodeError
from msgspec.json import decode
from msgspec.structs import replace

from flowruns.errors import Busy, NotFound, Refused, Unreachable
from flowruns.model.datetimes import format_datetime
from flowruns.model.runs import RunPut, encode
from flowruns.player.progress import applied
from flowruns.player.runs import Event, Runs
from flowruns.player.script import Part, Script

T = TypeVar("T")

Report = Callable[[str, str], None]  # the id of a run, or nothing, and what the player does

_REQUESTS_AT_ONCE = 16

_MIN_PAUSE, _MAX_PAUSE = 0.1, 2.0  # seconds before a request is sent again

_PRECONDITION_FAILED = 412


def _now() -> datetime:
    return datetime.now(UTC)


def _silent(id: str, text: str) -> None:
    pass


class _LetGo(Exception):
    """The run is not ours any more."""


class Player:
    """Plays *script* in *runs*: the same *seed* makes the same choices for a run with the same id. *clock* gives the
    times that are written; *sleep* waits for a number of seconds of the script, divided by *speed*.
    """

    def __init__(
        self,
        script: Script,
        runs: Runs,
        *,
        seed: int = 0,
        speed: float = 1.0,
        clock: Callable[[], datetime] = _now,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        report: Report = _silent,
    ) -> None:
        self._script = script
        self._runs = runs
        self._seed = seed
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._report = report
        self._requests = asyncio.Semaphore(_REQUESTS_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}  # of the runs that are played, by their ids
        self._left: dict[str, str] = {}  # the tags of runs that are played and have not ended: our own last write
        self._missed: dict[str, bytes] = {}  # the last change of such runs meanwhile: another rule may fit then
        self._caught_up = asyncio.Event()

    @property
    def playing(self) -> int:
        """The number of runs that are played now."""
        return len(self._tasks)

    async def play(self, *, once: bool = False) -> None:
        """Plays without end; *once*: until no run is left to play. Raises Unreachable if no server responds at first,
        and Refused.
        """
        watch = asyncio.create_task(self._watch())
        try:
            if not once:
                await watch
                return
            idle = asyncio.create_task(self._idle())
            try:
                await asyncio.wait([watch, idle], return_when=asyncio.FIRST_COMPLETED)
            finally:
                idle.cancel()
            if watch.done():
                watch.result()
        finally:
            tasks = [watch, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _idle(self) -> None:
        await self._caught_up.wait()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _watch(self) -> None:
        async with aclosing(self._runs.changes()) as events:
            async for event in events:
                await self._handle(event)

    async def _handle(self, event: Event) -> None:
        match event.kind:
            case "open":
                self._report("", f"follows {self._runs.name}")
                await self._retried(self._take_up)
                self._caught_up.set()
            case "lost":
                self._report("", "no server responds; waits for one")
            case "run":
                self._consider(event.doc)

    async def _take_up(self) -> None:
        """Plays the runs that are there, and goes on with those that this script has begun."""
        async with aclosing(self._runs.unfinished(self._script.phases)) as docs:
            async for doc in docs:
                self._consider(doc, resume=True)

    def _consider(self, doc: bytes, *, resume: bool = False) -> None:
        body = _parsed(doc)
        id = str(body.id)
        if id in self._tasks:
            self._missed[id] = doc
        elif self._part(id, body, resume=resume) is not None:
            self._tasks[id] = task = asyncio.create_task(self._play(id, resume=resume))
            task.add_done_callback(lambda task: self._done(id, task))

    def _done(self, id: str, task: "asyncio.Task[None]") -> None:
        del self._tasks[id]
        doc = self._missed.pop(id, None)
        if doc is not None and not task.cancelled():
            self._consider(doc)

    def _part(self, id: str, body: RunPut, *, resume: bool) -> Part | None:
        part = self._script.part(id, body, self._seed)
        return self._script.rest(id, body, self._seed) if part is None and resume else part

    async def _play(self, id: str, *, resume: bool) -> None:
        try:
            doc, etag = await self._retried(lambda: self._runs.get(id))
            body = _parsed(doc)
            part = self._part(id, body, resume=resume)
            if part is None or self._left.get(id) == etag:  # it has changed meanwhile, or only we have changed it
                return
            await self._perform(id, body, etag, part)
        except NotFound:
            self._report(id, "let go: it was deleted")
        except _LetGo as reason:
            self._report(id, f"let go: {reason}")
        except Refused as error:
            self._report(id, f"let go: {error}")

    async def _perform(self, id: str, body: RunPut, etag: str, part: Part) -> None:
        begun = False
        for move in part.moves:
            if not begun:
                begun = True
                self._report(id, f"{body.flow_id} {body.phase}, played by the rule for {part.rule}")
            await self._sleep(move.delay / self._speed)
            before, body = body, applied(body, move, format_datetime(self._clock()))
            etag = await self._write(id, body, etag)
            self._left[id] = etag
            if body.phase != before.phase:
                self._report(id, f"{body.flow_id} {body.phase}")
        if body.end_time is not None:
            self._left.pop(id, None)

    async def _write(self, id: str, body: RunPut, etag: str) -> str:
        """The tag of the run once it is *body*. Raises _LetGo if somebody else has changed it since *etag*."""
        content, pause = encode(body), _MIN_PAUSE
        while True:
            try:
                async with self._requests:
                    return await self._runs.put(id, content, etag)
            except (Unreachable, Busy):
                await asyncio.sleep(pause)
                pause = min(_MAX_PAUSE, 2 * pause)
            except Refused as error:
                if error.status != _PRECONDITION_FAILED:
                    raise
                await self._retried(lambda: self._runs.get(id))  # NotFound: it was deleted
                raise _LetGo("somebody else has changed it") from None
            found = await self._retried(lambda: self._runs.get(id))
            if found.etag != etag:  # by the request without a response, or by somebody else
                if encode(_parsed(found.doc, id=None)) != content:
                    raise _LetGo("somebody else has changed it")
                return found.etag

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of *call*, repeated until a server responds."""
        pause = _MIN_PAUSE
        while True:
            try:
                async with self._requests:
                    return await call()
            except (Unreachable, Busy):
                await asyncio.sleep(pause)
                pause = min(_MAX_PAUSE, 2 * pause)


def _parsed(doc: bytes, **changed: None) -> RunPut:
    try:
        return replace(decode(doc, type=RunPut), **changed)
    except DecodeError as error:
        raise Refused(f"the server sent an invalid flow run: {error}", 200) from None
