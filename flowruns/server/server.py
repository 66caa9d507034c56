"""The server: opens the socket and the store, serves, and closes them in reverse."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import uvicorn

from flowruns.server.listener import BACKLOG
from flowruns.server.protocol import Protocol
from flowruns.server.signals import termination_signals
from flowruns.settings import Settings

log = logging.getLogger("flowruns")

_LAST_WORD_SECONDS = 0.2

_STOP_SECONDS = 3  # that requests in flight have to finish

_BYE_SECONDS = 0.5  # that streams have to: their clients go on elsewhere, and lose nothing


class Server(uvicorn.Server):
    """uvicorn's server, less its habits with signals, and with an eye on stalled connections."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self.end_subscriptions: Callable[[], None] = lambda: None  # `_serve` sets it, once there is a store

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves, and says so."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, and lets requests in flight finish for a while, then cuts what is left: clients that do not
        read, say.
        """
        self.end_subscriptions()
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
                connection.close_stalled(now)  # type: ignore[union-attr]  # they are all `Protocol`s
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

        before = {number: signal.signal(number, stop) for number in termination_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def uvicorn_config(settings: Settings) -> uvicorn.Config:
    """The configuration of uvicorn for *settings*."""
    return uvicorn.Config(
        None,  # type: ignore[arg-type]  # `_serve` sets it, once there is a store
        http=partial(Protocol, settings),  # type: ignore[arg-type]  # called as a class is
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # on loopback everybody would be a trusted proxy
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.idle_timeout,  # type: ignore[arg-type]  # seconds to call_later
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
