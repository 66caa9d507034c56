"""Atomic replacement of files: a file is complete, or unchanged."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex


@contextmanager
def part_file(file: Path) -> Iterator[Path]:
    """A new file beside *file*, private to the user; removed at the end of the block, unless it was renamed."""
    part = file.with_name(f".{file.name}.{token_hex(4)}.part")
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield part
    finally:
        remove_files([part, *(part.with_name(part.name + end) for end in ("-journal", "-wal", "-shm"))])


@contextmanager
def atomic_write(file: Path, *, force: bool) -> Iterator[Path]:
    """A new file beside *file*, with its mode, or private to the user; it replaces *file* if the block succeeds, and is
    removed if not.

    Raises FileExistsError if *file* exists, unless *force*.
    """
    if not force and file.exists():
        raise FileExistsError(file)
    with part_file(file) as part:
        with suppress(OSError):  # there is no *file*, or its file system has no modes
            os.chmod(part, stat.S_IMODE(os.stat(file).st_mode))
        yield part
        sync_file(part)
        if force:
            os.replace(part, file)
        else:
            _rename_new(part, file)
        sync_folder(file.parent)


def sync_file(file: Path) -> None:
    """Waits until *file* is on the disk."""
    with file.open("r+b") as written:  # on Windows, fsync needs a writable handle
        os.fsync(written.fileno())


def _rename_new(part: Path, file: Path) -> None:
    """Renames *part* to *file*. Raises FileExistsError if *file* exists by now."""
    try:
        os.link(part, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if file.exists():
            raise FileExistsError(file) from None
        os.rename(part, file)


def sync_folder(folder: Path) -> None:
    """Waits until the names in *folder* are on the disk."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_files(files: Iterable[Path]) -> None:
    """Removes those of *files* that exist."""
    for file in files:
        file.unlink(missing_ok=True)
