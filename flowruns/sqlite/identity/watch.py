"""The file of an open database: whether another program has removed, replaced or overwritten it."""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flowruns.errors import Unavailable
from flowruns.sqlite.datafile import FILE_HEADER_SIZE, has_our_id, has_wal, read_at
from flowruns.sqlite.identity.ownership import (
    WAL_MODE,
    WalNote,
    number_in,
    page_state,
    set_aside,
    state_page,
)
from flowruns.sqlite.identity.pages import page_size, wal_images, wal_path
from flowruns.sqlite.lockfile import Lock
from flowruns.sqlite.numbers import first_number, last_number
from flowruns.sqlite.wal import SizeWarning

log = logging.getLogger("flowruns")

_READS = 2  # a page that SQLite writes meanwhile may be read by half

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)

_Signature = tuple[int, int, int, int, int]  # device, inode, times, size: differs after each write to the file

_SALTS_OFFSET, _SALTS_SIZE = 16, 8  # in the header of a WAL


class Watch:
    """The watch of a database in memory, which no other program can touch."""

    def check(self, connection: sqlite3.Connection | None = None) -> None:
        """Raises Unavailable if the file was removed, replaced or overwritten, or its lock file was, or if a flush has
        failed. From any thread; on that of *connection* before it begins a transaction.
        """

    def check_content(self) -> None:
        """Raises Unavailable if `check` has found that the file was overwritten, or if a flush has failed."""

    def committed(self) -> None:
        """Notes the state of the file if the last commit began a new WAL. After a transaction."""

    def restarted(self) -> None:
        """Stops the comparison of numbers, which begin anew."""


class FileWatch(Watch):
    """The state of an open database in its *file*, read through *handle*; notes in *lock* when a WAL begins.

    Only checkpoints write to the file, and they never decrease the number of the last write there.
    """

    def __init__(self, file: Path, lock: Lock, handle: int) -> None:
        opened = os.fstat(handle)
        self._file, self._lock, self._handle = file, lock, handle
        self._identity = (opened.st_dev, opened.st_ino)
        self._wal_size = SizeWarning(file)
        self._mutex = threading.Lock()
        self._overwritten = self._flush_failed = False
        self._page, self._page_size, self._key = 0, 0, b""
        self._seq: int | None = None  # in the file; None: not known, as its state is only in the WAL so far
        self._ordered = True
        self._last_at_begin = self._start = 0  # no write has a number between them
        self._seen: dict[bool, _Signature] = {}  # when it was compared, without and with the last commit
        self._wal_handle: int | None = None
        self._salts = b""
        self._keeper: sqlite3.Connection | None = None
        self._was_served = False

    def begin(self, connection: sqlite3.Connection, key: bytes) -> None:
        """Begins to watch the state of the database *key*, once *connection* has opened it."""
        self._page, self._key = state_page(connection), key
        self._page_size = connection.execute("pragma page_size").fetchone()[0]
        self._salts = self._read_salts()
        self._last_at_begin, self._start = last_number(connection), first_number(connection)
        state = page_state(self._read_page())
        self._ordered = state is None or state.seq <= self._last_at_begin  # else numbers began anew in the WAL
        self.check(connection)

    def check(self, connection: sqlite3.Connection | None = None) -> None:
        """As in `Watch`."""
        try:
            status = os.stat(self._file)
        except OSError:
            raise gone() from None
        signature = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        if signature != self._seen.get(connection is not None):
            if signature[:2] != self._identity:
                raise gone()
            self._compare(signature, connection)
        self.check_content()
        self._lock.check()
        if connection is not None:
            self._wal_size.look()

    def check_content(self) -> None:
        """As in `Watch`."""
        if self._overwritten:
            raise overwritten()
        if self._flush_failed:
            raise not_flushed()

    def flush_failed(self, error: OSError) -> None:
        """Refuses all that follows, as the last writes can be read, but may not be on the disk. From any thread."""
        self._flush_failed = True
        log.error(
            "%s cannot be flushed: %s; requests are refused until a restart", wal_path(self._file), error.strerror
        )

    def committed(self) -> None:
        """As in `Watch`."""
        salts = self._read_salts()
        if salts == self._salts:
            return
        self._salts = salts
        with self._mutex, suppress(OSError):
            state = page_state(self._read_page())
            first = next(wal_images(wal_path(self._file), self._page), None)
            # Else a checkpoint has overwritten the state already, or it was in the previous WAL alone.
            if state and state.key == self._key and (first is None or state.seq < number_in(first)):
                self._lock.keep(WalNote(salts, self._page, state.key, state.seq).text())

    def restarted(self) -> None:
        """As in `Watch`."""
        self._ordered = False

    def keep_wal(self) -> bool:
        """Returns whether the file was overwritten, or a flush of the WAL has failed. Then, as the other connections
        close, SQLite does not copy the WAL into the file: it takes the WAL for what it has written there.
        """
        self._was_served = True
        self._close_wal()  # on Windows, SQLite could not remove it
        with suppress(Unavailable):
            self.check()
        keep = self._overwritten or self._flush_failed
        if self._overwritten and not os.fstat(self._handle).st_size:
            self._set_aside()  # a connection that opens an empty file removes its WAL
        if keep:
            with suppress(sqlite3.Error):
                # The last connection to close; it cannot write.
                self._keeper = sqlite3.connect(f"{self._file.as_uri()}?mode=ro", uri=True, check_same_thread=False)
                self._keeper.execute("begin")
                self._keeper.execute("select count(*) from sqlite_schema").fetchone()
        return keep

    def close(self) -> None:
        """Stops to watch, after all connections were closed, and sets the WAL of an overwritten file aside."""
        if self._keeper is not None:
            self._keeper.close()
        self._close_wal()
        if self._overwritten and has_wal(self._file):
            self._set_aside()
        # Else a start has failed, and what a killed server has noted stays true.
        if self._was_served and not self._flush_failed:
            self._lock.keep("")  # a WAL that stays is kept by another program, which closes it

    def _close_wal(self) -> None:
        if self._wal_handle is not None:
            os.close(self._wal_handle)
            self._wal_handle = None

    def _set_aside(self) -> None:
        try:
            set_aside(self._file, "the database was overwritten while it was open")
        except OSError as error:
            log.error("%s belongs to another file, and cannot be renamed: %s", wal_path(self._file), error.strerror)

    def _compare(self, signature: _Signature, connection: sqlite3.Connection | None) -> None:
        """Finds out whether a checkpoint has written to the file, or another program has overwritten it."""
        with self._mutex:
            if self._overwritten:
                return
            try:
                foreign = all(self._is_foreign(connection) for _ in range(_READS))
            except OSError:
                return  # it cannot be read; what SQLite reads and writes fails, too
            if foreign:
                self._overwritten = True
                log_overwritten(self._file)
            else:
                self._seen[connection is not None] = signature

    def _is_foreign(self, connection: sqlite3.Connection | None) -> bool:
        header = read_at(self._handle, FILE_HEADER_SIZE, 0)
        if not has_our_id(header) or header[18:20] != WAL_MODE or page_size(header) != self._page_size:
            return True
        page = self._read_page()
        state = page_state(page)
        if self._seq is not None and self._key not in page:
            return True
        if state is None or state.key != self._key:
            return False
        if self._ordered and self._seq is not None and state.seq != self._seq:
            if state.seq < self._seq or self._last_at_begin < state.seq < self._start:
                return True
            if connection is not None and state.seq > last_number(connection):
                return True
        self._seq = state.seq
        return False

    def _read_page(self) -> bytes:
        return read_at(self._handle, self._page_size, (self._page - 1) * self._page_size)

    def _read_salts(self) -> bytes:
        """The salts of the WAL; empty if there is none."""
        with suppress(OSError):
            if self._wal_handle is None:
                self._wal_handle = os.open(wal_path(self._file), _READ)
            return read_at(self._wal_handle, _SALTS_SIZE, _SALTS_OFFSET)
        return b""


def gone() -> Unavailable:
    """The error once the file is no longer at its path."""
    return Unavailable("The database file was removed or replaced; restart flowruns")


def overwritten() -> Unavailable:
    """The error once another program has written to the file."""
    return Unavailable("The database file was overwritten; restart flowruns")


def not_flushed() -> Unavailable:
    """The error once a flush has failed."""
    return Unavailable("The disk failed to store the last writes; restart flowruns")


def log_overwritten(file: Path) -> None:
    """Logs that requests get the error of `overwritten` from now on."""
    log.error("%s was overwritten by another program; requests are refused until a restart", file)


@contextmanager
def watched(file: Path, lock: Lock) -> Iterator[FileWatch]:
    """The watch of *file*, which is opened now, and closed after all connections to it: to close it earlier would drop
    SQLite's locks.
    """
    handle = os.open(file, _READ)
    try:
        watch = FileWatch(file, lock, handle)
        try:
            yield watch
        finally:
            watch.close()
    finally:
        os.close(handle)
