"""Connections on threads of their own, and the queues of jobs for them."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

import aiosqlite

from flowruns.errors import BEGUN
from flowruns.sqlite.result_codes import translate

T = TypeVar("T")

J = TypeVar("J")

# Large enough to carry all that 64 busy connections ask, small enough to bound what one journey costs.
MAX_JOBS = 64

# On a connection that several lanes share, the others have their turn after so many journeys' worth of jobs.
_MOST_BATCHES = 16


class Connection(aiosqlite.Connection):
    """A connection, and the thread that alone uses it. Event loops come and go above it: one may open it, others
    use it, and another one close it.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, iter_chunk_size=64)
        self._thread.daemon = True  # what was not closed does not keep a program from its end

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What *function* returns or raises, run whole on the thread; cancelling the caller does not stop it. Raises
        ValueError once it is closed.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Future[T] = loop.create_future()
        connection = self._conn
        if not self._running:
            raise ValueError("the connection is being closed")

        def perform() -> None:
            try:
                outcome: T | Failed = function(connection)
            except BaseException as error:
                outcome = Failed(error)
            call_soon(loop, _tell, [(None, told)], [outcome])

        # Not by aiosqlite's own `_execute`: its thread would end at the first answer to a loop that is closed.
        self._tx.put_nowait((None, perform))
        return await told


class Failed(NamedTuple):
    """The outcome of a job that raised."""

    error: BaseException


class JobQueue(Generic[J, T]):
    """Jobs to one connection: those that wait together are performed together, in order."""

    def __init__(
        self, connection: Connection, perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]]
    ) -> None:
        self._connection = connection
        self._perform = perform
        self._waiting: deque[tuple[J, asyncio.Future[T]]] = deque()
        self._driver: asyncio.Task[None] | None = None

    async def run(self, job: J) -> T:
        """The outcome of *job*. One that has begun goes on to its end when its caller is cancelled: CancelledError then
        says `BEGUN`.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._waiting.append((job, waiter))
        if self._driver is None or self._driver.get_loop() is not loop:  # that of a loop which is closed, perhaps
            self._driver = loop.create_task(self._drive())
        try:
            return await waiter
        except asyncio.CancelledError:
            if any(one is waiter for _, one in list(self._waiting)):
                raise  # it never begins
            raise asyncio.CancelledError(BEGUN) from None

    async def drained(self) -> None:
        """Returns once nothing of this loop waits or is under way."""
        while self._driver is not None and self._driver.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([self._driver])

    async def _drive(self) -> None:
        try:
            while self._waiting:
                await self._connection.call(self._perform_waiting)
        except Exception as error:  # the connection is closed
            refused = list(self._waiting)
            self._waiting.clear()
            _deliver(refused, [Failed(error)] * len(refused))
        finally:
            if self._driver is asyncio.current_task():
                self._driver = None

    def _perform_waiting(self, connection: sqlite3.Connection) -> None:
        """On the thread: performs what waits, and what has come meanwhile, which needs no journey of its own."""
        for _ in range(_MOST_BATCHES):
            if not (batch := self._taken()):
                break
            outcomes = perform_all(self._perform, [job for job, _ in batch], connection)
            _deliver(batch, outcomes)

    def _taken(self) -> list[tuple[J, "asyncio.Future[T]"]]:
        """What waits, less what nobody waits for any more: the thread alone takes, the loop alone appends."""
        taken: list[tuple[J, asyncio.Future[T]]] = []
        while self._waiting and len(taken) < MAX_JOBS:
            one = self._waiting.popleft()
            if not one[1].done():
                taken.append(one)
        return taken


def _deliver(batch: Sequence[tuple[Any, "asyncio.Future[T]"]], outcomes: Sequence[T | Failed]) -> None:
    """Tells those who wait, each in its loop."""
    for loop in {waiter.get_loop() for _, waiter in batch}:
        call_soon(loop, _tell, batch, outcomes)


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Has *loop* call *function*; from any thread."""
    with suppress(RuntimeError):  # it is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *args)


def _tell(batch: Sequence[tuple[Any, "asyncio.Future[T]"]], outcomes: Sequence[T | Failed]) -> None:
    """Gives those who wait in this loop their outcomes."""
    loop = asyncio.get_running_loop()
    for (_, waiter), outcome in zip(batch, outcomes, strict=True):
        if waiter.done() or waiter.get_loop() is not loop:
            continue
        if isinstance(outcome, Failed):
            waiter.set_exception(outcome.error)
        else:
            waiter.set_result(outcome)


def perform_all(
    perform: Callable[[sqlite3.Connection, list[J]], Sequence[T | Failed]],
    jobs: list[J],
    connection: sqlite3.Connection,
) -> Sequence[T | Failed]:
    """The outcome of each of the *jobs*; what *perform* raises is the outcome of all of them."""
    try:
        return perform(connection, jobs)
    except sqlite3.Error as error:
        return [Failed(translate(error))] * len(jobs)
    except Exception as error:
        return [Failed(error)] * len(jobs)


def run_each(connection: sqlite3.Connection, reads: Sequence[Callable[[sqlite3.Connection], T]]) -> list[T | Failed]:
    """The outcomes of *reads*, one after the other."""
    outcomes: list[T | Failed] = []
    for read in reads:
        try:
            outcomes.append(read(connection))
        except sqlite3.Error as error:
            outcomes.append(Failed(translate(error)))
        except Exception as error:
            outcomes.append(Failed(error))
    return outcomes
