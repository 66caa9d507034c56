"""The WAL of a database: warnings if it grows, or if it stays when the database is closed."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from flowruns.sqlite import pragmas
from flowruns.sqlite.identity.pages import wal_path

log = logging.getLogger("flowruns")

_CLOSE_LOCK_TIMEOUT = 0.5  # seconds

_LARGE_BYTES = 4 * pragmas.MAX_WAL_BYTES

_LOOK_SECONDS, _WARN_SECONDS = 5, 3600


def checkpoint(connection: sqlite3.Connection, file: Path, warn: Callable[[str], None] = log.warning) -> None:
    """Copies the WAL into *file* and empties it, so that SQLite removes it when the last connection closes.

    If another program reads or locks the database, or the disk is full, the WAL stays beside *file*, as a part of the
    database. It calls *warn* with a line that says so.
    """
    try:
        pragmas.set_busy_timeout(connection, _CLOSE_LOCK_TIMEOUT)
        # A reader that holds up the checkpoint is no error, but a result.
        busy: int = connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
    except sqlite3.Error as error:
        warn(f"the WAL cannot be checkpointed; keep {file}-wal beside {file.name}: {error}")
    else:
        if busy:
            warn(f"another program reads {file}, so its last writes stay in {file.name}-wal; keep both files together")


class SizeWarning:
    """Warns at most once an hour of a WAL that is not emptied. *clock* is in seconds."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._wal = wal_path(file)
        self._clock = clock
        self._next_look = clock()
        self._was_large = False

    def look(self) -> None:
        """Looks at the size, if it is time to. Call it before each transaction.

        A large transaction makes a large WAL, which the next one begins anew; only one that stays is a problem.
        """
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        size = os.stat(self._wal).st_size if self._wal.exists() else 0
        if self._was_large and size > _LARGE_BYTES:
            log.warning(
                "%s has grown to %d MB, because another program never stops reading the database, or replicates it to"
                " a target that is away: end or mend that program",
                self._wal,
                size // 1_000_000,
            )
            self._next_look = now + _WARN_SECONDS
        self._was_large = size > _LARGE_BYTES
