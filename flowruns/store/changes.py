"""Who waits for changes: those who ask the same share one read, and many commits share one wake-up."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from flowruns.sqlite.connection import Failed, call_soon
from flowruns.store.filters import Where
from flowruns.store.reads import Changes

Subscription = tuple[Where, int]  # what has changed of these runs, after this number?

_REST_SECONDS = 0.02  # between two reads for commits: nobody sees the difference, and busy writers pay for few reads

_REST_SHARE = 30  # and so many times what a read takes, so that many different questions cost writers no more

_MOST_REST_SECONDS = 0.25  # but a read that took long, on a busy machine, say, keeps nobody waiting


class ChangeNotifier:
    """Those who wait, each with its question. A question that nothing answers goes on from where it was read to, so
    that nothing is walked twice, and those who ask it need not be told.
    """

    def __init__(self, read: Callable[[Sequence[Subscription]], Awaitable[Sequence[Changes | Failed]]]) -> None:
        self._read = read
        self._asked: dict[asyncio.Future[Changes | None], Subscription] = {}
        self._unread: set[asyncio.Future[Changes | None]] = set()
        self._last = 0  # the number of the last write, when it was read last
        self._reader: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rests_until = 0.0
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None  # in which they wait

    async def after(self, where: Where, position: int, max_wait: float | None = None) -> Changes | None:
        """The next changes of *where* after number *position*; nothing found after *max_wait* seconds; None in the end.

        Raises what reading them raises, and RuntimeError where others wait in another event loop.
        """
        if self._ended:
            return None
        loop = self._adopted()
        waiter: asyncio.Future[Changes | None] = loop.create_future()
        self._asked[waiter] = where, position
        if position < self._last:
            self._ask([waiter])
        else:
            self._schedule()  # as something may have, meanwhile
        timer = None if max_wait is None else loop.call_later(max_wait, self._found_nothing, waiter)
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._asked.pop(waiter, None)
            self._unread.discard(waiter)

    def notify(self) -> None:
        """Has everybody's question read, now or after the rest: something was written. From any thread."""
        if self._loop is not None and self._asked and self._timer is None:
            call_soon(self._loop, self._schedule)

    def end(self) -> None:
        """Ends every wait, those that begin later too. From any thread."""
        self._ended = True
        if self._loop is not None:
            call_soon(self._loop, self._end)

    async def drained(self) -> None:
        """Returns once nothing is being read."""
        if self._reader is not None and self._loop is asyncio.get_running_loop():
            await asyncio.wait([self._reader])

    def _adopted(self) -> asyncio.AbstractEventLoop:
        """The running loop, in which they wait from now on. What another one left behind goes with it."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._asked and not self._loop.is_closed():
                raise RuntimeError("the followers of a store wait in one event loop")
            self._loop, self._reader, self._timer, self._rests_until = loop, None, None, 0.0
            self._asked.clear()
            self._unread.clear()
        return loop

    def _end(self) -> None:
        for waiter in self._asked:
            if not waiter.done():
                waiter.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        if self._loop is not None and self._asked and self._timer is None and not self._ended:
            self._timer = self._loop.call_later(max(0, self._rests_until - self._loop.time()), self._ask_all)

    def _found_nothing(self, waiter: "asyncio.Future[Changes | None]") -> None:
        if not waiter.done():
            position = self._asked[waiter][1]
            waiter.set_result(Changes((), position, position))

    def _ask_all(self) -> None:
        self._timer = None
        self._ask(self._asked)

    def _ask(self, waiters: Iterable["asyncio.Future[Changes | None]"]) -> None:
        self._unread.update(waiters)
        if self._reader is None and self._unread:
            self._reader = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        """Reads until every question is."""
        loop = asyncio.get_running_loop()
        try:
            while self._unread:
                began = loop.time()
                waiters, self._unread = self._unread, set()
                questions = list({self._asked[waiter] for waiter in waiters})
                answers = dict(zip(questions, await self._outcomes(questions), strict=True))
                for waiter in waiters & self._asked.keys():
                    self._tell(waiter, answers[self._asked[waiter]])
                ended = loop.time()
                rest = max(_REST_SECONDS, _REST_SHARE * (ended - began))
                self._rests_until = ended + min(rest, _MOST_REST_SECONDS)
        finally:
            self._reader = None

    async def _outcomes(self, questions: Sequence[Subscription]) -> Sequence[Changes | Failed]:
        try:
            return await self._read(questions)
        except Exception as error:
            return [Failed(error)] * len(questions)

    def _tell(self, waiter: "asyncio.Future[Changes | None]", answer: Changes | Failed) -> None:
        if waiter.done():
            return
        if isinstance(answer, Failed):
            waiter.set_exception(answer.error)
            return
        self._last = answer.last
        if answer.found or answer.position < self._asked[waiter][1]:
            waiter.set_result(answer)
            return
        self._asked[waiter] = self._asked[waiter][0], answer.position
        if answer.position < answer.last:
            self._unread.add(waiter)
