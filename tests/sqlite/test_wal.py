"""The WAL stays beside a database that another program reads, and one that keeps growing is reported."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager
from pathlib import Path

import pytest

from flowruns.sqlite import wal
from flowruns.sqlite.database import connect
from flowruns.sqlite.open_file import open_exclusive
from flowruns.sqlite.wal import SizeWarning
from tests.waits import HANG

HOUR = 3600


@contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program in a read transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from run").fetchone()
        yield reader


async def written(path: Path) -> None:
    async with aclosing(await connect(str(path), lock_timeout=1, holder="me")) as database:
        await database.writing.call(lambda writing: writing.execute("update sequence set runs = runs + 1"))


@pytest.fixture
def file(path: Path) -> Path:
    """A database."""
    with open_exclusive(str(path), holder="x", make=True):
        return path


async def test_wal_that_a_reader_holds_stays_and_is_reported_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with reader(file):
        await written(file)
        (record,) = caplog.records
        assert "another program reads" in record.message
        assert f"{file.name}-wal; keep both" in record.message
        assert file.with_name(f"{file.name}-wal").stat().st_size > 0
    assert [name.name for name in file.parent.iterdir()] == [file.name]  # the reader was the last to close


async def test_reader_without_a_transaction_holds_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("select count(*) from run").fetchone()
        await written(file)
        assert caplog.records == []
        assert file.with_name(f"{file.name}-wal").stat().st_size == 0


def test_command_waits_for_a_reader_no_longer_than_a_server(file: Path) -> None:
    warnings: list[str] = []
    with reader(file):
        began = time.monotonic()
        with open_exclusive(str(file), holder="x", warn=warnings.append) as connection:
            connection.execute("pragma busy_timeout = 1000000000")
            connection.execute("update sequence set runs = 7")
        assert time.monotonic() - began < HANG
    assert ["another program reads" in warning for warning in warnings] == [True]


class Times:
    """A clock that a test moves, and a WAL whose size it sets."""

    def __init__(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 0.0
        self.wal = path.with_name(f"{path.name}-wal")
        self.warning = SizeWarning(path, lambda: self.now)
        self._caplog = caplog

    def warned(self, size: int, after: float) -> bool:
        """Whether it warns of a WAL of that *size* so many seconds later."""
        self.now += after
        with self.wal.open("wb") as file:
            file.truncate(size)  # a sparse file
        self._caplog.clear()
        self.warning.look()
        return len(self._caplog.records) == 1


@pytest.fixture
def times(path: Path, caplog: pytest.LogCaptureFixture) -> Times:
    """The size of a WAL at different times."""
    return Times(path, caplog)


LARGE = 4 * 32 * 1024 * 1024 + 1


def test_wal_that_stays_large_is_reported_once_an_hour(times: Times) -> None:
    assert [times.warned(LARGE, after=5) for _ in range(2)] == [False, True]
    assert not any(times.warned(LARGE, after=60) for _ in range(59))
    assert times.warned(LARGE, after=61)


def test_wal_of_one_large_transaction_is_not_reported(times: Times) -> None:
    assert not any(times.warned(size, after=5) for size in [LARGE, 0, LARGE, LARGE - 1, LARGE, 0])


def test_size_is_looked_at_every_few_seconds(times: Times) -> None:
    assert not any(times.warned(LARGE, after=0.1) for _ in range(50))
    assert times.warned(LARGE, after=5)
    times.wal.unlink()
    times.now += HOUR
    times.warning.look()


async def test_writers_look_at_the_size(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "_LARGE_BYTES", 1000)
    monkeypatch.setattr(wal, "_LOOK_SECONDS", 0)
    with reader(file):
        async with aclosing(await connect(str(file), lock_timeout=1, holder="me")) as database:
            for _ in range(3):
                await database.writing.call(database.watch.check)
                await database.writing.call(lambda writing: writing.execute("update sequence set runs = runs + 1"))
        assert ["has grown to" in record.message for record in caplog.records] == [True, False]
