"""Jobs on a table of numbers, and a gate that holds one on its thread."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from flowruns.sqlite.connection import Connection
from flowruns.sqlite.writer import Writer
from tests.waits import HANG

Job = Callable[[sqlite3.Connection], Any]


def connect(path: Path | str) -> sqlite3.Connection:
    """A connection like that of another program, which does not wait for locks."""
    return sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)


def perform_each(connection: sqlite3.Connection, jobs: list[Job]) -> list[Any]:
    return [job(connection) for job in jobs]


async def traced(connection: Connection, callback: Callable[[str], object]) -> None:
    await connection.call(lambda writing: writing.set_trace_callback(callback))


def run_sql(*statements: str) -> Job:
    def job(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return job


def insert(number: int) -> Job:
    """A job whose result is its *number*."""

    def job(connection: sqlite3.Connection) -> int:
        connection.execute("insert into t values (?)", (number,))
        return number

    return job


def failing(number: int) -> Job:
    """A job that raises after its inserts."""

    def job(connection: sqlite3.Connection) -> None:
        insert(number)(connection)
        insert(number + 1)(connection)
        raise ZeroDivisionError

    return job


def numbers(path: Path) -> list[int]:
    """The numbers that another program reads."""
    with closing(connect(path)) as other:
        return [number for (number,) in other.execute("select n from t order by n")]


async def together(writer: Writer, *jobs: Job) -> list[Any]:
    """The outcomes of *jobs* that wait together."""
    return await asyncio.gather(*map(writer.run, jobs), return_exceptions=True)


class Gate:
    """A job that stays on its thread until the gate is opened."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()
        self.open = self._opened.set

    def __call__(self, connection: sqlite3.Connection) -> None:
        self._reached.set()
        assert self._opened.wait(HANG)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, HANG)


@asynccontextmanager
async def busy(*connections: Connection) -> AsyncIterator[None]:
    """While entered, nothing is performed on the *connections*."""
    gates = [Gate() for _ in connections]
    held = [asyncio.create_task(connection.call(gate)) for connection, gate in zip(connections, gates, strict=True)]
    for gate in gates:
        await gate.reached()
    try:
        yield
    finally:
        for gate in gates:
            gate.open()
        await asyncio.gather(*held)
