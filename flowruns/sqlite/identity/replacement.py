"""Puts a copy in the place of a database, and keeps what it replaces."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from flowruns.errors import DatabaseUnusable
from flowruns.sqlite.atomic_files import remove_files, sync_file, sync_folder
from flowruns.sqlite.datafile import FILE_HEADER_SIZE, has_our_id, has_wal
from flowruns.sqlite.identity.ownership import foreign_wal, free_name, set_aside

_WITH_CONTENT = ("", "-wal", "-journal")  # ends of the names of the files that a database consists of


def check_replaceable(file: Path) -> None:
    """Raises DatabaseUnusable if *file* exists, and is not a database of flowruns. It may be damaged, or newer."""
    try:
        with file.open("rb") as opened:
            header = opened.read(FILE_HEADER_SIZE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DatabaseUnusable(f"{file} cannot be read: {error.strerror}") from None
    if header and not has_our_id(header):
        raise DatabaseUnusable(f"{file} is not a database of flowruns; name another one, or move it away")


def replace_database(file: Path, copy: Path, note: str) -> Path | None:
    """Puts *copy* in the place of the database *file*, at once, and removes the files beside it that are not of *copy*.
    Returns the path at which the replaced database is kept, with its WAL; None if there was none. The caller has the
    lock of *file*, with the *note* of the previous holder.

    *copy* must be in the same folder, and closed without a WAL: if the computer stops midway, the left-over WAL is
    known by that to be of another file. Raises OSError.
    """
    if has_wal(file):
        reason = foreign_wal(file, note) if file.exists() else "the database was removed"
        if reason is not None:
            set_aside(file, reason)
    kept = _keep(file) if file.exists() else None
    with suppress(OSError):  # only the superuser may give a file away
        if kept is not None:
            os.chown(copy, kept.stat().st_uid, kept.stat().st_gid)
    sync_file(copy)
    os.replace(copy, file)
    sync_folder(file.parent)
    remove_side_files(file)
    return kept


def remove_side_files(file: Path) -> None:
    """Removes the WAL of the file that was at *file* before, and the other files beside it. Raises OSError."""
    remove_files(file.with_name(file.name + end) for end in ("-wal", "-shm", "-journal"))
    sync_folder(file.parent)


def _keep(file: Path) -> Path:
    """A second name for *file* and those beside it, as a database of its own."""
    kept = free_name(file.with_name(f"{file.name}.replaced"), ends=_WITH_CONTENT)
    for end in _WITH_CONTENT:
        part, name = file.with_name(file.name + end), kept.with_name(kept.name + end)
        if part.exists():
            try:
                os.link(part, name)
            except OSError:  # a file system without links
                shutil.copy2(part, name)
                sync_file(name)
    sync_folder(file.parent)
    return kept
