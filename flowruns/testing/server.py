"""A server for tests: clean for each of them, with its clock, its ids and its details in the test's hand.

`pytest_plugin` makes fixtures of it; elsewhere, `with flowruns.testing.serve() as runs: …`.
"""

import asyncio
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import datetime
from typing import Any

import msgspec

from flowruns.errors import AlreadyExists, ErrorDetail, Invalid, PreconditionFailed
from flowruns.http.app import create_app
from flowruns.model.cursors import CursorCodec, PageRequest
from flowruns.model.datetimes import format_datetime
from flowruns.model.plain import Run, check_fields, plain, query
from flowruns.model.preconditions import parse_precondition
from flowruns.model.runs import RunPut
from flowruns.server.running import RunningServer, running
from flowruns.settings import MEMORY, Settings
from flowruns.store.filters import ALL, Where, where
from flowruns.store.store import Page, Store
from flowruns.testing.clock import Clock, Ids
from flowruns.testing.fault_injection import FaultInjector, Injection, failure_response
from flowruns.testing.requests import RecordedRequest, RecordedRequests, RequestMatcher, assert_requests, last_lines
from flowruns.testing.samples import Json, advanced, bodies, plausible, put_body

_NEW = parse_precondition(None, "*")

_CURSOR_KEY = b"flowruns.testing"  # the same in each start, so that pages are; a file has a key of its own

_PAGE = 1000


@contextmanager
def serve(database: str | os.PathLike[str] = MEMORY, **settings: Any) -> "Iterator[Flowruns]":
    """A server on a thread of its own, while entered. *settings* are fields of `Settings`. Raises CannotStart."""
    given = Settings(**{"database": os.fspath(database), "port": 0, **settings})
    faulty, clock, ids = FaultInjector(None), Clock(), Ids()

    def make_app(store: Store, settings: Settings) -> FaultInjector:
        faulty.app = create_app(store, settings)
        return faulty

    with running(given, make_app=make_app, clock=clock, ids=ids) as server:
        if given.database == MEMORY:
            server.store.cursors = CursorCodec(_CURSOR_KEY)
        handle = Flowruns(server, given, faulty, clock, ids)
        try:
            yield handle
        finally:
            handle._end()


class Flowruns:
    """A server in a test's hand: at `url`, and with all that the test wants to know, to have and to break."""

    def __init__(
        self, server: RunningServer, settings: Settings, faulty: FaultInjector, clock: Clock, ids: Ids
    ) -> None:
        self.url = server.url
        self.store = server.store
        self._call = server.call
        self._loop = server.loop
        self._settings = settings
        self._faulty = faulty
        self._clock = clock
        self._ids = ids
        self._client: Any = None  # of this test
        self._transport: Any = None  # the connections of all of them

    def __repr__(self) -> str:
        return f"<Flowruns {self.url}>"

    # What there is

    @property
    def client(self) -> Any:
        """An `httpx.Client` whose base is `url`, a new one for each test. Raises RuntimeError without httpx."""
        if self._client is None:
            try:
                import httpx
            except ImportError:
                raise RuntimeError("flowruns.client is an httpx.Client: pip install httpx") from None
            if self._transport is None:
                self._transport = httpx.HTTPTransport(verify=False)  # no TLS here: no certificates are loaded
            self._client = httpx.Client(base_url=self.url, transport=self._transport)
        return self._client

    def get(self, id: str) -> Run:
        """The run. Raises NotFound."""
        return plain(self._call(self.store.get(id)).run)

    def dump(self) -> list[Json]:
        """Every run as the API gives it, in order of creation: for snapshots."""
        return [run for page in self._call(self._pages(ALL)) for run in json.loads(b"[%b]" % page.docs)]

    def wait(self, *, id: str | None = None, timeout: float = 5.0, **filters: Any) -> Run:
        """The first run that fits *filters*, the query parameters of a page, and *id*, as soon as there is one.

        It blocks: in an event loop, `await asyncio.to_thread(flowruns.wait, …)`. A state that lasts but milliseconds
        may be missed: `assert_called` knows it. Raises AssertionError after *timeout* seconds, with the runs that
        there are.
        """
        __tracebackhide__ = True  # pytest shows the line of the test
        chosen = _filters(filters)

        async def found() -> Run | None:
            async with asyncio.timeout(timeout), aclosing(self.store.follow(0, chosen)) as changes:
                async for change in changes:
                    if id in (None, change.id) and (run := change.run) is not None:
                        return plain(run)
            return None  # the server ends

        try:
            run = self._call(found())
        except TimeoutError:
            fitting = [run for page in self._call(self._pages(chosen)) for run in page.runs]
            run = next((plain(run) for run in fitting if id in (None, run.id)), None)  # a last look
        if run is None:
            raise AssertionError(self._nothing({"id": id, **filters}, timeout))
        return run

    # What there shall be

    def run(self, id: str | None = None, *, by: int | None = None, **fields: Any) -> Run:
        """A new run, created *by* a user, with *fields* of a PUT by their names in JSON; what is left out gets
        something plausible.

        *actions* and *logs* may be numbers: so many are made. *tags* may be a dict. Raises TypeError at a field that
        PUT does not have, Invalid at a value that it refuses, AlreadyExists.
        """
        check_fields(RunPut, fields)
        now = self._clock.now
        body = put_body({"id": id, **plausible(fields, format_datetime(now))})
        return self._call(self._create(body.id or self._ids(now), body, by))

    def seed(self, source: "int | str | os.PathLike[str] | Iterable[Mapping[str, Any]]") -> list[Run]:
        """The runs of *source*: a file with a PUT body a line, or the bodies. A number seeds the ids instead.

        Raises Invalid at the first body that the API refuses; then nothing is written.
        """
        if isinstance(source, int):
            self._ids.seed(source)
            return []
        parsed = [put_body(body, place) for place, body in bodies(source)]

        async def written() -> list[Run]:
            runs = []
            for body in parsed:  # one after the other, so that each has its look at the clock
                id = body.id or self._ids(self._clock.now)
                runs.append(plain((await self.store.put(id, body))[0].run))
            return runs

        return self._call(written())

    def advance(self, id: str, phase: str, *, by: int | None = None, **fields: Any) -> Run:
        """The run in its next *phase*, as its agent would report it *by* a user: its times follow, and the actions that
        were in its last phase; *fields* replace its own.

        Raises NotFound, TypeError, Invalid.
        """
        check_fields(RunPut, fields)
        stored = self._call(self.store.get(id))
        body = put_body(advanced(stored, phase, fields, format_datetime(self._clock.now)))
        return plain(self._call(self.store.put(id, body, by=by))[0].run)

    # What shall go wrong

    def fail_next(
        self,
        status: int = 503,
        times: int | None = 1,
        *,
        retry_after: int | None = None,
        done: bool = False,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """The next *times* (None: until the test ends) that such a request comes it is answered *status*: in place of
        its effect or, if *done*, after it.
        """
        answer = failure_response(status, retry_after)
        self._behave(Injection(RequestMatcher(method, path, id), times, answer=answer, done=done))

    def drop_connection(
        self,
        times: int | None = 1,
        *,
        done: bool = False,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """The next *times* (None: until the test ends) that such a request comes its connection is closed without an
        answer: before it has an effect or, if *done*, after it.
        """
        self._behave(Injection(RequestMatcher(method, path, id), times, done=done))

    def delay(
        self,
        seconds: float,
        times: int | None = None,
        *,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """Such requests wait for *seconds* before anything is done, the next *times* or, None, until the test ends.
        Whose client leaves meanwhile has no effect.
        """
        self._behave(Injection(RequestMatcher(method, path, id), times, delay=seconds))

    def recover(self) -> None:
        """Nothing goes wrong any more."""
        self._call(self._behaving())

    # What was asked

    @property
    def requests(self) -> RecordedRequests:
        """What was asked over HTTP since the test began."""
        return self._faulty.requests

    def assert_called(
        self,
        method: str | None = None,
        path: str | None = None,
        *,
        id: str | None = None,
        times: int | None = None,
        json: Any = None,
    ) -> list[RecordedRequest]:
        """The requests that are meant, whose JSON body has at least what *json* has. Raises AssertionError with what
        was asked instead, unless there are *times* of them; None: one or more.
        """
        __tracebackhide__ = True
        return assert_requests(self.requests, RequestMatcher(method, path, id), times, json)

    # The clock

    def freeze(self, time: str | datetime, step_ms: int = 0) -> None:
        """It is *time* (RFC 3339) from now on, and *step_ms* milliseconds later after each look at the clock: one for
        each write.
        """
        self._clock.freeze(time, step_ms)

    def tick(self, seconds: float) -> None:
        """The frozen clock goes on by *seconds*."""
        self._clock.tick(seconds)

    def unfreeze(self) -> None:
        """It is the time that it is."""
        self._clock.freeze(None)

    # The end of a test, and of all

    def reset(
        self, *, seed: Any = 0, time: str | datetime | None = None, tokens: Mapping[str, int] | None = None
    ) -> None:
        """As if it had just been started: no run, no detail, no request, none under way, the real time unless *time*
        freezes it. *seed* is what `seed` takes; *tokens* are served in place of those of the start.
        """
        if not isinstance(tokens, Mapping | None):
            raise TypeError(f"tokens are a dict of token to user id, not {tokens!r}")
        settings = self._settings if tokens is None else msgspec.structs.replace(self._settings, tokens=dict(tokens))
        self._clock.freeze(None)
        self._ids.seed(0)
        self._call(self._clear(settings))
        self._client = None
        self._clock.freeze(time)
        self.seed(seed)

    async def _clear(self, settings: Settings) -> None:
        await self._faulty.drop_all()
        await self.store.clear()
        self._faulty.reset(create_app(self.store, settings))

    def _end(self) -> None:
        # The server would wait for them. Not waited for: a program that never left ends here, without its threads.
        asyncio.run_coroutine_threadsafe(self._faulty.drop_all(), self._loop)
        if self._transport is not None:
            self._transport.close()

    def _behave(self, behaviour: Injection) -> None:
        self._call(self._behaving(behaviour))

    async def _behaving(self, *more: Injection) -> None:
        """With *more*, or from now on not at all."""
        self._faulty.behaviours = [*self._faulty.behaviours, *more] if more else []

    async def _pages(self, chosen: Where) -> list[Page]:
        """Every run that is *chosen*, the oldest first."""
        page = await self.store.page(chosen, PageRequest(None, _PAGE, ascending=True))
        pages = [page]
        while page.links.next is not None:
            page = await self.store.page(chosen, PageRequest(page.links.next, _PAGE, ascending=True))
            pages.append(page)
        return pages

    def _nothing(self, wanted: Json, timeout: float) -> str:
        """That no run is what was *wanted*, and what there is."""
        said = ", ".join(f"{name}={value!r}" for name, value in wanted.items() if value is not None)
        there = [f"{run['id']}: {run['flowId']}, {run['phase']}" for run in self.dump()]
        head = f"no run with {said or 'any value'} within {timeout} s; there are:"
        return "\n".join([head, *(f"  {line}" for line in last_lines(there))])

    async def _create(self, id: str, body: RunPut, by: int | None) -> Run:
        try:
            return plain((await self.store.put(id, body, by=by, when=_NEW))[0].run)
        except PreconditionFailed:
            raise AlreadyExists(id) from None


def _filters(filters: Mapping[str, Any]) -> Where:
    """What query parameters choose. Raises TypeError or Invalid."""
    details: list[ErrorDetail] = []
    chosen = where(query(filters), details)
    if details:
        raise Invalid(*details)
    return chosen
