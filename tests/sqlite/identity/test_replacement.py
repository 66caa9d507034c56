"""Databases that are replaced, at once and without a loss."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flowruns.errors import DatabaseUnusable
from flowruns.sqlite.identity.replacement import check_replaceable, replace_database
from flowruns.sqlite.lockfile import left_note
from flowruns.sqlite.open_file import open_readonly
from flowruns.store.maintenance import backup
from flowruns.store.store import Store
from tests.sqlite.identity.killed import filled, killed


class Crash(BaseException):
    """The power fails."""


async def count(file: Path) -> int:
    async with Store.open(file) as store:
        return await store.count()


def copied(source: Path, target: Path) -> Path:
    """A backup of *source* that is to replace *target*."""
    copy = target.with_name(".part")
    with open_readonly(source) as connection:
        backup(connection, copy, lambda *_: None)
    return copy


async def test_replaced_database_is_kept_with_its_wal(path: Path, tmp_path: Path) -> None:
    file = await killed(path, tmp_path / "killed", "a", "b", "c")
    copy = copied(await filled(tmp_path / "source.db", "s"), file)
    kept = replace_database(file, copy, left_note(file) or "")
    assert kept == file.with_name("flowruns.db.replaced")
    file.with_name("flowruns.db.lock").unlink()
    assert sorted(os.listdir(file.parent)) == ["flowruns.db", "flowruns.db.replaced", "flowruns.db.replaced-wal"]
    assert (await count(file), await count(kept)) == (1, 3)


@pytest.mark.parametrize("step", range(12))
async def test_crash_at_any_moment_leaves_the_old_database_or_the_new_one(
    path: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await killed(path, tmp_path / "killed", "a", "b", "c")
    copy = copied(await filled(tmp_path / "source.db", "s"), file)
    steps = 0

    def crashing(function: Callable[..., object]) -> Callable[..., object]:
        def step_or_crash(*args: object, **options: object) -> object:
            nonlocal steps
            steps += 1
            if steps > step:
                raise Crash
            return function(*args, **options)

        return step_or_crash

    with monkeypatch.context() as patch:
        for module, name in ((os, "link"), (os, "replace"), (os, "chown"), (Path, "unlink"), (os, "fsync")):
            patch.setattr(module, name, crashing(getattr(module, name)))
        try:
            replace_database(file, copy, left_note(file) or "")
        except Crash:
            crashed = True
        else:
            crashed = False
    assert crashed or steps <= step
    found = await count(file)
    assert found in (1, 3)
    if found == 1:
        assert await count(file.with_name("flowruns.db.replaced")) == 3


async def test_replaced_database_is_kept_where_files_have_no_second_names(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    file = await killed(path, tmp_path / "killed", "a", "b", "c")
    copy = copied(await filled(tmp_path / "source.db", "s"), file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        kept = replace_database(file, copy, left_note(file) or "")
    assert kept
    assert (await count(file), await count(kept)) == (1, 3)


async def test_wal_without_its_database_is_set_aside(path: Path, tmp_path: Path) -> None:
    file = await killed(path, tmp_path / "killed", "a")
    copy = copied(await filled(tmp_path / "source.db", "s"), file)
    file.unlink()  # at once
    assert replace_database(file, copy, "") is None
    assert (file.parent / "flowruns.db-wal.aside").exists()  # at once
    assert await count(file) == 1


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def newer(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(60)
        file.write((99).to_bytes(4))


@pytest.mark.parametrize("change", [damaged, newer, Path.unlink, lambda path: path.write_bytes(b"")])
async def test_damaged_newer_and_missing_databases_can_be_replaced(
    path: Path, change: Callable[[Path], object]
) -> None:
    change(await filled(path, "a"))
    check_replaceable(path)


@pytest.mark.parametrize("content", [b"x", b"notes\n" * 1000, b"SQLite format 3\0" + bytes(84)])
def test_file_of_others_is_not_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=r"flowruns\.db is not a database of flowruns; name another"):
        check_replaceable(path)
