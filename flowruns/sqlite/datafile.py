"""The file of a database: its path, its header and its identity."""

import logging
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from flowruns.errors import DatabaseUnusable
from flowruns.settings import MEMORY
from flowruns.sqlite.identity.pages import page_size, wal_path

log = logging.getLogger("flowruns")

APPLICATION_ID = 0x666C726E  # "flrn", at byte 68 of the file (SQLite's file format, 1.3)

SCHEMA_VERSION = 3  # at byte 60, user_version

_MAGIC = b"SQLite format 3\0"

FILE_HEADER_SIZE = 100


class FileIdentity(NamedTuple):
    """Distinguishes a file from others of the same name."""

    device: int
    inode: int


def file_identity(path: Path) -> FileIdentity | None:
    """The identity of the file at *path*, None if there is none."""
    try:
        stat_result = os.stat(path)
    except OSError:
        return None
    return FileIdentity(stat_result.st_dev, stat_result.st_ino)


def read_at(handle: int, size: int, offset: int) -> bytes:
    """At most *size* bytes of an open file. Not for two threads at once."""
    if hasattr(os, "pread"):  # not on Windows
        return os.pread(handle, size, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, size)


def database_files(path: Path) -> list[Path]:
    """The files of the database *path*, including those that exist only while it is open."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal", ".lock")]


def has_wal(path: Path) -> bool:
    """Whether the database *path* has a WAL that is not empty."""
    wal = wal_path(path)
    return wal.exists() and wal.stat().st_size > 0


def unreadable_wal(path: Path) -> DatabaseUnusable:
    """The error of the database *path* with a WAL in a read-only folder. The lock file may say of which file it is."""
    return DatabaseUnusable(
        f"{path} has a WAL, which cannot be read in a read-only folder; copy it with its -wal and .lock files to a"
        " folder that can be written"
    )


def is_folder_writable(path: Path) -> bool:
    """Whether this user can create files beside the file *path*."""
    return os.access(path.parent, os.W_OK)


def is_read_only(path: Path) -> bool:
    """Whether there is a file *path*, and this user cannot write it, or cannot create files beside it."""
    return path.exists() and not (os.access(path, os.W_OK) and is_folder_writable(path))


def is_served_read_only(name: str) -> bool:
    """Whether a server of the file *name*, or of `:memory:`, refuses writes. Raises DatabaseUnusable."""
    if name == MEMORY:
        return False
    path = real_path(name)
    check_path(path)
    return is_read_only(path)


def immutable_uri(path: Path) -> str:
    """The address with which SQLite reads the file *path* alone, without its WAL, and creates no files beside it. Only
    for a file that nobody writes meanwhile (https://sqlite.org/uri.html).
    """
    return f"{path.as_uri()}?immutable=1"


def is_open(path: Path) -> bool:
    """Whether another program has the database *path* open, or was killed while it had."""
    return has_wal(path) or path.with_name(path.name + "-shm").exists()


def real_path(name: str | Path) -> Path:
    """The absolute path of the file *name* without symbolic links, so that every name of a file leads to the same lock,
    and SQLite takes none for a URI. Raises DatabaseUnusable.
    """
    try:
        return Path(name).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; no such user; a null byte
        raise DatabaseUnusable(f"{name} cannot be used: {error}") from None


def check_path(path: Path) -> None:
    """Raises DatabaseUnusable unless *path* is a file or can become one."""
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


def warn_of_readers(path: Path) -> None:
    """Warns if any user of the machine may read the file *path*: new files are private, but copies may not be."""
    if os.name == "nt" or not path.exists():  # without POSIX modes
        return
    mode = path.stat().st_mode
    if mode & 0o007 and all(folder.stat().st_mode & 0o001 for folder in path.parents):
        log.warning("%s may be read by every user of this machine: chmod 600 %s", path, shlex.quote(str(path)))


def check_header(path: Path) -> None:
    """Raises DatabaseUnusable unless the file *path* is empty or has the header of a flowruns database.

    SQLite must not have the file open in this process, as closing it here drops SQLite's locks (POSIX). The header is
    not read through SQLite, which would create files beside the database of another program.
    """
    try:
        with path.open("rb") as file:
            header, size = file.read(FILE_HEADER_SIZE), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DatabaseUnusable(f"{path} cannot be read: {error.strerror}") from None
    if not header:
        return
    if len(header) < FILE_HEADER_SIZE or not header.startswith(_MAGIC):
        raise DatabaseUnusable(f"{path} is not a SQLite database; name another file")
    version = _number(header, 60)
    if not has_our_id(header):
        raise DatabaseUnusable(f"{path} is a database of another program; name another file")
    if version > SCHEMA_VERSION:
        raise DatabaseUnusable(
            f"{path} was written by a newer flowruns, with schema {version} instead of {SCHEMA_VERSION};"
            " update flowruns"
        )
    if size < _size_in_header(header) and not has_wal(path):
        raise DatabaseUnusable(f"{path} is truncated; restore it from a backup")


def has_our_id(header: bytes) -> bool:
    """Whether *header* is that of a SQLite database of flowruns."""
    return len(header) == FILE_HEADER_SIZE and header.startswith(_MAGIC) and _number(header, 68) == APPLICATION_ID


def _size_in_header(header: bytes) -> int:
    return page_size(header) * _number(header, 28)


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4])


@contextmanager
def created(path: Path) -> Iterator[None]:
    """Creates the empty file *path*, private to the user, if there is none; removes it again if the block fails."""
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
