"""The numbers of two openings of a file, or of its copies, never meet, whatever the clock says."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flowruns.sqlite.migrations import prepare
from flowruns.sqlite.numbers import is_skipped, set_start, skip, start_after

TODAY = int(datetime(2026, 11, 28, tzinfo=UTC).timestamp()) * 10**6  # microseconds
JAVASCRIPT_LIMIT = 2**53


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A new database, whose numbers begin at 100."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        prepare(connection, start_after=lambda last: 100)
        yield connection


def at(microseconds: int, last: int) -> int:
    return start_after(last, lambda: microseconds * 1000)


@pytest.mark.parametrize(
    ("now", "last"),
    [(TODAY, 0), (TODAY, 502), (TODAY - 3600 * 10**6, TODAY), (0, TODAY), (TODAY, TODAY), (-1, 7), (2**52, TODAY),
     (2**63, 0), (0, 2**52)],
    ids=["new", "migrated", "an hour back", "1970", "the same time", "before 1970", "2112", "later", "years ahead"],
)  # fmt: skip
def test_opening_begins_far_above_the_last_number(now: int, last: int) -> None:
    starts = {at(now, last) for _ in range(1000)}
    assert len(starts) == 1000
    assert min(starts) > last
    assert max(starts) - min(starts) > 2**34
    assert max(starts) < JAVASCRIPT_LIMIT


def test_opening_begins_above_the_time_in_microseconds_and_within_two_days() -> None:
    assert all(
        TODAY < at(TODAY, last) < TODAY + 2 * 86_400 * 10**6 for last in (0, 502, TODAY - 1) for _ in range(1000)
    )


def test_numbers_stay_exact_in_javascript_however_often_a_file_is_opened() -> None:
    last = 0
    for _ in range(200_000):
        before, last = last, at(TODAY, last) + 1
        assert before < last < JAVASCRIPT_LIMIT


def test_openings_of_copies_do_not_meet_whatever_the_clock_says(chance: random.Random) -> None:
    for _ in range(20):
        now = TODAY
        ends = [0]  # the last number of each copy
        given: set[int] = set()
        for _ in range(20):
            now += chance.choice([1_000_000, 0, -3600 * 10**6])
            start = at(now, chance.choice(ends))
            numbers = range(start + 1, start + 50)
            assert given.isdisjoint(numbers)
            given.update(numbers)
            ends += [numbers[0], numbers[20], numbers[-1]]


def test_skipped_numbers_are_those_between_two_writes(connection: sqlite3.Connection) -> None:
    skip(connection, 102, 200)
    skip(connection, 200, 201)  # none between them
    skip(connection, 300, 200)  # later in the same opening
    assert [number for number in range(400) if is_skipped(connection, number)] == [*range(1, 100), *range(103, 200)]
    assert connection.execute("select count(*) from skipped").fetchone() == (2,)


def test_opening_without_a_write_changes_nothing(path: Path) -> None:
    for time in (TODAY, TODAY + 1, TODAY + 2):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            prepare(connection, start_after=lambda last, time=time: 100 if last == 0 else time)
            set_start(connection, time)
            assert connection.execute("select seq from sequence").fetchone() == (100,)
            assert connection.execute("select * from skipped").fetchall() == [(1, 99)]
