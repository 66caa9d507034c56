"""Lines about requests and details, on stderr, in a way that can neither block nor be forged."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from queue import Full, Queue
from time import perf_counter

from msgspec.json import encode
from starlette.types import ASGIApp

from flowruns.errors import one_line
from flowruns.http.responses import Message, Receive, Scope, Send
from flowruns.model.datetimes import format_datetime

log = logging.getLogger("flowruns")

_MOST_WAITING = 1000  # lines; more are dropped: nobody reads, or not fast enough

_STDERR = 2


class RequestLog:
    """Logs each request, at level info, once it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            took = (perf_counter() - began) * 1000
            said = {"method": scope["method"], "path": scope["path"], "status": status or "left", "ms": round(took, 1)}
            log.info("%(method)s %(path)s %(status)s %(ms)s ms", said)


class _Lines(logging.Formatter):
    """One record, one line: what could break it or colour it is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of *record*."""
        return one_line(super().format(record))


class _Json(logging.Formatter):
    """One record, one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of *record*: time, level, message, and what it tells of a request."""
        fields = record.args if isinstance(record.args, dict) else {}
        return json_line(record.levelname.lower(), record.getMessage(), **fields)


def json_line(level: str, message: str, **fields: object) -> str:
    """A line of the log as JSON, of now."""
    return encode({"time": format_datetime(datetime.now(UTC)), "level": level, "message": message, **fields}).decode()


class _Dropping(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        """Leaves *record* to the thread that writes, unless too many wait."""
        with suppress(Full):
            self.queue.put_nowait(record)


@contextmanager
def log_to_stderr(level: str, *, as_json: bool = False) -> Iterator[None]:
    """While entered, what flowruns and uvicorn log from *level* on is written to stderr by a thread of its own."""
    queue: Queue[logging.LogRecord | None] = Queue(_MOST_WAITING)
    handler = _Dropping(queue)
    handler.setFormatter(_Json() if as_json else _Lines("%(asctime)s %(levelname)s %(message)s"))
    writer = threading.Thread(target=_write, args=(queue,), name="flowruns-log", daemon=True)
    writer.start()
    loggers = [log, logging.getLogger("uvicorn.error")]
    for logger, from_level in zip(loggers, (level, max(logging.WARNING, logging.getLevelName(level))), strict=True):
        logger.addHandler(handler)
        logger.setLevel(from_level)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        with suppress(Full):
            queue.put_nowait(None)
        writer.join(timeout=1)  # a pipe that nobody reads must not hold up the end


def _write(queue: "Queue[logging.LogRecord | None]") -> None:
    while (record := queue.get()) is not None:
        with suppress(OSError):  # closed
            # Not sys.stderr: a thread that blocks within it would make Python's own end fail.
            os.write(_STDERR, (record.getMessage() + "\n").encode(errors="backslashreplace"))
