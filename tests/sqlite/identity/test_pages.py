"""Pages read without SQLite are those that SQLite has."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flowruns.sqlite.identity.pages import only_row, page_size, read_wal_header, wal_images, wal_path


def make(path: Path, page_bytes: int, *statements: str) -> bytes:
    """The page of the table `t`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"pragma page_size = {page_bytes}")
        connection.execute("create table t (a, b, c)")
        for statement in statements:
            connection.execute(statement)
        (number,) = connection.execute("select rootpage from sqlite_schema where name = 't'").fetchone()
    return path.read_bytes()[(number - 1) * page_bytes :][:page_bytes]


@pytest.mark.parametrize("size", [512, 4096, 65536])
def test_page_size_is_that_of_the_header(path: Path, size: int) -> None:
    make(path, size)
    assert page_size(path.read_bytes()[:100]) == size


@pytest.mark.parametrize(
    "value",
    [
        0,
        1,
        2,
        -1,
        127,
        128,
        -129,
        1 << 15,
        1 << 23,
        1 << 31,
        1 << 40,
        1 << 47,
        (1 << 63) - 1,
        -(1 << 63),
        b"",
        b"x" * 32,
    ],
)
def test_row_has_the_values_that_were_inserted(path: Path, value: int | bytes) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        literal = connection.execute("select quote(?)", (value,)).fetchone()[0]
    page = make(path, 4096, f"insert into t values ({literal}, 7, x'{'ab' * 32}')")
    assert only_row(page) == [value, 7, b"\xab" * 32]


@pytest.mark.parametrize(
    "statements",
    [
        (),
        ("insert into t values (1, 2, 3), (4, 5, 6)",),
        ("insert into t values (1, 2, zeroblob(9000))",),
        tuple(f"insert into t values ({number}, 0, zeroblob(100))" for number in range(99)),
    ],
)
def test_page_without_a_row_of_its_own_has_none(path: Path, statements: tuple[str, ...]) -> None:
    assert only_row(make(path, 4096, *statements)) is None


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_are_no_row_or_one(seed: int) -> None:
    noise = random.Random(seed).randbytes(4088)
    only_row(b"\x0d\0\0\0\1" + noise[:3] + noise)


def test_updated_row_is_read(path: Path) -> None:
    page = make(path, 4096, "insert into t values (1, 1, x'00')", *(f"update t set a = {1 << n}" for n in range(60)))
    assert only_row(page) == [1 << 59, 1, b"\0"]


def test_images_of_a_page_are_those_of_each_commit(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table t (a)")
        connection.execute("insert into t values (0)")
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        assert read_wal_header(wal_path(path)) is None
        for number in range(1, 6):
            connection.execute("update t set a = ?", (number,))
        assert [only_row(image) for image in wal_images(wal_path(path), 2)] == [[1], [2], [3], [4], [5]]
        connection.execute("pragma wal_checkpoint(passive)").fetchall()
        connection.execute("update t set a = 6")  # at the beginning of the WAL, before frames of the previous one
        assert [only_row(image) for image in wal_images(wal_path(path), 2)] == [[6]]


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 9000, bytes(32)])
def test_wal_that_sqlite_ignores_has_no_header_and_no_images(path: Path, content: bytes) -> None:
    assert read_wal_header(path) is None
    path.write_bytes(content)
    assert read_wal_header(path) is None
    assert list(wal_images(path, 1)) == []
