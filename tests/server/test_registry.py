"""The registry of servers in memory: who is in it, who may read it, and that nothing stays."""

import os
import stat
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from flowruns.server import registry
from flowruns.server.registry import memory_servers, registered
from flowruns.sqlite.lockfile import LockInfo, locked

INFO = LockInfo(1, "http://127.0.0.1:1", "instance-1", "key", "1.2.3", "secret")
posix = pytest.mark.skipif(os.name == "nt", reason="users and modes of POSIX")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "flowruns"


def infos() -> list[LockInfo]:
    return [server.info for server in memory_servers()]


def test_servers_are_found_while_they_are_registered(folder: Path) -> None:
    other = LockInfo(2, "http://127.0.0.1:0", "instance-2")
    assert infos() == []
    with registered(INFO), registered(other):
        assert infos() == [other, INFO]
    assert infos() == []
    assert not folder.exists()


@posix
def test_folder_and_files_are_private(folder: Path) -> None:
    with registered(INFO):
        (file,) = folder.iterdir()
        assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]


def test_folder_that_another_server_removes_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []

    def private(folder: Path) -> bool:
        if not folders:
            folder.rmdir()  # between the check and the lock file
        folders.append(folder)
        return True

    with monkeypatch.context() as patch:
        patch.setattr(registry, "_is_private", private)
        with registered(INFO):
            assert infos() == [INFO]
    assert folders
    assert not folder.exists()


def test_stale_file_is_ignored_and_removed(folder: Path) -> None:
    folder.mkdir(0o700)
    (folder / "killed.lock").write_text(INFO.text())
    with registered(INFO):
        assert infos() == [INFO]
        assert os.listdir(folder) == ["instance-1.lock"]


def test_file_that_is_locked_and_not_yet_written_is_left_alone(folder: Path) -> None:
    folder.mkdir(0o700)
    with locked(folder / "starting", "pid 1"):
        assert infos() == []  # after a few looks whether the lock is held
        assert os.listdir(folder) == ["starting.lock"]


def _others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)


def _link(folder: Path) -> None:
    target = folder.with_name("target")
    target.mkdir(0o700)
    folder.symlink_to(target)


def _file(folder: Path) -> None:
    folder.write_text("")


def _foreign(folder: Path) -> None:
    folder.mkdir(0o700)
    os.chown(folder, 12345, 12345)


@posix
@pytest.mark.parametrize("make", [_others, _link, _file, _foreign])
def test_folder_that_is_not_private_is_not_used(folder: Path, make: object) -> None:
    if make is _foreign and os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    assert callable(make)
    make(folder)
    with registered(INFO):
        assert infos() == []
    assert not folder.is_dir() or list(folder.iterdir()) == []


@posix
@pytest.mark.parametrize("runtime", ["", "relative", "/nowhere/at/all"])
def test_without_a_runtime_folder_it_is_below_that_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with registered(INFO):
        assert infos() == [INFO]
        folder = tmp_path / f"flowruns-{os.getuid()}"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_server_that_cannot_register_serves_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(0o700)
    with ExitStack() as stack:
        stack.enter_context(locked(folder / INFO.instance, "pid 2"))
        stack.enter_context(registered(INFO))
        assert infos() == []
