"""The operations, each from its inputs to its answer (contract, "Resources")."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from msgspec.json import encode

from flowruns.errors import MethodNotAllowed, NoSuchPath, NotFound
from flowruns.http import responses
from flowruns.http.events import Feed, Stream
from flowruns.http.requests import Inputs
from flowruns.http.responses import Answer, Header, Receive, Scope, Send
from flowruns.model.cursors import Cursor
from flowruns.model.runs import RunPost, RunPut, Slug
from flowruns.sqlite.datafile import SCHEMA_VERSION
from flowruns.store.store import Store
from flowruns.version import __version__

Operation = Callable[[Inputs], Awaitable[Answer | Stream]]


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
        answer = await operation(Inputs(scope, receive, self._max_body))
        await answer(scope, receive, send)


async def no_such_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises NoSuchPath: what the router does for a path without a route."""
    raise NoSuchPath


class RunsApi:
    """The five operations on runs, over a store and its feed."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self.store = store
        self.feed = feed

    async def page(self, given: Inputs) -> Answer | Stream:
        """GET …/flow-runs: a page of runs, or their changes."""
        with given:
            where, window, fingerprint = given.chosen(self.store.cursors)
        if given.wants_events():
            return await self.feed.runs(given, where)
        page = await self.store.page(where, window)
        if given.precondition().unchanged(page.etag):
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

    async def create(self, given: Inputs) -> Answer:
        """POST …/flow-runs: a new run."""
        with given:
            body = await given.body(RunPost)
        assert body is not None  # else leaving the block has raised
        id, stored = await self.store.create(body, by=given.caller)
        return responses.stored(stored, 201, _location(given, f"/{id}"))

    async def get(self, given: Inputs) -> Answer | Stream:
        """GET …/flow-runs/{id_}: one run, or its changes."""
        id = given.path("id_", Slug)
        if given.faults:  # off the pattern: no run has it
            raise NotFound(id)
        if given.wants_events():
            return await self.feed.run(given, id)
        stored = await self.store.get(id)
        when = given.precondition()
        if when.unchanged(stored.etag):
            return responses.not_modified(stored.etag)
        when.require(stored.etag)
        return responses.stored(stored)

    async def put(self, given: Inputs) -> Answer:
        """PUT …/flow-runs/{id_}: creates or replaces a run."""
        with given:
            id, body, when = given.path("id_", Slug), await given.body(RunPut), given.precondition()
            given.same_id(id, body)
        assert body is not None
        stored, created = await self.store.put(id, body, by=given.caller, when=when)
        return responses.stored(stored, 201, _location(given)) if created else responses.stored(stored)

    async def delete(self, given: Inputs) -> Answer:
        """DELETE …/flow-runs/{id_}: deletes a run."""
        with given:
            id, when = given.path("id_", Slug), given.precondition()
        await self.store.delete(id, when=when)
        return responses.deleted()


def _location(given: Inputs, rest: str = "") -> Header:
    """The path of the run, below the prefix that the application is mounted under (ASGI's `path` has it)."""
    return b"location", quote(given.scope["path"] + rest).encode()


class ServiceApi:
    """What the service says of itself."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def openapi(self, given: Inputs) -> Answer:
        """GET /openapi.json: this API, described."""
        from flowruns.http.openapi import document  # few ask for it, and every start would pay

        return responses.json(document(given.scope.get("root_path", "")))

    async def health(self, given: Inputs) -> Answer:
        """GET /health: that runs can be read, and how many there are."""
        health = {
            "status": "ok",
            "version": __version__,
            "schema": SCHEMA_VERSION,
            "runs": await self.store.count(),
            "instance": self.store.instance,
        }
        return responses.json(encode(health))
