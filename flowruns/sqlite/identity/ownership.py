"""Whether a left-over WAL belongs to the database beside it.

A server that was killed leaves a WAL with acknowledged writes, which the next start has to recover. If another file was
put in the place of the database meanwhile, SQLite would recover them into that file, and damage it. A WAL says nothing
about its database. So a server notes in its lock file, which a kill leaves behind, the state of the database when
the WAL began (`WalNote`).

The state of a database is the row of `sequence`: its key never changes, its number grows with each write, and each
write of flowruns puts its page into the WAL. A checkpoint, even an interrupted one, leaves this page in the database
either as it was when the WAL began, or as it is in the WAL. Any other content is proof that the WAL is of another file.
Without proof, the WAL belongs to the database: an acknowledged write must not be set aside.
"""

import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode

from flowruns.errors import DatabaseUnusable
from flowruns.sqlite.atomic_files import sync_folder
from flowruns.sqlite.datafile import FILE_HEADER_SIZE, check_header, has_wal
from flowruns.sqlite.identity.pages import only_row, page_size, read_wal_header, wal_images, wal_path

log = logging.getLogger("flowruns")

WAL_MODE = b"\2\2"  # at byte 18 of the header


class State(NamedTuple):
    """The state of a database: which one it is, and the number of its last write."""

    key: bytes
    seq: int


class WalNote(Struct, frozen=True):
    """The WAL with these *salts* began when the database had the state *key* and *seq*, on *page*."""

    salts: bytes
    page: int
    key: bytes
    seq: int

    def text(self) -> str:
        """The note as a line."""
        return encode(self).decode()


def state_page(connection: sqlite3.Connection) -> int:
    """The number of the page that has the state of the database."""
    page: int = connection.execute("select rootpage from sqlite_schema where name = 'sequence'").fetchone()[0]
    return page


def number_in(page: bytes) -> int:
    """The number in *page*; 0 if it is another page."""
    state = page_state(page)
    return state.seq if state else 0


def page_state(page: bytes) -> State | None:
    """The state in *page*; None if it is another page."""
    match only_row(page):
        case [int(seq), int(), bytes(key), *_]:
            return State(key, seq)
    return None


def foreign_wal(file: Path, note: str) -> str | None:
    """The reason if the WAL beside *file* is certainly not of it; None if it is, or may be. *note* is that of the lock
    file. SQLite must not have *file* open in this process. Raises OSError.
    """
    wal = read_wal_header(wal_path(file))
    if wal is None:
        return None
    with file.open("rb") as opened:
        header = opened.read(FILE_HEADER_SIZE)
        if len(header) < FILE_HEADER_SIZE:
            return "the database is empty"
        if header[18:20] != WAL_MODE:  # set before the first WAL, and kept
            return "the database is a copy that was never used"
        if page_size(header) != wal.page_size:
            return "the pages of the database have another size"
        noted = _decode(note)
        if noted is None or noted.salts != wal.salts:
            return None
        opened.seek((noted.page - 1) * wal.page_size)
        page = opened.read(wal.page_size)
    return None if page in wal_images(wal_path(file), noted.page) else _contradiction(page, noted)


def _decode(note: str) -> WalNote | None:
    with suppress(DecodeError):
        return decode(note, type=WalNote)
    return None


def _contradiction(page: bytes, noted: WalNote) -> str | None:
    """The reason why *page* of a database is not the one that was *noted*."""
    if noted.key not in page:
        return "the database is another one"
    state = page_state(page)
    if state is None or state.key != noted.key:  # half of it was written when the power failed
        return None
    if state.seq == noted.seq:
        return None
    return f"the database is {'an older' if state.seq < noted.seq else 'a newer'} copy"


def check_files(file: Path, note: str) -> None:
    """Raises DatabaseUnusable unless *file* is an empty file or a database of flowruns. Renames a WAL beside it that is
    certainly not of it, and logs the new name. The caller has the lock, with the *note* of the previous holder.
    """
    check_header(file)
    if not has_wal(file):
        return
    try:
        reason = foreign_wal(file, note)
        if reason is not None:
            set_aside(file, reason)
            check_header(file)  # which cannot say whether a file is complete while it has a WAL
    except OSError as error:
        raise DatabaseUnusable(f"{wal_path(file)} cannot be used: {error.strerror}") from None


def set_aside(file: Path, reason: str) -> None:
    """Renames the WAL beside *file*, and logs *reason* and the new name. Raises OSError."""
    wal = wal_path(file)
    kept = free_name(wal.with_name(f"{wal.name}.aside"))
    wal.rename(kept)
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)  # the index of the WAL
    sync_folder(file.parent)
    log.warning("%s belongs to another file (%s); it is now %s", wal, reason, kept.name)


def free_name(path: Path, ends: tuple[str, ...] = ("",)) -> Path:
    """*path*, with a number at its end if the name is taken, also by a file with one of these *ends* after its name."""
    free, number = path, 1
    while any(os.path.lexists(free.with_name(free.name + end)) for end in ends):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
