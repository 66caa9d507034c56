"""The client for Python programs: typed runs."""

from collections.abc import Collection, Generator
from typing import Any, Self

import httpx

from flowruns.client.driver import Driver
from flowruns.client.operations import Change, FieldNames, Operations, Order, Page, TaggedRun
from flowruns.model.python_values import Run, Stats


class Client:
    """A client of the server at *url*, which authenticates with *token*. Threads may share it; `with` or `close` closes
    it.

    Filters are the query parameters of the list, and fields are the fields of a request body, both with their names in
    JSON. A filter takes one value or several. Times may be datetimes, *tags* may be a dict. Every method may raise
    Unreachable if no server responds, and Refused, with *status* and *details*, for an error response; Busy if the
    request may succeed later. Their `__cause__` is the error of httpx. An unknown filter or field raises TypeError.

    *timeout* is in seconds without data, or an `httpx.Timeout`; 30 s by default. *transport* is one of httpx, *http* a
    client of httpx with all its settings, which you close yourself.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: httpx.Timeout | float | None = None,
        transport: httpx.BaseTransport | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._operations = Operations(url, token)
        self._driver = Driver(self._operations.url, timeout, transport, http)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._operations.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the watches, and closes the connections; the next request opens a new one."""
        self._driver.close()

    def abort(self) -> None:
        """Makes the request of another thread raise Unreachable, and every later one."""
        self._driver.abort()

    def runs(
        self, *, limit: int | None = None, order: Order = "desc", fields: FieldNames = None, **filters: Any
    ) -> Generator[Run]:
        """The runs that match *filters*, at most *limit*, the newest first. Each run that existed at the start is
        returned once. With *fields*, which may be counts, it is a PartialRun, and its other fields are not sent.
        """
        return self._driver.items(self._operations.runs(limit, order, fields, filters))

    def pages(
        self, *, limit: int | None = None, order: Order = "desc", fields: FieldNames = None, **filters: Any
    ) -> Generator[Page]:
        """As `runs`, in pages; at least one page."""
        return self._driver.items(self._operations.pages(limit, order, fields, filters))

    def stats(self, **filters: Any) -> Stats:
        """The number of runs that match *filters*, and how many have each phase, flow, type and tag."""
        return self._driver.result(self._operations.stats(filters))

    def get(self, id: str) -> Run:
        """The run. Raises NotFound."""
        return self._driver.result(self._operations.get(id))

    def tagged(self, id: str) -> TaggedRun:
        """The run and its entity tag, for *if_match* of `put`. Raises NotFound."""
        return self._driver.result(self._operations.tagged(id))

    def create(self, **fields: Any) -> Run:
        """The run that a POST of *fields* creates: a self-service action, as a user starts it."""
        return self._driver.result(self._operations.create(fields))

    def put(self, id: str, *, if_match: str | None = None, if_none_match: str | None = None, **fields: Any) -> Run:
        """The run that a PUT of *fields* creates or replaces. Replacing drops the fields that are left out.

        Raises Refused with status 412 unless the run has the entity tag *if_match*, or with *if_none_match* "*" unless
        there is no such run.
        """
        return self._driver.result(self._operations.put(id, fields, if_match, if_none_match))

    def update(self, id: str, **fields: Any) -> Run:
        """The run with *fields* replaced, and all other fields unchanged; concurrent updates do not overwrite each
        other. Raises NotFound.
        """
        return self._driver.result(self._operations.update(id, fields))

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
        self._driver.result(self._operations.delete(id))

    def wait(self, id: str, phase: str | Collection[str] | None = None, *, timeout: float | None = None) -> Run:
        """The run as soon as it is in *phase*, or in one of several; None: as soon as it has ended. Raises NotFound if
        it does not exist or is deleted, and TimeoutError after *timeout* seconds; 0: after one look at the run.
        """
        return self._driver.result(self._operations.wait(id, phase, timeout))

    def watch(
        self,
        id: str | None = None,
        *,
        after: int | None = None,
        timeout: float | None = None,
        fields: FieldNames = None,
        **filters: Any,
    ) -> Generator[Change]:
        """The changes of the run *id*, its current state first, or of the runs that match *filters*, from now on; with
        *after*, those after this number. A run that stops matching *filters* is a change "left". Without end, for
        *timeout* seconds, or until the client is closed; reconnects if the server restarts. With *fields*, as `runs`,
        and with the id. Raises NotFound.
        """
        return self._driver.items(self._operations.watch(id, after, timeout, fields, filters))
