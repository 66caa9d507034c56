"""The lock file: one holder at a time, released with its process."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from flowruns.errors import DatabaseInUse, DatabaseUnusable, Unavailable
from flowruns.model.runs import RunPost
from flowruns.sqlite.lockfile import LockInfo, check_free, lock_info, locked
from flowruns.store.store import Store
from tests.sqlite.files import another_process

INFO = LockInfo(pid=1, url="http://127.0.0.1:1", instance="x")


def test_lock_is_a_file_that_names_its_holder_and_is_removed(path: Path) -> None:
    lock = path.with_name("flowruns.db.lock")
    with locked(path, "http://127.0.0.1:8000"):
        assert lock.read_text() == "http://127.0.0.1:8000"
        assert lock.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == []


def test_second_lock_in_one_process_is_refused_and_the_first_stays(path: Path) -> None:
    with locked(path, "first"):
        for _ in range(2):
            with pytest.raises(DatabaseInUse, match=r"flowruns\.db.*\(first\)"), locked(path, "second"):
                pass
        assert path.with_name("flowruns.db.lock").read_text() == "first"
    with locked(path, "second"):
        pass


def test_lock_is_released_by_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(path, "first"):
        raise ZeroDivisionError
    assert list(path.parent.iterdir()) == []


def test_locks_of_two_files_are_independent(tmp_path: Path) -> None:
    with locked(tmp_path / "a.db", "a"), locked(tmp_path / "b.db", "b"):
        pass


def test_lock_of_a_killed_process_is_released(path: Path) -> None:
    with another_process(path) as process:
        with pytest.raises(DatabaseInUse, match="the other one"), locked(path, "me"):
            pass
        process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        process.wait()
        assert path.with_name("flowruns.db.lock").exists()  # it could not tidy up
        with locked(path, "me"):
            assert path.with_name("flowruns.db.lock").read_text() == "me"
    assert list(path.parent.iterdir()) == []


def test_of_many_that_lock_at_once_one_succeeds(path: Path) -> None:
    inside, most, had = 0, 0, 0
    start = threading.Barrier(6)

    def contend() -> None:
        nonlocal inside, most, had
        start.wait()
        for _ in range(200):
            try:
                with locked(path, "me"):
                    inside += 1
                    time.sleep(0)  # lets the others try
                    most, had = max(most, inside), had + 1
                    inside -= 1
            except DatabaseInUse:
                pass

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert had >= 1
    assert list(path.parent.iterdir()) == []


def test_lock_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.db.lock").mkdir()
    with pytest.raises(DatabaseUnusable, match=r"x\.db\.lock"), locked(tmp_path / "x.db", "me"):
        pass


def test_lock_file_that_is_a_link_is_refused_and_its_target_untouched(path: Path) -> None:
    target = path.with_name("precious")
    target.write_text("precious")
    path.with_name("flowruns.db.lock").symlink_to(target)
    with pytest.raises(DatabaseUnusable, match="symbolic link; remove it"), locked(path, "token"):
        pass
    assert target.read_text() == "precious"
    assert lock_info(path) is None


def test_lock_file_that_is_a_second_name_of_a_file_is_replaced(path: Path) -> None:
    target = path.with_name("precious")
    target.write_text("precious")
    os.link(target, path.with_name("flowruns.db.lock"))
    with locked(path, "token"):
        assert path.with_name("flowruns.db.lock").read_text() == "token"
    assert target.read_text() == "precious"


def test_lock_that_is_held_is_seen_without_a_lock_of_ones_own(path: Path) -> None:
    check_free(path)
    with locked(path, "holder"), pytest.raises(DatabaseInUse, match=r"in use by another flowruns \(holder\)"):
        check_free(path)
    path.with_name("flowruns.db.lock").touch()  # as left by one that was killed
    check_free(path)
    path.with_name("flowruns.db.lock").unlink()
    path.with_name("flowruns.db.lock").symlink_to(path)
    with pytest.raises(DatabaseUnusable, match=r"flowruns\.db\.lock is a symbolic link"):
        check_free(path)


@pytest.mark.parametrize("mode", [0o666, 0o644, 0o620])
def test_lock_file_that_others_may_have_open_gets_no_token(path: Path, mode: int) -> None:
    lock = path.with_name("flowruns.db.lock")
    lock.touch()
    lock.chmod(mode)
    with lock.open() as open_before, locked(path, "token"):
        assert lock.stat().st_mode & 0o777 == 0o600
        assert (lock.read_text(), open_before.read()) == ("token", "")


def descriptors() -> set[str]:
    return {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists the descriptors of a process")
@pytest.mark.parametrize("function", ["unlink", "fstat"])
def test_lock_file_is_closed_and_unlocked_after_an_error(
    path: Path, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = path.with_name("flowruns.db.lock")
    lock.touch()
    lock.chmod(0o666)

    def fail(*_: object) -> None:
        raise OSError(1, "not permitted")  # as in a folder or file system of another user

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises((DatabaseUnusable, OSError), match="not permitted") as caught, locked(path, "me"):
            pass
    assert str(lock) not in descriptors()
    with locked(path, "me"):  # although the traceback of the error is kept
        assert str(lock) in descriptors()
    assert caught.tb


def test_lock_file_that_others_may_write_is_not_believed(path: Path) -> None:
    with locked(path, INFO.text()):
        assert lock_info(path) == INFO
        path.with_name("flowruns.db.lock").chmod(0o666)
        assert lock_info(path) is None


def test_lock_file_of_a_killed_holder_names_no_server(path: Path) -> None:
    lock = path.with_name("flowruns.db.lock")
    lock.touch(mode=0o600)
    lock.write_text(INFO.text())
    assert lock_info(path) is None


def test_lock_that_was_removed_is_noticed_and_a_new_one_left_alone(path: Path) -> None:
    lock = path.with_name("flowruns.db.lock")
    with locked(path, "first") as first:
        first.check()
        lock.unlink()
        with pytest.raises(Unavailable, match=r"flowruns\.db\.lock was removed or replaced; restart"):
            first.check()
        with pytest.raises(Unavailable), locked(path, "second"):
            first.check()
        entered = locked(path, "third")
        entered.__enter__()
    assert lock.read_text() == "third"
    entered.__exit__(None, None, None)
    assert not lock.exists()


async def test_writes_are_refused_once_the_lock_file_is_gone(path: Path) -> None:
    async with Store.open(path) as store:
        await store.create(RunPost(flow_id="a"))
        path.with_name("flowruns.db.lock").unlink()
        with pytest.raises(Unavailable, match="lock file"):
            await store.create(RunPost(flow_id="a"))
        assert (await store.page()).total == 1
