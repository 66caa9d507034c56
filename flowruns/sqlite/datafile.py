"""The file of a database: whose it is, who serves it, and that it is still there."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from flowruns.errors import DatabaseUnusable

APPLICATION_ID = 0x666C726E  # "flrn", at byte 68 of the file (SQLite's file format, 1.3)

SCHEMA_VERSION = 2  # at byte 60, user_version

_MAGIC = b"SQLite format 3\0"

_HEADER_SIZE = 100


class FileIdentity(NamedTuple):
    """Which file a name stood for."""

    device: int
    inode: int


def file_identity(path: Path) -> FileIdentity | None:
    """The file that *path* names now, None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return FileIdentity(found.st_dev, found.st_ino)


def database_files(path: Path) -> list[Path]:
    """The files that are the database *path*, or will be while it is used."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal", ".lock")]


def real_path(name: str | Path) -> Path:
    """The one path of the file that is or will be *name*: absolute, so that none is taken for a URI, and every name
    of a file claims the same. Raises DatabaseUnusable.
    """
    try:
        return Path(name).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; nobody of that name; a null byte
        raise DatabaseUnusable(f"{name} cannot be used: {error}") from None


def check_path(path: Path) -> None:
    """Nothing, if *path* is a file or could become one. Raises DatabaseUnusable."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise DatabaseUnusable(f"{path}: there is no folder {path.parent}") from None
        return
    except OSError as error:
        raise DatabaseUnusable(f"{path} cannot be used: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise DatabaseUnusable(f"{path} is not a file; name a database file")


def check_header(path: Path) -> None:
    """Nothing, if the file *path* is empty or a database of ours, by its first bytes. Raises DatabaseUnusable.

    SQLite must not have it open in this process, as closing a file here drops SQLite's locks; nor may SQLite
    be asked instead: it would leave files beside a database that is not ours.
    """
    try:
        with path.open("rb") as file:
            header, size = file.read(_HEADER_SIZE), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DatabaseUnusable(f"{path} cannot be read: {error.strerror}") from None
    if not header:
        return
    if len(header) < _HEADER_SIZE or not header.startswith(_MAGIC):
        raise DatabaseUnusable(f"{path} is not a SQLite database; name another file")
    version, application = _number(header, 60), _number(header, 68)
    if application != APPLICATION_ID:
        raise DatabaseUnusable(f"{path} is a database of another program; name another file")
    if version > SCHEMA_VERSION:
        raise DatabaseUnusable(
            f"{path} was written by a newer flowruns, with schema {version}, where this one knows {SCHEMA_VERSION}:"
            " update flowruns"
        )
    page_size = int.from_bytes(header[16:18])
    page_size = 65536 if page_size == 1 else page_size
    wal = path.with_name(path.name + "-wal")
    if size < page_size * _number(header, 28) and not (wal.exists() and wal.stat().st_size):
        raise DatabaseUnusable(f"{path} is truncated: restore it from a backup")


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4])


@contextmanager
def created(path: Path) -> Iterator[None]:
    """Makes the empty file *path* if there is none, private to the user; if the block fails, removes it again."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        yield
        return
    except OSError as error:
        raise DatabaseUnusable(f"{path} cannot be created: {error.strerror}") from None
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
