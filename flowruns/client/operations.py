"""The operations of `Client` and `AsyncClient`, as flows: typed runs, from the documents of the API."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from msgspec import DecodeError, Raw, Struct
from msgspec.json import decode, encode

from flowruns.client.api import Api
from flowruns.client.responses import strong
from flowruns.client.steps import Closed, Flow, deadline_after, first, mapped
from flowruns.client.streams import Event
from flowruns.errors import PRECONDITION_FAILED, NotFound, Refused
from flowruns.model.python_values import Run, Stats, body, field_names, partial_run, plain, query
from flowruns.model.runs import FlowRun, RunPost, RunPut

T = TypeVar("T")

Order = Literal["desc", "asc"]

FieldNames = str | Iterable[str] | None  # separated by commas, or several; None: all

_MAX_TRIES = 100  # of an update; more conflicts in a row are not due to other writers


class Page(NamedTuple):
    """Some runs, and the number of matching runs in *total*."""

    runs: list[Run]
    total: int


class TaggedRun(NamedTuple):
    """A run, and its entity tag for *if_match* of `put`; None if the response had none."""

    run: Run
    etag: str | None


class Change(NamedTuple):
    """A change of the run *id*: *run* is its new state, None if it was deleted. *seq* is the number to resume after.

    *kind* "left" means that the run no longer matches the filters; *run* is None then, too. "resync" means that changes
    were missed, because the server has another database: read the runs again.
    """

    kind: Literal["run", "deleted", "left", "resync"]
    seq: int
    id: str | None
    run: Run | None


class Operations:
    """The operations of a client on the server at *url*, as `Client` describes them."""

    def __init__(self, url: str, token: str | None) -> None:
        self.api = Api(url, token)
        self.url = self.api.url

    def runs(self, limit: int | None, order: Order, fields: FieldNames, filters: Mapping[str, Any]) -> Flow[Run, None]:
        """`Client.runs`."""
        return mapped(self.pages(limit, order, fields, filters), lambda page: page.runs)

    def pages(
        self, limit: int | None, order: Order, fields: FieldNames, filters: Mapping[str, Any]
    ) -> Flow[Page, None]:
        """`Client.pages`."""
        docs = self.api.pages(limit=limit, order=order, **_query_values(filters, fields))
        run_of = self._reader(fields)
        return mapped(docs, lambda page: [Page(list(map(run_of, page.docs)), page.total)])

    def stats(self, filters: Mapping[str, Any]) -> Flow[Any, Stats]:
        """`Client.stats`."""
        return self._decode((yield from self.api.stats(**_query_values(filters))), Stats)

    def get(self, id: str) -> Flow[Any, Run]:
        """`Client.get`."""
        return self._run((yield from self.api.get(id)))

    def tagged(self, id: str) -> Flow[Any, TaggedRun]:
        """`Client.tagged`."""
        doc, etag = yield from self.api.tagged(id)
        return TaggedRun(self._run(doc), etag)

    def create(self, fields: Mapping[str, Any]) -> Flow[Any, Run]:
        """`Client.create`."""
        return self._run((yield from self.api.create(encode(body(RunPost, fields)))))

    def put(
        self, id: str, fields: Mapping[str, Any], if_match: str | None, if_none_match: str | None
    ) -> Flow[Any, Run]:
        """`Client.put`."""
        conditions = {"If-Match": if_match, "If-None-Match": if_none_match}
        given = {name: value for name, value in conditions.items() if value is not None}
        return self._run((yield from self.api.put(id, encode(body(RunPut, fields)), given)).doc)

    def update(self, id: str, fields: Mapping[str, Any]) -> Flow[Any, Run]:
        """`Client.update`."""
        changed, tries = body(RunPut, fields), 0
        while True:
            tries += 1
            doc, tag = yield from self.api.tagged(id)
            etag = strong(self.url, tag, "an update")
            merged = {**self._decode(doc, dict[str, Raw]), **changed}
            try:
                return self._run((yield from self.api.put(id, encode(merged), {"If-Match": etag})).doc)
            except Refused as error:
                if error.status != PRECONDITION_FAILED or tries == _MAX_TRIES:
                    raise

    def delete(self, id: str) -> Flow[Any, None]:
        """`Client.delete`."""
        return self.api.delete(id)

    def wait(self, id: str, phase: str | Collection[str] | None, timeout: float | None) -> Flow[Any, Run]:
        """`Client.wait`."""
        phases = {phase} if isinstance(phase, str) else phase
        deadline = deadline_after(timeout)

        def matching(run: Run) -> list[Run]:
            return [run] if (run.end_time is not None if phases is None else run.phase in phases) else []

        def matching_change(event: Event) -> list[Run]:
            if event.kind == "deleted":
                raise NotFound(id)
            return matching(self._run(event.data)) if event.kind == "run" else []

        try:
            # With a timeout of 0 the run is read all the same.
            if found := matching(self._run((yield from self.api.get(id, deadline if timeout else None)))):
                return found[0]
            run = yield from first(mapped(self.api.states(id, deadline), matching_change))
        except TimeoutError:
            run = None
        if run is None:
            goal = "end" if phases is None else f"reach phase {' or '.join(sorted(phases))}"
            raise TimeoutError(f"run {id!r} did not {goal} within {timeout} s")
        return run

    def watch(
        self,
        id: str | None,
        after: int | None,
        timeout: float | None,
        fields: FieldNames,
        filters: Mapping[str, Any],
    ) -> Flow[Change, None]:
        """`Client.watch`."""
        if id is not None and query(filters):
            raise TypeError("watch takes an id or filters, not both")
        names = None if fields is None else ["id", *field_names(fields)]  # a change has the id of its run
        events = self.api.watch(id, after=after, deadline=deadline_after(timeout), **_query_values(filters, names))
        return self._changes(events, self._reader(names))

    def _changes(self, events: Flow[Event, None], run_of: Callable[[bytes], Run]) -> Flow[Change, None]:
        try:
            yield from mapped(events, lambda event: self._changes_of(event, run_of))
        except Closed:  # by its own program
            return

    def _changes_of(self, event: Event, run_of: Callable[[bytes], Run]) -> Iterator[Change]:
        match event.kind:
            case "run":
                run = run_of(event.data)
                yield Change("run", event.position or 0, run.id, run)
            case "deleted" | "left":
                yield Change(event.kind, event.position or 0, self._decode(event.data, _Gone).id, None)
            case "resync":
                yield Change("resync", event.position or 0, None, None)

    def _reader(self, fields: FieldNames) -> Callable[[bytes], Run]:
        return self._run if fields is None else partial(self._read, partial_run)

    def _run(self, doc: bytes) -> Run:
        return plain(self._decode(doc, FlowRun))

    def _decode(self, doc: bytes, type: type[T]) -> T:
        return self._read(lambda doc: decode(doc, type=type), doc)

    def _read(self, read: Callable[[bytes], T], doc: bytes) -> T:
        try:
            return read(doc)
        except DecodeError as error:
            raise Refused(f"{self.url} sent an invalid flow run: {error}", 200) from None


class _Gone(Struct):
    id: str


def _query_values(filters: Mapping[str, Any], fields: FieldNames = None) -> dict[str, list[str]]:
    """The values of each filter, and of the parameter `fields`, as text. Raises TypeError and ValueError."""
    values: dict[str, list[str]] = {} if fields is None else {"fields": [",".join(field_names(fields))]}
    for name, text in query(filters):
        values.setdefault(name, []).append(text)
    return values
