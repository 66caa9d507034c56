"""A connection to a table of numbers, and a writer on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowruns.sqlite.connection import Connection
from flowruns.sqlite.identity.watch import Watch
from flowruns.sqlite.writer import Writer
from tests.sqlite.jobs import connect, perform_each


@pytest.fixture
async def connection(path: Path) -> AsyncIterator[Connection]:
    """A connection on a thread, to a file with one table of numbers."""
    connection = Connection(lambda: connect(path))
    async with connection:
        await connection.call(lambda writing: writing.execute("create table t (n integer primary key)"))
        yield connection


@pytest.fixture
def writer(connection: Connection) -> Writer:
    """A writer that does not wait for locks."""
    return Writer(connection, perform_each, 0, Watch())
