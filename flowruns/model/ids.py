"""Ids for runs whose makers gave none (RFC 9562 5.7)."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RANDOM_BITS = 74

_STEP_BITS = 32  # ids of one millisecond count on by a random step, so that they are not guessed from each other


class Uuid7:
    """Calling it gives the next UUIDv7 as text: each is above the one before, whatever the clock does."""

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._millisecond = 0
        self._tail = 0

    def __call__(self, now: datetime) -> str:
        """The id of a run that is made *now*."""
        millisecond = (now - _EPOCH) // timedelta(milliseconds=1)
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            self._tail = self._bits(_RANDOM_BITS - 1)  # the upper half is left to count on into
        else:
            self._tail += 1 + self._bits(_STEP_BITS)
        high, low = divmod(self._tail, 1 << 62)
        return str(UUID(int=self._millisecond << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))

    def _bits(self, count: int) -> int:
        return int.from_bytes(self._random(10)) >> (80 - count)
