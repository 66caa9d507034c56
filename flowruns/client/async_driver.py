"""The driver of flows for event loops, asyncio's or trio's: performs their steps with an `httpx.AsyncClient`."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, closing, suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import httpx

from flowruns.client.connections import Trace, async_transport, cannot_connect, options, timeouts
from flowruns.client.steps import Closed, Done, Flow, Read, Send, Sleep, Step, advance, seconds_left

T = TypeVar("T")
R = TypeVar("R")


class AsyncDriver:
    """As `Driver`, for the tasks of one event loop. Cancelling a task closes the connection of its request."""

    def __init__(
        self,
        url: str,
        timeout: httpx.Timeout | float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        if transport is not None and http is not None:
            raise TypeError("pass a transport or an httpx client, not both")
        self._url = url
        self._timeout = timeout
        self._transport = transport
        self._http = http
        self._session: _Session | None = None

    async def result(self, flow: Flow[Any, R]) -> R:
        """The result of *flow*, which has no items."""
        with closing(flow):
            async with aclosing(_Exchange(self._open())) as exchange:
                step = advance(flow.send, None)
                while not isinstance(step, Done):
                    step = await exchange.answer(flow, step)
        result: R = step.result
        return result

    async def items(self, flow: Flow[T, Any]) -> AsyncGenerator[T]:
        """The items of *flow*."""
        with closing(flow):
            async with aclosing(_Exchange(self._open())) as exchange:
                step = advance(flow.send, None)
                while not isinstance(step, Done):
                    if isinstance(step, Step):
                        step = await exchange.answer(flow, step)
                    else:
                        yield step
                        step = advance(flow.send, None)

    async def aclose(self) -> None:
        """Ends the streams, and closes the connections; those of other requests when these end. The next request opens
        a new one.
        """
        session, self._session = self._session, None
        if session is not None:
            await session.end()

    def _open(self) -> "_Session":
        if self._session is None:
            self._session = _Session(self._url, self._http or self._new_client(), self._timeout, self._http is None)
        return self._session

    def _new_client(self) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(
                transport=self._transport or async_transport(self._url), **options(self._url, self._timeout)
            )
        except (ImportError, OSError, ValueError) as error:
            raise cannot_connect(self._url, error) from error


class _Session:
    """The connections of a driver, from its first request to `aclose`."""

    def __init__(
        self, url: str, http: httpx.AsyncClient, timeout: httpx.Timeout | float | None, is_owned: bool
    ) -> None:
        self.http = http
        self.timeout = http.timeout if timeout is None else httpx.Timeout(timeout)
        # The transport of a client has no public name.
        self.collects = isinstance(getattr(http, "_transport", None), httpx.ASGITransport)
        self.exchanges: set[_Exchange] = set()  # with a stream
        self._url = url
        self._is_owned = is_owned
        self._has_ended = False
        self._active = 0  # steps

    async def end(self) -> None:
        self._has_ended = True
        for exchange in list(self.exchanges):
            await exchange.end()
        await self._close_if_idle()

    def check(self) -> None:
        """Raises Closed once the session has ended."""
        if self._has_ended:
            raise Closed(f"{self._url}: the client was closed")

    async def active(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """The result of *step*. The connections are closed when the session has ended and no step is active."""
        self._active += 1
        try:
            return await step()
        finally:
            self._active -= 1
            if self._has_ended:
                await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self._is_owned and not self._active:
            with anyio.CancelScope(shield=True):
                await self.http.aclose()


class _Exchange:
    """The requests of one flow. At most one of their responses is an open stream."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self._stream: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._scope: anyio.CancelScope | None = None  # of a wait that `end` interrupts

    async def aclose(self) -> None:
        self._session.exchanges.discard(self)
        await self._close_stream()

    async def end(self) -> None:
        """Ends the stream; a task that waits for it then raises Closed."""
        if self._scope is not None:
            self._scope.cancel()
        else:
            await self._close_stream()

    async def answer(self, flow: Flow[T, Any], step: Step) -> Step | T:
        """The next step or item of *flow*, after this has performed *step*."""
        try:
            answer = await self._session.active(partial(self._perform, step))
        except Exception as error:
            return advance(flow.throw, error)
        return advance(flow.send, answer)

    async def _perform(self, step: Step) -> Any:
        self._session.check()
        match step:
            case Send(stream=False, deadline=None):
                return await self._send(step)
            case Send(stream=stream, deadline=deadline):
                return await self._wait(partial(self._send, step), deadline, is_stream=stream)
            case Read(deadline):
                return await self._wait(self._read, deadline)
            case Sleep(seconds):
                return await self._wait(partial(anyio.sleep, seconds))

    async def _wait(
        self, call: Callable[[], Awaitable[T]], deadline: float | None = None, *, is_stream: bool = True
    ) -> T:
        """The result of *call*, until *deadline*; if it *is_stream*, until `end` too."""
        with anyio.CancelScope(deadline=anyio.current_time() + seconds_left(deadline)) as scope:
            self._scope = scope if is_stream else None
            try:
                return await call()
            finally:
                self._scope = None
        self._session.check()
        raise TimeoutError

    async def _send(self, send: Send) -> httpx.Response:
        await self._close_stream()
        if send.stream and self._session.collects:
            raise TypeError("httpx.ASGITransport collects whole responses: to watch or to wait, use a server")
        http, trace = self._session.http, Trace()
        request = http.build_request(
            send.method, send.url, headers=send.headers, content=send.content, extensions={"trace": trace.anote},
            timeout=timeouts(self._session.timeout, is_stream=send.stream),
        )  # fmt: skip
        if send.stream:
            self._session.exchanges.add(self)
        try:
            response = await http.send(request, stream=send.stream)
        finally:
            send.reused = trace.reused
        if send.stream:
            self._stream, self._chunks = response, response.aiter_bytes()
            if not response.is_success:
                await response.aread()
        return response

    async def _read(self) -> bytes:
        return b"" if self._chunks is None else await anext(self._chunks, b"")

    async def _close_stream(self) -> None:
        response, self._stream = self._stream, None
        chunks, self._chunks = self._chunks, None
        if response is None or chunks is None:
            return
        # Cancelled in the innermost of httpx's nested generators, all of them end. Closing the response alone leaves
        # them to the garbage collector, of which trio warns.
        with anyio.CancelScope() as scope:
            scope.cancel()
            with suppress(httpx.HTTPError, httpx.StreamError):
                async for _ in chunks:
                    pass
        with anyio.CancelScope(shield=True):
            await response.aclose()
