"""A script that a server plays in its own store, while its database fails."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowruns.errors import Unavailable
from flowruns.model.runs import RunPost
from flowruns.player.script import Script
from flowruns.server.play import playing
from flowruns.store.store import Store
from tests.player.test_player import when
from tests.waits import HANG

SCRIPT = Script.parse(
    '[[rule]]\nsteps = [{ log = "a" }, { end = "succeeded" }]\n[[start]]\nflowId = "web"\ncount = 1\n'
)


class Reports:
    """The lines that were reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._first = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._first.set()

    async def first(self) -> str:
        async with asyncio.timeout(HANG):
            await self._first.wait()
        return self.lines[0]


class FailingStore(Store):
    """A store whose first read of each kind fails, as those of a disk that has an error for a moment."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._failed = set[str]()
        self._all_failed = asyncio.Event()

    async def all_failed(self) -> None:
        async with asyncio.timeout(HANG):
            await self._all_failed.wait()

    def _fail_first(self, name: str) -> None:
        if name not in self._failed:
            self._failed.add(name)
            if len(self._failed) == 4:
                self._all_failed.set()
            raise Unavailable("Reading or writing the database failed", retry_after=1)

    async def position(self) -> int:
        self._fail_first("position")
        return await super().position()

    async def changes(self, *args: Any, **options: Any) -> Any:
        self._fail_first("changes")
        return await super().changes(*args, **options)

    async def page(self, *args: Any) -> Any:
        self._fail_first("page")
        return await super().page(*args)

    async def get(self, *args: Any) -> Any:
        self._fail_first("get")
        return await super().get(*args)


async def ended(store: Store, id: str) -> None:
    await when(store, lambda run: run.id == id and run.end_time is not None)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While entered, another program has the lock of the database *path*."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        yield


async def test_read_that_fails_for_a_moment_is_repeated(path: Path) -> None:
    reports = Reports()
    async with FailingStore.open(path) as store, playing(store, SCRIPT, reports):
        await store.all_failed()
        await store.create(RunPost(flow_id="web", id="new"))
        await ended(store, "web-1")
        await ended(store, "new")
    assert reports.lines == []


async def test_start_in_a_database_that_is_locked_goes_on_beside_the_server(path: Path) -> None:
    reports = Reports()
    async with Store.open(path, lock_timeout=0) as store:
        with locked(path):
            context = playing(store, SCRIPT, reports, start_seconds=0)
            await context.__aenter__()
            assert (await store.page()).total == 0
        try:
            await ended(store, "web-1")
        finally:
            await context.__aexit__(None, None, None)
    assert reports.lines == []


async def test_failure_is_reported_once_the_server_is_serving(path: Path) -> None:
    reports = Reports()
    async with Store.open(path, lock_timeout=0) as store:
        with locked(path):
            async with playing(store, SCRIPT, reports, start_seconds=0):
                os.unlink(path)
                assert (await reports.first()).startswith(
                    "flowruns: the script script has stopped: The database file was"
                )


async def test_failure_of_the_start_is_raised(path: Path) -> None:
    reports = Reports()
    async with Store.open(path) as store:
        os.unlink(path)
        with pytest.raises(Unavailable, match="removed or replaced"):
            async with playing(store, SCRIPT, reports):
                raise AssertionError
    assert reports.lines == []
