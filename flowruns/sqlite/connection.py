"""Connections on threads of their own, and the outcomes that they hand back to event loops."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Self, TypeVar

import aiosqlite

from flowruns.errors import CannotStart, FlowrunsError, Unavailable

T = TypeVar("T")

FORKED = (
    "This process was forked from the one that has the database open; call that one's server, or open the database"
    " after the fork"
)

_inherited: list[sqlite3.Connection | None] = []


def require_asyncio() -> None:
    """Raises CannotStart unless the caller is a task of asyncio, which everything here needs."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop of asyncio is running
        task = None
    if task is None:
        raise CannotStart(
            "flowruns needs asyncio, and this is another event loop; run it with asyncio, such as"
            " `hypercorn --worker-class asyncio`"
        )


class Connection(aiosqlite.Connection):
    """A connection, and the only thread that uses it. It may be opened, used and closed in different event loops."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._opened: sqlite3.Connection | None = None

        def open() -> sqlite3.Connection:
            self._opened = connect()
            return self._opened

        super().__init__(open, iter_chunk_size=64)
        self._thread.daemon = True  # a connection that is never closed does not keep the program running
        self._process = os.getpid()

    def __del__(self) -> None:
        """Keeps open what a fork has inherited: SQLite must not close it there."""
        if self.is_of_parent:
            _inherited.append(self._opened)
        else:
            super().__del__()  # type: ignore[no-untyped-call]  # aiosqlite's has no annotation

    async def __aenter__(self) -> Self:
        """Opens the connection. If that fails or is cancelled, it is closed, and its thread has ended."""
        try:
            await super().__aenter__()
        except BaseException:
            if self._thread.is_alive():
                self._thread.join()  # aiosqlite has called `stop`
            raise
        return self

    def stop(self) -> asyncio.Future[Any] | None:
        """Ends the thread after the queued functions, and closes the connection."""

        def close() -> None:
            if self._opened is not None:  # also if its opening was cancelled: aiosqlite does not have it then
                self._opened.close()

        self._tx.put_nowait((None, close))
        return super().stop()

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What *function* returns or raises on the thread, which runs it to its end even if the caller is cancelled.
        Raises ValueError once the connection is closed, and Unavailable in a process that was forked since.
        """
        if self.is_of_parent:
            raise Unavailable(FORKED)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        connection = self._conn
        if not self._running:
            raise ValueError("the connection is being closed")

        def perform() -> None:
            try:
                outcome: T | Failed = function(connection)
            except BaseException as error:
                outcome = Failed(error)
            call_soon(loop, resolve, [future], [outcome])

        # Not with aiosqlite's own `_execute`: its thread would end when it resolves a future of a closed loop.
        self._tx.put_nowait((None, perform))
        return await future

    async def close(self) -> None:
        """Completes the queued functions, closes the connection, and returns once its thread has ended."""
        await super().close()
        if not self._running:
            self._thread.join()  # its last act was to resolve what was awaited above

    @property
    def is_of_parent(self) -> bool:
        """Whether another process has made the connection: a fork has no copy of its thread, and must not use or close
        what SQLite has open (https://sqlite.org/howtocorrupt.html, 2.6).
        """
        return self._process != os.getpid()

    def interrupt_statement(self) -> None:
        """Ends the statement that runs on the thread, if there is one, with SQLITE_INTERRUPT."""
        self._conn.interrupt()


class Failed(NamedTuple):
    """The outcome of a job that raised."""

    error: BaseException


def failed(error: Exception) -> Failed:
    """The outcome of a job that raised *error*. An expected error is stripped of its traceback, whose frames have the
    other outcomes and, in the end, this one: the cycle would hold megabytes until the next full garbage collection.
    """
    if isinstance(error, FlowrunsError | sqlite3.Error):
        error.__context__ = error.__cause__ = None
        error = error.with_traceback(None)
    return Failed(error)


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Schedules *function* in *loop*, from any thread."""
    with suppress(RuntimeError):  # the loop is closed, and its futures with it
        loop.call_soon_threadsafe(function, *args)


def resolve(futures: Sequence["asyncio.Future[T]"], outcomes: Sequence[T | Failed]) -> None:
    """Sets the *outcomes* of those *futures* that belong to the running loop and are not done."""
    loop = asyncio.get_running_loop()
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done() or future.get_loop() is not loop:
            continue
        if isinstance(outcome, Failed):
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome)
