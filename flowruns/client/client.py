"""A client of the API for programs in Python: runs as Structs, for threads and for event loops."""

import time
from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from typing import Any, Literal, NamedTuple, Self, TypeVar

from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode, encode

from flowruns.client.streams import Event
from flowruns.client.transport import Transport
from flowruns.errors import NotFound, Refused
from flowruns.model.plain import Run, body, plain, query
from flowruns.model.runs import FlowRun, RunPost, RunPut

T = TypeVar("T")

Order = Literal["desc", "asc"]

_PRECONDITION_FAILED = 412

_MOST_TRIES = 100  # of an update: so often nobody is late by chance


class Page(NamedTuple):
    """Some runs, and how many there are in *total*."""

    runs: list[Run]
    total: int


class Change(NamedTuple):
    """What has become of the run *id*: *run* is its state, None once it is deleted. *seq* is the number to go on after.

    With *kind* "resync" changes were missed, since the database is another one: read anew what you keep.
    """

    kind: Literal["run", "deleted", "resync"]
    seq: int
    id: str | None
    run: Run | None


class Client:
    """The runs of the server at *url*, which knows the caller by *token*. It keeps one connection, for one thread at a
    time; `with` or `close` closes it.

    Filters are the query parameters of a page, fields are those of a body, both by their names in JSON. A filter may
    have several values. Times may be datetimes, *tags* a dict. Every method may raise Unreachable, where no server
    answers, and Refused, whose *status* and *details* say why the server does not do it; Busy, where waiting may help.
    TypeError is raised at a name that is none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._remote = Transport(url, token)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._remote.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; the next question opens another one."""
        self._remote.close()

    def abort(self) -> None:
        """Ends what another thread waits for, by Unreachable. Nothing more can be asked."""
        self._remote.abort()

    def runs(self, *, limit: int | None = None, order: Order = "desc", **filters: Any) -> Generator[Run]:
        """The runs that fit *filters*, at most *limit*, the newest first: each that was there when it began, once."""
        for page in self.pages(limit=limit, order=order, **filters):
            yield from page.runs

    def pages(self, *, limit: int | None = None, order: Order = "desc", **filters: Any) -> Generator[Page]:
        """Those runs in pages; at least one page."""
        for page in self._remote.pages(limit=limit, order=order, **_chosen(filters)):
            yield Page([self._run(doc) for doc in page.docs], page.total)

    def get(self, id: str) -> Run:
        """The run. Raises NotFound."""
        return self._run(self._remote.get(id))

    def create(self, **fields: Any) -> Run:
        """The run that a POST of *fields* makes: an action that somebody starts."""
        return self._run(self._remote.create(encode(body(RunPost, fields))))

    def put(self, id: str, **fields: Any) -> Run:
        """The run that a PUT of *fields* makes, in place of what is there: what is left out is gone."""
        return self._run(self._remote.put(id, encode(body(RunPut, fields))))

    def update(self, id: str, **fields: Any) -> Run:
        """The run with *fields* in place of its own, and all else as it is, whoever writes it meanwhile. Raises
        NotFound.
        """
        given, tries = body(RunPut, fields), 0
        while True:
            tries += 1
            doc, etag = self._remote.tagged(id)
            if etag is None or not etag.startswith('"'):
                raise Refused(f"{self._remote.url} tells no strong ETag, without which an update may undo others", 200)
            merged = {**self._decoded(doc, dict[str, Raw]), **given}
            try:
                return self._run(self._remote.put(id, encode(merged), etag))
            except Refused as error:
                if error.status != _PRECONDITION_FAILED or tries == _MOST_TRIES:
                    raise

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
        self._remote.delete(id)

    def wait(self, id: str, phase: str | Collection[str] | None = None, *, timeout: float | None = None) -> Run:
        """The run as soon as it is in *phase*, or in one of them; None: as soon as it has ended. Raises NotFound where
        it is not there or gets deleted, and TimeoutError after *timeout* seconds.
        """
        phases = {phase} if isinstance(phase, str) else phase
        until = _until(timeout)

        def fits(run: Run) -> bool:
            return run.end_time is not None if phases is None else run.phase in phases

        if fits(run := self.get(id)):
            return run
        with closing(self._changes(self._remote.states(id, until))) as changes:
            for change in changes:
                if change.kind == "deleted":
                    raise NotFound(id)
                if change.run and fits(change.run):
                    return change.run
        wanted = "has not ended" if phases is None else f"is not {' or '.join(sorted(phases))}"
        raise TimeoutError(f"the run {id!r} {wanted} within {timeout} s")

    def watch(
        self, id: str | None = None, *, after: int | None = None, timeout: float | None = None, **filters: Any
    ) -> Generator[Change]:
        """The changes of the run *id*, its present state first, or of the runs that fit *filters*, from now on; after
        number *after*, where it is given. For ever, or for *timeout* seconds; a server that goes is waited for.
        Raises NotFound.
        """
        chosen = _chosen(filters)
        if id is not None and chosen:
            raise TypeError("a filter chooses among all runs: give it, or an id")
        return self._changes(self._remote.watch(id, after=after, until=_until(timeout), **chosen))

    def _changes(self, events: Iterator[Event]) -> Generator[Change]:
        for event in events:
            match event.kind:
                case "run":
                    run = self._run(event.data)
                    yield Change("run", event.position or 0, run.id, run)
                case "deleted":
                    yield Change("deleted", event.position or 0, self._decoded(event.data, _Deleted).id, None)
                case "resync":
                    yield Change("resync", event.position or 0, None, None)

    def _run(self, doc: bytes) -> Run:
        return plain(self._decoded(doc, FlowRun))

    def _decoded(self, doc: bytes, type: type[T]) -> T:
        try:
            return decode(doc, type=type)
        except DecodeError as error:
            raise Refused(f"{self._remote.url} sends what is no flow run: {error}", 200) from None


class _Deleted(Struct):
    id: str


def _chosen(filters: dict[str, Any]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for name, text in query(filters):
        chosen.setdefault(name, []).append(text)
    return chosen


def _until(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
