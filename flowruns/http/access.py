"""The outermost middleware: checks host, origin and token, and turns every exception into a response."""

import asyncio
import traceback

from starlette.types import ASGIApp

from flowruns.errors import WRITE_BEGUN, FlowrunsError, PathNotFound, Unauthorized, Unavailable
from flowruns.http.logs import log
from flowruns.http.origins.cors import preflight, with_cors
from flowruns.http.origins.forwarded import add_prefix, forwarded, forwarded_prefix, forwarded_scheme, trusted_proxies
from flowruns.http.origins.hosts import Hosts
from flowruns.http.requests import CALLER, HEALTH, STATUS_ONLY, ClientDisconnected, header_values
from flowruns.http.responses import (
    OWN_SERVER,
    SENDING,
    STREAMING,
    Receive,
    Response,
    Scope,
    Send,
    error_response,
    internal_error,
)
from flowruns.http.static import is_public, security_headers
from flowruns.http.tokens import SESSION, Tokens, sends_credentials
from flowruns.http.unknown_path import path_not_found
from flowruns.settings import Settings

_PAGE_HINT = (
    ', or the cookie that POST /session sets: browsers send it if both requests have credentials ("include" of fetch,'
    " withCredentials of EventSource), and the page has the same host name; localhost and 127.0.0.1 are two. See"
    " `flowruns docs pages`"
)


class AccessMiddleware:
    """Passes on a request if its host, origin and token are allowed (`flowruns/docs/api.md`, "Errors", 401 and 403)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = Hosts(settings)
        self._is_proxy = trusted_proxies(settings.forwarded_allow_ips)
        self._root_path = settings.root_path
        self._cors_origins = settings.cors_origins
        self._security = security_headers(settings.frame_ancestors)
        self._tokens = Tokens(settings.tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends a response, also if the application raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = scope["headers"]
            host = self._host(scope)
            public = is_public(path := _path(scope))
            for name, value in headers:
                if name != b"origin":
                    continue
                origin = value.decode("latin-1")
                if origin in self._cors_origins:
                    send = with_cors(send, origin)
                    if scope["method"] == "OPTIONS":
                        await preflight(scope)(scope, receive, send)
                        return
                elif not (public and scope["method"] in ("GET", "HEAD")):  # browsers send it with scripts of the page
                    self._hosts.check_origin(origin, scope["scheme"], host)
            if self._tokens and not public:
                self._authenticate(scope, path)
            await self._app(scope, receive, send)
        except PathNotFound as error:
            await _respond(path_not_found(error, scope, self._security), scope, receive, send)
        except FlowrunsError as error:
            await _respond(error_response(error), scope, receive, send)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError as error:
            if OWN_SERVER not in scope:  # the caller that cancelled the request waits for it to end
                raise
            # Our server stops, and its timeout for requests is over.
            if SENDING in scope or (WRITE_BEGUN in error.args and scope["method"] not in ("GET", "HEAD")):
                # Half a response cannot be completed, and of a write neither success nor failure would be true: wait
                # until the server closes the connection.
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
            stopping = Unavailable("The server is stopping", retry_after=1, part="server")
            await _respond(error_response(stopping), scope, receive, send)
        except Exception as error:
            # Type and place, but not the message, which may hold data of a client.
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("%s at %s:%d during %s", type(error).__name__, place.filename, place.lineno or 0, scope["method"])
            log.debug("", exc_info=error)
            await _respond(internal_error(), scope, receive, send)

    def _host(self, scope: Scope) -> str:
        """The host of the request. Takes scheme, host and prefix from a trusted proxy. Raises Forbidden.

        The proxy's own Host must be allowed too: a page that reaches this server by DNS rebinding, from the machine of
        the proxy, can send the other headers.
        """
        host = self._hosts.check(header_values(scope, b"host"))
        prefix = None
        if self._is_proxy(scope):
            scope["scheme"] = forwarded_scheme(scope) or scope["scheme"]
            prefix = forwarded_prefix(scope)
            if named := forwarded(scope, b"x-forwarded-host"):
                host = self._hosts.check([named.encode("latin-1")])
        if prefix := self._root_path if prefix is None else prefix:
            add_prefix(scope, prefix)
        return host

    def _authenticate(self, scope: Scope, path: str) -> None:
        """Puts the caller into *scope*. Raises Unauthorized."""
        try:
            scope[CALLER] = self._tokens.user(scope)
        except Unauthorized:
            if path == HEALTH and not header_values(scope, b"authorization"):
                scope[STATUS_ONLY] = True  # for probes, which have no token
            elif (scope["method"], path) != ("DELETE", SESSION):  # which ends one that is not valid any more, too
                if self._is_page_without_credentials(scope):
                    raise Unauthorized(_PAGE_HINT) from None
                raise

    def _is_page_without_credentials(self, scope: Scope) -> bool:
        """Whether a page of an origin of `--cors-origin` that may send the cookie sent none, and no token."""
        origins = [value.decode("latin-1") for value in header_values(scope, b"origin")]
        allowed = [origin for origin in origins if origin in self._cors_origins and origin.startswith("http")]
        return bool(allowed) and not sends_credentials(scope)


async def _respond(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends *response*, or ends the stream if one has begun: its client then reconnects."""
    if STREAMING in scope:
        await send({"type": "http.response.body", "body": b""})
    else:
        await response(scope, receive, send)


def _path(scope: Scope) -> str:
    """The path below the prefix at which the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
