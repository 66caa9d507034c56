"""The lock file beside a database: one server for each file."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from flowruns.errors import DatabaseInUse, DatabaseUnusable
from flowruns.sqlite.datafile import FileIdentity, file_identity

_MOST_OWNER = 10_000  # bytes

_LOOKS, _LOOK_SECONDS = 5, 0.01


@contextmanager
def locked(path: Path, owner: str) -> Iterator[None]:
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


class LockInfo(Struct, frozen=True):
    """Who serves a database, as its lock file says: a line for people, and one for programs."""

    pid: int
    url: str
    instance: str  # which `/health` tells, if it is still this one
    secret: str | None = None  # a token, for programs of the same user: nobody else may read the file

    def text(self) -> str:
        """What `claimed` writes."""
        return f"pid {self.pid}, {self.url}\n{encode(self).decode()}\n"


def lock_info(path: Path) -> LockInfo | None:
    """Who serves *path* now; None if nobody does, or somebody who has not said yet who it is."""
    try:
        handle = os.open(_lock_name(path), os.O_RDWR)
    except OSError:
        return None
    try:
        with suppress(OSError):
            _lock(handle)
            return None  # its owner was killed
        return decode(os.read(handle, _MOST_OWNER).partition(b"\n")[2], type=LockInfo)
    except (OSError, DecodeError, UnicodeDecodeError):
        return None
    finally:
        os.close(handle)


def is_unreadable(path: Path) -> bool:
    """Whether somebody may serve *path* who cannot be asked: another user, whose lock file we may not read."""
    name = _lock_name(path)
    return name.exists() and not os.access(name, os.R_OK | os.W_OK)


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
        if file_identity(name) == FileIdentity(found.st_dev, found.st_ino):
            return handle
        os.close(handle)


def _lock_patiently(handle: int) -> None:
    """Takes the lock, also where `lock_info` has just looked whether it is taken. Raises OSError."""
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
