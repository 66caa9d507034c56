"""The settings of connections: durability, checkpoints and caches."""

import sqlite3

from flowruns.settings import Synchronous

CACHE_KIB = 8192

PAGES_CACHE_KIB = 24576  # holds 10,000 runs, so that pages of them need no system call

BULK_CACHE_KIB = 65536  # holds the ends of the indexes, which an import of 1,000,000 runs changes all the time

MAX_WAL_BYTES = 32 * 1024 * 1024  # the larger, the more changes of a page one checkpoint writes at once


def set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    """Sets how long a statement waits for another program's lock."""
    connection.execute(f"pragma busy_timeout = {int(seconds * 1000)}")


def set_cache_size(connection: sqlite3.Connection, kib: int) -> None:
    """Sets the size of the page cache."""
    connection.execute(f"pragma cache_size = {-kib}")


def set_temporary_in_memory(connection: sqlite3.Connection) -> None:
    """Keeps temporary tables in memory, and the pages that undo a failed statement. SQLite would write those of a batch
    to a file that it creates and removes, which cost 13 % of a mixed load. Removes all temporary tables.
    """
    connection.execute("pragma temp_store = memory")


def set_read_only(connection: sqlite3.Connection) -> None:
    """Makes writes fail, and turns off checkpoints."""
    connection.execute("pragma query_only = 1")
    connection.execute("pragma wal_autocheckpoint = 0")  # before SQLite 3.51.3 only one connection may checkpoint


def set_exclusive(connection: sqlite3.Connection) -> None:
    """Locks the file from the first read on, against all other connections. Before anything is read."""
    connection.execute("pragma locking_mode = exclusive")


def set_durable(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    """Sets how checkpoints wait for the disk, and how large the WAL grows. A commit does not wait: with "full",
    `Flusher` flushes the WAL after it.
    """
    connection.execute("pragma synchronous = normal")
    connection.execute(f"pragma fullfsync = {synchronous == 'full'}")  # on macOS, fsync ends in the drive's cache
    page_size: int = connection.execute("pragma page_size").fetchone()[0]
    connection.execute(f"pragma wal_autocheckpoint = {MAX_WAL_BYTES // page_size}")
    connection.execute(f"pragma journal_size_limit = {MAX_WAL_BYTES}")  # the size of the WAL file after a checkpoint
