"""A left-over WAL is set aside only if it is certainly not of the database beside it."""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flowruns.errors import DatabaseInUse
from flowruns.model.cursors import PageRequest
from flowruns.sqlite.identity.ownership import foreign_wal, free_name
from flowruns.sqlite.lockfile import left_note, locked
from flowruns.sqlite.open_file import open_readonly
from flowruns.store.maintenance import backup
from flowruns.store.store import Store
from tests.sqlite.files import another_process, contents
from tests.sqlite.identity.killed import filled, frames, killed, put, write_page

FIRST, LAST = [f"a{number}" for number in range(20)], [f"b{number}" for number in range(30)]


def reason(file: Path) -> str | None:
    return foreign_wal(file, left_note(file) or "")


async def ids(file: Path) -> set[str]:
    async with Store.open(file) as store:
        return {run.id for run in (await store.page(page_request=PageRequest(size=100))).runs}


def vacuumed(file: Path) -> None:
    """Appends a VACUUM, which moves pages, to the WAL of *file*, as if it was killed."""
    copy = file.with_name("vacuumed.db")
    for end in ("", "-wal"):
        shutil.copy(f"{file}{end}", f"{copy}{end}")
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("delete from run where created_seq % 2")
        connection.execute("vacuum")
        shutil.copy(f"{copy}-wal", f"{file}-wal")


@pytest.fixture
async def left_over(path: Path, tmp_path: Path) -> Path:
    """A database after a kill, with all of `LAST` in its WAL alone."""
    await filled(path, *FIRST)
    return await killed(path, tmp_path / "killed", *LAST)


async def test_wal_after_a_kill_is_recovered(left_over: Path) -> None:
    assert left_note(left_over)
    assert reason(left_over) is None
    assert await ids(left_over) == {*FIRST, *LAST}
    assert list(contents(left_over.parent)) == [left_over.name]


@pytest.mark.parametrize("vacuum", [False, True])
@pytest.mark.parametrize("seed", range(10))
async def test_wal_is_recovered_after_a_checkpoint_that_was_interrupted_anywhere(
    left_over: Path, seed: int, vacuum: bool
) -> None:
    chance = random.Random(seed)
    if vacuum:
        vacuumed(left_over)
    in_wal = frames(left_over)
    committed = in_wal[: len(in_wal) if vacuum else chance.randrange(len(in_wal))]
    pages = list(dict(committed).items())
    if seed % 2:  # the power failed, and the disk had written the pages in any order
        chance.shuffle(pages)
    for number, page in sorted(pages) if not seed % 2 else pages:
        write_page(left_over, number, page)
        assert reason(left_over) is None, seed


@pytest.mark.parametrize("note", ["", "x", "{}", '{"salts":"AAAAAAAAAAA=","page":2,"key":"","seq":9000}'])
async def test_wal_without_proof_is_recovered(left_over: Path, note: str) -> None:
    assert foreign_wal(left_over, note) is None
    left_over.with_name("flowruns.db.lock").unlink()
    assert await ids(left_over) == {*FIRST, *LAST}


async def test_wal_is_recovered_where_both_files_were_moved(left_over: Path, tmp_path: Path) -> None:
    left_over.parent.rename(tmp_path / "moved")
    moved = tmp_path / "moved" / left_over.name
    shutil.copy(moved, tmp_path / "copy")  # another inode, and another time
    shutil.move(tmp_path / "copy", moved)
    assert await ids(moved) == {*FIRST, *LAST}


async def test_note_survives_kills_until_the_wal_begins_anew(left_over: Path, tmp_path: Path) -> None:
    again = await killed(left_over, tmp_path / "again", "c")
    assert left_note(again)
    assert reason(again) is None
    assert await ids(again) == {*FIRST, *LAST, "c"}


def put_back(file: Path, copy: Path) -> None:
    """Overwrites *file* in place, as `cp` does."""
    file.write_bytes(copy.read_bytes())


@pytest.mark.parametrize("kind", ["older", "newer", "other", "backup", "empty"])
async def test_wal_of_another_file_is_set_aside_and_the_copy_is_served(path: Path, tmp_path: Path, kind: str) -> None:
    await filled(path, "first")
    older = Path(shutil.copy(path, tmp_path / "older.db"))
    await filled(path, *FIRST)
    file = await killed(path, tmp_path / "killed", *LAST)  # which closes *path* with all of them
    newer, expected = path, {"first", *FIRST, *LAST, "c"}
    if kind == "newer":
        await filled(newer, "c")
        put_back(file, newer)
    elif kind == "backup":
        with open_readonly(path) as connection:
            backup(connection, tmp_path / "backup.db", lambda *_: None)
        put_back(file, tmp_path / "backup.db")
        file.with_name("flowruns.db.lock").unlink()
        expected = {"first", *FIRST, *LAST}
    elif kind == "other":
        put_back(file, await filled(tmp_path / "other.db", *(f"o{number}" for number in range(60))))
        expected = {f"o{number}" for number in range(60)}
    elif kind == "older":
        put_back(file, older)
        expected = {"first"}
    else:
        file.write_bytes(b"")
        expected = set()
    wal = file.with_name("flowruns.db-wal").read_bytes()
    assert reason(file)
    async with Store.open(file) as store:
        assert await store.count() == len(expected)
        await put(store, "after")
    assert file.with_name("flowruns.db-wal.aside").read_bytes() == wal
    assert sorted(contents(file.parent)) == ["flowruns.db", "flowruns.db-wal.aside"]
    async with Store.open(file) as store:
        assert await store.count() == len(expected) + 1


async def test_readers_set_the_wal_of_another_file_aside_once(path: Path, tmp_path: Path, left_over: Path) -> None:
    put_back(left_over, await filled(tmp_path / "other.db", "o"))
    before = contents(left_over.parent)["flowruns.db"]
    for _ in range(2):
        with open_readonly(left_over) as connection:
            assert connection.execute("select id from run").fetchall() == [("o",)]
    assert sorted(contents(left_over.parent)) == ["flowruns.db", "flowruns.db-wal.aside"]
    assert contents(left_over.parent)["flowruns.db"] == before


async def test_wal_that_another_server_may_use_is_left_alone(left_over: Path, tmp_path: Path) -> None:
    shutil.copy(await filled(tmp_path / "other.db", "o"), left_over)
    note = left_note(left_over)
    assert note
    with another_process(left_over):
        assert left_note(left_over) is None
        with pytest.raises(DatabaseInUse), locked(left_over, "me"):
            pass
    assert left_over.with_name("flowruns.db-wal").exists()


def test_note_stays_as_long_as_there_is_a_wal(path: Path) -> None:
    wal = path.with_name("flowruns.db-wal")
    with locked(path, "me\n") as lock:
        lock.keep("a note")
        wal.write_bytes(b"x")
    assert left_note(path) == "a note"
    with locked(path, "a holder with a longer name") as lock:
        assert lock.note == "a note"
        assert "note a note" in path.with_name("flowruns.db.lock").read_text()
        lock.keep("b")
        assert path.with_name("flowruns.db.lock").read_text() == "a holder with a longer name\nnote b\n"
    assert left_note(path) == "b"
    wal.unlink()
    with locked(path, "me"):
        pass
    assert left_note(path) == ""
    assert list(path.parent.iterdir()) == []


def test_names_that_are_taken_are_counted_on(path: Path) -> None:
    assert free_name(path) == path
    path.touch()
    path.with_name("flowruns.db.2-wal").touch()
    assert free_name(path).name == "flowruns.db.2"
    assert free_name(path, ("", "-wal")).name == "flowruns.db.3"
