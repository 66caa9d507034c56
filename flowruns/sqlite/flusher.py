"""The flush of commits to the disk, on a thread of its own, so that the next writes need not wait for it."""

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

if sys.platform == "darwin":
    import fcntl

AfterFlush = Callable[[bool], None]  # takes whether what was written before is on the disk

_WRITE = os.O_RDWR | getattr(os, "O_BINARY", 0)  # on Windows, fsync needs a writable handle


class Flusher:
    """A thread that flushes the file that is open at *handle*. Commits that wait together share a flush.

    Once one has failed, every later one counts as failed: the system may have dropped what it could not write, so that
    a second flush succeeds without it. *on_failure* is called once, on the thread of that flush.
    """

    def __init__(self, handle: int, on_failure: Callable[[OSError], None]) -> None:
        self._handle, self._on_failure = handle, on_failure
        self._waiting: SimpleQueue[AfterFlush | None] = SimpleQueue()
        self._failed = False
        self._mutex = threading.Lock()  # of two flushes at once, the system may report an error to one alone
        self._thread = threading.Thread(target=self._run, name="flush", daemon=True)
        self._thread.start()

    def after_flush(self, function: AfterFlush, *, here: bool) -> None:
        """Calls *function* after a flush that began after this call: on the caller's thread if *here*, which saves two
        switches of threads, else on that of the flusher.
        """
        if here:
            function(self.flush())
        else:
            self._waiting.put(function)

    def flush(self) -> bool:
        """Flushes the file on the caller's thread. Returns whether what was written before is on the disk."""
        with self._mutex:
            if not self._failed:
                try:
                    _flush(self._handle)
                except OSError as error:
                    self._failed = True
                    self._on_failure(error)
            return not self._failed

    def close(self) -> None:
        """Returns after the last flush, and the functions that wait for it."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        waiting: list[AfterFlush | None] = []
        while None not in waiting:
            waiting = [self._waiting.get()]
            waiting += [self._waiting.get() for _ in range(self._waiting.qsize())]
            functions = [function for function in waiting if function is not None]
            flushed = not functions or self.flush()
            for function in functions:
                function(flushed)


@contextmanager
def flushing(file: Path, on_failure: Callable[[OSError], None]) -> Iterator[Flusher]:
    """The `Flusher` of *file*, which exists."""
    handle = os.open(file, _WRITE)
    try:
        flusher = Flusher(handle, on_failure)
        try:
            yield flusher
        finally:
            flusher.close()
    finally:
        os.close(handle)


def _flush(handle: int) -> None:
    """Waits until what was written to the file is on the disk. Raises OSError."""
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)  # there, fsync ends in the drive's cache
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):  # as other file systems answer
                raise
            os.fsync(handle)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(handle)
    else:
        os.fsync(handle)
