"""Atomic replacement: the new file is complete, or the old one stays."""

from pathlib import Path

import pytest

from flowruns.sqlite.atomic_files import atomic_write
from tests.sqlite.files import contents


def fails(part: Path) -> None:
    part.with_name(part.name + "-wal").touch()
    raise KeyboardInterrupt


@pytest.mark.parametrize("force", [False, True])
def test_file_is_whole_or_not_there(tmp_path: Path, force: bool) -> None:
    file = tmp_path / "a"
    with pytest.raises(KeyboardInterrupt), atomic_write(file, force=force) as part:
        fails(part)
    assert contents(tmp_path) == {}
    with atomic_write(file, force=force) as part:
        part.write_text("new")
        assert not file.exists()
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(contents(tmp_path)) == ["a"]


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "a"
    file.touch()
    file.chmod(mode)
    with atomic_write(file, force=True):
        pass
    assert file.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("meanwhile", [False, True])
def test_existing_file_stays_unless_forced(tmp_path: Path, meanwhile: bool) -> None:
    file = tmp_path / "a"
    if not meanwhile:
        file.write_text("theirs")
    with pytest.raises(FileExistsError), atomic_write(file, force=False):
        file.write_text("theirs")  # only then it is there, if it was not before
    assert {name: data for name, (data, _) in contents(tmp_path).items()} == {"a": b"theirs"}
    with atomic_write(file, force=True) as part:
        part.write_text("flowruns_database")
    assert file.read_text() == "flowruns_database"
