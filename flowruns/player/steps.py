"""The steps of a script, and the moves of a run that they describe: pure, with chance as an argument."""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from flowruns.player.placeholders import Lookup, filled, filled_text

MIN_WRITE_SECONDS = 0.1  # of the script, between two writes of log lines: faster lines share a write

UNFINISHED = frozenset(("pending", "queued", "requested", "scheduled", "waiting", "paused", "running", "in_progress"))


class Span(NamedTuple):
    """A number of seconds, or of lines, between *low* and *high*."""

    low: float
    high: float


class Lines(NamedTuple):
    """Lines of a log: *text*, with `{n}` for the number of each."""

    text: str
    level: str
    number: Span | None  # None: one line, whose `{n}` is the number of the repetition


class Pause(NamedTuple):
    """Waits."""

    seconds: Span


class Phase(NamedTuple):
    """Sets the phase of the run."""

    phase: str


class Log(NamedTuple):
    """Writes *lines*, spread over *seconds*."""

    lines: Lines
    seconds: Span | None


class Work(NamedTuple):
    """An action that starts, takes *seconds*, writes *lines*, and ends in *phase*."""

    action: str
    phase: str
    seconds: Span | None
    lines: Lines | None


class Outputs(NamedTuple):
    """Adds outputs."""

    values: Mapping[str, Any]


class End(NamedTuple):
    """Ends the run in *phase*, with *error* as its last line."""

    phase: str
    error: str | None


class Hang(NamedTuple):
    """Writes nothing any more."""


class Repeat(NamedTuple):
    """Repeats *steps*."""

    times: Span
    steps: "Sequence[Step]"


class OneOf(NamedTuple):
    """One of several lists of steps, by their weights."""

    weights: Sequence[float]
    branches: "Sequence[Sequence[Step]]"


Step = Pause | Phase | Log | Work | Outputs | End | Hang | Repeat | OneOf


class Line(NamedTuple):
    """A line of a log."""

    text: str
    level: str
    action: str | None


class Move(NamedTuple):
    """One write to a run, *delay* seconds after the one before: what is set, None for what stays."""

    delay: float = 0.0
    phase: str | None = None
    action: str | None = None
    action_phase: str | None = None
    lines: tuple[Line, ...] = ()
    outputs: Mapping[str, Any] | None = None
    ends: bool = False


def moves(steps: Sequence[Step], chance: Random, lookup: Lookup) -> Iterator[Move]:
    """The moves that *steps* describe, in order. The same *chance* gives the same moves."""
    delay = 0.0
    for move in _Moves(chance, lookup).of(steps, 1):
        delay += move.delay
        if move != Move(move.delay):  # else it is only a pause
            yield move._replace(delay=delay)
            delay = 0.0


def phases(steps: Sequence[Step]) -> Iterator[str]:
    """The phases that *steps* set before the end of a run."""
    for step in steps:
        match step:
            case Phase(phase):
                yield phase
            case Repeat(_, inner):
                yield from phases(inner)
            case OneOf(_, branches):
                for branch in branches:
                    yield from phases(branch)


class _Moves:
    def __init__(self, chance: Random, lookup: Lookup) -> None:
        self._chance = chance
        self._lookup = lookup
        self._is_over = False

    def of(self, steps: Sequence[Step], number: int) -> Iterator[Move]:
        """The moves of *steps* in the repetition *number*."""
        for step in steps:
            yield from self._of_step(step, number)
            if self._is_over:
                return

    def _of_step(self, step: Step, number: int) -> Iterator[Move]:
        match step:
            case Pause(seconds):
                yield Move(self._seconds(seconds))
            case Phase(phase):
                yield Move(phase=phase)
            case Log(lines, seconds):
                yield from self._spread(self._lines(lines, None, number), self._seconds(seconds))
            case Work():
                yield from self._work(step, number)
            case Outputs(values):
                yield Move(outputs=filled(values, self._lookup, number))
            case End(phase, error):
                self._is_over = True
                last = () if error is None else (Line(self._text(error, number), "error", None),)
                yield Move(phase=phase, lines=last, ends=True)
            case Hang():
                self._is_over = True
            case Repeat(times, inner):
                for repetition in range(1, self._count(times) + 1):
                    yield from self.of(inner, repetition)
                    if self._is_over:
                        return
            case OneOf(weights, branches):
                yield from self.of(self._chance.choices(branches, weights)[0], number)

    def _work(self, step: Work, number: int) -> Iterator[Move]:
        action = self._text(step.action, number)
        lines = () if step.lines is None else self._lines(step.lines, action, number)
        if step.seconds is None:
            yield Move(action=action, action_phase=step.phase, lines=lines)
            return
        yield Move(action=action, action_phase="running")
        yield from self._spread(lines, self._seconds(step.seconds))
        if step.phase != "running":
            yield Move(action=action, action_phase=step.phase)

    def _spread(self, lines: Sequence[Line], seconds: float) -> Iterator[Move]:
        """The moves of *lines*, evenly within *seconds*, and the rest of them."""
        writes = min(len(lines), max(1, int(seconds / MIN_WRITE_SECONDS)))
        pause = seconds / (writes + 1)
        for index in range(writes):
            part = lines[index * len(lines) // writes : (index + 1) * len(lines) // writes]
            yield Move(pause, lines=tuple(part))
        yield Move(pause)

    def _lines(self, lines: Lines, action: str | None, number: int) -> tuple[Line, ...]:
        numbers = [number] if lines.number is None else range(1, self._count(lines.number) + 1)
        return tuple(Line(self._text(lines.text, n), lines.level, action) for n in numbers)

    def _seconds(self, span: Span | None) -> float:
        return 0.0 if span is None else round(self._chance.uniform(*span), 3)

    def _count(self, span: Span) -> int:
        return self._chance.randint(int(span.low), int(span.high))

    def _text(self, text: str, number: int) -> str:
        return filled_text(text, self._lookup, number)
