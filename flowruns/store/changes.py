"""Notification of subscribers about changes: equal subscriptions share a read, and so do commits at short intervals."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import itemgetter

from flowruns.sqlite.connection import Failed, call_soon
from flowruns.store.filters import Where
from flowruns.store.holdings import Holdings
from flowruns.store.reads import Changes

Subscription = tuple[Where, int]  # the changes of these runs after this number

_MAX_PER_READ = 8  # distinct subscriptions: new streams wait for a read that has started

_DEBOUNCE_SECONDS = 0.02  # between two reads after commits: unnoticeable, and many commits cost few reads

_DEBOUNCE_FACTOR = 30  # times the duration of a read, so that many different subscriptions do not slow down writers

_MAX_DEBOUNCE_SECONDS = 0.25  # so that a slow read, on a busy machine, does not delay changes for long


class ChangeNotifier:
    """Futures of subscribers, each with its subscription. If a read finds no change, the subscription moves on to the
    position that was read to: nothing is scanned twice, and no subscriber is woken.
    """

    def __init__(self, read: Callable[[Sequence[Subscription]], Awaitable[Sequence[Changes | Failed]]]) -> None:
        self._read = read
        self._subscriptions: dict[asyncio.Future[Changes | None], Subscription] = {}
        self._holdings: dict[asyncio.Future[Changes | None], Holdings | None] = {}
        self._unread: set[asyncio.Future[Changes | None]] = set()
        self._last = 0  # number of the last write, as of the last read
        self._written = True  # since the last read; then a subscriber of its number has nothing to read
        self._reader: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_read = 0.0  # the time of the loop before which no read for commits starts
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None  # of the futures

    async def wait(
        self, where: Where, position: int, max_wait: float | None = None, holdings: Holdings | None = None
    ) -> Changes | None:
        """The next changes of *where* after number *position* , as *holdings* selects them; empty after *max_wait*
        seconds; None after `end`.

        Raises what reading them raises, and RuntimeError if subscribers are waiting in another event loop.
        """
        if self._ended:
            return None
        loop = self._use_running_loop()
        future: asyncio.Future[Changes | None] = loop.create_future()
        self._subscriptions[future] = where if holdings is None else holdings.scope(where), position
        self._holdings[future] = holdings
        if position < self._last:
            self._start_read([future])
        elif self._written or self._reader is not None:
            self._schedule_read()
        timer = None if max_wait is None else loop.call_later(max_wait, self._time_out, future)
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            self._subscriptions.pop(future, None)
            self._holdings.pop(future, None)
            self._unread.discard(future)

    def notify(self) -> None:
        """Schedules a read for all subscribers, as something was written. From any thread."""
        self._written = True
        if self._loop is not None and self._subscriptions and self._timer is None:
            call_soon(self._loop, self._schedule_read)

    def end(self) -> None:
        """Resolves all futures with None, also those of later calls. From any thread."""
        self._ended = True
        if self._loop is not None:
            call_soon(self._loop, self._end)

    async def drain(self) -> None:
        """Returns once no read is under way."""
        if self._reader is not None and self._loop is asyncio.get_running_loop():
            await asyncio.wait([self._reader])

    def _use_running_loop(self) -> asyncio.AbstractEventLoop:
        """The running loop, after the state of a previous one was dropped."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._subscriptions and not self._loop.is_closed():
                raise RuntimeError("changes of a store can be awaited in one event loop at a time")
            self._loop, self._reader, self._timer, self._next_read, self._written = loop, None, None, 0.0, True
            self._subscriptions.clear()
            self._holdings.clear()
            self._unread.clear()
        return loop

    def _end(self) -> None:
        for future in self._subscriptions:
            if not future.done():
                future.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule_read(self) -> None:
        if self._loop is not None and self._subscriptions and self._timer is None and not self._ended:
            self._timer = self._loop.call_later(max(0, self._next_read - self._loop.time()), self._read_all)

    def _time_out(self, future: "asyncio.Future[Changes | None]") -> None:
        if not future.done():
            position = self._subscriptions[future][1]
            future.set_result(Changes((), position, position))

    def _read_all(self) -> None:
        self._timer = None
        self._start_read(self._subscriptions)

    def _start_read(self, futures: Iterable["asyncio.Future[Changes | None]"]) -> None:
        self._unread.update(futures)
        if self._reader is None and self._unread:
            self._reader = asyncio.create_task(self._read_unread())

    async def _read_unread(self) -> None:
        """Reads until no subscription is unread."""
        loop = asyncio.get_running_loop()
        try:
            while self._unread:
                began = loop.time()
                subscriptions = self._next_subscriptions()
                futures = {future for future in self._unread if self._subscriptions[future] in subscriptions}
                self._unread -= futures
                self._written = False  # not earlier: all who were to read may leave before the read begins
                outcomes = dict(zip(subscriptions, await self._outcomes(subscriptions), strict=True))
                self._note_last(outcomes.values())
                for future in futures & self._subscriptions.keys():
                    self._resolve(future, outcomes[self._subscriptions[future]])
                ended = loop.time()
                debounce = max(_DEBOUNCE_SECONDS, _DEBOUNCE_FACTOR * (ended - began))
                self._next_read = ended + min(debounce, _MAX_DEBOUNCE_SECONDS)
        finally:
            self._reader = None

    def _next_subscriptions(self) -> list[Subscription]:
        """The unread subscriptions of the next read. Those that are nearly up to date come first: a read of the past
        scans thousands of numbers.
        """
        distinct = {self._subscriptions[future] for future in self._unread}
        return sorted(distinct, key=itemgetter(1), reverse=True)[:_MAX_PER_READ]

    async def _outcomes(self, subscriptions: Sequence[Subscription]) -> Sequence[Changes | Failed]:
        try:
            return await self._read(subscriptions)
        except Exception as error:
            return [Failed(error)] * len(subscriptions)

    def _note_last(self, outcomes: Iterable[Changes | Failed]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                self._written = True
            else:
                self._last = outcome.last

    def _resolve(self, future: "asyncio.Future[Changes | None]", outcome: Changes | Failed) -> None:
        """Resolves *future*, or moves its subscription on if nothing was found for it."""
        if future.done():
            return
        if isinstance(outcome, Failed):
            future.set_exception(outcome.error)
            return
        where, position = self._subscriptions[future]
        holdings = self._holdings[future]
        selected = outcome if holdings is None else holdings.select(outcome)
        if selected.found or selected.position < position:
            future.set_result(selected)
            return
        self._subscriptions[future] = where, outcome.position
        if outcome.position < outcome.last:
            self._unread.add(future)
