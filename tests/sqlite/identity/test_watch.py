"""The file of an open store: what others do to it, and what they may do."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flowruns.errors import DatabaseUnusable, Unavailable
from flowruns.server.starting import running
from flowruns.settings import Settings
from flowruns.sqlite.identity.ownership import foreign_wal
from flowruns.sqlite.lockfile import left_note
from flowruns.sqlite.open_file import open_readonly
from flowruns.store.filters import ALL
from flowruns.store.integrity import check
from flowruns.store.maintenance import backup
from flowruns.store.store import Store
from tests.conftest import RUNS as RUNS_PATH
from tests.sqlite.identity.killed import filled, killed, put
from tests.sqlite.jobs import connect
from tests.waits import HANG, eventually
from tests.wire import Wire

RUNS = [f"r{number}" for number in range(30)]


def put_back(content: bytes, file: Path) -> None:
    """Overwrites *file* in place, as `cp` does."""
    inode = file.stat().st_ino
    file.write_bytes(content)
    assert file.stat().st_ino == inode


def copy_of(path: Path, kind: str) -> bytes:
    other = path.with_name(f"{kind}.db")
    if kind == "backup":
        with open_readonly(path) as connection:
            backup(connection, other, lambda *_: None)
    elif kind == "text":
        other.write_text("id,flowId\n" * 9000)
    elif kind == "truncated":
        other.write_bytes(path.read_bytes()[:4096])
    else:
        other.write_bytes(path.read_bytes() if kind == "older" else b"")
    content = other.read_bytes()
    other.unlink()
    return content


@pytest.mark.parametrize("kind", ["older", "backup", "newer", "other", "text", "truncated", "empty"])
async def test_overwritten_file_gets_no_write_and_is_not_read(path: Path, tmp_path: Path, kind: str) -> None:
    await filled(path, "first")
    content = copy_of(path, kind)
    await filled(path, *RUNS)
    if kind in ("newer", "other"):
        source = tmp_path / "source.db"
        if kind == "newer":
            shutil.copy(path, source)
        await filled(source, *RUNS, "last")
        content = await asyncio.to_thread(source.read_bytes)
        source.unlink()  # of a few pages
    async with Store.open(path) as store:
        await put(store, "a")
        put_back(content, path)
        for _ in range(2):
            with pytest.raises(Unavailable, match="overwritten; restart flowruns"):
                await put(store, "b")
        for read in (store.get("a"), store.page(), store.count(), store.last_change("a"), store.changes(ALL, 0)):
            with pytest.raises(Unavailable, match="overwritten"):
                await read
        with pytest.raises(Unavailable, match="overwritten"):
            store.check_file()
        wal = await asyncio.to_thread(path.with_name("flowruns.db-wal").read_bytes)
    assert await asyncio.to_thread(path.read_bytes) == content
    assert await asyncio.to_thread(path.with_name("flowruns.db-wal.aside").read_bytes) == wal
    assert sorted(os.listdir(tmp_path)) == ["flowruns.db", "flowruns.db-wal.aside"]


async def test_file_that_is_overwritten_before_the_end_is_not_written_to(path: Path) -> None:
    content = copy_of(await filled(path, "first"), "older")
    await filled(path, *RUNS)
    async with Store.open(path) as store:
        await put(store, "a")
        put_back(content, path)
    assert await asyncio.to_thread(path.read_bytes) == content
    assert sorted(os.listdir(path.parent)) == ["flowruns.db", "flowruns.db-wal.aside"]


@pytest.mark.parametrize("mode", ["passive", "full", "restart", "truncate"])
async def test_checkpoints_of_another_program_are_no_alarm(path: Path, tmp_path: Path, mode: str) -> None:
    """As Litestream does: it has tables of its own, checkpoints, and begins the WAL anew."""
    async with Store.open(path) as store:
        with closing(connect(path)) as other:
            other.execute("create table other (seq integer)")
            other.execute("insert into other values (0)")
            for number, id in enumerate(RUNS):
                await put(store, id)
                if number % 3:
                    other.execute(f"pragma wal_checkpoint({mode})").fetchall()
                if number % 5:
                    other.execute("update other set seq = seq + 1")
                store.check_file()
        await asyncio.to_thread(shutil.copytree, path.parent, tmp_path / "killed", ignore=lambda *_: ["killed"])
    copy = tmp_path / "killed" / path.name
    lock = copy.with_name("flowruns.db.lock")
    assert foreign_wal(copy, lock.read_text().rpartition("\nnote ")[2]) is None  # a short text
    async with Store.open(copy) as store:
        assert await store.count() == len(RUNS)


async def test_numbers_that_begin_anew_are_no_alarm(path: Path, tmp_path: Path) -> None:
    async with Store.open(path) as store:
        await put(store, *RUNS)
        for _ in range(3):
            await store.run_on_writer(lambda writing: writing.execute("pragma wal_checkpoint(truncate)").fetchall())
            await put(store, "a")
            await store.clear()
            await put(store, "b")
        assert await store.count() == 1
        await store.clear()
        await put(store, "b")
        await asyncio.to_thread(shutil.copytree, path.parent, tmp_path / "killed", ignore=lambda *_: ["killed"])
    async with Store.open(tmp_path / "killed" / path.name) as store:
        await put(store, "c")
        assert await store.count() == 2


async def test_overwritten_file_is_known_after_a_kill(path: Path, tmp_path: Path) -> None:
    older = copy_of(await filled(path, "first"), "older")
    await filled(path, *RUNS)
    file = await killed(path, tmp_path / "killed", "a", "b")
    put_back(older, file)
    async with Store.open(file) as store:
        assert await store.count() == 1
    with open_readonly(file) as connection:
        assert check(connection, lambda *_: None).findings == []


async def test_note_of_a_killed_server_stays_after_a_start_that_fails(path: Path, tmp_path: Path) -> None:
    file = await killed(path, tmp_path / "killed", "a")
    note = left_note(file)
    assert note
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(DatabaseUnusable):
            await Store.connect(file, lock_timeout=0)
        assert left_note(file) == note


@pytest.mark.parametrize("first", ["/health", f"{RUNS_PATH}?size=1"])
def test_server_of_an_overwritten_file_answers_503_without_a_write(path: Path, first: str) -> None:
    """At once to /health, and to others once the server has looked at the file, as it does every second."""
    asyncio.run(filled(path, "first"))
    older = copy_of(path, "older")
    asyncio.run(filled(path, *RUNS))
    with running(Settings(database=str(path), port=0)) as server, Wire(server.url) as wire:
        assert wire.ask("GET", "/health").json["runs"] == len(RUNS) + 1
        put_back(older, path)
        if first == "/health":
            assert wire.ask("GET", first).status == 503
        eventually(lambda: wire.ask("GET", first).status == 503)
        for target in ("/health", RUNS_PATH, f"{RUNS_PATH}/first"):
            assert wire.ask("GET", target).details(503) == [(("database",), "unavailable")]
    assert path.read_bytes() == older


SERVER = """
import asyncio, sys
from flowruns.store.store import Store
from flowruns.model.runs import RunPost

async def main():
    async with Store.open(sys.argv[1]) as store:
        for _ in range(9):
            await store.create(RunPost(flow_id="a"))
        print("written", flush=True)
        sys.stdin.read()
        store.check_file()
        await store.create(RunPost(flow_id="a"))

asyncio.run(main())
"""


def test_locks_of_other_processes_are_seen_beside_the_watch(path: Path) -> None:
    """The watch reads the file through a descriptor of its own; closing one would drop SQLite's locks."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "written\n"
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            other.execute("pragma wal_checkpoint(passive)").fetchall()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("pragma journal_mode = delete")  # which takes a file that nobody else has open
        process.communicate("", timeout=HANG)
        assert process.returncode == 0
