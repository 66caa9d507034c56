"""Runs as a table for a terminal."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from flowruns.errors import one_line
from flowruns.terminal.run import Run
from flowruns.terminal.text import HUES_BY_WORD, NOTHING, Style, columns, cut, local_time, padded, time_taken

# By name: the cell for a run at a time.
COLUMNS: dict[str, Callable[[Run, datetime], str]] = {
    "PHASE": lambda run, now: run.phase or NOTHING,
    "FLOW": lambda run, now: run.flow_id,
    "STARTED": lambda run, now: local_time(run.start_time, "minutes"),
    "TOOK": lambda run, now: time_taken(run.start_time, run.end_time, now),
    "ID": lambda run, now: run.id,
}

FIELDS = ("id", "flowId", "phase", "startTime", "endTime")  # of a run that the columns need

_OPTIONAL = ("TOOK", "STARTED")  # left out in this order on a narrow terminal

_GAP = 2  # columns of the terminal

_MIN_FLOW = 8  # columns; a shorter name cannot be recognised

_MAX_PHASE = 16


class Table:
    """A table whose first runs set the widths of its columns. It fits the terminal if it can; ids are never cut."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._widths: dict[str, int] = {}

    def lines(self, runs: Sequence[Run], now: datetime) -> Iterator[str]:
        """The lines of *runs*; the first call starts with the header."""
        rows = [{name: one_line(cell(run, now)) for name, cell in COLUMNS.items()} for run in runs]
        if not self._widths:
            self._fit(rows)
            yield self._style.paint(self._line({name: name for name in COLUMNS}), "bold")
        for row in rows:
            yield self._line(row, row["PHASE"])

    def _line(self, row: dict[str, str], phase: str | None = None) -> str:
        cells = [self._cell(row[name], width) for name, width in self._widths.items()]
        cells[0] = self._style.paint(cells[0], HUES_BY_WORD.get((phase or "").lower()))
        cells[-1] = row["ID"]
        return (" " * _GAP).join(cells)

    def _cell(self, text: str, width: int) -> str:
        return padded(cut(text, width) if self._style.width else text, width)

    def _fit(self, rows: Sequence[dict[str, str]]) -> None:
        widths = {name: max(columns(text) for text in (name, *(row[name] for row in rows))) for name in COLUMNS}
        if self._style.width:
            widths["PHASE"] = min(widths["PHASE"], _MAX_PHASE)
            least, flow = min(_MIN_FLOW, widths["FLOW"]), 0
            for name in ("", *_OPTIONAL):
                widths.pop(name, None)
                spare = self._style.width - sum(widths.values()) - _GAP * (len(widths) - 1)
                flow = widths["FLOW"] + min(spare, 0)
                if flow >= least:
                    break
            widths["FLOW"] = max(flow, least)
        self._widths = widths
