"""The connections to servers, for httpx."""

import socket
from traceback import walk_tb
from typing import Any
from urllib.parse import urlsplit

import httpx

from flowruns.addresses import socket_path
from flowruns.client.steps import seconds_left
from flowruns.errors import Unreachable, one_line
from flowruns.settings import is_loopback

_RESPONSE_TIMEOUT = 30.0  # seconds without data

# Each stream and each concurrent call has a connection, hence no maximum. The server closes idle ones after 75 s: the
# client closes them first.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0)

_STREAM_TIMEOUT = 15.0  # seconds without data; the server sends something every 4

_OPENED = ("connect_tcp.complete", "connect_unix_socket.complete", "start_tls.complete")  # events of `trace`


def options(url: str, timeout: httpx.Timeout | float | None) -> dict[str, Any]:
    """The arguments of an httpx client of the server at *url*: no proxy of the environment comes between a client and a
    server on the same machine.
    """
    parts = urlsplit(url)
    is_local = parts.scheme == "unix" or _is_local(parts.hostname or "")
    # Reading certificates takes 20 ms: only where the server or a proxy may present one.
    verify = httpx.create_ssl_context() if is_local and parts.scheme == "https" else not is_local
    return {
        "timeout": httpx.Timeout(_RESPONSE_TIMEOUT if timeout is None else timeout),
        "limits": _LIMITS,
        "trust_env": not is_local,
        "verify": verify,
    }


def base_url(url: str) -> str:
    """What requests to the server at *url* begin with: a host that every server has, at a Unix socket."""
    return url if socket_path(url) is None else "http://localhost"


def transport(url: str) -> httpx.HTTPTransport | None:
    """The transport to the Unix socket in *url*, None for another URL."""
    path = socket_path(url)
    return None if path is None else httpx.HTTPTransport(uds=path, limits=_LIMITS, verify=False)  # no TLS there


def async_transport(url: str) -> httpx.AsyncHTTPTransport | None:
    """As `transport`, for an `httpx.AsyncClient`."""
    path = socket_path(url)
    return None if path is None else httpx.AsyncHTTPTransport(uds=path, limits=_LIMITS, verify=False)


def timeouts(base: httpx.Timeout, *, is_stream: bool, deadline: float | None = None) -> httpx.Timeout:
    """The timeouts of a request: those of *base*, none beyond *deadline*, and that of streams for one."""
    left = None if deadline is None else seconds_left(deadline)
    connect, read, write, pool = (
        left if wait is None else wait if left is None else min(wait, left)
        for wait in (base.connect, _STREAM_TIMEOUT if is_stream else base.read, base.write, base.pool)
    )
    return httpx.Timeout(connect=connect, read=read, write=write, pool=pool)


def cannot_connect(url: str, error: Exception) -> Unreachable:
    """The exception for an httpx client that could not be made because of the environment: it may name a proxy that
    needs another package, with a password in its address, or certificates that do not exist.
    """
    if isinstance(error, ImportError):
        return Unreachable(one_line(f"{url} cannot be reached: {error}"))
    cure = "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
    return Unreachable(f"{url} cannot be reached: the environment has an invalid proxy or certificate; {cure}")


def _is_local(host: str) -> bool:
    return is_loopback(host) or host.lower().endswith(".localhost") or host in ("0.0.0.0", "::")


class Trace:
    """What httpx reports of a request, as its extension `trace`: which connection it was sent on."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None  # if a connection was opened
        self._sent = False

    @property
    def reused(self) -> bool:
        """Whether the request was sent on a connection that had been open before."""
        return self._sent and self.socket is None

    def note(self, name: str, info: dict[str, Any]) -> None:
        """For requests of an `httpx.Client`."""
        event = name.partition(".")[2]
        if event in _OPENED:
            self.socket = info["return_value"].get_extra_info("socket")
        elif event == "send_request_headers.started":
            self._sent = True
        elif event == "connect_unix_socket.failed":
            _close_sockets(info["exception"])

    async def anote(self, name: str, info: dict[str, Any]) -> None:
        """For requests of an `httpx.AsyncClient`."""
        self.note(name, info)


def _close_sockets(error: BaseException) -> None:
    """Closes the sockets in the frames of *error*: httpcore leaves a Unix socket open that cannot connect."""
    for frame, _ in walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, socket.socket):
                value.close()
