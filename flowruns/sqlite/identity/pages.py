"""Pages of a database, read from its file and its WAL without SQLite (SQLite's file format, 1.3, 1.6, 2.1 and 4)."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_WAL_HEADER_SIZE, _FRAME_HEADER_SIZE = 32, 24

_WAL_MAGIC = (0x377F0682, 0x377F0683)

_LEAF = 13  # the type of a page with rows of a table

_INTEGER_SIZES = (0, 1, 2, 3, 4, 6, 8)  # by serial type

_MAX_PAGE_SIZE = 65536

Value = int | bytes | None


class WalHeader(NamedTuple):
    """The header of a WAL. *salts* are new whenever the WAL begins anew; only frames with the same salts are valid."""

    page_size: int
    salts: bytes


def wal_path(file: Path) -> Path:
    """The path of the WAL of the database *file*."""
    return file.with_name(file.name + "-wal")


def read_wal_header(wal: Path) -> WalHeader | None:
    """The header of the file *wal*; None if there is no such file, or if SQLite ignores it. Raises OSError."""
    try:
        with wal.open("rb") as opened:
            return _header(opened)
    except FileNotFoundError:
        return None


def _header(wal: BinaryIO) -> WalHeader | None:
    header = wal.read(_WAL_HEADER_SIZE)
    if len(header) < _WAL_HEADER_SIZE or _number(header, 0) not in _WAL_MAGIC:
        return None
    page_size = _number(header, 8)
    return WalHeader(page_size, header[16:24]) if 512 <= page_size <= _MAX_PAGE_SIZE else None


def wal_images(wal: Path, page: int) -> Iterator[bytes]:
    """The content of the page number *page* in each frame of *wal* that has it, the oldest first. Raises OSError.

    The checksums are not compared, so there may be images of transactions that were not committed.
    """
    with wal.open("rb") as opened:
        header = _header(opened)
        size = _FRAME_HEADER_SIZE + header.page_size if header else 0
        while header and len(frame := opened.read(size)) == size and frame[8:16] == header.salts:
            if _number(frame, 0) == page:
                yield frame[_FRAME_HEADER_SIZE:]


def page_size(header: bytes) -> int:
    """The page size according to the *header* of a database file."""
    size = int.from_bytes(header[16:18])
    return _MAX_PAGE_SIZE if size == 1 else size


def only_row(page: bytes) -> list[Value] | None:
    """The integers and blobs of the row that *page* has; None unless it is the only page of a table with one row."""
    if page[:1] != bytes([_LEAF]) or page[3:5] != b"\0\x01":
        return None
    try:
        _, start = _varint(page, int.from_bytes(page[8:10]))
        _, start = _varint(page, start)  # the rowid
        size, at = _varint(page, start)
        value_at = start + size
        values: list[Value] = []
        while at < start + size:
            kind, at = _varint(page, at)
            value, value_at = _value(page, kind, value_at)
            values.append(value)
    except (IndexError, ValueError):
        return None
    return values


def _value(page: bytes, kind: int, at: int) -> tuple[Value, int]:
    """The value of the serial type *kind* at *at*, None if it is neither an integer nor a blob; and its end."""
    if kind < len(_INTEGER_SIZES):
        end = at + _INTEGER_SIZES[kind]
        value: Value = int.from_bytes(page[at:end], signed=True) if kind else None
    elif kind in (8, 9):
        end, value = at, kind - 8
    elif kind == 7:
        end, value = at + 8, None
    else:
        end = at + (kind - 12) // 2
        value = None if kind % 2 else page[at:end]
    if end > len(page):
        raise ValueError
    return value, end


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """The variable-length integer at *at*, of at most 8 bytes, and its end."""
    value = 0
    for size in range(1, 9):
        byte = page[at + size - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + size
    raise ValueError


def _number(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4])
