"""What changes in runs, as lines for a terminal."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from flowruns.errors import one_line
from flowruns.terminal.runs import Action, Log, Run, log_text
from flowruns.terminal.text import NOTHING, Style, local_clock, time_taken

_KNOWN_RUNS = 10_000  # whose state is kept, to tell what is new


def _words(logs: Sequence[Log]) -> list[str]:
    """What tells lines from others: not their time, as a server gives those that come without one the time of each
    write.
    """
    return [f"{log.level} {log_text(log)}" for log in logs]


# Changes


class _Seen(NamedTuple):
    """What was told of a run."""

    phase: str | None
    actions: dict[str, str | None]
    logs: int
    last: list[str]  # of them: the last, if there is one


class Tail:
    """What is new in states of runs: the phase, those of the actions, and lines of the log.

    Of a run that is seen for the first time, the last few lines of the log are shown.
    """

    def __init__(self, style: Style, *, names: bool, lines: int) -> None:
        """*names*: whether each line says which run it is about; *lines* of the log are the few."""
        self._style = style
        self._names = names
        self._lines = lines
        self._seen: dict[str, _Seen] = {}

    def changed(self, run: Run, now: datetime) -> Iterator[str]:
        """The lines about what is new in *run*."""
        before = self._seen.pop(run.id, None)
        actions, logs = run.actions or [], run.logs or []
        self._seen[run.id] = _Seen(run.phase, {one.id: one.phase for one in actions}, len(logs), _words(logs[-1:]))
        if len(self._seen) > _KNOWN_RUNS:
            del self._seen[next(iter(self._seen))]  # the one that has been still for longest
        ended = before is not None and run.end_time is not None  # then what led to the end comes before it
        phase = []
        if before is None or before.phase != run.phase:
            moment = run.end_time or run.updated_at
            phase = [self._line(run.id, moment, "run", run.phase, run, one_line(run.flow_id), now)]
        if not ended:
            yield from phase
        for one in actions:
            if before is None or before.actions.get(one.id, "") != one.phase:
                moment = one.end_time or one.start_time or run.updated_at
                yield self._line(run.id, moment, "action", one.phase, one, one_line(one.id), now)
        for log in self._new(logs, before):
            yield self._log(run.id, log, now)
        if ended:
            yield from phase

    def deleted(self, id: str, now: datetime) -> Iterator[str]:
        """The line about the end of the run *id*."""
        self._seen.pop(id, None)
        yield f"{self._head(id, now.isoformat(), now)}{self._style.paint('deleted', 'red')}"

    def _new(self, logs: Sequence[Log], before: _Seen | None) -> Sequence[Log]:
        if before is not None and _words(logs[: before.logs][-1:]) == before.last:
            return logs[before.logs :]
        return logs[max(0, len(logs) - self._lines) :]  # a new one, or a log that was written anew

    def _line(
        self, id: str, moment: str | None, what: str, phase: str | None, span: Run | Action, name: str, now: datetime
    ) -> str:
        length = time_taken(span.start_time, span.end_time, now) if span.end_time else NOTHING
        after = f" ({length})" if length != NOTHING else ""
        return f"{self._head(id, moment, now)}{what:<7}  {name} {self._style.word(phase)}{after}"

    def _log(self, id: str, log: Log, now: datetime) -> str:
        return f"{self._head(id, log.timestamp, now)}{self._style.word(log.level, 7)}  {log_text(log)}"

    def _head(self, id: str, moment: str | None, now: datetime) -> str:
        name = f"{self._style.paint(one_line(id), 'bold')}  " if self._names else ""
        return f"{self._style.paint(local_clock(moment, now), 'dim')}  {name}"
