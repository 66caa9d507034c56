"""The lock file beside a database: at most one flowruns writes to it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from flowruns.errors import DatabaseInUse, DatabaseUnusable
from flowruns.sqlite.datafile import FileIdentity, file_identity

_MAX_TEXT = 10_000  # bytes of a lock file that are read

_ATTEMPTS, _ATTEMPT_SECONDS = 5, 0.01


@contextmanager
def locked(path: Path, holder: str) -> Iterator[None]:
    """Locks *path* against other flowruns. *holder* is the text of the lock file; its first line is in the error that
    others raise. Raises DatabaseInUse or DatabaseUnusable.

    The kernel releases the lock when the process ends, even if it is killed. It is a lock on a separate file, as
    on some systems a lock on the database file would block SQLite.
    """
    lock_path = _lock_path(path)
    handle = _acquire(lock_path, path)
    try:
        try:
            os.truncate(handle, 0)
            os.write(handle, holder.encode())
        except OSError as error:  # a full disk
            raise DatabaseUnusable(f"{path} cannot be used: {lock_path.name}: {error.strerror}") from None
        yield
    finally:
        if os.name == "nt":  # untested: an open file cannot be removed there
            os.close(handle)
            with suppress(OSError):
                os.unlink(lock_path)
        else:
            with suppress(OSError):
                os.unlink(lock_path)
            os.close(handle)


class LockInfo(Struct, frozen=True):
    """The server that holds the lock of a database, as its lock file describes it."""

    pid: int
    url: str
    instance: str  # as in `/health`, where another one means that another server has the address by now
    secret: str | None = None  # a token for programs of the same user; others cannot read the lock file

    def text(self) -> str:
        """The text of the lock file: a line for people, and one of JSON."""
        return f"pid {self.pid}, {self.url}\n{encode(self).decode()}\n"


def lock_info(path: Path) -> LockInfo | None:
    """The server that holds the lock of *path*; None if there is none, or it has not written its lock file yet."""
    try:
        handle = os.open(_lock_path(path), os.O_RDWR)
    except OSError:
        return None
    try:
        with suppress(OSError):
            _lock(handle)
            return None  # the holder was killed
        return decode(os.read(handle, _MAX_TEXT).partition(b"\n")[2], type=LockInfo)
    except (OSError, DecodeError, UnicodeDecodeError):
        return None
    finally:
        os.close(handle)


def is_unreadable(path: Path) -> bool:
    """Whether the lock file of *path* belongs to another user, so that it is unknown who holds the lock."""
    lock_path = _lock_path(path)
    return lock_path.exists() and not os.access(lock_path, os.R_OK | os.W_OK)


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _acquire(lock_path: Path, path: Path) -> int:
    """The handle of the open and locked file *lock_path*. Raises DatabaseInUse or DatabaseUnusable."""
    while True:
        try:
            handle = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DatabaseUnusable(f"{path} cannot be used: {lock_path.name}: {error.strerror}") from None
        try:
            _lock_with_retries(handle)
        except OSError:
            holder = os.read(handle, _MAX_TEXT).decode(errors="replace").partition("\n")[0] or "starting"
            os.close(handle)
            raise DatabaseInUse(
                f"{path} is in use by another flowruns ({holder}); stop it, or name another file"
            ) from None
        # The previous holder may have removed the file between our open and our lock.
        opened = os.fstat(handle)
        if file_identity(lock_path) == FileIdentity(opened.st_dev, opened.st_ino):
            return handle
        os.close(handle)


def _lock_with_retries(handle: int) -> None:
    """Locks the file. `lock_info` of another process may hold the lock for a moment. Raises OSError."""
    for _ in range(_ATTEMPTS):
        with suppress(OSError):
            _lock(handle)
            return
        time.sleep(_ATTEMPT_SECONDS)
    _lock(handle)


if os.name == "nt":  # pragma: no cover - untested

    def _lock(handle: int) -> None:
        import msvcrt

        os.lseek(handle, 1 << 30, os.SEEK_SET)  # beyond the text, which others have to read
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]  # Windows only
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
else:

    def _lock(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
