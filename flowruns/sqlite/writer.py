"""The one writer: writes that wait together are committed together."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple

from flowruns.errors import Unavailable
from flowruns.sqlite import pragmas
from flowruns.sqlite.connection import Connection, Failed
from flowruns.sqlite.job_queue import J, JobQueue, T, perform_all
from flowruns.sqlite.result_codes import primary_code


class Job(NamedTuple, Generic[J]):
    """A write, and the time (monotonic seconds) until which it may wait for another program's lock."""

    write: J
    deadline: float


class Writer(Generic[J, T]):
    """A queue of writes; those that wait together share one transaction."""

    def __init__(
        self,
        connection: Connection,
        perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]],
        lock_timeout: float,
        check_file: Callable[[sqlite3.Connection], None],
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """*perform* runs in the open transaction; *check_file* runs before it, and raises if nothing may be written;
        *on_commit* runs after each commit. All of them run on the connection's thread.
        """
        self._lock_timeout = lock_timeout
        self._busy_timeout = lock_timeout
        self._perform = perform
        self._check_file = check_file
        self._on_commit = on_commit
        self._queue: JobQueue[Job[J], T] = JobQueue(connection, self._commit)
        self.drain = self._queue.drain

    async def run(self, write: J) -> T:
        """The result of *write* once it is committed.

        A write that raises is undone alone. Raises what it raises, or Unavailable.
        """
        return await self._queue.run(Job(write, time.monotonic() + self._lock_timeout))

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> Sequence[T | Failed]:
        try:
            return self._transaction(connection, jobs)
        except Exception:
            if len(jobs) == 1:
                raise
        # One of them breaks the transaction: retry each in its own, so that the others succeed.
        outcomes: list[T | Failed] = []
        for job in jobs:
            outcomes += perform_all(self._transaction, [job], connection)
        return outcomes

    def _transaction(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> Sequence[T | Failed]:
        self._check_file(connection)
        timed_out = self._begin(connection, jobs)
        if timed_out == len(jobs):
            return [_lock_timed_out() for _ in jobs]
        try:
            outcomes = self._perform(connection, [job.write for job in jobs[timed_out:]])
        except BaseException:
            _roll_back(connection)
            raise
        try:
            connection.execute("commit")
        except sqlite3.Error:
            _roll_back(connection)
            _overwrite(connection)
            raise
        self._on_commit()
        return [*(_lock_timed_out() for _ in range(timed_out)), *outcomes]

    def _begin(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> int:
        """Begins a transaction. Returns the number of *jobs*, from the first on, whose deadline passed before."""
        timed_out = 0
        while timed_out < len(jobs):
            self._set_busy_timeout(connection, jobs[timed_out].deadline - time.monotonic())
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY:
                    raise
                timed_out += 1
            else:
                break
        return timed_out

    def _set_busy_timeout(self, connection: sqlite3.Connection, seconds: float) -> None:
        seconds = max(0.0, round(seconds, 1))  # coarse, so that it rarely changes
        if seconds != self._busy_timeout:
            pragmas.set_busy_timeout(connection, seconds)
            self._busy_timeout = seconds


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # else SQLite has rolled back already
        connection.execute("rollback")


def _overwrite(connection: sqlite3.Connection) -> None:
    """Overwrites a transaction whose commit failed with one that changes nothing.

    The failed one may be complete in the WAL, if the disk had room for it but not for the WAL index. SQLite ignores it
    until a crash, but would then recover it, although its writes were reported as failed. The new one takes its place
    in the WAL, so it needs no room, and it need not succeed.
    """
    with suppress(sqlite3.Error):
        connection.execute("begin immediate")
        version = connection.execute("pragma user_version").fetchone()[0]
        connection.execute(f"pragma user_version = {version}")  # writes its page, unlike an update to the same value
        connection.execute("commit")
    with suppress(sqlite3.Error):
        _roll_back(connection)


def _lock_timed_out() -> Failed:
    return Failed(Unavailable("The database is locked by another program", retry_after=1))
