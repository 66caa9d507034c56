"""Whose a file is, who serves it, and that a refused start leaves it alone."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flowruns.errors import DatabaseInUse, DatabaseUnusable
from flowruns.sqlite.datafile import APPLICATION_ID, SCHEMA_VERSION, check_header, check_path, created, file_identity
from flowruns.sqlite.lockfile import locked

HOLDER = """
import sys
from pathlib import Path
from flowruns.sqlite.lockfile import locked
with locked(Path(sys.argv[1]), "the other one"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has claimed *path*."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """What lies in *folder*, and when it was last written."""
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


def make(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def ours(path: Path, page_size: int = 8192, version: int = SCHEMA_VERSION) -> None:
    make(
        path,
        f"pragma page_size = {page_size}",
        f"pragma application_id = {APPLICATION_ID}",
        f"pragma user_version = {version}",
        "create table t (n)",
        "insert into t values (zeroblob(200000))",
    )


def test_claim_is_a_file_that_tells_its_owner_and_goes_with_it(path: Path) -> None:
    lock = path.with_name("flowruns.db.lock")
    with locked(path, "http://127.0.0.1:8000"):
        assert lock.read_text() == "http://127.0.0.1:8000"
        assert lock.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == []


def test_second_claim_in_one_process_is_refused_and_the_first_stays(path: Path) -> None:
    with locked(path, "first"):
        for _ in range(2):
            with pytest.raises(DatabaseInUse, match=r"flowruns\.db.*\(first\)"), locked(path, "second"):
                pass
        assert path.with_name("flowruns.db.lock").read_text() == "first"
    with locked(path, "second"):
        pass


def test_claim_ends_with_an_error_inside_it(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(path, "first"):
        raise ZeroDivisionError
    assert list(path.parent.iterdir()) == []


def test_claims_of_two_files_do_not_meet(tmp_path: Path) -> None:
    with locked(tmp_path / "a.db", "a"), locked(tmp_path / "b.db", "b"):
        pass


def test_claim_of_a_killed_process_blocks_nobody(path: Path) -> None:
    with holder(path) as process:
        with pytest.raises(DatabaseInUse, match="the other one"), locked(path, "me"):
            pass
        process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        process.wait()
        assert path.with_name("flowruns.db.lock").exists()  # it could not tidy up
        with locked(path, "me"):
            assert path.with_name("flowruns.db.lock").read_text() == "me"
    assert list(path.parent.iterdir()) == []


def test_claim_of_a_process_that_ends_is_free_again(path: Path) -> None:
    with holder(path) as process:
        process.communicate("")
        with locked(path, "me"):
            pass


def test_longer_owner_before_leaves_nothing_behind(path: Path) -> None:
    path.with_name("flowruns.db.lock").write_text("an owner with a very long name that was killed")
    with locked(path, "me"):
        assert path.with_name("flowruns.db.lock").read_text() == "me"


def test_of_many_who_claim_at_once_one_has_it(path: Path) -> None:
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


def test_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.db.lock").mkdir()
    with pytest.raises(DatabaseUnusable, match=r"x\.db\.lock"), locked(tmp_path / "x.db", "me"):
        pass


@pytest.mark.parametrize("name", ["x.db", "x", "file:x.db", "a b?.db", "ü.db"])
def test_name_may_be_that_of_a_file_to_come(tmp_path: Path, name: str) -> None:
    check_path(tmp_path / name)
    (tmp_path / name).touch()
    check_path(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "not a file"),
        ("none/x.db", "no folder"),
        ("a/b/x.db", "no folder"),
        ("text/x.db", "cannot be used"),
        ("pipe", "not a file"),
        ("dangling/x.db", "no folder"),
        ("x" * 300, "cannot be used"),
    ],
)
def test_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "text").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatabaseUnusable, match=says):
        check_path(tmp_path / name)


@pytest.mark.parametrize("page_size", [512, 8192, 65536])
def test_empty_file_and_database_of_ours_are_taken(path: Path, page_size: int) -> None:
    path.touch()
    check_header(path)
    ours(path, page_size)
    check_header(path)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: path.write_bytes(b"x"), "not a SQLite database"),
        (lambda path: path.write_bytes(b"\n"), "not a SQLite database"),
        (lambda path: path.write_bytes(b"id,flowId\n" * 100), "not a SQLite database"),
        (lambda path: path.write_bytes(bytes(8192)), "not a SQLite database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "not a SQLite database"),
        (lambda path: make(path, "create table t (n)"), "another program"),
        (lambda path: make(path, "pragma journal_mode = wal", "create table t (n)"), "another program"),
        (lambda path: make(path, "pragma application_id = 1", "pragma user_version = 1"), "another program"),
        (lambda path: ours(path, version=SCHEMA_VERSION + 1), "newer flowruns"),
    ],
)
def test_file_of_others_is_refused_and_not_a_byte_changed(
    path: Path, write: Callable[[Path], object], says: str
) -> None:
    write(path)
    before = contents(path.parent)
    with pytest.raises(DatabaseUnusable, match=says):
        check_header(path)
    assert contents(path.parent) == before


@pytest.mark.parametrize("page_size", [512, 8192, 65536])
def test_truncated_database_is_refused(path: Path, page_size: int) -> None:
    ours(path, page_size)
    os.truncate(path, path.stat().st_size - page_size)
    with pytest.raises(DatabaseUnusable, match="truncated"):
        check_header(path)


def test_file_that_cannot_be_read_is_refused(path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="No such file"):
        check_header(path)


def test_new_file_is_private_whatever_the_umask(path: Path) -> None:
    usual = os.umask(0)
    try:
        with created(path):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(usual)
    assert path.read_bytes() == b""


def test_new_file_goes_when_its_start_fails(path: Path) -> None:
    with pytest.raises(IsADirectoryError), created(path):
        path.write_bytes(path.parent.read_bytes())
    assert not path.exists()


def test_file_that_was_there_stays_as_it_is(path: Path) -> None:
    path.write_text("mine")
    path.chmod(0o644)
    before = contents(path.parent)
    with created(path):
        pass
    with pytest.raises(ZeroDivisionError), created(path):
        raise ZeroDivisionError
    assert contents(path.parent) == before
    assert path.stat().st_mode & 0o777 == 0o644


def test_file_that_cannot_be_created_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="cannot be created"), created(tmp_path / "none" / "x.db"):
        pass


def test_identity_tells_one_file_from_its_successor(path: Path) -> None:
    assert file_identity(path) is None
    path.touch()
    first = file_identity(path)
    assert file_identity(path) == first
    path.rename(path.with_name("old.db"))
    assert file_identity(path) is None
    path.touch()
    assert file_identity(path) not in (None, first)
    assert file_identity(path.with_name("old.db")) == first
