"""The operations of the API, each from a request to a response (`flowruns/docs/api.md`, "Resources")."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from msgspec.json import encode

from flowruns.errors import FlowrunsError, MethodNotAllowed, NotFound, PathNotFound
from flowruns.http import hints, responses
from flowruns.http.events import EventStream, EventStreams
from flowruns.http.requests import STATUS_ONLY, PageQuery, RequestReader
from flowruns.http.responses import Header, LargeBodies, Receive, Response, Scope, Send
from flowruns.http.tokens import Tokens, expired_cookie
from flowruns.model.cursors import Cursor
from flowruns.model.runs import RunPost, RunPut
from flowruns.sqlite.datafile import SCHEMA_VERSION
from flowruns.store.store import Store
from flowruns.version import __version__

_MAX_KEPT, _MAX_KEPT_BYTES = 256, 1024  # queries of pages, and the size of one

Operation = Callable[[RequestReader], Awaitable[Response | EventStream]]


class Endpoint:
    """The operations on one path by method; HEAD uses that of GET. It is an ASGI application, which avoids the cost of
    Starlette's Request and Response.
    """

    def __init__(self, max_body: int, **operations: Operation) -> None:
        self._max_body = max_body
        self._operations = {method.upper(): operation for method, operation in operations.items()}
        if "get" in operations:
            self._operations["HEAD"] = operations["get"]
        self._allow = ", ".join(sorted(self._operations))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the operation's response. Raises MethodNotAllowed, and what the operation raises."""
        operation = self._operations.get(scope["method"])
        if operation is None:
            raise MethodNotAllowed(scope["method"], self._allow)
        request = RequestReader(scope, receive, self._max_body)
        is_unused = False
        try:
            response = await operation(request)
            is_unused = True
        except FlowrunsError:
            is_unused = True
            raise
        finally:
            request.release_body(is_unused=is_unused)
        await response(scope, receive, send)


async def no_route(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises PathNotFound: the router's default for a path without a route."""
    raise PathNotFound


class RunsApi:
    """The five operations on runs, and their statistics."""

    def __init__(self, store: Store, streams: EventStreams) -> None:
        self.store = store
        self.streams = streams
        self._noted: set[str] = set()  # names of query parameters that are in the log
        self._noted_fields: set[str] = set()  # and of fields of bodies
        self._large = LargeBodies()
        self._page_queries: dict[bytes, PageQuery] = {}  # valid ones by their text: clients repeat them

    async def page(self, request: RequestReader) -> Response | EventStream:
        """GET …/flow-runs: a page of runs, or a stream of their changes."""
        where, page_request, fingerprint = self._page_query(request)
        if request.wants_events():
            return await self.streams.runs(request, where)
        page = await self.store.page(where, page_request)
        if request.precondition().unchanged(page.etag):
            return responses.not_modified(page.etag)

        def text(cursor: Cursor | None) -> str | None:
            return None if cursor is None else self.store.cursors.write(cursor, fingerprint)

        return responses.page(
            self._large.shared((where, page_request), page.docs),
            page.etag,
            page.total,
            current_page=text(page.links.current),
            current_page_backwards=text(page.links.current_backwards),
            previous_page=text(page.links.previous),
            next_page=text(page.links.next),
        )

    def _page_query(self, request: RequestReader) -> PageQuery:
        """The query of a page. Raises Invalid."""
        hints.log_unknown_parameters(request, self._noted)
        text: bytes = request.scope["query_string"]
        query = self._page_queries.get(text)
        if query is None:
            with request:
                query = request.page_query(self.store.cursors)
            if len(text) <= _MAX_KEPT_BYTES:
                if len(self._page_queries) >= _MAX_KEPT:
                    self._page_queries.clear()
                self._page_queries[text] = query
        return query

    async def stats(self, request: RequestReader) -> Response:
        """GET /api/v1/stats: the number of runs with each phase, flow, type and tag."""
        hints.log_unknown_parameters(request, self._noted)
        with request:
            where = request.stats_query()
        precondition = request.precondition()
        if precondition.if_none_match is not None:  # before it counts
            etag = str(await self.store.position())
            if precondition.unchanged(etag):
                return responses.not_modified(etag)
        stats = await self.store.stats(where)
        return responses.json(stats.doc, 200, responses.etag(stats.etag))

    async def create(self, request: RequestReader) -> Response:
        """POST …/flow-runs: creates a run."""
        with request:
            body = await request.body(RunPost)
            await hints.log_unknown_fields(request, self._noted_fields)
        assert body is not None  # otherwise the context manager has raised
        ignored = await hints.ignored_fields(request)  # before the write: after it, a request must not be cancelled
        id, stored = await self.store.create(body, by=request.caller)
        hints.log_ignored_fields(ignored)
        return responses.stored(stored, 201, _location(request, f"/{id}"))

    async def get(self, request: RequestReader) -> Response | EventStream:
        """GET …/flow-runs/{id_}: one run, or a stream of its changes."""
        id = request.id()
        if request.details:  # no run has an invalid id
            raise NotFound(id)
        hints.log_unknown_parameters(request, self._noted)
        with request:
            fields = request.fields()
        if request.wants_events():
            return await self.streams.run(request, id, fields)
        stored = await self.store.get(id, fields)
        precondition = request.precondition()
        if precondition.unchanged(stored.etag):
            return responses.not_modified(stored.etag)
        precondition.require(stored.etag)
        return responses.json(self._large.shared((id, fields), stored.doc), 200, responses.etag(stored.etag))

    async def put(self, request: RequestReader) -> Response:
        """PUT …/flow-runs/{id_}: creates or replaces a run."""
        with request:
            id, body, precondition = request.id(), await request.body(RunPut), request.precondition()
            await hints.log_unknown_fields(request, self._noted_fields)
            await request.check_same_id(id, body)
        assert body is not None
        stored, created = await self.store.put(id, body, by=request.caller, when=precondition)
        return responses.stored(stored, 201, _location(request)) if created else responses.stored(stored)

    async def delete(self, request: RequestReader) -> Response:
        """DELETE …/flow-runs/{id_}: deletes a run."""
        with request:
            id, precondition = request.id(), request.precondition()
        await self.store.delete(id, when=precondition)
        return responses.no_content()


def _location(request: RequestReader, suffix: str = "") -> Header:
    """The path of the run. ASGI's `path` includes the prefix at which the application is mounted."""
    return b"location", quote(request.scope["path"] + suffix).encode()


class SessionApi:
    """The operations on the cookie that stands for a token."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def create(self, request: RequestReader) -> Response:
        """POST /session: sets the cookie for the token in Authorization; none is needed if the server has no tokens."""
        cookies = [self._tokens.cookie(request.scope)] if self._tokens else []
        return responses.no_content(*cookies)

    async def end(self, request: RequestReader) -> Response:
        """DELETE /session: removes the cookie."""
        return responses.no_content(expired_cookie(request.scope))


class ServiceApi:
    """The operations that describe the service."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def openapi(self, request: RequestReader) -> Response:
        """GET /openapi.json: the description of this API."""
        from flowruns.http.openapi.document import document  # here, so that a start does not wait for its import

        return responses.json(document(request.scope.get("root_path", "")))

    async def health(self, request: RequestReader) -> Response:
        """GET /health: the status, the version and the number of runs. It reads the database. Without a token, where
        one is set, it is the status alone.
        """
        self.store.check_file()
        runs = await self.store.count()
        health: dict[str, object] = {"status": "ok"}
        if STATUS_ONLY not in request.scope:
            instance = self.store.instance
            health |= {"version": __version__, "schema": SCHEMA_VERSION, "runs": runs, "instance": instance}
        return responses.json(encode(health))
