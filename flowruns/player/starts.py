"""The runs that a script starts itself: those of the past, those at the beginning, and those from then on."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from flowruns.model.datetimes import format_datetime
from flowruns.model.lines import RunLine
from flowruns.model.runs import FlowType, RunPut, Tag
from flowruns.player.placeholders import as_json, filled, filled_text, lookup_of
from flowruns.player.progress import applied
from flowruns.player.steps import Move, Span


class Start(NamedTuple):
    """Starts *past* runs with ages in seconds within *age*, then *first* runs, then one after each pause of *every*, of
    which the last *keep* are kept. Each run has one value of each sequence.
    """

    flows: Sequence[str]
    flow_types: Sequence[FlowType]
    args: Sequence[Mapping[str, Any] | None]
    tags: Sequence[Mapping[str, str]]
    users: Sequence[int | None]
    past: int
    age: Span
    first: int
    every: Span | None
    keep: int | None


class NewRun(NamedTuple):
    """A run that is to be created, as in an import, and the seconds until then."""

    delay: float
    line: RunLine


class Series:
    """The runs of *starts*. Those of a flow are numbered; the same *seed* makes the same choices. *play* returns the
    moves of a new run.
    """

    def __init__(self, starts: Sequence[Start], seed: int, play: Callable[[str, RunPut], Iterable[Move]]) -> None:
        self._sources = [(start, Random(f"{seed} start {number}")) for number, start in enumerate(starts)]
        self._numbers = Counter[str]()  # the last one of each flow
        self._play = play

    def first(self, now: datetime) -> list[RunLine]:
        """The runs of the past as they are *now*, the oldest first, and those at the beginning."""
        past = [(age, start, chance) for start, chance in self._sources for age in _ages(start, chance)]
        past.sort(key=lambda item: item[0], reverse=True)
        return [
            *(self._played(self._new(start, chance), now - timedelta(seconds=age), now) for age, start, chance in past),
            *(self._new(start, chance) for start, chance in self._sources for _ in range(start.first)),
        ]

    def later(self) -> list[tuple[Iterator[NewRun], int | None]]:
        """For each of *starts* with `every`: its runs from then on, without end, and how many of them are kept."""
        return [(self._endless(start, chance), start.keep) for start, chance in self._sources if start.every]

    def _endless(self, start: Start, chance: Random) -> Iterator[NewRun]:
        while start.every:
            yield NewRun(chance.uniform(*start.every), self._new(start, chance))

    def _new(self, start: Start, chance: Random) -> RunLine:
        flow, flow_type = chance.choice(start.flows), chance.choice(start.flow_types)
        args, tags, user = chance.choice(start.args), chance.choice(start.tags), chance.choice(start.users)
        self._numbers[flow] += 1
        number = self._numbers[flow]
        line = RunLine(id=f"{flow}-{number}", flow_id=flow, flow_type=flow_type, created_by=user)
        if args is not None:
            line.args = as_json(filled(args, lookup_of(str(line.id), line), number))
        lookup = lookup_of(str(line.id), line)
        line.tags = [Tag(key=key, value=filled_text(value, lookup, number)) for key, value in tags.items()] or None
        return line

    def _played(self, line: RunLine, time: datetime, now: datetime) -> RunLine:
        """*line* as it is *now*, if it was created at *time*."""
        id, created = str(line.id), format_datetime(time)
        updated = created
        for move in self._play(id, line):
            time += timedelta(seconds=move.delay)
            if time > now:
                break
            updated = format_datetime(time)
            line = applied(line, move, updated)
        line.id, line.created_at, line.updated_at = id, created, updated
        return line


def _ages(start: Start, chance: Random) -> Iterator[float]:
    """The ages of the runs of the past, in seconds, spread so that the recent ones are the most."""
    low, high = start.age
    for number in range(start.past):
        yield round(low * (high / low) ** ((number + chance.random()) / start.past), 3)
