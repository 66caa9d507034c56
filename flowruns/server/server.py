"""uvicorn's server with graceful shutdown of streams, deadlines for connections, and its own signal handling."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from types import FrameType

import uvicorn

from flowruns.errors import Unavailable
from flowruns.server.listener import BACKLOG
from flowruns.server.protocol import Protocol
from flowruns.server.signals import handled_signals
from flowruns.settings import Settings

_STOP_SECONDS = 3  # for requests to finish

_BYE_SECONDS = 0.5  # for streams to finish: their clients reconnect later, and lose nothing

_CANCEL_SECONDS = 0.2  # for cancelled requests to send their error response


class Server(uvicorn.Server):
    """uvicorn's server, which calls *ready* when it serves, and closes stalled connections."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self.end_subscriptions: Callable[[], None] = lambda: None  # set once there is a store
        self.check_file: Callable[[], None] = lambda: None  # as above

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to serve, and calls *ready*."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, waits for requests to finish, and closes the remaining connections, for example those of
        clients that do not read.
        """
        self.end_subscriptions()
        timer = asyncio.get_running_loop().call_later(_BYE_SECONDS, self._abort_streams)
        await super().shutdown(sockets)
        timer.cancel()
        if self.server_state.tasks:  # uvicorn has cancelled them
            await asyncio.wait(list(self.server_state.tasks), timeout=_CANCEL_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def _abort_streams(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.is_streaming:  # type: ignore[union-attr]  # as below
                connection.transport.abort()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; five times a second closes stalled connections, once checks the file."""
        if counter % 10 == 0:
            with suppress(Unavailable):  # it is logged, and every request gets the error
                self.check_file()
        if counter % 2 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                connection.close_stalled(now)  # type: ignore[union-attr]  # they are all `Protocol`s
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing: uvicorn's raises the signal again at the end. `stop_on_signals` replaces it."""
        yield

    def stop_on_signals(self) -> AbstractContextManager[None]:
        """While entered, in the main thread, a termination signal stops this server. A second one skips the wait for
        requests.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

        return handled_signals(stop)


def uvicorn_config(settings: Settings) -> uvicorn.Config:
    """The configuration of uvicorn for *settings*."""
    return uvicorn.Config(
        None,  # type: ignore[arg-type]  # set once there is a store
        http=partial(Protocol, settings),  # type: ignore[arg-type]  # uvicorn calls it like a class
        interface="asgi3",  # else uvicorn guesses, wrongly for an application that is not a coroutine function
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # on loopback uvicorn would trust every client as a proxy
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.idle_timeout,  # type: ignore[arg-type]  # seconds for call_later
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
