"""The outermost middleware: checks host, origin and token, and turns every exception into a response."""

import asyncio
import traceback
from hmac import compare_digest

from starlette.types import ASGIApp

from flowruns.errors import WRITE_BEGUN, ErrorDetail, FlowrunsError, Forbidden, PathNotFound, Unauthorized, Unavailable
from flowruns.http.logs import log
from flowruns.http.requests import CALLER, HEALTH, STATUS_ONLY, ClientDisconnected
from flowruns.http.responses import (
    OWN_SERVER,
    SENDING,
    STREAMING,
    Header,
    Message,
    Receive,
    Response,
    Scope,
    Send,
    error_response,
    internal_error,
)
from flowruns.http.static import is_public
from flowruns.http.unknown_path import path_not_found
from flowruns.settings import ANY_HOST, Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_WILDCARDS = frozenset({"", "0.0.0.0", "[::]", "::"})  # addresses to listen on, which clients cannot connect to

_PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"DELETE, GET, HEAD, POST, PUT"),
    (b"access-control-allow-headers", b"authorization, content-type, if-match, if-none-match, last-event-id"),
    (b"access-control-max-age", b"600"),
)


class AccessMiddleware:
    """Passes on a request if its host, origin and token are allowed (`flowruns/docs/api.md`, "Errors", 401 and 403)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        own = frozenset({settings.host, f"[{settings.host}]"}) - _WILDCARDS
        self._hosts = frozenset(host.lower() for host in LOOPBACK | own | settings.allow_hosts)
        self._cors_origins = settings.cors_origins
        self._tokens = [(token.encode(), user) for token, user in settings.tokens.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends a response, also if the application raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = scope["headers"]
            self._check_host([value for name, value in headers if name == b"host"])
            for origin in [value.decode("latin-1") for name, value in headers if name == b"origin"]:
                if origin in self._cors_origins:
                    send = _with_cors(send, origin)
                    if scope["method"] == "OPTIONS":
                        await Response(204, _PREFLIGHT)(scope, receive, send)
                        return
                else:
                    _check_same_origin(origin, scope)
            if self._tokens and not is_public(path := _path(scope)):
                tokens = [value for name, value in headers if name == b"authorization"]
                if path == HEALTH and not tokens:
                    scope[STATUS_ONLY] = True  # for probes, which have no token
                else:
                    scope[CALLER] = self._user(tokens)
            await self._app(scope, receive, send)
        except PathNotFound as error:
            await _respond(path_not_found(error, scope), scope, receive, send)
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

    def _check_host(self, values: list[bytes]) -> None:
        if ANY_HOST in self._hosts:
            return
        name = values[0].decode("latin-1").lower() if len(values) == 1 else ""
        if name not in self._hosts and _without_port(name) not in self._hosts:
            msg = "This host is not allowed; to allow it, start the server with --allow-host HOST"
            raise Forbidden(ErrorDetail(("header", "host"), msg, "host_not_allowed"))

    def _user(self, values: list[bytes]) -> int:
        """The user id of the token in Authorization. Raises Unauthorized."""
        scheme, _, token = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
        user = None
        for known, id in self._tokens:  # compares with all of them, in constant time
            if compare_digest(known, token.strip()):
                user = id
        if user is None or scheme.lower() != b"bearer":
            raise Unauthorized
        return user


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


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _check_same_origin(origin: str, scope: Scope) -> None:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    if origin.lower() != f"{scope['scheme']}://{host}".lower():
        msg = "This origin is not allowed; to allow it, start the server with --cors-origin ORIGIN"
        raise Forbidden(ErrorDetail(("header", "origin"), msg, "origin_not_allowed"))


def _with_cors(send: Send, origin: str) -> Send:
    """*send*, which adds the headers that let scripts of *origin* read the response."""

    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message["headers"],
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-expose-headers", b"etag, location, retry-after"),
                (b"vary", b"origin"),
            ]
        await send(message)

    return send_with_cors
