"""A flowruns server for tests: its runs, its clock and ids, and `reset` between tests."""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import datetime
from typing import Any

import msgspec

from flowruns.errors import AlreadyExists, PreconditionFailed
from flowruns.http.app import create_app
from flowruns.model.cursors import CursorCodec, PageRequest
from flowruns.model.datetimes import format_datetime
from flowruns.model.preconditions import parse_precondition
from flowruns.model.python_values import Run, check_fields, parse, plain, query
from flowruns.model.runs import RunPut
from flowruns.player.script import Script
from flowruns.server.starting import RunningServer, running
from flowruns.settings import MEMORY, Settings
from flowruns.sqlite.numbers import count_on
from flowruns.store.filters import ALL, Where, where_of
from flowruns.store.reads import StoredRun
from flowruns.store.store import Page, Store
from flowruns.testing.arguments import check_number, checked
from flowruns.testing.clock import Clock, Ids
from flowruns.testing.fault_injection import FaultInjector
from flowruns.testing.playback import Playback, script_of
from flowruns.testing.requests import last_lines
from flowruns.testing.samples import Json, advanced, plausible, put_bodies, put_body
from flowruns.testing.traffic import Traffic

__tracebackhide__ = True  # pytest shows the line of the test instead

_IF_NONE_MATCH = parse_precondition(None, "*")

_CURSOR_KEY = b"flowruns.testing"  # fixed, so that each start has the same cursors; a file has a key of its own

_PAGE_SIZE = 1000


@contextmanager
def serve(database: str | os.PathLike[str] = MEMORY, **settings: Any) -> "Iterator[Flowruns]":
    """A server on its own thread, while entered. *settings* are fields of `Settings`. Raises CannotStart."""
    options = Settings(**{"database": os.fspath(database), "port": 0, **settings})
    injector, clock, ids = FaultInjector(None), Clock(), Ids()

    def make_app(store: Store, settings: Settings) -> FaultInjector:
        injector.app = create_app(store, settings)
        return injector

    with running(options, make_app=make_app, clock=clock, ids=ids, start_after=count_on) as server:
        if options.database == MEMORY:
            server.store.cursors = CursorCodec(_CURSOR_KEY)
        handle = Flowruns(server, options, injector, clock, ids)
        try:
            yield handle
        finally:
            handle._end()


class Flowruns(Traffic):
    """A flowruns server at `url`, which the test controls. Its methods block; they run in the event loop of the server,
    so call them from another thread.
    """

    def __init__(
        self, server: RunningServer, settings: Settings, injector: FaultInjector, clock: Clock, ids: Ids
    ) -> None:
        super().__init__(server, injector)
        self.url = server.url
        self.store = server.store
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._playback = Playback(server.store, clock)
        self._client: Any = None  # of this test
        self._transport: Any = None  # connections for the clients of all tests

    def __repr__(self) -> str:
        return f"<Flowruns {self.url}>"

    # Runs

    @property
    def client(self) -> Any:
        """An `httpx.Client` with `url` as its base, a new one for each test."""
        if self._client is None:
            import httpx  # slow to import, and not needed by each test

            if self._transport is None:
                self._transport = httpx.HTTPTransport(verify=False)  # plain HTTP needs no certificates: faster
            self._client = httpx.Client(base_url=self.url, transport=self._transport)
        return self._client

    def get(self, id: str) -> Run:
        """The run. Raises NotFound."""
        return plain(self._stored(id).run)

    def dump(self) -> list[Json]:
        """Every run as the API returns it, in order of creation: for snapshots."""
        return [run for page in self._call(self._pages(ALL)) for run in parse(b"[%b]" % page.docs)]

    @checked
    def wait(self, *, id: str | None = None, timeout: float = 5.0, **filters: Any) -> Run:
        """The first run with *id* that matches *filters*, the query parameters of the list, as soon as there is one.

        It blocks; in an event loop, use `await asyncio.to_thread(flowruns.wait, …)`. It may miss a state that lasts
        only milliseconds; `assert_called` does not. Raises AssertionError after *timeout* seconds, with the runs in
        the store.
        """
        check_number("timeout", timeout, 0)
        chosen = where_of(query(filters))

        async def first_match() -> Run | None:
            async with asyncio.timeout(timeout), aclosing(self.store.follow(0, chosen)) as changes:
                async for change in changes:
                    if id in (None, change.id) and (run := change.run) is not None:
                        return plain(run)
            return None  # the server is stopping

        try:
            run = self._call(first_match())
        except TimeoutError:
            matching = [run for page in self._call(self._pages(chosen)) for run in page.runs]
            run = next((plain(run) for run in matching if id in (None, run.id)), None)  # it may have come just now
        if run is None:
            raise AssertionError(self._no_match({"id": id, **filters}, timeout))
        return run

    @checked
    def run(self, id: str | None = None, *, by: int | None = None, **fields: Any) -> Run:
        """A new run, created *by* a user, with the *fields* of a PUT by their names in JSON. Without them it is a
        pending self-service action of the flow `deploy-web`; its times are those of its phase.

        *actions* and *logs* may be the number to generate. *tags* may be a dict. Raises TypeError for an unknown field,
        Invalid for an invalid value, AlreadyExists.
        """
        check_fields(RunPut, fields)
        now = self._clock.now
        body = put_body({"id": id, **plausible(fields, format_datetime(now))})
        return self._call(self._create(body.id or self._ids(now), body, by))

    @checked
    def seed(self, source: "int | str | os.PathLike[str] | Iterable[Mapping[str, Any]]") -> list[Run]:
        """The new runs of *source*: PUT bodies, or a file with a body in each line. A number seeds the ids instead.

        Raises Invalid for the first invalid body, or an id that is there twice; then nothing is written.
        """
        if isinstance(source, int):
            self._ids.seed(source)
            return []
        parsed = put_bodies(source)

        async def write() -> list[Run]:
            runs = []
            for body in parsed:  # not concurrently, so that each write advances the clock by its step
                id = body.id or self._ids(self._clock.now)
                runs.append(plain((await self.store.put(id, body))[0].run))
            return runs

        return self._call(write())

    @checked
    def advance(self, id: str, phase: str, *, by: int | None = None, **fields: Any) -> Run:
        """The run in its next *phase*, as its agent would report it *by* a user: with new times, and with its actions
        of the old phase in the new phase. *fields* replace its own.

        Raises NotFound, TypeError, Invalid.
        """
        check_fields(RunPut, fields)
        body = put_body(advanced(self._stored(id), phase, fields, format_datetime(self._clock.now)))
        return plain(self._call(self.store.put(id, body, by=by))[0].run)

    @checked
    def play(self, source: "str | os.PathLike[str] | Script", *steps: Mapping[str, Any], seed: int = 0) -> None:
        """Plays the runs of the flow *source*, which may have `*`, by *steps*, as in a script; without *steps*,
        *source* is a script or its file. `tick` moves them. Stops the clock if it is running.

        Raises ScriptInvalid, with every mistake, and OSError.
        """
        script = script_of(source, steps)
        if not self._clock.is_frozen:
            self._clock.freeze(self._clock.now)
        self._call(self._playback.add(script, seed))

    # Clock

    @checked
    def freeze(self, time: str | datetime, step_ms: int = 0) -> None:
        """Stops the clock at *time* (RFC 3339); each write then advances it by *step_ms* milliseconds."""
        self._clock.freeze(time, step_ms)

    @checked
    def tick(self, seconds: float) -> None:
        """Advances the frozen clock, and plays what is due until then. Raises RuntimeError if it is not frozen,
        ValueError for less than 0 *seconds*.
        """
        check_number("seconds", seconds, 0)
        if self._playback.is_empty:
            self._clock.tick(seconds)
        else:
            self._call(self._playback.tick(seconds))

    def unfreeze(self) -> None:
        """Sets the clock to the real time, and lets it run."""
        self._clock.freeze(None)

    # Lifecycle

    @checked
    def reset(
        self, *, seed: Any = 0, time: str | datetime | None = None, tokens: Mapping[str, int] | None = None
    ) -> None:
        """Restores the state after the start: no runs, faults, recorded requests or requests in flight, and a running
        clock unless *time* freezes it. *seed* is as in `seed`; *tokens* replace those of the start.
        """
        if not isinstance(tokens, Mapping | None):
            raise TypeError(f"tokens must be a dict of tokens to user ids, not {tokens!r}")
        settings = self._settings if tokens is None else msgspec.structs.replace(self._settings, tokens=dict(tokens))
        self._clock.freeze(None)
        self._ids.seed(0)
        self._call(self._clear(settings))
        self._client = None
        self._clock.freeze(time)
        self.seed(seed)

    async def _clear(self, settings: Settings) -> None:
        self._playback.clear()
        await self._injector.drop_all()
        await self.store.clear()
        self._injector.reset(create_app(self.store, settings))

    def _end(self) -> None:
        self._ended = True
        if self._server.process == os.getpid():  # a fork has no loop
            # The server would wait for the requests in flight. This does not wait for its result: a program that never
            # leaves `serve` gets here when its threads have ended.
            asyncio.run_coroutine_threadsafe(self._injector.drop_all(), self._server.loop)
        if self._transport is not None:
            self._transport.close()

    # Helpers

    def _stored(self, id: str) -> StoredRun:
        if not isinstance(id, str):
            raise TypeError(f"id must be a text, such as run.id, not a {type(id).__name__}")
        return self._call(self.store.get(id))

    async def _pages(self, chosen: Where) -> list[Page]:
        """Every run that matches, the oldest first."""
        page = await self.store.page(chosen, PageRequest(None, _PAGE_SIZE, ascending=True))
        pages = [page]
        while page.links.next is not None:
            page = await self.store.page(chosen, PageRequest(page.links.next, _PAGE_SIZE, ascending=True))
            pages.append(page)
        return pages

    def _no_match(self, filters: Json, timeout: float) -> str:
        """The message that no run matches *filters*, with the runs in the store."""
        wanted = " ".join(f"{name}={value!r}" for name, value in filters.items() if value is not None)
        runs = self.dump()
        message = f"no run{' with ' if wanted else ''}{wanted} within {timeout} s"
        if not runs:
            return f"{message}; the store is empty: does the code under test use flowruns.url?"
        shown = last_lines(runs, lambda run: f"{run['id']}: {run['flowId']}, {run['phase']}")
        return "\n  ".join([f"{message}; the store has:", *shown])

    async def _create(self, id: str, body: RunPut, by: int | None) -> Run:
        try:
            return plain((await self.store.put(id, body, by=by, when=_IF_NONE_MATCH))[0].run)
        except PreconditionFailed:
            raise AlreadyExists(id) from None
