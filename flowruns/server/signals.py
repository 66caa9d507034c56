"""Termination signals, deferred to the moments at which an interrupted command leaves nothing incomplete."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType, TracebackType
from typing import Any, Self


def termination_signals() -> list[signal.Signals]:
    """The signals that end a program. SIGHUP, for a closed terminal, is one unless it is ignored, as under `nohup`."""
    if sys.platform == "win32":
        return [signal.SIGINT, signal.SIGTERM, signal.SIGBREAK]
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM] + [signal.SIGHUP] * (not ignored)


class DeferredInterrupts:
    """While entered, a termination signal raises KeyboardInterrupt within `allowed`, or when that is entered next. A
    second signal raises it anywhere.
    """

    def __init__(self) -> None:
        self._pending = False
        self._allowed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if current_thread() is main_thread():  # only this thread receives signals
            self._before = {number: signal.signal(number, self._receive) for number in termination_signals()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """While entered, a signal may interrupt: the code around it cleans up."""
        self._allowed = True
        try:
            if self._pending:
                raise KeyboardInterrupt
            yield
        finally:
            self._allowed = False

    def too_late(self) -> None:
        """Disallows interrupts within the rest of `allowed`: the commit begins."""
        self._allowed = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        second, self._pending = self._pending, True
        if self._allowed or second:
            raise KeyboardInterrupt
