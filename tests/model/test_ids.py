"""Generated ids."""

import os
import random
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest

from flowruns.model.ids import Uuid7

NOW = datetime(2025, 1, 20, 18, 53, 3, 558000, UTC)


def test_id_is_a_uuid_of_version_7() -> None:
    text = Uuid7()(NOW)
    assert text == str(UUID(text))  # lower case, so it matches the pattern of ids
    assert (UUID(text).version, UUID(text).variant) == (7, RFC_4122)


def test_id_contains_the_millisecond_of_its_creation(chance: random.Random) -> None:
    epoch, milliseconds = datetime(1970, 1, 1, tzinfo=UTC), sorted(chance.sample(range(10**12, 2 * 10**12), 2000))
    make = Uuid7()
    for number in milliseconds:
        made = UUID(make(epoch + timedelta(milliseconds=number)))
        assert made.int >> 80 == number


@pytest.mark.parametrize("random_bytes", [os.urandom, lambda count: b"\x00" * count, lambda count: b"\xff" * count])
def test_each_id_is_above_the_one_before_whatever_the_clock_does(random_bytes, chance: random.Random) -> None:  # type: ignore[no-untyped-def]  # any source of bytes
    make = Uuid7(random_bytes)
    ids = [make(NOW + timedelta(milliseconds=chance.randint(-50, 50))) for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert {UUID(id).version for id in ids} == {7}


def test_ids_of_one_millisecond_are_not_neighbours() -> None:
    make = Uuid7()
    ids = [UUID(make(NOW)).int for _ in range(100)]
    steps = {after - before for before, after in zip(ids, ids[1:], strict=False)}
    assert len(steps) == 99


def test_two_servers_make_different_ids() -> None:
    assert len({Uuid7()(NOW) for _ in range(100)}) == 100


@pytest.mark.parametrize("moment", [datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)])
def test_clock_that_is_far_off_still_gives_ids(moment: datetime) -> None:
    assert UUID(Uuid7()(moment)).version == 7
