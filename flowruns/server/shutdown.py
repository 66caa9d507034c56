"""The request with which `flowruns stop` ends a server (`flowruns/docs/sidecar.md`)."""

from collections.abc import Awaitable, Callable
from hmac import compare_digest

from flowruns.http.requests import header_values
from flowruns.http.responses import Receive, Response, Scope, Send

PATH = "/_flowruns/shutdown"

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Shutdown:
    """An ASGI application around *app*: POST to `PATH` with *key* as its bearer token calls *stop*.

    The key is in the lock file, which only the user of the server can read. Without it the path is like any unknown
    one. So no process is ever signalled by a number that somebody else may have written, or that another process has.
    """

    def __init__(self, app: App, key: str, stop: Callable[[], None]) -> None:
        self._app = app
        self._authorization = b"Bearer " + key.encode()
        self._stop = stop

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Stops the server, or passes the request on."""
        if scope["type"] == "http" and scope["path"] == PATH and self._is_authorized(scope):
            return self._respond(scope, receive, send)
        return self._app(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        sent = b", ".join(header_values(scope, b"authorization"))
        return scope["method"] == "POST" and compare_digest(sent, self._authorization)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response(202, ((b"content-length", b"0"),))(scope, receive, send)
        self._stop()
