"""Paths, headers and identities of database files, which are unchanged if refused."""

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from flowruns.errors import DatabaseUnusable
from flowruns.sqlite.datafile import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    check_header,
    check_path,
    created,
    file_identity,
    warn_of_readers,
)
from tests.sqlite.files import contents


def make(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def flowruns_database(path: Path, page_size: int = 8192, version: int = SCHEMA_VERSION) -> None:
    make(
        path,
        f"pragma page_size = {page_size}",
        f"pragma application_id = {APPLICATION_ID}",
        f"pragma user_version = {version}",
        "create table t (n)",
        "insert into t values (zeroblob(200000))",
    )


@pytest.mark.parametrize("name", ["x.db", "x", "file:x.db", "a b?.db", "ü.db"])
def test_path_of_a_new_file_is_accepted(tmp_path: Path, name: str) -> None:
    check_path(tmp_path / name)
    (tmp_path / name).touch()
    check_path(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "message"),
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
def test_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "text").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatabaseUnusable, match=message):
        check_path(tmp_path / name)


@pytest.mark.parametrize("page_size", [512, 8192, 65536])
def test_empty_file_and_flowruns_database_are_accepted(path: Path, page_size: int) -> None:
    path.touch()
    check_header(path)
    flowruns_database(path, page_size)
    check_header(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"x"), "not a SQLite database"),
        (lambda path: path.write_bytes(b"\n"), "not a SQLite database"),
        (lambda path: path.write_bytes(b"id,flowId\n" * 100), "not a SQLite database"),
        (lambda path: path.write_bytes(bytes(8192)), "not a SQLite database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "not a SQLite database"),
        (lambda path: make(path, "create table t (n)"), "another program"),
        (lambda path: make(path, "pragma journal_mode = wal", "create table t (n)"), "another program"),
        (lambda path: make(path, "pragma application_id = 1", "pragma user_version = 1"), "another program"),
        (lambda path: flowruns_database(path, version=SCHEMA_VERSION + 1), "newer flowruns"),
    ],
)
def test_file_of_others_is_refused_and_not_a_byte_changed(
    path: Path, write: Callable[[Path], object], message: str
) -> None:
    write(path)
    before = contents(path.parent)
    with pytest.raises(DatabaseUnusable, match=message):
        check_header(path)
    assert contents(path.parent) == before


@pytest.mark.parametrize("page_size", [512, 8192, 65536])
def test_truncated_database_is_refused(path: Path, page_size: int) -> None:
    flowruns_database(path, page_size)
    os.truncate(path, path.stat().st_size - page_size)
    with pytest.raises(DatabaseUnusable, match="truncated"):
        check_header(path)


def test_file_that_cannot_be_read_is_refused(path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="No such file"):
        check_header(path)


def test_new_file_is_private_whatever_the_umask(path: Path) -> None:
    previous = os.umask(0)
    try:
        with created(path):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(previous)
    assert path.read_bytes() == b""


def test_new_file_is_removed_if_its_start_fails(path: Path) -> None:
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


def test_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="cannot be created"), created(tmp_path / "none" / "x.db"):
        pass


def test_identity_distinguishes_a_file_from_its_successor(path: Path) -> None:
    assert file_identity(path) is None
    path.touch()
    first = file_identity(path)
    assert file_identity(path) == first
    path.rename(path.with_name("old.db"))
    assert file_identity(path) is None
    path.touch()
    assert file_identity(path) not in (None, first)
    assert file_identity(path.with_name("old.db")) == first


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize(
    ("mode", "folder_mode", "warns"),
    [(0o644, 0o755, True), (0o604, 0o711, True), (0o640, 0o755, False), (0o644, 0o750, False)],
)
def test_file_that_every_user_may_read_is_reported(
    caplog: pytest.LogCaptureFixture, mode: int, folder_mode: int, warns: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:  # in a folder that everybody may enter, unlike tmp_path
        path = Path(name).resolve() / "a b.db"
        path.touch(mode=0o600)
        path.chmod(mode)
        path.parent.chmod(folder_mode)
        warn_of_readers(path)
        assert [f"chmod 600 '{path}'" in record.message for record in caplog.records] == [True] * warns
