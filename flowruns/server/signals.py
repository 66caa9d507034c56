"""Termination signals, deferred to the moments at which an interrupted command leaves nothing incomplete."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType


def termination_signals() -> list[signal.Signals]:
    """The signals that end a program. SIGHUP, for a closed terminal, is one unless it is ignored, as under `nohup`."""
    if sys.platform == "win32":
        return [signal.SIGINT, signal.SIGTERM, signal.SIGBREAK]
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM] + [signal.SIGHUP] * (not ignored)


@contextmanager
def handled_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While entered, in the main thread, which alone receives signals, a termination signal calls *handler*."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in termination_signals()}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class Interrupts:
    """Signals, which `receive` handles. The first raises KeyboardInterrupt within `allowed`, or when that is entered
    next, and a second one anywhere.
    """

    def __init__(self) -> None:
        self._pending = False
        self._allowed = False

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

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Raises KeyboardInterrupt, now or later."""
        second, self._pending = self._pending, True
        if self._allowed or second:
            raise KeyboardInterrupt
