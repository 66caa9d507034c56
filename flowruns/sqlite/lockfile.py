"""The lock file beside a database: at most one flowruns writes to it."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from flowruns.errors import DatabaseInUse, DatabaseUnusable, Unavailable
from flowruns.sqlite.datafile import FileIdentity, file_identity, has_wal, read_at

_MAX_TEXT = 10_000  # bytes of a lock file that are read

_NOTE = "\nnote "  # before the note, at the end of a lock file

_ATTEMPTS, _ATTEMPT_SECONDS = 5, 0.01

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)  # a folder, for this user

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_USER = os.geteuid() if os.name != "nt" else 0


class Lock:
    """The lock of a database. Its *note* stays in the lock file if the process is killed, for the next holder."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path, self._handle = path, handle
        self._lock_path, self._identity = _lock_path(path), _identity(handle)
        self._note_offset = 0
        self.note = _note(_read(handle))

    def write(self, holder: str) -> None:
        """Writes the text of the lock file: *holder*, and the note of the previous one. Raises OSError."""
        text = holder.encode()
        os.truncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, text)
        self._note_offset = len(text)
        self._write_note()

    def keep(self, note: str) -> None:
        """Replaces the note. If that fails, the lock file has none, or half of one."""
        self.note = note
        with suppress(OSError):  # a full disk
            os.truncate(self._handle, self._note_offset)
            self._write_note()

    def check(self) -> None:
        """Raises Unavailable if the lock file was removed or replaced: another server may have locked a new one."""
        if file_identity(self._lock_path) != self._identity:
            raise Unavailable(f"The lock file {self._lock_path.name} was removed or replaced; restart flowruns")

    def _write_note(self) -> None:
        if self.note:
            os.lseek(self._handle, self._note_offset, os.SEEK_SET)
            os.write(self._handle, f"{_NOTE}{self.note}\n".encode())


@contextmanager
def locked(path: Path, holder: str) -> Iterator[Lock]:
    """Locks *path* against other flowruns. *holder* is the text of the lock file; its first line is in the error that
    others raise. Raises DatabaseInUse or DatabaseUnusable.

    The kernel releases the lock when the process ends, even if it is killed. It is a lock on a separate file, as
    on some systems a lock on the database file would block SQLite. The lock file is removed, unless its note
    describes a WAL that is left over.
    """
    lock_path = _lock_path(path)
    handle = _acquire(lock_path, path)
    process = os.getpid()
    note = ""
    try:
        try:
            lock = Lock(path, handle)
            lock.write(holder)
        except OSError as error:  # a full disk
            raise DatabaseUnusable(f"{path} cannot be used: {lock_path.name}: {error.strerror}") from None
        try:
            yield lock
        finally:
            is_holder = os.getpid() == process  # not one that was forked since, and ends
            if is_holder and lock.note and has_wal(path):
                note = lock.note
                with suppress(OSError):
                    lock.write("")
    finally:
        if os.getpid() == process:
            _release(lock_path, handle, keep=bool(note))


def check_free(path: Path) -> None:
    """Raises DatabaseInUse if the lock of *path* is held, DatabaseUnusable if that cannot be found out. For a folder
    where no lock file can be created.
    """
    lock_path = _lock_path(path)
    try:
        handle = os.open(lock_path, os.O_RDONLY | _NO_FOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unopened(lock_path, path, error) from None
    try:
        _lock_free(handle, path)
    finally:
        os.close(handle)


class LockInfo(Struct, frozen=True):
    """The server that holds the lock of a database, as its lock file describes it."""

    pid: int
    url: str
    instance: str  # as in `/health`, where another one means that another server has the address by now
    stop_key: str = ""  # which ends it (`server.shutdown`)
    version: str = ""  # of the server
    secret: str | None = None  # a token for programs of the same user; others cannot read the lock file
    read_only: bool = False  # whether the server refuses writes

    def text(self) -> str:
        """The text of the lock file: a line for people, and one of JSON."""
        return f"pid {self.pid}, {self.url}\n{encode(self).decode()}\n"


def lock_info(path: Path) -> LockInfo | None:
    """The server that holds the lock of *path*; None if there is none, or it has not written its lock file yet."""
    try:
        handle = os.open(_lock_path(path), os.O_RDWR | _NO_FOLLOW)
    except OSError:
        return None
    try:
        if not _is_private(handle):
            return None  # anybody may have written it
        with suppress(OSError):
            _lock(handle)
            return None  # the holder was killed
        return decode(_read(handle).split(b"\n")[1], type=LockInfo)
    except (OSError, IndexError, DecodeError, UnicodeDecodeError):
        return None
    finally:
        os.close(handle)


def left_note(path: Path) -> str | None:
    """The note of a holder of the lock of *path* that has ended; None if the lock is held, or that is unknown."""
    try:
        handle = os.open(_lock_path(path), os.O_RDONLY | _NO_FOLLOW)  # the folder may be read-only
    except FileNotFoundError:
        return ""
    except OSError:
        return None
    try:
        if not _is_private(handle):
            return None
        _lock(handle)
        return _note(_read(handle))
    except OSError:
        return None
    finally:
        os.close(handle)


def is_unreadable(path: Path) -> bool:
    """Whether the lock file of *path* belongs to another user, so that it is unknown who holds the lock."""
    lock_path = _lock_path(path)
    with suppress(OSError):
        return os.lstat(lock_path).st_uid != _USER or not os.access(lock_path, os.R_OK | os.W_OK)
    return False


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _read(handle: int) -> bytes:
    """The text of a lock file."""
    return read_at(handle, _MAX_TEXT, 0)


def _note(text: bytes) -> str:
    """The note in the *text* of a lock file; empty if there is none."""
    return text.rpartition(_NOTE.encode())[2].decode(errors="replace").strip() if _NOTE.encode() in text else ""


def _acquire(lock_path: Path, path: Path) -> int:
    """The handle of the open and locked file *lock_path*. Raises DatabaseInUse or DatabaseUnusable."""
    while True:
        handle = _open(lock_path, path)
        try:
            if _is_locked_by_us(handle, lock_path, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _open(lock_path: Path, path: Path) -> int:
    try:
        return os.open(lock_path, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600)
    except OSError as error:
        if error.errno in _NOT_WRITABLE and not os.path.lexists(lock_path):
            raise DatabaseUnusable(
                f"{path} cannot be used: no file can be created in the folder {path.parent} ({error.strerror}); make"
                " the folder writable, or name a file in another one"
            ) from None
        raise _unopened(lock_path, path, error) from None


def _unopened(lock_path: Path, path: Path, error: OSError) -> DatabaseUnusable:
    reason = " is a symbolic link; remove it" if error.errno == errno.ELOOP else f": {error.strerror}"
    return DatabaseUnusable(f"{path} cannot be used: {lock_path.name}{reason}")


def _lock_free(handle: int, path: Path) -> None:
    """Locks the open file *handle*. Raises DatabaseInUse, which names the holder."""
    try:
        _lock_with_retries(handle)
    except OSError:
        holder = _read(handle).decode(errors="replace").partition("\n")[0] or "starting"
        raise DatabaseInUse(f"{path} is in use by another flowruns ({holder}); stop it, or name another file") from None


def _is_locked_by_us(handle: int, lock_path: Path, path: Path) -> bool:
    """Locks the open file *handle*. Returns whether *lock_path* still names it, and it is private; a file that is not
    private is removed.
    """
    _lock_free(handle, path)
    if not _is_at(lock_path, handle):  # the previous holder has removed the file between our open and our lock
        return False
    if not _is_private(handle):
        _remove_untrusted(lock_path, path)
        return False
    return True


def _release(lock_path: Path, handle: int, *, keep: bool) -> None:
    """Unlocks and closes *handle*, and removes the lock file, unless *keep* or it is that of another server by now."""
    if os.name == "nt":  # untested: an open file cannot be removed there
        ours = _is_at(lock_path, handle)
        os.close(handle)
        with suppress(OSError):
            if ours and not keep:
                os.unlink(lock_path)
        return
    try:
        with suppress(OSError):
            if not keep and _is_at(lock_path, handle):
                os.unlink(lock_path)
    finally:
        os.close(handle)


def _remove_untrusted(lock_path: Path, path: Path) -> None:
    """Removes a lock file without a holder that others may have open: they could read the token in it."""
    try:
        os.unlink(lock_path)
    except OSError as error:
        raise DatabaseUnusable(
            f"{path} cannot be used: {lock_path.name} belongs to another user, and cannot be removed: {error.strerror}"
        ) from None


def _is_at(lock_path: Path, handle: int) -> bool:
    """Whether *lock_path* still names the open file *handle*."""
    return file_identity(lock_path) == _identity(handle)


def _identity(handle: int) -> FileIdentity:
    opened = os.fstat(handle)
    return FileIdentity(opened.st_dev, opened.st_ino)


def _is_private(handle: int) -> bool:
    """Whether the file is ours, only we may open it, and it has no second name."""
    opened = os.fstat(handle)
    if os.name == "nt":  # without POSIX modes
        return True
    return opened.st_uid == _USER and not opened.st_mode & 0o077 and opened.st_nlink == 1


def _lock_with_retries(handle: int) -> None:
    """Locks the file. `lock_info` of another process may hold the lock for a moment. Raises OSError."""
    for _ in range(_ATTEMPTS):
        with suppress(OSError):
            _lock(handle)
            return
        time.sleep(_ATTEMPT_SECONDS)  # a reader of the lock file holds the lock no longer
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
