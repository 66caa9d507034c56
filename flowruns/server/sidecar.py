"""The programs beside a server: they start it, find it, use it again, and end it."""

import http.client
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.json import decode, encode

from flowruns.errors import CannotStop, DatabaseInUse, DatabaseUnusable, PortTaken
from flowruns.server.running import RunningServer
from flowruns.settings import MEMORY
from flowruns.sqlite.datafile import real_path
from flowruns.sqlite.lockfile import LockInfo, is_unreadable, lock_info
from flowruns.version import __version__

_ANSWER_SECONDS = 2.0  # that a server may take to say that it is well

_REUSE_SECONDS = 10.0  # that one which is starting or ending may take to be there or gone

_STRANGER_SECONDS = 0.5  # that our own may need from its port to its file

_STOP_SECONDS = 10.0

_LOOK_SECONDS = 0.05


class Ready(Struct, kw_only=True):
    """The line on stdout once requests are served."""

    event: str = "ready"
    url: str
    port: int
    pid: int
    token: str | None  # that was made for `--token auto`
    database: str
    version: str = __version__
    api: int = 1  # of /api/v1
    instance: str  # which `/health` tells: else somebody else answers at this address
    reused: bool


def ready(server: RunningServer, database: str) -> str:
    """The line of a *server* that has just started."""
    owner = LockInfo(os.getpid(), server.url, server.instance, server.secret)
    return _line(owner, database, reused=False)


def failed(code: int, message: str) -> str:
    """The line of a start that ends with exit *code*."""
    return encode({"event": "failed", "code": code, "message": message}).decode()


def start_or_reuse(start: Callable[[], None], reuse: Callable[[str], None], database: str) -> None:
    """Does *start*, unless another flowruns serves *database*: then *reuse*, with its line, once it answers.

    Raises CannotStart.
    """
    if database == MEMORY:  # everybody's own
        start()
        return
    path, began = real_path(database), time.monotonic()
    while True:
        owner = lock_info(path)
        if owner is not None and answers(owner):
            reuse(_line(owner, database, reused=True))
            return
        try:
            start()
            return
        except DatabaseInUse:  # by one that is starting or ending
            if time.monotonic() - began > _REUSE_SECONDS:
                raise
        except PortTaken:  # by it, or by a stranger
            if time.monotonic() - began > (_REUSE_SECONDS if lock_info(path) else _STRANGER_SECONDS):
                raise
        time.sleep(_LOOK_SECONDS)  # another process: nothing tells us


def answers(owner: LockInfo) -> bool:
    """Whether the server of *owner* answers requests."""
    health = _health(owner)
    return health is not None and health.get("instance", owner.instance) == owner.instance


def status(database: str) -> dict[str, object] | None:
    """What is to be known of the server of *database*; None: nobody serves it. Raises DatabaseUnusable."""
    owner = _owner(real_path(database))
    if owner is None:
        return None
    health = _health(owner) or {}
    return {
        "database": str(real_path(database)),
        "url": owner.url,
        "pid": owner.pid,
        "version": health.get("version"),
        "runs": health.get("runs"),
        "instance": owner.instance,
        "answers": bool(health),
    }


def stop(database: str) -> LockInfo | None:
    """Ends the server of *database*, and says which it was, once it is gone; None: nobody serves it.

    Raises CannotStop and DatabaseUnusable.
    """
    path = real_path(database)
    owner = _owner(path)
    if owner is None:
        return None
    try:
        os.kill(owner.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except OSError as error:
        raise CannotStop(f"pid {owner.pid} cannot be stopped: {error.strerror}") from None
    deadline = time.monotonic() + _STOP_SECONDS
    while lock_info(path) == owner:
        if time.monotonic() > deadline:
            raise CannotStop(f"pid {owner.pid} was told to stop, and has not within {_STOP_SECONDS:g} s")
        time.sleep(_LOOK_SECONDS)  # another process: nothing tells us
    return owner


def _owner(path: Path) -> LockInfo | None:
    owner = lock_info(path)
    if owner is None and is_unreadable(path):
        raise DatabaseUnusable(f"{path.name}.lock cannot be read: another user may serve {path}")
    return owner


def _line(owner: LockInfo, database: str, *, reused: bool) -> str:
    return encode(
        Ready(
            url=owner.url,
            port=urlsplit(owner.url).port or 0,
            pid=owner.pid,
            token=owner.secret,
            database=database if database == MEMORY else str(real_path(database)),
            instance=owner.instance,
            reused=reused,
        )
    ).decode()


def _health(owner: LockInfo) -> dict[str, object] | None:
    """What /health says; nothing, if it wants a token that we do not know; None: nobody answers."""
    address = urlsplit(owner.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_ANSWER_SECONDS)
    headers = {"Authorization": f"Bearer {owner.secret}"} if owner.secret else {}
    with suppress(OSError, http.client.HTTPException, ValueError):
        try:
            connection.request("GET", "/health", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status == 401:
            return {"status": "ok"}
        health: dict[str, object] = decode(body)
        return health
    return None
