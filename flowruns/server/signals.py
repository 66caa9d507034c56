"""Ctrl+C, and what else ends a program, at the moments at which it leaves nothing half done."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType, TracebackType
from typing import Any, Self


def termination_signals() -> list[signal.Signals]:
    """The signals that end a program: also that its terminal was closed, unless that is ignored, as under `nohup`."""
    if sys.platform == "win32":
        return [signal.SIGINT, signal.SIGTERM, signal.SIGBREAK]
    kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM] + [signal.SIGHUP] * (not kept)


class DeferredInterrupts:
    """While entered, a signal that would end the program waits for a moment that is `allowed`, where it raises
    KeyboardInterrupt. The second one does so anywhere: whoever sends it insists.
    """

    def __init__(self) -> None:
        self._came = False
        self._allowed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if current_thread() is main_thread():  # which alone hears signals
            self._before = {number: signal.signal(number, self._heard) for number in termination_signals()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """While entered, what is done may be interrupted, since all around it puts things right."""
        self._allowed = True
        try:
            if self._came:
                raise KeyboardInterrupt
            yield
        finally:
            self._allowed = False

    def too_late(self) -> None:
        """Ends what is allowed: what is being committed is done."""
        self._allowed = False

    def _heard(self, number: int, frame: FrameType | None) -> None:
        insists, self._came = self._came, True
        if self._allowed or insists:
            raise KeyboardInterrupt
