"""A server for tests: clean for each of them, with its clock, its ids and its faults in the test's hand.

`pytest_plugin` makes fixtures of it; elsewhere, `with flowruns.testing.serve() as runs: …`.
"""

import asyncio
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from flowruns.app import create_app
from flowruns.conditions import precondition
from flowruns.errors import AlreadyExists, Fault, Invalid, PreconditionFailed
from flowruns.faults import Asked, Behaviour, Faulty, Requests, Wanted, check, failure
from flowruns.filters import FILTERS, Where, where
from flowruns.ids import Uuid7
from flowruns.models import FlowRun, RunPut, instant
from flowruns.paging import Window
from flowruns.queries import Stored
from flowruns.server import Running, running
from flowruns.settings import MEMORY, Settings
from flowruns.store import Store
from flowruns.validation import decode

Json = dict[str, Any]

_FIELDS = tuple(msgspec.structs.fields(RunPut))
_NAMES = [field.encode_name for field in _FIELDS]
_LEVELS = ("info", "info", "info", "warning", "error")  # of made log lines, in turn
_RUNNING = ("pending", "running")
_NEW = precondition(None, "*")


class Run(FlowRun, kw_only=True):
    """A run, as every response carries it, with *args* and *outputs* as plain values."""

    args: Any
    outputs: Any


class Clock:
    """The time, which a test may stop and set. Calling it tells it, and moves it on by its step."""

    def __init__(self) -> None:
        self._lock = Lock()  # the store asks on a thread of its own
        self._now: datetime | None = None
        self._step = timedelta()

    def freeze(self, time: str | datetime | None, step_ms: int = 0) -> None:
        """It is *time* (RFC 3339) from now on, and *step_ms* milliseconds later each time it tells; None: it runs."""
        now = datetime.fromisoformat(instant(time)) if isinstance(time, str) else time
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
        now = self.now
        with self._lock:
            if self._now is not None:
                self._now += self._step
        return now


class Ids:
    """UUIDv7 whose random bits come from a seed: of two test runs at the same frozen times they are the same."""

    def __init__(self) -> None:
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Begins anew with *seed*."""
        self._next = Uuid7(random.Random(seed).randbytes)

    def __call__(self, now: datetime) -> str:
        """The id of a run that is made *now*."""
        return self._next(now)


@contextmanager
def serve(database: str | os.PathLike[str] = MEMORY, **settings: Any) -> "Iterator[Flowruns]":
    """A server on a thread of its own, while entered. *settings* are fields of `Settings`. Raises CannotStart."""
    given = Settings(**{"database": os.fspath(database), "port": 0, **settings})
    faulty, clock, ids = Faulty(None), Clock(), Ids()

    def make_app(store: Store, settings: Settings) -> Faulty:
        faulty.app = create_app(store, settings)
        return faulty

    with running(given, make_app=make_app, clock=clock, ids=ids) as server:
        handle = Flowruns(server, given, faulty, clock, ids)
        try:
            yield handle
        finally:
            handle.close()


class Flowruns:
    """A server in a test's hand: at `url`, and with all that the test wants to know, to have and to break."""

    def __init__(self, server: Running, settings: Settings, faulty: Faulty, clock: Clock, ids: Ids) -> None:
        self.url = server.url
        self.store = server.store
        self._call = server.call
        self._settings = settings
        self._faulty = faulty
        self._clock = clock
        self._ids = ids

    # What there is

    @cached_property
    def client(self) -> Any:
        """An `httpx.Client` whose base is `url`. Raises RuntimeError where httpx is not installed."""
        try:
            import httpx
        except ImportError:
            raise RuntimeError("flowruns.client is an httpx.Client: pip install httpx") from None
        return httpx.Client(base_url=self.url)

    def get(self, id: str) -> Run:
        """The run. Raises NotFound."""
        return _run(self._call(self.store.get(id)))

    def dump(self) -> list[Json]:
        """Every run as the API gives it, in order of creation: for snapshots."""

        async def pages() -> list[bytes]:
            window, docs = Window(size=1000, ascending=True), []
            while True:
                page = await self.store.page(window=window)
                docs.append(page.docs)
                if page.links.next is None:
                    return docs
                window = window._replace(cursor=page.links.next)

        return [run for docs in self._call(pages()) for run in json.loads(b"[%b]" % docs)]

    def wait(self, *, id: str | None = None, timeout: float = 5.0, **filters: Any) -> Run:
        """The first run that fits *filters*, the query parameters of a page, and *id*, as soon as there is one.

        Raises AssertionError after *timeout* seconds, with the runs that there are.
        """
        chosen = _filters(filters)

        async def found() -> Run:
            async with asyncio.timeout(timeout), aclosing(self.store.follow(0, chosen)) as changes:
                async for change in changes:
                    if change.doc is not None and id in (None, change.id):
                        return _run(Stored(change.seq, change.doc))
            raise ConnectionError("the server has ended")

        try:
            return self._call(found())
        except TimeoutError:
            wanted = ", ".join(
                f"{name}={value!r}" for name, value in {"id": id, **filters}.items() if value is not None
            )
            there = [f"  {run['id']}: {run['flowId']}, {run['phase']}" for run in self.dump()]
            lines = [f"no run with {wanted or 'any value'} within {timeout} s; there are:", *(there or ["  (none)"])]
            raise AssertionError("\n".join(lines)) from None

    # What there shall be

    def run(self, id: str | None = None, *, by: int | None = None, **fields: Any) -> Run:
        """A new run, with *fields* of a PUT by their names in JSON; what is left out gets something plausible.

        *actions* and *logs* may be numbers: so many are made. *tags* may be a dict. Raises TypeError at a field that is
        not there, Invalid at a value that the API refuses, AlreadyExists.
        """
        _check_names(fields)
        now = self._clock.now
        body = decode(_encoded(_plausible(fields, now)), RunPut)
        return self._call(self._create(id or self._ids(now), body, by))

    def seed(self, source: "int | str | os.PathLike[str] | Iterable[Mapping[str, Any]]") -> list[Run]:
        """The runs of *source*: a file with a PUT body a line, or the bodies. A number seeds the ids instead.

        Raises Invalid at the first body that the API refuses; then nothing is written.
        """
        if isinstance(source, int):
            self._ids.seed(source)
            return []
        bodies = [decode(line, RunPut) for line in _lines(source)]
        ids = [body.id or self._ids(self._clock.now) for body in bodies]

        async def written() -> list[Run]:
            return [_run((await self.store.put(id, body))[0]) for id, body in zip(ids, bodies, strict=True)]

        return self._call(written())

    def advance(self, id: str, phase: str, *, by: int | None = None, **fields: Any) -> Run:
        """The run in its next *phase*, as its agent would report it: its times follow, *fields* replace its own.

        Raises NotFound, TypeError, Invalid.
        """
        _check_names(fields)
        now = self._clock.now
        before = {key: value for key, value in _json(self._call(self.store.get(id))).items() if value is not None}
        body = decode(_encoded(_plausible({**before, "phase": phase, **fields}, now)), RunPut)
        return _run(self._call(self.store.put(id, body, by=by))[0])

    # What shall go wrong

    def fail_next(
        self,
        status: int = 503,
        times: int = 1,
        *,
        retry_after: float | None = None,
        done: bool = False,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """The next *times* that such a request comes it is answered *status*: in place of its effect or, if *done*,
        after it.
        """
        answer = failure(status, retry_after)
        self._behave(Behaviour(Wanted(method, path, id), times, answer=answer, done=done))

    def drop_connection(
        self,
        times: int = 1,
        *,
        done: bool = False,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """The next *times* that such a request comes its connection is closed without an answer: before it has an
        effect or, if *done*, after it.
        """
        self._behave(Behaviour(Wanted(method, path, id), times, done=done))

    def delay(
        self,
        seconds: float,
        times: int | None = None,
        *,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """Such requests wait for *seconds* before they are answered, the next *times* or, None, until the test ends."""
        self._behave(Behaviour(Wanted(method, path, id), times, delay=seconds))

    # What was asked

    @property
    def requests(self) -> Requests:
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
    ) -> list[Asked]:
        """The requests that are meant, whose JSON body has at least what *json* has. Raises AssertionError with what
        was asked instead, unless there are *times* of them; None: one or more.
        """
        return check(self.requests, Wanted(method, path, id), times, json)

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
        """As if it had just been started: no run, no fault, no request, the real time unless *time* freezes it. *seed*
        is what `seed` takes; *tokens* are served in place of those of the start.
        """
        self._clock.freeze(None)
        self._ids.seed(0)
        self._call(self._reset(tokens))
        self._clock.freeze(time)
        self.seed(seed)

    def close(self) -> None:
        """Closes the client, if there is one; who has started the server ends it."""
        if "client" in self.__dict__:
            self.client.close()
            del self.client

    async def _reset(self, tokens: Mapping[str, int] | None) -> None:
        await self.store.clear()
        settings = self._settings if tokens is None else msgspec.structs.replace(self._settings, tokens=dict(tokens))
        self._faulty.reset(create_app(self.store, settings))

    def _behave(self, behaviour: Behaviour) -> None:
        async def behave() -> None:
            self._faulty.behaviours.append(behaviour)

        self._call(behave())

    async def _create(self, id: str, body: RunPut, by: int | None) -> Run:
        try:
            return _run((await self.store.put(id, body, by=by, when=_NEW))[0])
        except PreconditionFailed:
            raise AlreadyExists(id) from None


def _run(stored: Stored) -> Run:
    return msgspec.json.decode(stored.doc, type=Run)


def _json(stored: Stored) -> Json:
    run: Json = json.loads(stored.doc)
    return run


def _encoded(body: Json) -> bytes:
    return json.dumps(body).encode()


def _lines(source: "str | os.PathLike[str] | Iterable[Mapping[str, Any]]") -> list[bytes]:
    if isinstance(source, str | os.PathLike):
        return [line for line in Path(source).read_bytes().splitlines() if line.strip()]
    return [_encoded(dict(body)) for body in source]


def _check_names(fields: Mapping[str, Any]) -> None:
    for name in fields:
        if name not in _NAMES:
            near = get_close_matches(name.replace("_", ""), _NAMES, 1)
            raise TypeError(f"a run has no field {name!r}" + (f"; is it {near[0]!r}?" if near else ""))


def _filters(filters: Mapping[str, Any]) -> Where:
    """What query parameters choose. Raises TypeError or Invalid."""
    names = [filter.name for filter in FILTERS]
    query: list[tuple[str, str]] = []
    for name, value in filters.items():
        if name not in names:
            raise TypeError(f"there is no filter {name!r}, only id, {', '.join(names)}")
        values = value if isinstance(value, list | tuple) else [value]
        query += [(name, str(one)) for one in values]
    faults: list[Fault] = []
    chosen = where(query, faults)
    if faults:
        raise Invalid(*faults)
    return chosen


def _plausible(fields: Json, now: datetime) -> Json:
    """A PUT body with *fields*, and with what belongs to its phase."""
    body = {"flowId": "deploy-web", "flowType": "selfServiceAction", **fields}
    phase = body.get("phase", "pending")
    if phase != _RUNNING[0]:
        body.setdefault("startTime", now.isoformat())
    if phase not in (*_RUNNING, None):
        body.setdefault("endTime", now.isoformat())
    return body | _expanded(body, phase, now)


def _expanded(fields: Mapping[str, Any], phase: str | None, now: datetime) -> Json:
    """*fields*, with actions, logs and tags written out."""
    body = dict(fields)
    if isinstance(body.get("actions"), int):
        body["actions"] = list(_actions(body["actions"], phase, now))
    if isinstance(body.get("logs"), int):
        body["logs"] = [
            {"message": f"line {number}", "level": _LEVELS[number % len(_LEVELS)]} for number in range(body["logs"])
        ]
    if isinstance(body.get("tags"), Mapping):
        body["tags"] = [{"key": key, "value": value} for key, value in body["tags"].items()]
    return body


def _actions(number: int, phase: str | None, now: datetime) -> Iterator[Json]:
    """So many actions of a run in *phase*: all but the last have succeeded."""
    for step in range(number):
        last = step == number - 1
        action: Json = {"id": f"step-{step + 1}", "phase": phase if last else "succeeded"}
        if phase != _RUNNING[0]:
            action["startTime"] = now.isoformat()
        if not last or phase not in (*_RUNNING, None):
            action["endTime"] = now.isoformat()
        yield action
