"""The driver of flows for threads: performs their steps with an `httpx.Client`."""

import socket
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, suppress
from threading import Event as Flag
from threading import Lock, Timer
from typing import Any, TypeVar
from weakref import WeakSet

import httpx

from flowruns.client.connections import Trace, cannot_connect, options, timeouts, transport
from flowruns.client.steps import Closed, Done, Flow, Read, Send, Sleep, Step, advance, seconds_left
from flowruns.errors import Unreachable

T = TypeVar("T")
R = TypeVar("R")


class Driver:
    """Performs flows against the server at *url*: with *http*, which the caller closes, or with a client of its own
    over *transport*. Any number of threads may use it.
    """

    def __init__(
        self,
        url: str,
        timeout: httpx.Timeout | float | None = None,
        transport: httpx.BaseTransport | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        if transport is not None and http is not None:
            raise TypeError("pass a transport or an httpx client, not both")
        self._url = url
        self.timeout = timeout
        self.is_custom = transport is not None or http is not None
        self._transport = transport
        self._http = http
        self._lock = Lock()
        self._session: _Session | None = None
        self._aborted = False

    def result(self, flow: Flow[Any, R]) -> R:
        """The result of *flow*, which has no items."""
        end: Any = advance(self.items(flow).send, None)
        result: R = end.result
        return result

    def items(self, flow: Flow[T, R]) -> Generator[T, None, R]:
        """The items of *flow*, and its result."""
        with closing(flow), closing(_Exchange(self._open())) as exchange:
            step = advance(flow.send, None)
            while not isinstance(step, Done):
                if isinstance(step, Step):
                    step = exchange.answer(flow, step)
                else:
                    yield step
                    step = advance(flow.send, None)
        result: R = step.result
        return result

    def close(self) -> None:
        """Ends the streams, and closes the connections; the next request opens a new one."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.end(Closed(f"{self._url}: the client was closed"))

    def abort(self) -> None:
        """Makes the request of another thread raise Unreachable, and every later one."""
        with self._lock:
            self._aborted = True
            session = self._session
        if session is not None:
            session.end(Unreachable(f"{self._url}: the request was aborted"))

    def _open(self) -> "_Session":
        with self._lock:
            if self._aborted:
                raise Unreachable(f"{self._url}: the request was aborted")
            if self._session is None:
                self._session = _Session(self._http or self._new_client(), self.timeout, owned=self._http is None)
            return self._session

    def _new_client(self) -> httpx.Client:
        try:
            return httpx.Client(transport=self._transport or transport(self._url), **options(self._url, self.timeout))
        except (ImportError, OSError, ValueError) as error:
            raise cannot_connect(self._url, error) from error


class _Session:
    """The connections of a driver, from its first request to `close`. Those of a client that is not *owned* by the
    driver may be in use by others: only its streams are ended.
    """

    def __init__(self, http: httpx.Client, timeout: httpx.Timeout | float | None, *, owned: bool) -> None:
        self.http = http
        self.timeout = http.timeout if timeout is None else httpx.Timeout(timeout)
        self.ended = Flag()
        self.reason: Unreachable | None = None
        self._owned = owned
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def end(self, reason: Unreachable) -> None:
        self.reason = reason
        self.ended.set()
        for used in list(self._sockets):
            _shut_down(used)
        if self._owned:
            self.http.close()

    def check(self, cause: Exception | None = None) -> None:
        """Raises Unreachable once the session has ended."""
        if self.reason is not None:
            raise type(self.reason)(*self.reason.args) from cause

    def opened(self, opened: socket.socket, *, for_stream: bool = False) -> None:
        """Adds a connection; it is shut down at the end."""
        if self._owned or for_stream:
            self._sockets.add(opened)
            if self.ended.is_set():
                _shut_down(opened)

    def released(self, used: socket.socket) -> None:
        """Removes the connection of a stream that has ended."""
        if not self._owned:
            self._sockets.discard(used)


class _Exchange:
    """The requests of one flow. At most one of their responses is an open stream."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self._stream = ExitStack()  # closes the open stream
        self._chunks: Iterator[bytes] = iter(())
        self._overdue = Flag()

    def close(self) -> None:
        self._stream.close()

    def answer(self, flow: Flow[T, Any], step: Step) -> Step | T:
        """The next step or item of *flow*, after this has performed *step*."""
        try:
            answer = self._perform(step)
        except Exception as error:
            return advance(flow.throw, error)
        return advance(flow.send, answer)

    def _perform(self, step: Step) -> Any:
        self._session.check()
        try:
            match step:
                case Send():
                    return self._send(step)
                case Read():
                    return next(self._chunks, b"")
                case Sleep(seconds):
                    self._session.ended.wait(seconds)
                    self._session.check()
                    return None
        except Exception as error:
            self._session.check(error)
            if isinstance(step, Send | Read) and (self._overdue.is_set() or not seconds_left(step.deadline)):
                raise TimeoutError from error
            raise

    def _send(self, send: Send) -> httpx.Response:
        self._stream.close()
        http, trace = self._session.http, Trace()

        def note(name: str, info: dict[str, Any]) -> None:
            trace.note(name, info)
            if trace.socket is not None:
                self._session.opened(trace.socket)

        request = http.build_request(
            send.method, send.url, headers=send.headers, content=send.content, extensions={"trace": note},
            timeout=timeouts(self._session.timeout, is_stream=send.stream, deadline=send.deadline),
        )  # fmt: skip
        try:
            response = http.send(request, stream=send.stream)
        finally:
            send.reused = trace.reused
        if send.stream:
            self._open_stream(response, send.deadline)
            if not response.is_success:
                response.read()
        return response

    def _open_stream(self, response: httpx.Response, deadline: float | None) -> None:
        self._stream.callback(response.close)
        self._chunks = response.iter_bytes()
        if (used := _socket_of(response)) is None:
            return
        self._session.opened(used, for_stream=True)
        self._stream.callback(self._session.released, used)
        if deadline is not None:  # httpx has a timeout for each wait of a stream, but none for all of them
            timer = Timer(seconds_left(deadline), self._end_overdue, [used])
            timer.daemon = True
            timer.start()
            self._stream.callback(timer.cancel)

    def _end_overdue(self, used: socket.socket) -> None:
        self._overdue.set()
        _shut_down(used)


def _socket_of(response: httpx.Response) -> socket.socket | None:
    """The socket of *response*; None if its transport has no sockets."""
    stream = response.extensions.get("network_stream")
    used: socket.socket | None = None if stream is None else stream.get_extra_info("socket")
    return used


def _shut_down(used: socket.socket) -> None:
    """Makes the thread that waits for *used* return."""
    with suppress(OSError):  # it is closed already
        used.shutdown(socket.SHUT_RDWR)
