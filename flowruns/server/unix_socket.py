"""A listening Unix socket: only its user can connect, and one that a killed server left is replaced."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISSOCK

from flowruns.errors import PortTaken

_Identity = tuple[int, int, int]

_MODE = 0o600


@contextmanager
def listen_at(path: Path, backlog: int) -> Iterator[socket.socket]:
    """While entered, a socket with mode 0600 listens at *path*; it is removed at the end. Raises PortTaken."""
    if sys.platform == "win32":
        raise PortTaken(f"cannot listen on {path}: Python has no Unix sockets on Windows; use --host and --port")
    try:
        listener, own = _listener(path, backlog)
    except OSError as error:
        reason = error.strerror or str(error)
        cure = "; choose a shorter path" if "too long" in reason else ""
        raise PortTaken(f"cannot listen on {path}: {reason}{cure}") from None
    try:
        with listener:
            yield listener
    finally:
        with suppress(OSError), _locked(path.parent):  # the folder is gone
            if _identity(path) == own:  # else it is that of another server
                os.unlink(path)


def _listener(path: Path, backlog: int) -> tuple[socket.socket, _Identity]:
    """A socket that listens at *path*, and the identity of its file. Raises OSError and PortTaken."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        with _locked(path.parent):
            _remove_stale(path)
            listener.bind(str(path))
            stack.callback(os.unlink, path)
            os.chmod(path, _MODE)  # nobody can connect before `listen`
            listener.listen(backlog)
            own = _identity(path)
        stack.pop_all()
    return listener, own


def _identity(path: Path) -> _Identity:
    """What distinguishes the file *path* from its successors, which may get the same inode. Raises OSError."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks *folder* for other starts: two of them could find the same stale socket, and remove each other's."""
    import fcntl  # not on Windows

    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_stale(path: Path) -> None:
    """Removes a socket at *path* that nobody listens to. Raises PortTaken for anything else that is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not S_ISSOCK(mode):
        raise PortTaken(f"cannot listen on {path}: it is there, and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)  # a full backlog would block
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise PortTaken(f"cannot listen on {path}: another server listens there; stop it, or choose another path")
