"""The registry of servers in memory: `flowruns serve` adds itself, so that the commands of the same user find it.

Each server has a lock file like the one beside a database (`sqlite.lockfile`), in a folder that only its user can
enter. A lock file that no process has locked is stale: its server was killed.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from flowruns.errors import CannotStart
from flowruns.sqlite.lockfile import LockInfo, lock_info, locked

_ATTEMPTS = 3  # to register, as another server that stops may remove the empty folder meanwhile


class MemoryServer(NamedTuple):
    """A running server of this user that has no file. Its lock file is beside *path*, as that of a database is."""

    path: Path
    info: LockInfo


@contextmanager
def registered(info: LockInfo) -> Iterator[None]:
    """While entered, `memory_servers` includes *info*, unless its folder or file cannot be made. Leaves nothing."""
    with ExitStack() as stack:
        for _ in range(_ATTEMPTS):
            folder = _folder(make=True)
            if folder is None:
                break
            with suppress(CannotStart):
                stack.callback(_remove_empty, folder)
                stack.enter_context(locked(folder / info.instance, info.text()))
                break
        yield


def memory_servers() -> list[MemoryServer]:
    """The registered servers that are running, by address. Removes stale lock files."""
    folder = _folder()
    servers = []
    for file in folder.glob("*.lock") if folder else ():
        path = file.with_suffix("")
        if info := lock_info(path):
            servers.append(MemoryServer(path, info))
        else:
            with suppress(CannotStart), locked(path, "stale"):  # which removes it, unless it is locked by now
                pass
    if folder and not servers:
        _remove_empty(folder)
    return sorted(servers, key=lambda server: server.info.url)


def _folder(*, make: bool = False) -> Path | None:
    """The folder of the lock files; None if there is none that is private to this user."""
    folder = _folder_name()
    with suppress(OSError):
        if make:
            with suppress(FileExistsError):
                folder.mkdir(0o700)
        if _is_private(folder):
            return folder
    return None


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # another server is registered
        folder.rmdir()


def _folder_name() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return Path(runtime, "flowruns")
    from tempfile import gettempdir  # slow to import, and seldom needed

    return Path(gettempdir(), f"flowruns-{os.getuid()}" if hasattr(os, "getuid") else "flowruns")


def _is_private(folder: Path) -> bool:
    """Whether *folder* is a real folder, no link, that only this user can enter. Raises OSError."""
    status = os.lstat(folder)
    if os.name == "nt":  # untested: the folder for temporary files is the user's own there
        return stat.S_ISDIR(status.st_mode)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == 0o700
