"""Opening and closing database files, with their locks and connections."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest

from flowruns.errors import DatabaseInUse, DatabaseUnusable, Unavailable
from flowruns.sqlite import database
from flowruns.sqlite.connection import Connection
from flowruns.sqlite.database import Database
from flowruns.sqlite.datafile import SCHEMA_VERSION
from flowruns.sqlite.migrations import prepare
from flowruns.sqlite.numbers import count_on as same_number
from flowruns.sqlite.writer import Writer
from tests.sqlite.files import another_process, contents
from tests.sqlite.jobs import connect, perform_each, run_sql
from tests.waits import HANG


@asynccontextmanager
async def open_database(path: Path | str, lock_timeout: float = 1, holder: str = "me") -> AsyncIterator[Database]:
    """A database whose counter begins at 0."""
    options = {"lock_timeout": lock_timeout, "holder": holder, "start_after": same_number}
    async with aclosing(await database.connect(str(path), **options)) as opened:
        yield opened


async def count_on(database: Database) -> int:
    """The counter after one write."""
    writer = Writer(database.writing, perform_each, 1, database.watch)
    await writer.run(run_sql("update sequence set seq = seq + 1"))
    return await read_counter(database.pages)


async def read_counter(connection: Connection) -> int:
    return await connection.call(lambda reading: reading.execute("select seq from sequence").fetchone()[0])


async def test_closing_leaves_one_complete_file(path: Path) -> None:
    for expected in (1, 2):
        async with open_database(path) as database:
            assert await count_on(database) == expected
        assert os.listdir(path.parent) == [path.name]


async def test_every_file_of_an_open_database_is_private(path: Path) -> None:
    async with open_database(path) as database:
        await count_on(database)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["flowruns.db", "flowruns.db-wal", "flowruns.db-shm", "flowruns.db.lock"], 0o600)


async def test_database_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_database(":memory:") as database, open_database(":memory:") as other:
        assert await count_on(database) == 1
        assert await read_counter(database.runs) == 1
        assert await read_counter(other.runs) == 0
    assert os.listdir(tmp_path) == []


async def test_readers_cannot_write(path: Path) -> None:
    async with open_database(path) as database:
        for reader in (database.runs, database.pages):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await reader.call(run_sql("update sequence set seq = 9"))


async def test_cursor_key_is_that_of_the_file(path: Path, tmp_path: Path) -> None:
    keys = []
    for file in (path, path, tmp_path / "other.db"):
        async with open_database(file) as database:
            keys.append(database.cursor_key)
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 32


@pytest.mark.parametrize("name", ["flowruns.db", "./none/../flowruns.db", "link.db", "~/flowruns.db"])
async def test_second_opening_is_refused_under_every_name_and_the_first_goes_on(
    path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    os.symlink(path, "link.db")
    async with open_database(path) as database:
        with pytest.raises(DatabaseInUse, match=r"\(me\)"):
            async with open_database(name):
                pass
        assert await count_on(database) == 1


@pytest.mark.parametrize("name", ["file:x.db?mode=memory", ":memory", "a b.db", "%41.db", "ü😀.db", "x#y?z", "-x.db"])
async def test_name_is_taken_as_it_is(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    async with open_database(name) as database:
        assert await count_on(database) == 1
    assert os.listdir(path.parent) == [name]


def write_database_of_others(path: Path) -> None:
    with closing(connect(path)) as other:
        other.execute("pragma journal_mode = wal")
        other.execute("create table t (n)")


def write_newer(path: Path) -> None:
    with closing(connect(path)) as newer:
        prepare(newer)
        newer.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")


def write_damaged(path: Path) -> None:
    with closing(connect(path)) as writing:
        prepare(writing)
    with path.open("r+b") as file:
        file.seek(100)  # the schema's own page, behind the header
        file.write(b"\xff" * 1000)


@pytest.mark.parametrize("write", [write_database_of_others, write_newer, write_damaged])
async def test_file_that_cannot_be_served_is_refused_and_not_a_byte_changed(
    path: Path, write: Callable[[Path], None]
) -> None:
    write(path)
    before = contents(path.parent)
    with pytest.raises(DatabaseUnusable, match=r"flowruns\.db"):
        async with open_database(path):
            pass
    assert contents(path.parent) == before


@pytest.mark.parametrize("name", [".", "none/x.db", "loop/x.db", "loop", "~nobody-of-this-name/x.db", "x" * 300])
async def test_name_that_no_file_can_have_is_refused(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    os.symlink("loop", "loop")
    with pytest.raises(DatabaseUnusable):
        async with open_database(name):
            pass
    assert os.listdir(path.parent) == ["loop"]


async def test_new_file_whose_start_fails_leaves_nothing(path: Path) -> None:
    path.with_name("flowruns.db-journal").mkdir()  # where SQLite creates a file
    with pytest.raises(DatabaseUnusable):
        async with open_database(path):
            pass
    assert os.listdir(path.parent) == ["flowruns.db-journal"]


async def test_database_locked_by_another_program_does_not_start(path: Path) -> None:
    async with open_database(path):
        pass
    with closing(connect(path)) as other:
        other.execute("begin immediate")
        with pytest.raises(DatabaseUnusable, match="locked"):
            async with open_database(path, lock_timeout=0):
                pass
        other.rollback()
        async with open_database(path, lock_timeout=0) as database:
            assert await count_on(database) == 1


async def test_lock_of_another_program_holds_up_writes_not_reads(path: Path) -> None:
    async with open_database(path, lock_timeout=0) as database:
        with closing(connect(path)) as other:
            other.execute("begin immediate")
            with pytest.raises(Unavailable):
                await count_on(database)
            assert await read_counter(database.runs) == 0
            other.rollback()
            assert await count_on(database) == 1


async def test_reader_elsewhere_does_not_hold_up_closing(path: Path) -> None:
    with closing(connect(":memory:")) as other:
        async with open_database(path, lock_timeout=0) as database:
            await count_on(database)
            other.execute("attach ? as served", (str(path),))
            other.execute("begin")
            other.execute("select * from served.sequence").fetchall()
            await count_on(database)
        other.rollback()
        assert other.execute("select seq from served.sequence").fetchone() == (2,)


async def test_write_to_a_removed_file_is_unavailable_until_it_is_back(path: Path) -> None:
    aside = path.with_name("aside.db")
    async with open_database(path) as database:
        os.rename(path, aside)
        with pytest.raises(Unavailable, match="removed or replaced") as gone:
            await count_on(database)
        assert gone.value.retry_after is None
        assert await read_counter(database.runs) == 0
        os.rename(aside, path)
        assert await count_on(database) == 1


async def test_file_put_in_place_of_an_open_one_is_left_alone(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with open_database(copy):
        pass
    before = contents(tmp_path)[copy.name]
    async with open_database(path) as database:
        await count_on(database)
        os.replace(copy, path)
        with pytest.raises(Unavailable, match="removed or replaced"):
            await count_on(database)
    assert contents(tmp_path)[path.name] == before
    async with open_database(path) as database:
        assert await count_on(database) == 1


REFUSED = """
import asyncio, sys
from flowruns.sqlite.database import connect
from flowruns.errors import DatabaseUnusable

async def main():
    await connect(sys.argv[1], lock_timeout=0, holder="me")

sys.setswitchinterval(1e-6)  # so that a thread that outlives its loop fails sooner or later
for _ in range(500):
    try:
        asyncio.run(main())
    except DatabaseUnusable:
        pass
"""


def test_refused_start_leaves_no_thread_behind(path: Path) -> None:
    path.with_name("flowruns.db-journal").mkdir()  # where SQLite creates a file
    refused = subprocess.run([sys.executable, "-c", REFUSED, str(path)], capture_output=True, text=True, check=True)
    assert refused.stderr == ""


WRITER = """
import asyncio, sys
from contextlib import aclosing
from flowruns.sqlite.database import connect

async def main():
    async with aclosing(await connect(sys.argv[1], lock_timeout=1, holder="other")) as database:
        await database.writing.call(lambda connection: connection.execute("update sequence set seq = 7").rowcount)
        print("ready", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


async def test_acknowledged_write_survives_a_kill(path: Path) -> None:
    with another_process(path, WRITER) as process:
        with pytest.raises(DatabaseInUse, match=r"\(other\)"):
            async with open_database(path):
                pass
        process.kill()
    async with open_database(path) as database:
        assert await read_counter(database.runs) == 7
    assert os.listdir(path.parent) == [path.name]


async def test_wal_that_cannot_be_checkpointed_stays_and_loses_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def deny(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA else sqlite3.SQLITE_OK

    async with open_database(path, lock_timeout=0) as database:
        await database.writing.call(lambda writing: writing.execute("update sequence set seq = 7"))
        await database.writing.call(lambda writing: writing.set_authorizer(deny))
    assert ["cannot be checkpointed" in record.message for record in caplog.records] == [True]
    async with open_database(path, lock_timeout=0) as database:
        found = await database.writing.call(lambda writing: writing.execute("select seq from sequence").fetchone())
        assert found == (7,)


async def test_closing_does_not_wait_for_another_programs_lock(path: Path) -> None:
    async with open_database(path, lock_timeout=2 * HANG) as database:
        await database.writing.call(lambda writing: writing.execute("update sequence set seq = 7"))
        other = connect(path)
        other.execute("begin immediate")
        began = time.monotonic()
    with closing(other):
        assert time.monotonic() - began < HANG


async def test_statement_that_changes_many_rows_of_a_server_makes_no_temporary_file(path: Path) -> None:
    async with open_database(path) as database:
        assert await database.writing.call(lambda writing: writing.execute("pragma temp_store").fetchone()) == (2,)


async def test_threads_have_ended_once_a_connection_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(message: str, *args: object) -> None:
        if "completed" in message:
            threading.Event().wait(0.05)  # between the result of the last job and the end of the thread

    before = set(threading.enumerate())
    async with Connection(lambda: connect(path)) as connection:
        await connection.call(lambda _: None)
        monkeypatch.setattr("aiosqlite.core.LOG.debug", slow)
    assert set(threading.enumerate()) == before
