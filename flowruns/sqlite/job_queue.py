"""Queues of jobs for a connection: jobs that wait together are performed together.

A round trip to the connection's thread costs many times what SQLite needs for a row. So jobs gather while others are
performed, and the thread takes the next ones without a round trip.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from flowruns.errors import WRITE_BEGUN
from flowruns.sqlite.connection import Connection, Failed, call_soon, failed, resolve
from flowruns.sqlite.result_codes import translate

T = TypeVar("T")

J = TypeVar("J")

Deliver = Callable[[Sequence["asyncio.Future[T]"], Sequence[T | Failed]], None]

# Of a batch: large enough for the requests of 64 busy clients, small enough to bound the time that it takes.
MAX_JOBS = 64

# Of a round trip: the other queues of the same connection have their turn after these.
_MAX_BATCHES = 16


class JobQueue(Generic[J, T]):
    """A queue of jobs for one connection. *perform* takes a batch of jobs, in order, on the connection's thread;
    *deliver* then hands its outcomes over to the futures of their callers, at once or later.
    """

    def __init__(
        self,
        connection: Connection,
        perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]],
        deliver: "Deliver[T] | None" = None,
    ) -> None:
        self._connection = connection
        self._perform = perform
        self._deliver = deliver or deliver_now
        self._waiting: deque[tuple[J, asyncio.Future[T]]] = deque()
        self._driver: asyncio.Task[None] | None = None

    async def run(self, job: J) -> T:
        """The outcome of *job*. A job that has begun is completed even if its caller is cancelled; the argument of the
        CancelledError is then `WRITE_BEGUN`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((job, future))
        driver = self._driver
        if driver is None or driver.done() or driver.get_loop() is not loop:  # the other loop may be closed
            self._driver = loop.create_task(self._drive())
        try:
            return await future
        except asyncio.CancelledError:
            if any(waiting is future for _, waiting in list(self._waiting)):
                raise  # it will never begin
            raise asyncio.CancelledError(WRITE_BEGUN) from None
        finally:
            del future  # which has the error, whose traceback has this frame: a cycle, with the request and its body

    @property
    def waiting(self) -> int:
        """The number of jobs that have not begun."""
        return len(self._waiting)

    async def drain(self) -> None:
        """Returns once no job of the running loop is waiting or being performed. Outcomes may still be undelivered."""
        loop = asyncio.get_running_loop()
        while (driver := self._driver) is not None and driver.get_loop() is loop and not driver.done():
            await asyncio.wait([driver])

    async def _drive(self) -> None:
        try:
            while self._waiting:
                await self._connection.call(self._perform_waiting)
        except Exception as error:  # the connection is closed
            futures = [future for _, future in self._waiting]
            self._waiting.clear()
            deliver_now(futures, [Failed(error)] * len(futures))

    def _perform_waiting(self, connection: sqlite3.Connection) -> None:
        """Performs the waiting jobs on the thread, and those that are added meanwhile."""
        for _ in range(_MAX_BATCHES):
            if not (batch := self._next_batch()):
                break
            outcomes = perform_all(self._perform, [job for job, _ in batch], connection)
            self._deliver([future for _, future in batch], outcomes)

    def _next_batch(self) -> list[tuple[J, "asyncio.Future[T]"]]:
        """Takes waiting jobs from the queue, and drops cancelled ones. Only the thread takes, only loops append."""
        batch: list[tuple[J, asyncio.Future[T]]] = []
        while self._waiting and len(batch) < MAX_JOBS:
            job, future = self._waiting.popleft()
            if not future.done():
                batch.append((job, future))
        return batch


def deliver_now(futures: Sequence["asyncio.Future[T]"], outcomes: Sequence[T | Failed]) -> None:
    """Resolves each of the *futures* in its own loop."""
    for loop in {future.get_loop() for future in futures}:
        call_soon(loop, resolve, futures, outcomes)


def perform_all(
    perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]],
    jobs: list[J],
    connection: sqlite3.Connection,
) -> Sequence[T | Failed]:
    """The outcome of each of the *jobs*. If *perform* raises, all of them have failed."""
    try:
        return perform(connection, jobs)
    except sqlite3.Error as error:
        return [failed(translate(error))] * len(jobs)
    except Exception as error:
        return [failed(error)] * len(jobs)


def run_each(connection: sqlite3.Connection, reads: Sequence[Callable[[sqlite3.Connection], T]]) -> list[T | Failed]:
    """The outcomes of the *reads*, in order; one that raises fails alone."""
    outcomes: list[T | Failed] = []
    for read in reads:
        try:
            outcomes.append(read(connection))
        except sqlite3.Error as error:
            outcomes.append(failed(translate(error)))
        except Exception as error:
            outcomes.append(failed(error))
    return outcomes
