"""Connections: opened on a thread, and closed with it."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from flowruns.sqlite.connection import Connection
from tests.sqlite.jobs import connect
from tests.waits import HANG


async def test_connection_whose_opening_is_cancelled_is_closed_and_its_thread_ended(path: Path) -> None:
    opened: list[sqlite3.Connection] = []
    reached, go_on = threading.Event(), threading.Event()

    def slow() -> sqlite3.Connection:
        reached.set()
        assert go_on.wait(HANG)
        opened.append(connect(path))
        return opened[0]

    before = threading.enumerate()
    opening = asyncio.create_task(Connection(slow).__aenter__())
    assert await asyncio.to_thread(reached.wait, HANG)
    threads = set(threading.enumerate()) - set(before)
    opening.cancel()
    go_on.set()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert [thread.name for thread in threads if thread.is_alive() and "connection_worker" in thread.name] == []
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("select 1")
