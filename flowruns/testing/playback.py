"""Scripts that play on the clock of a test: each `tick` performs what is due by then, and nothing sleeps."""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any

from msgspec import Struct

from flowruns.errors import PRECONDITION_FAILED, NotFound, Refused
from flowruns.model.datetimes import format_datetime
from flowruns.model.runs import RunPut, encode
from flowruns.model.validation import decode
from flowruns.player.progress import applied
from flowruns.player.script import Script
from flowruns.player.starts import NewRun
from flowruns.player.steps import Move
from flowruns.server.play import StoreRuns
from flowruns.store.store import Store
from flowruns.testing.clock import Clock

__tracebackhide__ = True  # pytest shows the line of the test instead


class _Playing(Struct):
    """A run that is played: its next move is *due*."""

    id: str
    body: RunPut
    etag: str
    moves: Iterator[Move]
    move: Move
    due: datetime


class _Starting(Struct):
    """Runs that are started one after the other: *new* is *due*. The oldest ones of *started* are deleted unless they
    are *kept*.
    """

    runs: Iterator[NewRun]
    kept: int | None
    new: NewRun
    due: datetime
    started: deque[str]


def script_of(source: "str | os.PathLike[str] | Script", steps: tuple[Mapping[str, Any], ...]) -> Script:
    """The script of a call of `play`: *steps* for the flow *source*, or else a file. Raises ScriptInvalid, OSError,
    TypeError.
    """
    if not all(isinstance(step, Mapping) for step in steps):
        raise TypeError("each step is a dict, not a list of them: write play(flow, {…}, {…}), or play(flow, *steps)")
    if isinstance(source, Script):
        return source
    return Script.of(os.fspath(source), *steps) if steps else Script.load(source)


class Playback:
    """The scripts of a test, in the runs of *store* on *clock*. Used in the event loop of the server."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._runs = StoreRuns(store)
        self._clock = clock
        self._scripts: list[tuple[Script, int]] = []  # each with its seed
        self._playing: set[str] = set()  # the ids of the runs that are played
        self._schedule: list[tuple[datetime, int, _Playing | _Starting]] = []  # a heap; the number decides ties
        self._numbers = count()
        self._left: dict[str, str] = {}  # the tags of runs that were played: only a change by others starts a rule

    @property
    def is_empty(self) -> bool:
        """Whether there is no script."""
        return not self._scripts

    async def add(self, script: Script, seed: int) -> None:
        """Plays *script* from now on, and starts its runs of the past and those at the beginning."""
        self._scripts.append((script, seed))
        series, now = script.series(seed), self._clock.now
        for line in series.first(now):
            if await self._runs.create(line) and line.created_at is not None and line.end_time is None:
                await self._consider(str(line.id), resume=True)
        for runs, kept in series.later():
            new = next(runs)
            self._put(_Starting(runs, kept, new, now + timedelta(seconds=new.delay), deque()))

    def clear(self) -> None:
        """Forgets all scripts."""
        self._scripts.clear()
        self._playing.clear()
        self._schedule.clear()
        self._left.clear()

    async def tick(self, seconds: float) -> None:
        """Advances the clock by *seconds*, and performs each move at its time. A run begins at the tick that finds it.

        Raises RuntimeError if the clock is not frozen.
        """
        self._clock.tick(0)  # raises
        end = self._clock.now + timedelta(seconds=seconds)
        await self._take_up()
        while self._is_due(end):
            while self._is_due(end):
                await self._perform_first()
            await self._take_up()  # what was created meanwhile
        self._advance(end)

    def _put(self, item: _Playing | _Starting) -> None:
        """Adds the move of a run, or a new run, to what is due."""
        heappush(self._schedule, (item.due, next(self._numbers), item))

    def _is_due(self, end: datetime) -> bool:
        """Whether anything is due until *end*."""
        return bool(self._schedule) and self._schedule[0][0] <= end

    async def _perform_first(self) -> None:
        """Performs what is due first, at its time. What fails stays due, for the next tick."""
        *_, item = heappop(self._schedule)
        self._advance(item.due)
        try:
            await (self._start(item) if isinstance(item, _Starting) else self._perform(item))
        except BaseException:
            self._put(item)
            raise

    def _advance(self, time: datetime) -> None:
        """Sets the clock to *time*, unless its steps have gone beyond."""
        self._clock.tick(max(0.0, (time - self._clock.now).total_seconds()))

    async def _take_up(self) -> None:
        phases = sorted({rule.phase for script, _ in self._scripts for rule in script.rules})
        async with aclosing(self._runs.unfinished(phases)) as docs:
            async for doc in docs:
                await self._consider(str(decode(doc, RunPut).id))

    async def _start(self, starting: _Starting) -> None:
        """Creates a run, and begins to play it."""
        while not await self._runs.create(starting.new.line):
            starting.new = next(starting.runs)
        id = str(starting.new.line.id)
        if starting.kept is not None:
            starting.started.append(id)
            if len(starting.started) > starting.kept:
                with suppress(NotFound):
                    await self._runs.delete(starting.started.popleft())
        starting.new = next(starting.runs)
        starting.due += timedelta(seconds=starting.new.delay)
        await self._consider(id)
        self._put(starting)

    async def _consider(self, id: str, *, resume: bool = False) -> None:
        if id in self._playing:
            return
        try:
            doc, etag = await self._runs.get(id)
        except NotFound:
            return
        body = decode(doc, RunPut)
        parts = (script.part(id, body, seed, resume=resume) for script, seed in self._scripts)
        part = next(filter(None, parts), None)
        if part is not None and self._left.get(id) != etag:
            self._next(_Playing(id, body, etag, part.moves, Move(), self._clock.now))

    def _next(self, playing: _Playing) -> None:
        """Schedules the next move, if there is one."""
        move = next(playing.moves, None)
        if move is None:
            self._playing.discard(playing.id)
            self._left[playing.id] = playing.etag
            return
        playing.move, playing.due = move, playing.due + timedelta(seconds=move.delay)
        self._playing.add(playing.id)
        self._put(playing)

    async def _perform(self, playing: _Playing) -> None:
        body = applied(playing.body, playing.move, format_datetime(self._clock.now))
        try:
            playing.etag = await self._runs.put(playing.id, encode(body), playing.etag)
        except Refused as error:
            if error.status != PRECONDITION_FAILED:
                raise
            # The test, or the code under test, has changed or deleted the run: let it go.
            self._playing.discard(playing.id)
            return
        playing.body = body
        self._next(playing)
