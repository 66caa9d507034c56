"""Starts servers: on a thread, in an event loop, or as the whole process."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from secrets import token_hex
from typing import Any, NamedTuple, TypeVar, Unpack

from flowruns.errors import DatabaseUnusable, Unavailable
from flowruns.http.app import MakeApp, create_app
from flowruns.server.listener import Listening, listening
from flowruns.server.server import Server, uvicorn_config
from flowruns.server.shutdown import Shutdown
from flowruns.settings import Settings
from flowruns.sqlite.connection import require_asyncio
from flowruns.sqlite.datafile import is_served_read_only
from flowruns.sqlite.lockfile import LockInfo
from flowruns.store.store import Sources, Store
from flowruns.version import __version__

_R = TypeVar("_R")

# Entered with the open store before the server serves, left after it stops. The second argument returns whether the
# server was stopped meanwhile.
Setup = Callable[[Store, Callable[[], bool]], AbstractAsyncContextManager[None]]


class RunningServer(NamedTuple):
    """A server that serves requests."""

    lock_info: LockInfo  # what its lock file says, for programs of the same user
    runs: int  # at its start
    store: Store
    loop: asyncio.AbstractEventLoop  # of the server
    stop: Callable[[], None]  # from any thread
    stop_now: Callable[[], None]  # after `stop`: does not wait for requests any longer

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self.lock_info.url

    @property
    def process(self) -> int:
        """The id of the process whose thread runs the loop."""
        return self.lock_info.pid

    def call(self, coroutine: Coroutine[Any, Any, _R]) -> _R:
        """Runs *coroutine* in the server's loop, from another thread; returns or raises its result. Raises RuntimeError
        in a process that was forked since: it has no copy of that thread.
        """
        if self.process != os.getpid():
            coroutine.close()
            raise RuntimeError("a forked process cannot control this server: use its url, or start one with serve()")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


def serve(
    settings: Settings,
    ready: Callable[[RunningServer], None],
    *,
    make_app: MakeApp = create_app,
    secret: str | None = None,
    setup: Setup | None = None,
    **sources: Unpack[Sources],
) -> None:
    """Serves until a signal or *ready*'s argument stops it. Raises CannotStart, and what *setup* raises."""
    loop_factory = uvicorn_config(settings).get_loop_factory()
    with listening(settings) as listeners, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(
            _serve(settings, listeners, ready, make_app=make_app, secret=secret, signals=True, setup=setup, **sources)
        )


@asynccontextmanager
async def serving(settings: Settings, **sources: Unpack[Sources]) -> AsyncIterator[RunningServer]:
    """A server in this event loop, while entered. Raises CannotStart."""
    require_asyncio()
    ready: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
    with listening(settings) as listeners:
        task = asyncio.create_task(_serve(settings, listeners, ready.set_result, **sources))
        futures: list[asyncio.Future[Any]] = [task, ready]
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():  # otherwise the task has failed
                yield ready.result()
        finally:
            if ready.done():
                ready.result().stop()
            elif not task.done():  # this one was cancelled
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                await task


async def _serve(
    settings: Settings,
    listeners: Listening,
    ready: Callable[[RunningServer], None],
    *,
    make_app: MakeApp = create_app,
    secret: str | None = None,
    signals: bool = False,
    setup: Setup | None = None,
    **sources: Unpack[Sources],
) -> None:
    info = LockInfo(
        pid=os.getpid(),
        url=listeners.url,
        instance=token_hex(8),
        stop_key=token_hex(16),
        version=__version__,
        secret=secret,
        read_only=is_served_read_only(settings.database),
    )
    config = uvicorn_config(settings)

    def started() -> None:
        ready(RunningServer(info, runs, store, asyncio.get_running_loop(), stop, stop_now))

    def stop() -> None:
        server.should_exit = True

    def stop_now() -> None:
        server.force_exit = True

    server = Server(config, started)
    with server.stop_on_signals() if signals else nullcontext():
        async with (
            Store.open(
                settings.database,
                lock_timeout=settings.lock_timeout,
                synchronous=settings.synchronous,
                holder=info.text(),
                instance=info.instance,
                **sources,
            ) as store,
            _entered(setup, store, settings.database, lambda: server.should_exit) if setup else nullcontext(),
        ):
            with _unusable(settings.database):
                runs = await store.count()
            config.app = Shutdown(make_app(store, settings), info.stop_key, stop)
            server.end_subscriptions, server.check_file = store.end_subscriptions, store.check_file
            await server.serve(sockets=listeners.sockets)


@contextmanager
def _unusable(database: str) -> Iterator[None]:
    """Raises DatabaseUnusable where a start cannot read or write the store."""
    try:
        yield
    except Unavailable as error:
        raise DatabaseUnusable(f"{database} cannot be used: {error}; see `flowruns check -d {database}`") from None


@asynccontextmanager
async def _entered(setup: Setup, store: Store, database: str, stopped: Callable[[], bool]) -> AsyncIterator[None]:
    """Enters *setup*. If that fails, a database file created for it is removed."""
    async with AsyncExitStack() as stack:
        try:
            with _unusable(database):
                await stack.enter_async_context(setup(store, stopped))
        except BaseException:
            store.remove_on_close()
            raise
        yield


@contextmanager
def running(
    settings: Settings, *, make_app: MakeApp = create_app, **sources: Unpack[Sources]
) -> Iterator[RunningServer]:
    """A server on a thread of its own, while entered. Raises CannotStart."""
    outcomes: list[RunningServer | BaseException] = []
    started = threading.Event()

    def report(outcome: RunningServer | BaseException) -> None:
        outcomes.append(outcome)
        started.set()

    def run() -> None:
        try:
            serve(settings, report, make_app=make_app, **sources)
        except BaseException as error:
            report(error)

    # A daemon: a program that never leaves this context still ends. Acknowledged writes are on disk.
    thread = threading.Thread(target=run, name="flowruns", daemon=True)
    thread.start()
    started.wait()
    try:
        if isinstance(outcomes[0], BaseException):
            raise outcomes[0]
        yield outcomes[0]
    finally:
        if isinstance(outcomes[0], RunningServer):
            outcomes[0].stop()
        if not sys.is_finalizing():  # a program that never left: its daemon threads are frozen, join would not return
            thread.join()
