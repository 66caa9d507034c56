"""The clock and the ids of a test's server."""

import random
from datetime import UTC, datetime, timedelta
from threading import Lock

from flowruns.model.datetimes import parse_datetime
from flowruns.model.ids import Uuid7


class Clock:
    """The time, which a test may stop and set. Calling it tells it, and moves it on by its step."""

    def __init__(self) -> None:
        self._lock = Lock()  # the store asks on a thread of its own
        self._now: datetime | None = None
        self._step = timedelta()

    def freeze(self, time: str | datetime | None, step_ms: int = 0) -> None:
        """It is *time* (RFC 3339) from now on, and *step_ms* milliseconds later each time it tells; None: it runs."""
        now = datetime.fromisoformat(parse_datetime(time)) if isinstance(time, str) else time
        if now is not None and now.tzinfo is None:
            raise ValueError("a time has a zone: datetime(…, tzinfo=UTC)")
        with self._lock:
            self._now, self._step = now, timedelta(milliseconds=step_ms)

    def tick(self, seconds: float) -> None:
        """It is *seconds* later. Raises RuntimeError where it runs by itself."""
        with self._lock:
            if self._now is None:
                raise RuntimeError("freeze the clock before it can tick")
            self._now += timedelta(seconds=seconds)

    @property
    def now(self) -> datetime:
        """The time; the look at it changes nothing."""
        with self._lock:
            return self._now or datetime.now(UTC)

    def __call__(self) -> datetime:
        """The time."""
        with self._lock:
            now = self._now
            if now is None:
                return datetime.now(UTC)
            self._now = now + self._step
            return now


class Ids:
    """UUIDv7 whose random bits come from a seed: of two test runs at the same frozen times they are the same."""

    def __init__(self) -> None:
        self._lock = Lock()  # the store makes ids on a thread of its own, a test on another
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Begins anew with *seed*."""
        with self._lock:
            self._next = Uuid7(random.Random(seed).randbytes)

    def __call__(self, now: datetime) -> str:
        """The id of a run that is made *now*."""
        with self._lock:
            return self._next(now)
