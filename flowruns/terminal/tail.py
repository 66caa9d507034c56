"""Changes of runs as lines for a terminal."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from flowruns.errors import one_line
from flowruns.terminal.run import Action, Log, Run, log_text
from flowruns.terminal.text import NOTHING, Style, local_clock, time_taken

FIELDS = ("id", "flowId", "phase", "startTime", "endTime", "actions", "logs", "updatedAt")  # of a run that it needs

_MAX_RUNS = 10_000  # whose last state is remembered


def _keys(logs: Sequence[Log]) -> list[str]:
    """What identifies each of *logs*. Not its timestamp: a server sets a missing one anew at each write."""
    return [f"{log.level} {log_text(log)}" for log in logs]


class _State(NamedTuple):
    """The last state of a run that was shown."""

    phase: str | None
    actions: dict[str, str | None]
    logs: int
    last_log: list[str]  # the key of the last one, if there is one


class Tail:
    """The differences between successive states of runs: the phase, phases of actions, and new log lines."""

    def __init__(self, style: Style, *, names: bool, lines: int) -> None:
        """*names*: whether each line has the id of its run; *lines*: log lines to show of a run at first."""
        self._style = style
        self._names = names
        self._lines = lines
        self._states: dict[str, _State] = {}

    def changed(self, run: Run, now: datetime) -> Iterator[str]:
        """The lines with the changes of *run* since its last state."""
        before = self._states.pop(run.id, None)
        actions, logs = run.actions or [], run.logs or []
        self._states[run.id] = _State(
            run.phase, {action.id: action.phase for action in actions}, len(logs), _keys(logs[-1:])
        )
        if len(self._states) > _MAX_RUNS:
            del self._states[next(iter(self._states))]  # the run that has not changed for the longest time
        ended = before is not None and run.end_time is not None  # then its line follows those of actions and logs
        phase = []
        if before is None or before.phase != run.phase:
            time = run.end_time or run.updated_at
            phase = [self._line(run.id, time, "run", run.phase, run, one_line(run.flow_id), now)]
        if not ended:
            yield from phase
        for action in actions:
            if before is None or before.actions.get(action.id, "") != action.phase:
                time = action.end_time or action.start_time or run.updated_at
                yield self._line(run.id, time, "action", action.phase, action, one_line(action.id), now)
        for log in self._new_logs(logs, before):
            yield self._log(run.id, log, now)
        if ended:
            yield from phase

    def gone(self, id: str, kind: Literal["deleted", "left"], now: datetime) -> str:
        """The line about the run *id*, which was deleted, or no longer matches the filters."""
        self._states.pop(id, None)
        hue, note = ("red", "") if kind == "deleted" else ("dim", "     no longer matches")
        return f"{self._prefix(id, now.isoformat(), now)}{self._style.paint(kind, hue)}{note}"

    def _new_logs(self, logs: Sequence[Log], before: _State | None) -> Sequence[Log]:
        if before is not None and _keys(logs[: before.logs][-1:]) == before.last_log:
            return logs[before.logs :]
        return logs[max(0, len(logs) - self._lines) :]  # a new run, or a log that was replaced

    def _line(
        self, id: str, time: str | None, kind: str, phase: str | None, item: Run | Action, name: str, now: datetime
    ) -> str:
        duration = time_taken(item.start_time, item.end_time, now) if item.end_time else NOTHING
        suffix = f" ({duration})" if duration != NOTHING else ""
        return f"{self._prefix(id, time, now)}{kind:<7}  {name} {self._style.word(phase)}{suffix}"

    def _log(self, id: str, log: Log, now: datetime) -> str:
        return f"{self._prefix(id, log.timestamp, now)}{self._style.word(log.level, 7)}  {log_text(log)}"

    def _prefix(self, id: str, time: str | None, now: datetime) -> str:
        name = f"{self._style.paint(one_line(id), 'bold')}  " if self._names else ""
        return f"{self._style.paint(local_clock(time, now), 'dim')}  {name}"
