"""A progress line on stderr, if it is a terminal."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

from flowruns.terminal.output import can_redraw
from flowruns.terminal.text import plural

_REDRAW_SECONDS = 0.1  # nobody can read more often

_MAX_BAR, _MIN_BAR = 24, 8  # columns

_CLEAR_REST = "\x1b[K"  # of the line

_GREEN, _PLAIN = "\x1b[32m", "\x1b[0m"


class Progress:
    """While entered, a line with the progress of *what*, counted in *unit*; removed at the end."""

    def __init__(
        self,
        what: str,
        unit: str = "run",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._unit = unit
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()
        self._drawn: float | None = None
        self.shown = can_redraw(self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def update(self, done: int, share: float | None = None) -> None:
        """Shows that *done* units are finished, and their *share* of all, from 0 to 1, if it is known."""
        if not self.shown:
            return
        now = self._clock()
        if now - (self._began if self._drawn is None else self._drawn) < _REDRAW_SECONDS:
            return
        self._drawn = now
        self._write("\r" + self._line(done, share, now - self._began) + _CLEAR_REST)

    def clear(self) -> None:
        """Removes the line; the next `update` draws it again."""
        if self._drawn is not None:
            self._write("\r" + _CLEAR_REST)

    def _line(self, done: int, share: float | None, seconds: float) -> str:
        columns = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be removed
        if share is None:
            text = f"{plural(done, self._unit, ',')}, {done / seconds:,.0f}/s" if done else duration(seconds)
            return f"{self._what}  {text}"[:columns]
        share = min(1.0, share)
        left = f", {duration(seconds * (1 - share) / share)} left" if share else ""
        text = f"{share:4.0%}  {plural(done, self._unit, ',')}, {done / seconds:,.0f}/s{left}"
        width = min(_MAX_BAR, columns - len(self._what) - len(text) - len("  [] "))
        if width < _MIN_BAR:
            return f"{self._what}  {text}"[:columns]
        bar = "=" * int(share * width)
        shown = bar if not bar or os.environ.get("NO_COLOR") else f"{_GREEN}{bar}{_PLAIN}"
        return f"{self._what}  [{shown}{' ' * (width - len(bar))}] {text}"

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone, or closed
            self.shown = False


def duration(seconds: float) -> str:
    """*seconds* as minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
