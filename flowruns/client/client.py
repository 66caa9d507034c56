"""The client for Python programs: typed runs, and one connection."""

import time
from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from typing import Any, Literal, NamedTuple, Self, TypeVar

from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode, encode

from flowruns.client.streams import Event
from flowruns.client.transport import Transport
from flowruns.errors import NotFound, Refused
from flowruns.model.python_values import Run, body, plain, query
from flowruns.model.runs import FlowRun, RunPost, RunPut

T = TypeVar("T")

Order = Literal["desc", "asc"]

_PRECONDITION_FAILED = 412

_MAX_TRIES = 100  # of an update; more conflicts in a row are not due to other writers


class Page(NamedTuple):
    """Some runs, and the number of matching runs in *total*."""

    runs: list[Run]
    total: int


class Change(NamedTuple):
    """A change of the run *id*: *run* is its new state, None if it was deleted. *seq* is the number to resume after.

    *kind* "resync" means that changes were missed, because the server has another database: read the runs again.
    """

    kind: Literal["run", "deleted", "resync"]
    seq: int
    id: str | None
    run: Run | None


class Client:
    """A client of the server at *url*, which authenticates with *token*. It keeps one connection, for one thread at a
    time; `with` or `close` closes it.

    Filters are the query parameters of the list, and fields are the fields of a request body, both with their names in
    JSON. A filter takes one value or several. Times may be datetimes, *tags* may be a dict. Every method may raise
    Unreachable if no server responds, and Refused, with *status* and *details*, for an error response; Busy if the
    request may succeed later. An unknown filter or field raises TypeError.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._transport = Transport(url, token)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; the next request opens a new one."""
        self._transport.close()

    def abort(self) -> None:
        """Makes the request of another thread raise Unreachable, and every later one."""
        self._transport.abort()

    def runs(self, *, limit: int | None = None, order: Order = "desc", **filters: Any) -> Generator[Run]:
        """The runs that match *filters*, at most *limit*, the newest first. Each run that existed at the start is
        returned once.
        """
        for page in self.pages(limit=limit, order=order, **filters):
            yield from page.runs

    def pages(self, *, limit: int | None = None, order: Order = "desc", **filters: Any) -> Generator[Page]:
        """As `runs`, in pages; at least one page."""
        for page in self._transport.pages(limit=limit, order=order, **_query_values(filters)):
            yield Page([self._run(doc) for doc in page.docs], page.total)

    def get(self, id: str) -> Run:
        """The run. Raises NotFound."""
        return self._run(self._transport.get(id))

    def create(self, **fields: Any) -> Run:
        """The run that a POST of *fields* creates: a self-service action, as a user starts it."""
        return self._run(self._transport.create(encode(body(RunPost, fields))))

    def put(self, id: str, **fields: Any) -> Run:
        """The run that a PUT of *fields* creates or replaces. Replacing drops the fields that are left out."""
        return self._run(self._transport.put(id, encode(body(RunPut, fields))))

    def update(self, id: str, **fields: Any) -> Run:
        """The run with *fields* replaced, and all other fields unchanged; concurrent updates do not overwrite each
        other. Raises NotFound.
        """
        changed, tries = body(RunPut, fields), 0
        while True:
            tries += 1
            doc, etag = self._transport.tagged(id)
            if etag is None or not etag.startswith('"'):
                cure = "turn off compression in the proxy"
                raise Refused(f"{self._transport.url} sent no strong ETag, which an update needs: {cure}", 200)
            merged = {**self._decode(doc, dict[str, Raw]), **changed}
            try:
                return self._run(self._transport.put(id, encode(merged), etag))
            except Refused as error:
                if error.status != _PRECONDITION_FAILED or tries == _MAX_TRIES:
                    raise

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
        self._transport.delete(id)

    def wait(self, id: str, phase: str | Collection[str] | None = None, *, timeout: float | None = None) -> Run:
        """The run as soon as it is in *phase*, or in one of several; None: as soon as it has ended. Raises NotFound if
        it does not exist or is deleted, and TimeoutError after *timeout* seconds.
        """
        phases = {phase} if isinstance(phase, str) else phase
        deadline = _deadline(timeout)

        def matches(run: Run) -> bool:
            return run.end_time is not None if phases is None else run.phase in phases

        if matches(run := self.get(id)):
            return run
        with closing(self._changes(self._transport.states(id, deadline))) as changes:
            for change in changes:
                if change.kind == "deleted":
                    raise NotFound(id)
                if change.run and matches(change.run):
                    return change.run
        goal = "end" if phases is None else f"reach phase {' or '.join(sorted(phases))}"
        raise TimeoutError(f"run {id!r} did not {goal} within {timeout} s")

    def watch(
        self, id: str | None = None, *, after: int | None = None, timeout: float | None = None, **filters: Any
    ) -> Generator[Change]:
        """The changes of the run *id*, its current state first, or of the runs that match *filters*, from now on; with
        *after*, those after this number. Without end, or for *timeout* seconds; reconnects if the server restarts.
        Raises NotFound.
        """
        chosen = _query_values(filters)
        if id is not None and chosen:
            raise TypeError("watch takes an id or filters, not both")
        return self._changes(self._transport.watch(id, after=after, deadline=_deadline(timeout), **chosen))

    def _changes(self, events: Iterator[Event]) -> Generator[Change]:
        for event in events:
            match event.kind:
                case "run":
                    run = self._run(event.data)
                    yield Change("run", event.position or 0, run.id, run)
                case "deleted":
                    yield Change("deleted", event.position or 0, self._decode(event.data, _Deleted).id, None)
                case "resync":
                    yield Change("resync", event.position or 0, None, None)

    def _run(self, doc: bytes) -> Run:
        return plain(self._decode(doc, FlowRun))

    def _decode(self, doc: bytes, type: type[T]) -> T:
        try:
            return decode(doc, type=type)
        except DecodeError as error:
            raise Refused(f"{self._transport.url} sent an invalid flow run: {error}", 200) from None


class _Deleted(Struct):
    id: str


def _query_values(filters: dict[str, Any]) -> dict[str, list[str]]:
    """The values of each filter as text. Raises TypeError and ValueError."""
    values: dict[str, list[str]] = {}
    for name, text in query(filters):
        values.setdefault(name, []).append(text)
    return values


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
