"""Servers that run: on a thread, in an event loop, or as the whole process."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from secrets import token_hex
from typing import Any, NamedTuple, TypeVar, Unpack

from flowruns.http.app import MakeApp, create_app
from flowruns.server.listener import REACHED_AT, listen, url
from flowruns.server.server import Server, uvicorn_config
from flowruns.settings import Settings
from flowruns.sqlite.lockfile import LockInfo
from flowruns.store.store import Sources, Store

_R = TypeVar("_R")

# What is done with the store before it is served, and after; the second argument tells whether it is to stop.
Setup = Callable[[Store, Callable[[], bool]], AbstractAsyncContextManager[None]]


class RunningServer(NamedTuple):
    """A server that serves requests."""

    url: str
    runs: int  # when it began
    instance: str  # which `/health` tells
    store: Store
    loop: asyncio.AbstractEventLoop  # which serves
    secret: str | None  # a token that programs of the same user may find beside the file
    stop: Callable[[], None]  # from any thread
    stop_now: Callable[[], None]  # after it: requests in flight are not waited for any more

    def call(self, coroutine: Coroutine[Any, Any, _R]) -> _R:
        """What *coroutine* returns or raises in the server's loop; from another thread."""
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
    """Serves until it is stopped; *ready* is called once it does. Raises CannotStart, and what *setup* does."""
    listener = listen(settings.host, settings.port)
    with listener, asyncio.Runner(loop_factory=uvicorn_config(settings).get_loop_factory()) as runner:
        runner.run(
            _serve(
                settings, listener, ready, make_app=make_app, secret=secret, signals=True, setup=setup, **sources
            )
        )  # fmt: skip


@asynccontextmanager
async def serving(settings: Settings, **sources: Unpack[Sources]) -> AsyncIterator[RunningServer]:
    """A server in this event loop, while entered. Raises CannotStart."""
    ready: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()
    with listen(settings.host, settings.port) as listener:
        server = asyncio.create_task(_serve(settings, listener, ready.set_result, **sources))
        either: list[asyncio.Future[Any]] = [server, ready]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        try:
            if ready.done():  # else it has failed
                yield ready.result()
        finally:
            if ready.done():
                ready.result().stop()
            await server


async def _serve(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[RunningServer], None],
    *,
    make_app: MakeApp = create_app,
    secret: str | None = None,
    signals: bool = False,
    setup: Setup | None = None,
    **sources: Unpack[Sources],
) -> None:
    address = url(REACHED_AT.get(settings.host, settings.host), listener.getsockname()[1])
    instance = token_hex(8)
    config = uvicorn_config(settings)

    def told() -> None:
        loop = asyncio.get_running_loop()
        ready(RunningServer(address, runs, instance, store, loop, secret, stop, stop_now))

    def stop() -> None:
        server.should_exit = True

    def stop_now() -> None:
        server.force_exit = True

    server = Server(config, told)
    with server.stopped_by_signals() if signals else nullcontext():
        async with (
            Store.open(
                settings.database,
                lock_timeout=settings.lock_timeout,
                synchronous=settings.synchronous,
                holder=LockInfo(os.getpid(), address, instance, secret).text(),
                instance=instance,
                **sources,
            ) as store,
            _within(setup, store, lambda: server.should_exit) if setup else nullcontext(),
        ):
            runs = await store.count()
            config.app = make_app(store, settings)
            server.end_subscriptions = store.end_subscriptions
            await server.serve(sockets=[listener])


@asynccontextmanager
async def _within(setup: Setup, store: Store, stops: Callable[[], bool]) -> AsyncIterator[None]:
    """*setup*, after whose failure to begin nothing is left of a new file."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(setup(store, stops))
        except BaseException:
            store.discard()
            raise
        yield


@contextmanager
def running(
    settings: Settings, *, make_app: MakeApp = create_app, **sources: Unpack[Sources]
) -> Iterator[RunningServer]:
    """A server on a thread of its own, while entered. Raises CannotStart."""
    started: list[RunningServer | BaseException] = []
    known = threading.Event()

    def tell(outcome: RunningServer | BaseException) -> None:
        started.append(outcome)
        known.set()

    def run() -> None:
        try:
            serve(settings, tell, make_app=make_app, **sources)
        except BaseException as error:
            tell(error)

    # A daemon, so that a program that forgets to leave ends all the same; what was acknowledged is on the disk.
    thread = threading.Thread(target=run, name="flowruns", daemon=True)
    thread.start()
    known.wait()
    try:
        if isinstance(started[0], BaseException):
            raise started[0]
        yield started[0]
    finally:
        if isinstance(started[0], RunningServer):
            started[0].stop()
        if not sys.is_finalizing():  # of a program that never left: it runs no more, and would be waited for for ever
            thread.join()
