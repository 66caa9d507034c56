"""The numbers of writes: where an opening of a database begins, so that no copy of the file gives a number again.

A copy that is put back has lost the last writes of the original, but clients still have their numbers, as ETags and as
positions in streams. They must fit no later write.
"""

import sqlite3
import time
from collections.abc import Callable
from secrets import randbelow

StartAfter = Callable[[int], int]  # the number after which an opening begins, by the last one in the file

_LIMIT = 2**53  # JavaScript reads integers exactly up to here

_LATEST = 2**52  # a time in microseconds; a clock that is later, in 2112, is wrong


def start_after(last: int, clock: Callable[[], int] = time.time_ns) -> int:
    """The number after which the writes of an opening begin, if the file ends with number *last*: a random one above
    *last* and above the time of *clock* (in nanoseconds, here in microseconds).

    Over 10**11 numbers are possible, so an opening hardly ever meets the numbers that its copy has lost, even if the
    clock stands or goes back: with a million lost writes, once in 100,000 restores. If the clock goes on, a restore of
    an older copy begins above all of them, unless it was opened many times.
    """
    now = clock() // 1000
    floor = max(last, now if now < _LATEST else 0)
    choices = max(1, (_LIMIT - floor) >> 16)  # a share of the numbers left, so that they never run out
    return floor + 1 + randbelow(choices)


def count_on(last: int) -> int:
    """As `StartAfter`: the numbers of writes go on where the file ends, and are 1, 2, 3 in a new one. For tests."""
    return last


def last_number(connection: sqlite3.Connection) -> int:
    """The number of the last write that was committed."""
    seq: int = connection.execute("select seq from sequence").fetchone()[0]
    return seq


def skip(connection: sqlite3.Connection, last: int, start: int) -> None:
    """Records, in the open transaction, that the numbers between *last* and *start* are those of no write."""
    if start > last + 1:
        connection.execute("insert into skipped values (?, ?)", (last + 1, start - 1))


def is_skipped(connection: sqlite3.Connection, number: int) -> bool:
    """Whether *number* was skipped: if a client has it, then from another copy of the file."""
    sql = "select last from skipped where first <= ? order by first desc limit 1"
    row = connection.execute(sql, (number,)).fetchone()
    return row is not None and bool(number <= row[0])


def set_start(connection: sqlite3.Connection, start: int) -> None:
    """Sets the number after which the writes of this *connection* begin, if the file has no higher one. It is in a
    temporary table, `opening`, so an opening without a write changes nothing.
    """
    connection.execute("create temp table if not exists opening (start integer)")
    connection.execute("delete from opening")
    connection.execute("insert into opening values (?)", (start,))


def first_number(connection: sqlite3.Connection) -> int:
    """The number after which the writes of *connection* begin."""
    start: int = connection.execute("select start from opening").fetchone()[0]
    return start
