"""Ids for runs that are created without one: UUIDv7 (RFC 9562 5.7)."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RANDOM_BITS = 74

_STEP_BITS = 32  # ids of one millisecond differ by a random step, so that one cannot be guessed from another


class Uuid7:
    """Generates UUIDv7s as text, each above the one before even when the clock goes back."""

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._millisecond = 0
        self._tail = 0

    def __call__(self, now: datetime) -> str:
        """The id of a run that is created *now*."""
        millisecond = (now - _EPOCH) // timedelta(milliseconds=1)
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            self._tail = self._bits(_RANDOM_BITS - 1)  # the top bit is 0, so that steps do not overflow
        else:
            self._tail += 1 + self._bits(_STEP_BITS)
        high, low = divmod(self._tail, 1 << 62)
        return str(UUID(int=self._millisecond << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))

    def _bits(self, count: int) -> int:
        return int.from_bytes(self._random(10)) >> (80 - count)
