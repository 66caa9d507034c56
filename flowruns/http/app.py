"""The application: puts routes and the guard together, and decides nothing."""

import logging
import re
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp

from flowruns.http import static
from flowruns.http.access import AccessMiddleware
from flowruns.http.endpoints import Endpoint, RunsApi, ServiceApi, path_not_found
from flowruns.http.events import EventStreams
from flowruns.http.logs import RequestLog, log
from flowruns.settings import DEFAULTS, RUNS, Settings
from flowruns.store.store import Store

MakeApp = Callable[[Store, Settings], ASGIApp]


class Path(Route):
    """A route whose pattern is the whole path: Starlette's `$` lets a newline pass at the end."""

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, endpoint)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")


class App(Starlette):
    """Starlette without its own two layers, which turn errors into responses: the guard does."""

    def build_middleware_stack(self) -> ASGIApp:
        """The router, and the middleware around it."""
        app: ASGIApp = self.router
        for middleware, args, options in reversed(self.user_middleware):
            app = middleware(app, *args, **options)
        return app


def create_app(store: Store, settings: Settings = DEFAULTS) -> Starlette:
    """An ASGI application over an open *store*, which the caller closes."""
    runs, service = RunsApi(store, EventStreams(store, settings)), ServiceApi(store)
    size = settings.max_body
    middleware = [Middleware(AccessMiddleware, settings)]
    if log.isEnabledFor(logging.INFO):
        middleware.insert(0, Middleware(RequestLog))
    app = App(
        routes=[
            Path(RUNS, Endpoint(size, get=runs.page, post=runs.create)),
            Path(RUNS + "/{id_}", Endpoint(size, get=runs.get, put=runs.put, delete=runs.delete)),
            Path("/openapi.json", Endpoint(size, get=service.openapi)),
            Path("/health", Endpoint(size, get=service.health)),
            *(Path(path, Endpoint(size, get=operation)) for path, operation in static.routes().items()),
        ],
        middleware=middleware,
    )
    app.router.redirect_slashes = False
    app.router.default = path_not_found
    return app
