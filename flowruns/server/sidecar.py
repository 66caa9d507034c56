"""For programs that share a server of one database: start or reuse it, read its status, and stop it."""

import http.client
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.json import decode, encode

from flowruns.addresses import socket_path
from flowruns.errors import CannotStop, DatabaseInUse, DatabaseUnusable, PortTaken, one_line
from flowruns.server.shutdown import PATH
from flowruns.settings import MEMORY
from flowruns.sqlite.datafile import real_path
from flowruns.sqlite.lockfile import LockInfo, is_unreadable, lock_info

_HEALTH_SECONDS = 2.0  # for a server to respond to /health

_REUSE_SECONDS = 10.0  # for a server that is starting or stopping to finish that

_PORT_SECONDS = 0.5  # for another flowruns from its port to its lock file; after that another program has the port

_STOP_SECONDS = 10.0  # for a server to stop

_POLL_SECONDS = 0.05


class Ready(Struct, kw_only=True):
    """The line on stdout when the server serves requests (page sidecar)."""

    event: str = "ready"
    url: str
    port: int | None  # None at a Unix socket
    uds: str | None  # the path of the Unix socket
    pid: int
    token: str | None  # generated for `--token auto`
    database: str
    read_only: bool  # writes get 503
    version: str  # of the server, which may be older than this program
    api: int = 1  # of /api/v1
    instance: str  # as in `/health`, so that a client recognizes another server at this address
    reused: bool


def failed(code: int, message: str) -> str:
    """The line of a start that fails with exit *code*."""
    return encode({"event": "failed", "code": code, "message": one_line(message)}).decode()


def start_or_reuse(start: Callable[[], None], reuse: Callable[[str], None], database: str) -> None:
    """Calls *start*, or *reuse* with the line of a server that is already running for the file *database*. Raises
    CannotStart.
    """
    path, began = real_path(database), time.monotonic()
    while True:
        info = lock_info(path)
        if info is not None and responds(info):
            reuse(ready_line(info, database, reused=True))
            return
        try:
            start()
            return
        except DatabaseInUse:  # by a server that is starting or stopping
            if time.monotonic() - began > _REUSE_SECONDS:
                raise
        except PortTaken:  # by such a server, or by another program
            if time.monotonic() - began > (_REUSE_SECONDS if lock_info(path) else _PORT_SECONDS):
                raise
        time.sleep(_POLL_SECONDS)  # another process cannot notify this one


def responds(info: LockInfo) -> bool:
    """Whether the server of *info* responds."""
    health = _health(info)
    return health is not None and health.get("instance", info.instance) == info.instance


def status(database: str) -> dict[str, object] | None:
    """The status of the server of *database*, None if none is running. Raises DatabaseUnusable."""
    info = _lock_info(real_path(database))
    if info is None:
        return None
    health = _health(info) or {}
    return {
        "database": one_line(str(real_path(database))),
        "read_only": info.read_only,
        "url": info.url,
        "pid": info.pid,
        "version": health.get("version"),
        "runs": health.get("runs"),
        "instance": info.instance,
        "answers": bool(health),
    }


def stop(database: str) -> LockInfo | None:
    """Stops the server of *database* and returns its lock info when it has ended; None if none was running.

    Raises CannotStop and DatabaseUnusable.
    """
    path = real_path(database)
    info = _lock_info(path)
    if info is None:
        return None
    try:
        _request_shutdown(info)
    except CannotStop:
        if lock_info(path) == info:  # else it has just ended
            raise
    deadline = time.monotonic() + _STOP_SECONDS
    while lock_info(path) == info:
        if time.monotonic() > deadline:
            raise CannotStop(f"pid {info.pid} did not stop within {_STOP_SECONDS:g} s; kill it, or try again")
        time.sleep(_POLL_SECONDS)  # another process cannot notify this one
    return info


def _request_shutdown(info: LockInfo) -> None:
    """Asks the server to end. Raises CannotStop if it does not respond, or is not the one that holds the lock."""
    try:
        status, _ = _request(info, "POST", PATH, info.stop_key)
    except (OSError, http.client.HTTPException):
        raise CannotStop(f"{info.url} (pid {info.pid}) does not respond; kill it, or try again") from None
    if status != HTTPStatus.ACCEPTED:
        raise CannotStop(f"{info.url} is not the server of pid {info.pid}, or an older one; end that yourself")


def _request(info: LockInfo, method: str, path: str, token: str | None) -> tuple[int, bytes]:
    """The status and the body of the response. Raises OSError and HTTPException."""
    with closing(_connection(info)) as connection:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read()


def _connection(info: LockInfo) -> http.client.HTTPConnection:
    if path := socket_path(info.url):
        return _UnixConnection(path)
    address = urlsplit(info.url)
    return http.client.HTTPConnection(address.hostname or "", address.port, timeout=_HEALTH_SECONDS)


class _UnixConnection(http.client.HTTPConnection):
    """A connection to the Unix socket at *path*."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_HEALTH_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connects. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _lock_info(path: Path) -> LockInfo | None:
    info = lock_info(path)
    if info is None and is_unreadable(path):
        raise DatabaseUnusable(f"cannot read {path.name}.lock: a server of another user may be running for {path}")
    return info


def ready_line(info: LockInfo, database: str, *, reused: bool) -> str:
    """The line of the server of *info*, which has just started, or is *reused*."""
    return encode(
        Ready(
            url=info.url,
            port=None if (path := socket_path(info.url)) else urlsplit(info.url).port,
            uds=path,
            pid=info.pid,
            token=info.secret,
            database=database if database == MEMORY else one_line(str(real_path(database))),
            read_only=info.read_only,
            version=info.version,
            instance=info.instance,
            reused=reused,
        )
    ).decode()


def _health(info: LockInfo) -> dict[str, object] | None:
    """The response of /health, only its status if the server requires another token, None if it does not respond."""
    with suppress(OSError, http.client.HTTPException, ValueError):
        status, body = _request(info, "GET", "/health", info.secret)
        health: dict[str, object] = {"status": "ok"} if status == 401 else decode(body)
        return health
    return None
