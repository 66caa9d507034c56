"""A database that cannot be written: its file may not change, and what is beside it stays."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flowruns.errors import DatabaseUnusable, Unavailable
from flowruns.model.cursors import PageRequest
from flowruns.server.starting import running
from flowruns.settings import Settings
from flowruns.sqlite.identity.read_only import ReadOnlyWatch
from flowruns.sqlite.lockfile import left_note
from flowruns.sqlite.open_file import open_exclusive, open_readonly
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.sqlite.files import contents, unwritable
from tests.sqlite.identity.killed import filled, killed, put
from tests.waits import eventually
from tests.wire import Wire


def overwrite(path: Path) -> None:
    """Writes the same number of bytes into *path*, later than it was written before."""
    path.write_bytes(b"x" * path.stat().st_size)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


@pytest.fixture
def watch(path: Path) -> ReadOnlyWatch:
    """The watch of a file at *path*."""
    path.write_bytes(b"content")
    return ReadOnlyWatch(path)


def test_writes_are_refused(watch: ReadOnlyWatch) -> None:
    watch.check()
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(Unavailable, match="is read-only"):
        watch.check(connection)


def test_another_mode_or_name_is_no_write(watch: ReadOnlyWatch, path: Path) -> None:
    path.chmod(0o444)
    os.link(path, path.with_name("backup"))
    watch.check()


def test_file_that_was_replaced_is_noticed_until_it_is_back(watch: ReadOnlyWatch, path: Path) -> None:
    path.rename(path.with_name("aside"))
    with pytest.raises(Unavailable, match="removed or replaced"):
        watch.check()
    path.write_bytes(b"content")
    with pytest.raises(Unavailable, match="removed or replaced"):
        watch.check()
    watch.check_content()  # what is open is the old file
    path.with_name("aside").replace(path)
    watch.check()


def test_file_that_was_overwritten_is_not_read_again(watch: ReadOnlyWatch, path: Path) -> None:
    before = path.stat()
    overwrite(path)
    watch.check_content()
    for _ in range(2):
        with pytest.raises(Unavailable, match="overwritten"):
            watch.check()
        with pytest.raises(Unavailable, match="overwritten"):
            watch.check_content()
        os.utime(path, ns=(0, before.st_mtime_ns))


async def test_read_only_file_that_is_overwritten_elsewhere_is_not_served(path: Path, tmp_path: Path) -> None:
    await filled(path, "a")
    elsewhere = tmp_path / "elsewhere"
    os.link(path, elsewhere)
    with (
        unwritable(path),
        running(Settings(database=str(path), port=0)) as server,
        Wire(server.url) as wire,
    ):
        assert wire.ask("GET", "/health").json["runs"] == 1
        overwrite(elsewhere)
        eventually(lambda: wire.ask("GET", f"{RUNS}/a").status == 503)
        for target in ("/health", RUNS, f"{RUNS}/a"):
            assert wire.ask("GET", target).details(503) == [(("database",), "unavailable")]


async def test_wal_beside_a_read_only_file_is_read_and_stays_with_its_note(path: Path, tmp_path: Path) -> None:
    await filled(path, "first")
    file = await killed(path, tmp_path / "killed", "last")
    wal, note = file.with_name("flowruns.db-wal").read_bytes(), left_note(file)
    assert note
    with unwritable(file):
        async with Store.open(file) as store:
            await store.get("last")
            with pytest.raises(Unavailable, match="is read-only"):
                await put(store, "refused")
        with open_readonly(file) as connection:
            assert connection.execute("select count(*) from run").fetchone() == (2,)
    assert (file.with_name("flowruns.db-wal").read_bytes(), left_note(file)) == (wal, note)
    async with Store.open(file) as store:
        assert (await store.page(page_request=PageRequest(size=5))).total == 2


async def test_wal_of_another_file_is_not_used_nor_renamed_in_a_read_only_folder(path: Path, tmp_path: Path) -> None:
    await filled(path, "first")
    older = shutil.copy(path, tmp_path / "older.db")
    await filled(path, "second")
    file = await killed(path, tmp_path / "killed", "last")
    shutil.copy(older, file)
    with closing(sqlite3.connect(path)) as other:  # with its index, SQLite would read the WAL
        other.execute("select count(*) from run").fetchone()
        shutil.copy(f"{path}-shm", f"{file}-shm")
    before = contents(file.parent)
    with unwritable(file.parent):
        with pytest.raises(DatabaseUnusable, match="copy it with its -wal and .lock files"):
            await Store.connect(file)
        with pytest.raises(DatabaseUnusable, match="copy it with its -wal and .lock files"), open_readonly(file):
            pass
    assert contents(file.parent) == before
    copy = Path(shutil.copytree(file.parent, tmp_path / "copy")) / file.name
    with open_readonly(copy) as connection:
        assert connection.execute("select id from run").fetchall() == [("first",)]
    assert copy.with_name("flowruns.db-wal.aside").exists()


@pytest.mark.parametrize("folder", [True, False])
async def test_command_that_writes_what_is_read_only_is_refused_and_leaves_nothing(path: Path, folder: bool) -> None:
    await filled(path, "a")
    before = contents(path.parent)
    with unwritable(path.parent if folder else path):
        with pytest.raises(DatabaseUnusable, match="is read-only"), open_exclusive(str(path), holder="me"):
            pass
        assert contents(path.parent) == before
