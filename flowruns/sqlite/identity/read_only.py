"""The file of a database that is served read-only: whether another program has written it."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from flowruns.errors import Unavailable
from flowruns.sqlite.identity.watch import Watch, gone, log_overwritten, overwritten


class _Version(NamedTuple):
    """Differs after each write to a file, but not after a change of its mode or its links."""

    device: int
    inode: int
    mtime_ns: int
    size: int


class ReadOnlyWatch(Watch):
    """The watch of a *file* that is read without SQLite's locks: any write to it may make later reads wrong."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._opened = _version(file)
        self._overwritten = False

    def check(self, connection: sqlite3.Connection | None = None) -> None:
        """As in `Watch`; with *connection*, always raises Unavailable."""
        if connection is not None:
            raise Unavailable("The database is read-only")
        try:
            version = _version(self._file)
        except OSError:
            raise gone() from None
        if version[:2] != self._opened[:2]:
            raise gone()
        if version != self._opened and not self._overwritten:
            self._overwritten = True
            log_overwritten(self._file)
        self.check_content()

    def check_content(self) -> None:
        """As in `Watch`."""
        if self._overwritten:
            raise overwritten()


def _version(file: Path) -> _Version:
    status = file.stat()
    return _Version(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
