"""The one writer: writes that wait together are committed together."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple

from flowruns.errors import Unavailable
from flowruns.sqlite import pragmas
from flowruns.sqlite.connection import Connection, Failed
from flowruns.sqlite.flusher import Flusher
from flowruns.sqlite.identity.watch import Watch, not_flushed
from flowruns.sqlite.job_queue import J, JobQueue, T, deliver_now, perform_all
from flowruns.sqlite.result_codes import primary_code

# Writes that wait, for a flush to be left to a thread of its own while they are performed. For fewer, the switches of
# threads cost more than the wait, after which their batch is larger and so costs less per write.
MIN_OVERLAPPED = 4


class Job(NamedTuple, Generic[J]):
    """A write, and the time (monotonic seconds) until which it may wait for another program's lock."""

    write: J
    deadline: float


class Writer(Generic[J, T]):
    """A queue of writes; those that wait together share one transaction, and are acknowledged after the next flush."""

    def __init__(
        self,
        connection: Connection,
        perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]],
        lock_timeout: float,
        watch: Watch,
        flusher: Flusher | None = None,
        notify: Callable[[], None] = lambda: None,
        ended: Callable[[bool], None] = lambda committed: None,
    ) -> None:
        """*perform* runs in the open transaction, on the connection's thread. *watch* may refuse each transaction, and
        learns of each commit. *flusher* flushes the WAL; without one, a commit is all. *notify* is called before
        callers get their outcomes, from any thread. *ended* is called after each transaction, with whether it was
        committed.
        """
        self._lock_timeout = lock_timeout
        self._busy_timeout = lock_timeout
        self._perform = perform
        self._watch = watch
        self._flusher = flusher
        self._notify = notify
        self._ended = ended
        self._committed = False  # since the last delivery
        self._queue: JobQueue[Job[J], T] = JobQueue(connection, self._commit, self._deliver)
        self.drain = self._queue.drain

    async def run(self, write: J) -> T:
        """The result of *write* once it is on the disk.

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
        self._watch.check(connection)
        timed_out = self._begin(connection, jobs)
        if timed_out == len(jobs):
            return [_lock_timed_out() for _ in jobs]
        try:
            outcomes = self._perform(connection, [job.write for job in jobs[timed_out:]])
        except BaseException:
            _roll_back(connection)
            self._ended(False)
            raise
        try:
            connection.execute("commit")
        except sqlite3.Error:
            _roll_back(connection)
            _overwrite(connection)
            self._ended(False)
            raise
        self._ended(True)
        self._committed = True
        self._watch.committed()
        return [*(_lock_timed_out() for _ in range(timed_out)), *outcomes]

    def _deliver(self, futures: "Sequence[asyncio.Future[T]]", outcomes: Sequence[T | Failed]) -> None:
        """Delivers the *outcomes* of a transaction once what it has written is on the disk."""
        if not self._committed:
            deliver_now(futures, outcomes)
            return
        self._committed = False

        def deliver(flushed: bool) -> None:
            self._notify()
            deliver_now(futures, outcomes if flushed else [Failed(not_flushed())] * len(futures))

        if self._flusher is None:
            deliver(True)
        else:
            self._flusher.after_flush(deliver, here=self._queue.waiting < MIN_OVERLAPPED)

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
