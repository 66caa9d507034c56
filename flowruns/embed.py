"""flowruns inside another program: a server on a thread or in an event loop, or an application to mount."""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any
from weakref import WeakSet

from flowruns.errors import CannotStart, Unavailable
from flowruns.http.app import create_app as app_over
from flowruns.http.responses import Receive, Scope, Send, error_response
from flowruns.server.running import RunningServer, running, serving
from flowruns.settings import ANY_HOST, MEMORY, Settings
from flowruns.store.store import Store

Path = str | os.PathLike[str]


def serve(database: Path = MEMORY, *, port: int = 0, **settings: Any) -> AbstractContextManager[RunningServer]:
    """A server on a thread of its own, while entered; its `url` can be asked at once.

    *settings* are the fields of `Settings`; port 0 takes a free one. Raises CannotStart.
    """
    return running(Settings(database=os.fspath(database), port=port, **settings))


def serve_async(
    database: Path = MEMORY, *, port: int = 0, **settings: Any
) -> AbstractAsyncContextManager[RunningServer]:
    """A server in the running event loop, while entered. Else as `serve`."""
    return serving(Settings(database=os.fspath(database), port=port, **settings))


def create_app(database: Path = MEMORY, **settings: Any) -> "Embedded":
    """An ASGI application of its own database, for any server, or to be mounted in another application.

    *settings* are the fields of `Settings`, less those of a socket. Which hosts are served is left to the program
    around it, unless *allow_hosts* says.
    """
    settings.setdefault("allow_hosts", frozenset({ANY_HOST}))
    return Embedded(Settings(database=os.fspath(database), **settings))


def lifespan_of(*apps: "Embedded") -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """The lifespan for an application that mounts *apps*: opens and closes them with it. Raises CannotStart."""

    @asynccontextmanager
    async def lifespan(host: Any) -> AsyncIterator[None]:
        try:
            for app in apps:
                await app.open()
            yield
        finally:
            for app in reversed(apps):
                await app.aclose()

    return lifespan


class Embedded:
    """An ASGI application that opens its database by itself: with the lifespan, where a server runs it, and else at
    the first request, since nobody runs that of a mounted application. It may be asked in several event loops.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opening: Future[Store] | None = None
        self._app: Any = None
        _all.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers; 503 while the database cannot be opened."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            if self._app is None:
                await self.open()
        except CannotStart as error:
            await error_response(Unavailable(str(error)))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def open(self) -> None:
        """Returns once requests can be answered. Raises CannotStart."""
        store = await asyncio.shield(asyncio.wrap_future(self._store()))
        if self._app is None:
            self._app = app_over(store, self._settings)

    async def aclose(self) -> None:
        """Finishes what was asked for, and leaves one file. The next request opens it again."""
        store = self._taken()
        if store is not None:
            await store.aclose()

    def close(self) -> None:
        """`aclose`, for programs that are not asynchronous."""
        store = self._taken()
        if store is not None:
            _run(store.aclose())

    def _store(self) -> "Future[Store]":
        """The store that is open, or is being opened."""
        with self._lock:
            if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
                self._opening = Future()
                # On a thread, as it may take seconds, and no event loop is there for certain until it is done.
                threading.Thread(target=self._connect, args=(self._opening,), daemon=True).start()
            return self._opening

    def _connect(self, told: "Future[Store]") -> None:
        settings = self._settings
        try:
            connected = Store.connect(
                settings.database, lock_timeout=settings.lock_timeout, synchronous=settings.synchronous
            )
            told.set_result(asyncio.run(connected))
        except BaseException as error:
            told.set_exception(error)

    def _taken(self) -> Store | None:
        """The store, which is the caller's to close; None if it is not open."""
        with self._lock:
            opening, self._opening, self._app = self._opening, None, None
        return None if opening is None or opening.exception() is not None else opening.result()

    async def _live(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan, as a server runs it."""
        await receive()  # lifespan.startup
        try:
            await self.open()
        except CannotStart as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})


_all: WeakSet[Embedded] = WeakSet()


@atexit.register
def _close_all() -> None:
    """A mounted application is not told when its program ends."""
    for app in list(_all):
        app.close()


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs *coroutine* to its end, also within a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(coroutine)
        return
    thread = threading.Thread(target=asyncio.run, args=(coroutine,))
    thread.start()
    thread.join()
