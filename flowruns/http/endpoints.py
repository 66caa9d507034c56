"""The operations, each from its inputs to its answer (contract, "Resources")."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from msgspec.json import encode

from flowruns.errors import MethodNotAllowed, NotFound, PathNotFound
from flowruns.http import responses
from flowruns.http.events import EventStream, EventStreams
from flowruns.http.requests import RequestReader
from flowruns.http.responses import Header, Receive, Response, Scope, Send
from flowruns.model.cursors import Cursor
from flowruns.model.runs import RunPost, RunPut, Slug
from flowruns.sqlite.datafile import SCHEMA_VERSION
from flowruns.store.store import Store
from flowruns.version import __version__

Operation = Callable[[RequestReader], Awaitable[Response | EventStream]]


class Endpoint:
    """The operations on one path, by method; HEAD is GET. An ASGI application, so that Starlette's Request and
    Response, which none of them needs, cost nothing.
    """

    def __init__(self, max_body: int, **operations: Operation) -> None:
        self._max_body = max_body
        self._operations = {method.upper(): operation for method, operation in operations.items()}
        if "get" in operations:
            self._operations["HEAD"] = operations["get"]
        self._allow = ", ".join(sorted(self._operations))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers. Raises MethodNotAllowed, and what the operation raises."""
        operation = self._operations.get(scope["method"])
        if operation is None:
            raise MethodNotAllowed(scope["method"], self._allow)
        answer = await operation(RequestReader(scope, receive, self._max_body))
        await answer(scope, receive, send)


async def path_not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises PathNotFound: what the router does for a path without a route."""
    raise PathNotFound


class RunsApi:
    """The five operations on runs, over a store and its feed."""

    def __init__(self, store: Store, feed: EventStreams) -> None:
        self.store = store
        self.feed = feed

    async def page(self, request: RequestReader) -> Response | EventStream:
        """GET …/flow-runs: a page of runs, or their changes."""
        with request:
            where, page_request, fingerprint = request.page_query(self.store.cursors)
        if request.wants_events():
            return await self.feed.runs(request, where)
        page = await self.store.page(where, page_request)
        if request.precondition().unchanged(page.etag):
            return responses.not_modified(page.etag)

        def text(cursor: Cursor | None) -> str | None:
            return None if cursor is None else self.store.cursors.write(cursor, fingerprint)

        return responses.page(
            page.docs,
            page.etag,
            page.total,
            current_page=text(page.links.current),
            current_page_backwards=text(page.links.current_backwards),
            previous_page=text(page.links.previous),
            next_page=text(page.links.next),
        )

    async def create(self, request: RequestReader) -> Response:
        """POST …/flow-runs: a new run."""
        with request:
            body = await request.body(RunPost)
        assert body is not None  # else leaving the block has raised
        id, stored = await self.store.create(body, by=request.caller)
        return responses.stored(stored, 201, _location(request, f"/{id}"))

    async def get(self, request: RequestReader) -> Response | EventStream:
        """GET …/flow-runs/{id_}: one run, or its changes."""
        id = request.path("id_", Slug)
        if request.details:  # off the pattern: no run has it
            raise NotFound(id)
        if request.wants_events():
            return await self.feed.run(request, id)
        stored = await self.store.get(id)
        when = request.precondition()
        if when.unchanged(stored.etag):
            return responses.not_modified(stored.etag)
        when.require(stored.etag)
        return responses.stored(stored)

    async def put(self, request: RequestReader) -> Response:
        """PUT …/flow-runs/{id_}: creates or replaces a run."""
        with request:
            id, body, when = request.path("id_", Slug), await request.body(RunPut), request.precondition()
            request.check_same_id(id, body)
        assert body is not None
        stored, created = await self.store.put(id, body, by=request.caller, when=when)
        return responses.stored(stored, 201, _location(request)) if created else responses.stored(stored)

    async def delete(self, request: RequestReader) -> Response:
        """DELETE …/flow-runs/{id_}: deletes a run."""
        with request:
            id, when = request.path("id_", Slug), request.precondition()
        await self.store.delete(id, when=when)
        return responses.deleted()


def _location(request: RequestReader, rest: str = "") -> Header:
    """The path of the run, below the prefix that the application is mounted under (ASGI's `path` has it)."""
    return b"location", quote(request.scope["path"] + rest).encode()


class ServiceApi:
    """What the service says of itself."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def openapi(self, request: RequestReader) -> Response:
        """GET /openapi.json: this API, described."""
        from flowruns.http.openapi import document  # few ask for it, and every start would pay

        return responses.json(document(request.scope.get("root_path", "")))

    async def health(self, request: RequestReader) -> Response:
        """GET /health: that runs can be read, and how many there are."""
        health = {
            "status": "ok",
            "version": __version__,
            "schema": SCHEMA_VERSION,
            "runs": await self.store.count(),
            "instance": self.store.instance,
        }
        return responses.json(encode(health))
