"""How tests wait: for things, however long they take. No test depends on how fast the machine is."""

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HANG = 300  # seconds after which a wait fails, because what it waits for is taken to hang
FOREVER = threading.TIMEOUT_MAX  # for servers that serve many tests
_LOOK_SECONDS = 0.005


def eventually(holds: Callable[[], bool], why: Callable[[], str] = lambda: "it never became true") -> None:
    """Returns once *holds* is true, for conditions that no event announces. *why* describes a failure."""
    deadline = time.monotonic() + HANG
    while not holds():
        assert time.monotonic() < deadline, why()
        time.sleep(_LOOK_SECONDS)  # no event announces it


@contextmanager
def process_ended_if_hung(stderr: int) -> Iterator[None]:
    """Ends this process if the block hangs, and writes where each thread was to the descriptor *stderr*.

    For what no timeout of its own ends: a server's thread that never returns, for example. faulthandler's own timer
    would not do, because pytest cancels it when a test fails, and most hangs come after that.
    """

    def end() -> None:
        faulthandler.dump_traceback(stderr)
        os._exit(1)

    watchdog = threading.Timer(3 * HANG, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        watchdog.join()
