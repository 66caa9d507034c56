"""The ASGI application: its routes and middleware."""

import logging
import re
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp

from flowruns.http import static
from flowruns.http.access import AccessMiddleware
from flowruns.http.endpoints import Endpoint, RunsApi, ServiceApi, SessionApi, no_route
from flowruns.http.events import EventStreams
from flowruns.http.logs import RequestLog, log
from flowruns.http.tokens import SESSION, Tokens
from flowruns.settings import DEFAULTS, RUNS, STATS, Settings
from flowruns.store.store import Store

MakeApp = Callable[[Store, Settings], ASGIApp]


class Path(Route):
    """A route that matches the whole path: Starlette's `$` also matches before a newline at the end."""

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, endpoint)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")


class App(Starlette):
    """Starlette without its two middleware for errors: AccessMiddleware turns them into responses."""

    def build_middleware_stack(self) -> ASGIApp:
        """The router inside the middleware of this application."""
        app: ASGIApp = self.router
        for middleware, args, options in reversed(self.user_middleware):
            app = middleware(app, *args, **options)
        return app


def create_app(store: Store, settings: Settings = DEFAULTS) -> Starlette:
    """An ASGI application on an open *store*, which the caller closes."""
    runs, service = RunsApi(store, EventStreams(store, settings)), ServiceApi(store)
    session = SessionApi(Tokens(settings.tokens))
    max_body, pages = settings.max_body, static.routes(settings.frame_ancestors)
    middleware = [Middleware(AccessMiddleware, settings)]
    if log.isEnabledFor(logging.INFO):
        middleware.insert(0, Middleware(RequestLog))
    app = App(
        routes=[
            Path(RUNS, Endpoint(max_body, get=runs.page, post=runs.create)),
            Path(RUNS + "/{id_}", Endpoint(max_body, get=runs.get, put=runs.put, delete=runs.delete)),
            Path(STATS, Endpoint(max_body, get=runs.stats)),
            Path("/openapi.json", Endpoint(max_body, get=service.openapi)),
            Path(SESSION, Endpoint(max_body, post=session.create, delete=session.end)),
            Path("/health", Endpoint(max_body, get=service.health)),
            *(Path(path, Endpoint(max_body, get=operation)) for path, operation in pages.items()),
        ],
        middleware=middleware,
    )
    app.router.redirect_slashes = False
    app.router.default = no_route
    return app
