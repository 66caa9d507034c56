"""The methods of a test server that inject faults into its HTTP traffic, and assert what it received."""

from collections.abc import Coroutine
from typing import Any, TypeVar
from warnings import warn

from flowruns.server.starting import RunningServer
from flowruns.testing.arguments import checked
from flowruns.testing.fault_injection import FaultInjector, Injection, UnusedFaultWarning, failure_response
from flowruns.testing.requests import RecordedRequest, RecordedRequests, assert_requests, matcher_of

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

    @checked
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
        matcher = matcher_of(method, path, id)
        self._inject(Injection(f"fail_next({status})", matcher, times, response=response, done=done))

    @checked
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
        self._inject(Injection("drop_connection()", matcher_of(method, path, id), times, done=done))

    @checked
    def delay(
        self,
        seconds: float,
        times: int | None = None,
        *,
        method: str | None = None,
        path: str | None = None,
        id: str | None = None,
    ) -> None:
        """Delays the next *times* matching requests (None: all until the test ends) before their effect, which they
        have also if their client has disconnected meanwhile, unless the test ends.
        """
        self._inject(Injection(f"delay({seconds})", matcher_of(method, path, id), times, delay=seconds))

    def recover(self) -> None:
        """Removes all injected faults and delays. Requests that are delayed continue now, without a fault."""
        self._call(self._injector.recover())

    @property
    def requests(self) -> RecordedRequests:
        """The HTTP requests since the test began."""
        return self._injector.requests

    @checked
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
        return assert_requests(self.requests, matcher_of(method, path, id), times, json)

    def _inject(self, injection: Injection) -> None:
        self._call(self._injector.inject(injection))

    def _warn_of_unused_faults(self) -> None:
        """Warns of each fault that no request has got."""
        for injection in self._injector.unused():
            hint = "" if injection.matcher.path is None else "; path is the whole path, such as '/api/v1/flow-runs/*'"
            warn(f"the test ended before any request got {injection}{hint}", UnusedFaultWarning, stacklevel=2)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of *coroutine*, which runs in the event loop of the server. Raises RuntimeError without one."""
        if self._ended:
            coroutine.close()
            raise RuntimeError("this server has stopped: use it inside `with serve()`, or in the test of its fixture")
        return self._server.call(coroutine)
