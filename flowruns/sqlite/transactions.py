"""Transactions of connections that nobody else uses meanwhile."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal


@contextmanager
def transaction(
    connection: sqlite3.Connection, kind: Literal["immediate", "exclusive"] = "immediate"
) -> Iterator[None]:
    """A transaction that writes: committed at the end of the block, rolled back if that raises."""
    connection.execute(f"begin {kind}")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:  # else SQLite has rolled back already
            connection.execute("rollback")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that only reads."""
    connection.execute("begin")
    try:
        yield
    finally:
        connection.execute("rollback")
