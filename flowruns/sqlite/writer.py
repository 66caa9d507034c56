"""The one writer: writes that wait together are committed together."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple

from flowruns.errors import Unavailable
from flowruns.sqlite.connection import Connection, Failed, J, JobQueue, T, perform_all
from flowruns.sqlite.result_codes import primary_code


class Job(NamedTuple, Generic[J]):
    """A write, and the time (monotonic seconds) until which it may wait for another program's lock."""

    write: J
    deadline: float


class Writer(Generic[J, T]):
    """The one that writes: writes that wait together are performed in one transaction."""

    def __init__(
        self,
        connection: Connection,
        perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]],
        lock_timeout: float,
        guard: Callable[[], None],
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        """*perform* is given the open transaction; *guard* raises what must keep every write from happening;
        *committed* is called, on the thread, after each commit.
        """
        self._lock_timeout = lock_timeout
        self._busy_timeout = lock_timeout
        self._perform = perform
        self._guard = guard
        self._committed = committed
        self._lane: JobQueue[Job[J], T] = JobQueue(connection, self._commit)
        self.drained = self._lane.drained

    async def run(self, write: J) -> T:
        """The result of *write* once it is committed.

        A write that raises undoes itself and nothing else. Raises what it raises, or Unavailable.
        """
        return await self._lane.run(Job(write, time.monotonic() + self._lock_timeout))

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> Sequence[T | Failed]:
        try:
            return self._transaction(connection, jobs)
        except Exception:
            if len(jobs) == 1:
                raise
        # One of them breaks the transaction. Each alone, so that it takes no neighbour with it.
        outcomes: list[T | Failed] = []
        for job in jobs:
            outcomes += perform_all(self._transaction, [job], connection)
        return outcomes

    def _transaction(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> Sequence[T | Failed]:
        self._guard()
        late = self._begin(connection, jobs)
        if late == len(jobs):
            return [_late() for _ in jobs]
        try:
            outcomes = self._perform(connection, [job.write for job in jobs[late:]])
        except BaseException:
            _roll_back(connection)
            raise
        try:
            connection.execute("commit")
        except sqlite3.Error:
            _roll_back(connection)
            _overwrite(connection)
            raise
        self._committed()
        return [*(_late() for _ in range(late)), *outcomes]

    def _begin(self, connection: sqlite3.Connection, jobs: list[Job[J]]) -> int:
        """Begins a transaction, and returns how many of the *jobs*, the first ones, waited too long for it."""
        late = 0
        while late < len(jobs):
            self._wait_at_most(connection, jobs[late].deadline - time.monotonic())
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY:
                    raise
                late += 1
            else:
                break
        return late

    def _wait_at_most(self, connection: sqlite3.Connection, seconds: float) -> None:
        seconds = max(0.0, round(seconds, 1))  # coarse, so that the usual case says nothing
        if seconds != self._busy_timeout:
            connection.execute(f"pragma busy_timeout = {int(seconds * 1000)}")
            self._busy_timeout = seconds


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # else SQLite has done it
        connection.execute("rollback")


def _overwrite(connection: sqlite3.Connection) -> None:
    """Puts a transaction that changes nothing where one whose commit failed lies in the log.

    That one may lie there whole: when the disk has room for it, but not for the index of the log. SQLite forgets it,
    but would find it when it reads the log after a crash, and do what was refused. No room is needed, and it does not
    matter whether this one succeeds.
    """
    with suppress(sqlite3.Error):
        connection.execute("begin immediate")
        version = connection.execute("pragma user_version").fetchone()[0]
        connection.execute(f"pragma user_version = {version}")  # writes its page, as no update to the same value does
        connection.execute("commit")
    with suppress(sqlite3.Error):
        _roll_back(connection)


def _late() -> Failed:
    return Failed(Unavailable("The database is locked by another program", retry_after=1))
