"""The clock and the run ids of a test server."""

import random
from datetime import UTC, datetime, timedelta
from threading import Lock

from flowruns.model.datetimes import parse_datetime
from flowruns.model.ids import Uuid7
from flowruns.testing.arguments import check_number

__tracebackhide__ = True  # pytest shows the line of the test instead


class Clock:
    """A clock that a test may freeze. Each call returns the time, and advances a frozen clock by its step."""

    def __init__(self) -> None:
        self._lock = Lock()  # the store reads the clock on its own thread
        self._now: datetime | None = None
        self._step = timedelta()

    def freeze(self, time: str | datetime | None, step_ms: int = 0) -> None:
        """Stops the clock at *time* (RFC 3339); each call then advances it by *step_ms* milliseconds. None: the clock
        runs again.
        """
        if not isinstance(time, str | datetime | None):
            raise TypeError(f"time must be a text (RFC 3339) or a datetime with a time zone, not {time!r}")
        check_number("step_ms", step_ms, 0)
        now = datetime.fromisoformat(parse_datetime(time)) if isinstance(time, str) else time
        if now is not None and now.tzinfo is None:
            raise ValueError("the time needs a time zone: datetime(…, tzinfo=UTC)")
        with self._lock:
            self._now, self._step = now, timedelta(milliseconds=step_ms)

    def tick(self, seconds: float) -> None:
        """Advances the frozen clock. Raises RuntimeError if it is not frozen."""
        with self._lock:
            if self._now is None:
                raise RuntimeError("tick() needs a frozen clock: call freeze(time) first")
            self._now += timedelta(seconds=seconds)

    @property
    def is_frozen(self) -> bool:
        """Whether the clock stands still."""
        with self._lock:
            return self._now is not None

    @property
    def now(self) -> datetime:
        """The time; reading it does not advance the clock."""
        with self._lock:
            return self._now or datetime.now(UTC)

    def __call__(self) -> datetime:
        """The time; a frozen clock then advances by its step."""
        with self._lock:
            now = self._now
            if now is None:
                return datetime.now(UTC)
            self._now = now + self._step
            return now


class Ids:
    """UUIDv7 with random bits from a seed: the same seed and the same times give the same ids."""

    def __init__(self) -> None:
        self._lock = Lock()  # the store makes ids on its own thread, a test on another
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Restarts the sequence with *seed*."""
        with self._lock:
            self._next = Uuid7(random.Random(seed).randbytes)

    def __call__(self, now: datetime) -> str:
        """The id of a run that is created at *now*."""
        with self._lock:
            return self._next(now)
