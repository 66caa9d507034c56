"""flowruns inside another program: a server on a thread or in an event loop, or an application to mount."""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple
from weakref import WeakSet

from flowruns.errors import CannotStart, Unavailable
from flowruns.http.app import create_app as create_app_on
from flowruns.http.responses import Receive, Scope, Send, error_response
from flowruns.server.starting import RunningServer, running, serving
from flowruns.settings import ANY_HOST, MEMORY, Settings
from flowruns.sqlite.connection import FORKED, require_asyncio
from flowruns.store.store import Store

Path = str | os.PathLike[str]


def serve(database: Path = MEMORY, *, port: int = 0, **settings: Any) -> AbstractContextManager[RunningServer]:
    """A server on a thread of its own, while entered. It serves requests at its `url` as soon as that is done.

    *settings* are the fields of `Settings`; port 0 uses a free port. Raises CannotStart.
    """
    return running(Settings(database=os.fspath(database), port=port, **settings))


def serve_async(
    database: Path = MEMORY, *, port: int = 0, **settings: Any
) -> AbstractAsyncContextManager[RunningServer]:
    """A server in the running event loop, while entered; otherwise like `serve`."""
    return serving(Settings(database=os.fspath(database), port=port, **settings))


def create_app(database: Path = MEMORY, **settings: Any) -> "Embedded":
    """An ASGI application with its own database, for any ASGI server, or to mount in another application.

    *settings* are the fields of `Settings`, without those of a socket. The default of *allow_hosts* is all hosts: the
    surrounding program decides which it serves.
    """
    settings.setdefault("allow_hosts", frozenset({ANY_HOST}))
    return Embedded(Settings(database=os.fspath(database), **settings))


def lifespan_of(*apps: "Embedded") -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """A lifespan for the application that mounts *apps*; it opens and closes their databases. Raises CannotStart."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for mounted in apps:
                stack.push_async_callback(mounted.aclose)
                await mounted.open()
            yield

    return lifespan


class _Opening(NamedTuple):
    """The thread that opens a store, and what the store will be."""

    store: "Future[Store]"
    thread: threading.Thread


class Embedded:
    """An ASGI application that opens its database with its lifespan, or at the first request: the lifespan of a mounted
    application does not run. It may be called from several event loops.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opening: _Opening | None = None
        self._process = 0  # which has begun to open it
        self._app: Any = None
        _apps.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends a response; 503 while the database cannot be opened."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        try:
            if self._app is None:
                await self.open()
        except CannotStart as error:
            await error_response(Unavailable(str(error)))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def open(self) -> None:
        """Opens the database, if it is not open. Raises CannotStart."""
        require_asyncio()
        while True:
            opening = self._begin_opening()
            try:
                store = await asyncio.shield(asyncio.wrap_future(opening.store))
            finally:
                if opening.store.done():
                    opening.thread.join()  # its last act was to resolve what was awaited above
            with self._lock:
                if self._opening is opening:  # else it was closed meanwhile
                    self._app = self._app or create_app_on(store, self._settings)
                    return

    async def aclose(self) -> None:
        """Finishes the requested writes, and closes the database. The next request opens it again."""
        store = self._take_store()
        if store is not None:
            await store.aclose()

    def close(self) -> None:
        """`aclose`, for synchronous programs."""
        store = self._take_store()
        if store is not None:
            _run(store.aclose())

    def _begin_opening(self) -> "_Opening":
        """What opens the store, or has opened it. Raises CannotStart if that is so in the parent of this process."""
        with self._lock:
            if self._opening is None or (self._opening.store.done() and self._opening.store.exception() is not None):
                store: Future[Store] = Future()
                # On a thread: it may take seconds, and the event loop of this call may end before that.
                thread = threading.Thread(target=self._connect, args=(store,), daemon=True)
                self._opening, self._process = _Opening(store, thread), os.getpid()
                thread.start()
            if self._process != os.getpid():
                raise CannotStart(FORKED)
            return self._opening

    def _connect(self, future: "Future[Store]") -> None:
        settings = self._settings
        try:
            connected = Store.connect(
                settings.database, lock_timeout=settings.lock_timeout, synchronous=settings.synchronous
            )
            future.set_result(asyncio.run(connected))
        except BaseException as error:
            future.set_exception(error)

    def _take_store(self) -> Store | None:
        """The store, which the caller closes; None if it is not open in this process."""
        with self._lock:
            opening, self._opening, self._app = self._opening, None, None
        if opening is None or self._process != os.getpid():
            return None
        opening.thread.join()
        return None if opening.store.exception() else opening.store.result()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan protocol."""
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


_apps: WeakSet[Embedded] = WeakSet()


@atexit.register
def _close_all() -> None:
    """At exit: a mounted application has no lifespan that would close it."""
    for app in list(_apps):
        app.close()


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs *coroutine* to its end, on a thread if this one has a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(coroutine)
        return
    thread = threading.Thread(target=asyncio.run, args=(coroutine,))
    thread.start()
    thread.join()
