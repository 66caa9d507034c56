"""The server: opens the socket and the store, serves, and closes them in reverse."""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from secrets import token_hex
from types import FrameType
from typing import Any, NamedTuple, TypeVar, Unpack

import uvicorn

from flowruns.app import MakeApp, create_app
from flowruns.datafile import Owner
from flowruns.errors import PortTaken
from flowruns.interrupts import ending
from flowruns.protocol import Protocol
from flowruns.settings import Settings
from flowruns.store import Sources, Store

log = logging.getLogger("flowruns")

_BACKLOG = 2048
_REACHED_AT = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # an address that is every address
_LAST_WORD_SECONDS = 0.2
_STOP_SECONDS = 3  # that requests in flight have to finish
_BYE_SECONDS = 0.5  # that streams have to: their clients go on elsewhere, and lose nothing


_R = TypeVar("_R")
# What is done with the store before it is served, and after; the second argument tells whether it is to stop.
Around = Callable[[Store, Callable[[], bool]], AbstractAsyncContextManager[None]]


class Running(NamedTuple):
    """A server that serves requests."""

    url: str
    runs: int  # when it began
    instance: str  # which `/health` tells
    store: Store
    loop: asyncio.AbstractEventLoop  # which serves
    secret: str | None  # a token that programs of the same user may find beside the file
    stop: Callable[[], None]  # from any thread
    hurry: Callable[[], None]  # after it: requests in flight are not waited for any more

    def call(self, coroutine: Coroutine[Any, Any, _R]) -> _R:
        """What *coroutine* returns or raises in the server's loop; from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket: from here on the port is ours, and clients wait instead of failing. Raises PortTaken."""
    shown = url(host, port).removeprefix("http://")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named: asyncio sets TCP_NODELAY on no other, and each answer then takes 40 ms.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(f"cannot listen on {shown}: {error.strerror}") from None
    try:
        # On Windows SO_REUSEADDR would let two servers share a port, and nothing less than its opposite forbids it.
        once = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, once, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        cure = "; `flowruns --port 0` takes a free port" if error.errno == errno.EADDRINUSE else ""
        raise PortTaken(f"cannot listen on {shown}: {error.strerror}{cure}") from None
    return listener


def url(host: str, port: int) -> str:
    """The address of a server as clients write it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn's server, less its habits with signals, and with an eye on stalled connections."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self.end_news: Callable[[], None] = lambda: None  # `_serve` sets it, once there is a store

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves, and says so."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, and lets requests in flight finish for a while, then cuts what is left: clients that do not
        read, say.
        """
        self.end_news()
        cutting = asyncio.get_running_loop().call_later(_BYE_SECONDS, self._cut_streams)
        await super().shutdown(sockets)
        cutting.cancel()
        if self.server_state.tasks:  # cancelled by now: they say so
            await asyncio.wait(list(self.server_state.tasks), timeout=_LAST_WORD_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def _cut_streams(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.is_streaming:  # type: ignore[union-attr]  # as below
                connection.transport.abort()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; once a second the stalled are ended."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                connection.sweep(now)  # type: ignore[union-attr]  # they are all `Protocol`s
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """`stopped_by_signals` does it, around the store as well; uvicorn's raises the signal again at the end."""
        yield

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """While entered, what ends a program stops this server; a second signal shortens the wait."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

        before = {number: signal.signal(number, stop) for number in ending()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    settings: Settings,
    ready: Callable[[Running], None],
    *,
    make_app: MakeApp = create_app,
    secret: str | None = None,
    around: Around | None = None,
    **sources: Unpack[Sources],
) -> None:
    """Serves until it is stopped; *ready* is called once it does. Raises CannotStart, and what *around* does."""
    listener = listen(settings.host, settings.port)
    with listener, asyncio.Runner(loop_factory=_config(settings).get_loop_factory()) as runner:
        runner.run(
            _serve(
                settings, listener, ready, make_app=make_app, secret=secret, signals=True, around=around, **sources
            )
        )  # fmt: skip


@asynccontextmanager
async def serving(settings: Settings, **sources: Unpack[Sources]) -> AsyncIterator[Running]:
    """A server in this event loop, while entered. Raises CannotStart."""
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
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
    ready: Callable[[Running], None],
    *,
    make_app: MakeApp = create_app,
    secret: str | None = None,
    signals: bool = False,
    around: Around | None = None,
    **sources: Unpack[Sources],
) -> None:
    address = url(_REACHED_AT.get(settings.host, settings.host), listener.getsockname()[1])
    instance = token_hex(8)
    config = _config(settings)

    def told() -> None:
        loop = asyncio.get_running_loop()
        ready(Running(address, runs, instance, store, loop, secret, stop, hurry))

    def stop() -> None:
        server.should_exit = True

    def hurry() -> None:
        server.force_exit = True

    server = Server(config, told)
    with server.stopped_by_signals() if signals else nullcontext():
        async with (
            Store.open(
                settings.database,
                lock_timeout=settings.lock_timeout,
                synchronous=settings.synchronous,
                owner=Owner(os.getpid(), address, instance, secret).text(),
                instance=instance,
                **sources,
            ) as store,
            _within(around, store, lambda: server.should_exit) if around else nullcontext(),
        ):
            runs = await store.count()
            config.app = make_app(store, settings)
            server.end_news = store.end_news
            await server.serve(sockets=[listener])


@asynccontextmanager
async def _within(around: Around, store: Store, stops: Callable[[], bool]) -> AsyncIterator[None]:
    """*around*, after whose failure to begin nothing is left of a new file."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(around(store, stops))
        except BaseException:
            store.discard()
            raise
        yield


@contextmanager
def running(settings: Settings, *, make_app: MakeApp = create_app, **sources: Unpack[Sources]) -> Iterator[Running]:
    """A server on a thread of its own, while entered. Raises CannotStart."""
    started: list[Running | BaseException] = []
    known = threading.Event()

    def tell(outcome: Running | BaseException) -> None:
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
        if isinstance(started[0], Running):
            started[0].stop()
        if not sys.is_finalizing():  # of a program that never left: it runs no more, and would be waited for for ever
            thread.join()


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        None,  # type: ignore[arg-type]  # `_serve` sets it, once there is a store
        http=partial(Protocol, settings),  # type: ignore[arg-type]  # called as a class is
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # on loopback everybody would be a trusted proxy
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=settings.idle_timeout,  # type: ignore[arg-type]  # seconds to call_later
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
