"""The methods of a test server that inject faults into its HTTP traffic, and assert what it received."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from flowruns.server.starting import RunningServer
from flowruns.testing.fault_injection import FaultInjector, Injection, failure_response
from flowruns.testing.requests import RecordedRequest, RecordedRequests, RequestMatcher, assert_requests

__tracebackhide__ = True  # pytest shows the line of the test instead

T = TypeVar("T")


class Traffic:
    """The HTTP traffic of *server*, which passes through *injector*.

    *method*, *path* (`*` stands for any characters) and *id* of a run select requests; None: any.
    """

    def __init__(self, server: RunningServer, injector: FaultInjector) -> None:
        self._server = server
        self._injector = injector
        self._ended = False

    def fail_next(
        self,
        status: int = 503,
        times: int | None = 1,
        *,
        retry_after: int | None = None,
        done: bool = False,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """Sends an error response with *status* to the next *times* matching requests (None: to all until the test
        ends): instead of their effect or, if *done*, after it.
        """
        response = failure_response(status, retry_after)
        self._inject(Injection(RequestMatcher(method, path, id), times, response=response, done=done))

    def drop_connection(
        self,
        times: int | None = 1,
        *,
        done: bool = False,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """Closes the connections of the next *times* matching requests (None: of all until the test ends) without a
        response: before their effect or, if *done*, after it.
        """
        self._inject(Injection(RequestMatcher(method, path, id), times, done=done))

    def delay(
        self,
        seconds: float,
        times: int | None = None,
        *,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """Delays the next *times* matching requests (None: all until the test ends) before their effect. A request
        whose client disconnects during the delay has no effect.
        """
        self._inject(Injection(RequestMatcher(method, path, id), times, delay=seconds))

    def recover(self) -> None:
        """Removes all injected faults and delays."""
        self._call(self._clear_injections())

    @property
    def requests(self) -> RecordedRequests:
        """The HTTP requests since the test began."""
        return self._injector.requests

    def assert_called(
        self,
        method: str | None = None,
        path: str | None = None,
        *,
        id: str | None = None,
        times: int | None = None,
        json: Any = None,
    ) -> list[RecordedRequest]:
        """The matching requests whose JSON body contains *json*. Raises AssertionError, with the requests that were
        received, unless there are *times* of them; None: at least one.
        """
        return assert_requests(self.requests, RequestMatcher(method, path, id), times, json)

    def _inject(self, injection: Injection) -> None:
        self._call(self._append(injection))

    async def _append(self, injection: Injection) -> None:
        self._injector.injections.append(injection)

    async def _clear_injections(self) -> None:
        self._injector.injections.clear()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of *coroutine*, which runs in the event loop of the server. Raises RuntimeError without one."""
        if self._ended:
            coroutine.close()
            raise RuntimeError("this server has stopped: use it inside `with serve()`, or in the test of its fixture")
        return self._server.call(coroutine)
