"""The file of a database: whose it is, who serves it, and that it is still there."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from flowruns.errors import DatabaseInUse, DatabaseUnusable

APPLICATION_ID = 0x666C726E  # "flrn", at byte 68 of the file (SQLite's file format, 1.3)
SCHEMA_VERSION = 2  # at byte 60, user_version

_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
_MOST_OWNER = 10_000  # bytes
_LOOKS, _LOOK_SECONDS = 5, 0.01


class Identity(NamedTuple):
    """Which file a name stood for."""

    device: int
    inode: int


def identity(path: Path) -> Identity | None:
    """The file that *path* names now, None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino)


@contextmanager
def claimed(path: Path, owner: str) -> Iterator[None]:
    """While entered, no other flowruns serves *path*; the first line of *owner* is what another one is told about
    this one.

    The kernel drops the lock with the process, so that a killed server blocks nobody. It is a file of its
    own since on some systems a lock on the database would shut out SQLite's. Raises DatabaseInUse.
    """
    name = _lock_name(path)
    handle = _locked(name, path)
    try:
        try:
            os.truncate(handle, 0)
            os.write(handle, owner.encode())
        except OSError as error:  # a full disk
            raise DatabaseUnusable(f"{path} cannot be used: {name.name}: {error.strerror}") from None
        yield
    finally:
        if os.name == "nt":  # untested: an open file cannot be removed there
            os.close(handle)
            with suppress(OSError):
                os.unlink(name)
        else:
            with suppress(OSError):
                os.unlink(name)
            os.close(handle)


class Owner(Struct, frozen=True):
    """Who serves a database, as its lock file says: a line for people, and one for programs."""

    pid: int
    url: str
    instance: str  # which `/health` tells, if it is still this one
    secret: str | None = None  # a token, for programs of the same user: nobody else may read the file

    def text(self) -> str:
        """What `claimed` writes."""
        return f"pid {self.pid}, {self.url}\n{encode(self).decode()}\n"


def owner_of(path: Path) -> Owner | None:
    """Who serves *path* now; None if nobody does, or somebody who has not said yet who it is."""
    try:
        handle = os.open(_lock_name(path), os.O_RDWR)
    except OSError:
        return None
    try:
        with suppress(OSError):
            _lock(handle)
            return None  # its owner was killed
        return decode(os.read(handle, _MOST_OWNER).partition(b"\n")[2], type=Owner)
    except (OSError, DecodeError, UnicodeDecodeError):
        return None
    finally:
        os.close(handle)


def is_hidden(path: Path) -> bool:
    """Whether somebody may serve *path* who cannot be asked: another user, whose lock file we may not read."""
    name = _lock_name(path)
    return name.exists() and not os.access(name, os.R_OK | os.W_OK)


def parts(path: Path) -> list[Path]:
    """The files that are the database *path*, or will be while it is used."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal", ".lock")]


def _lock_name(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _locked(name: Path, path: Path) -> int:
    while True:
        try:
            handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DatabaseUnusable(f"{path} cannot be used: {name.name}: {error.strerror}") from None
        try:
            _lock_patiently(handle)
        except OSError:
            owner = os.read(handle, _MOST_OWNER).decode(errors="replace").partition("\n")[0] or "starting"
            os.close(handle)
            raise DatabaseInUse(
                f"{path} is in use by another flowruns ({owner}); stop it, or name another file"
            ) from None
        # The one before may have removed the file between our open and our lock.
        found = os.fstat(handle)
        if identity(name) == Identity(found.st_dev, found.st_ino):
            return handle
        os.close(handle)


def _lock_patiently(handle: int) -> None:
    """Takes the lock, also where `owner_of` has just looked whether it is taken. Raises OSError."""
    for _ in range(_LOOKS):
        with suppress(OSError):
            _lock(handle)
            return
        time.sleep(_LOOK_SECONDS)  # a lock that is waited for without end would hold up a start
    _lock(handle)


if os.name == "nt":  # pragma: no cover - untested

    def _lock(handle: int) -> None:
        import msvcrt

        os.lseek(handle, 1 << 30, os.SEEK_SET)  # beyond the text, which others are to read
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]  # Windows only
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
else:

    def _lock(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def real_path(name: str | Path) -> Path:
    """The one path of the file that is or will be *name*: absolute, so that none is taken for a URI, and every name
    of a file claims the same. Raises DatabaseUnusable.
    """
    try:
        return Path(name).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; nobody of that name; a null byte
        raise DatabaseUnusable(f"{name} cannot be used: {error}") from None


def check_name(path: Path) -> None:
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


def check_content(path: Path) -> None:
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
