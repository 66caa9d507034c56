"""The log: one line for each request and error, written to stderr by a thread so that it never blocks a request."""

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

_MAX_QUEUED = 1000  # lines; further ones are dropped, if stderr is a pipe that is read too slowly

_STDERR = 2


class RequestLog:
    """Logs each request, at level info, after its response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Calls the application, and logs the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            ms = round((perf_counter() - start) * 1000, 1)
            fields = {"method": scope["method"], "path": scope["path"], "status": status or "left", "ms": ms}
            log.info("%(method)s %(path)s %(status)s %(ms)s ms", fields)


class _TextFormatter(logging.Formatter):
    """Formats a record as one line, with non-printable characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of *record*."""
        return one_line(super().format(record))


class _JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of *record*: time, level, message, and the fields of a request."""
        fields = record.args if isinstance(record.args, dict) else {}
        return json_line(record.levelname.lower(), record.getMessage(), **fields)


def json_line(level: str, message: str, **fields: object) -> str:
    """A log line as JSON, with the current time."""
    text = message.encode(errors="backslashreplace").decode()  # a file name may not be UTF-8
    return encode({"time": format_datetime(datetime.now(UTC)), "level": level, "message": text, **fields}).decode()


class _DroppingHandler(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        """Queues *record* for the writer thread, or drops it if the queue is full."""
        with suppress(Full):
            self.queue.put_nowait(record)


@contextmanager
def log_to_stderr(level: str, *, as_json: bool = False) -> Iterator[None]:
    """While entered, the records of flowruns from *level* on, and warnings of uvicorn, are written to stderr."""
    queue: Queue[logging.LogRecord | None] = Queue(_MAX_QUEUED)
    handler = _DroppingHandler(queue)
    handler.setFormatter(_JsonFormatter() if as_json else _TextFormatter("%(asctime)s %(levelname)s %(message)s"))
    writer = threading.Thread(target=_write, args=(queue,), name="flowruns-log", daemon=True)
    writer.start()
    loggers = [log, logging.getLogger("uvicorn.error")]
    levels_before = [logger.level for logger in loggers]
    for logger, from_level in zip(loggers, (level, max(logging.WARNING, logging.getLevelName(level))), strict=True):
        logger.addHandler(handler)
        logger.setLevel(from_level)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, level_before in zip(loggers, levels_before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level_before)
            logger.propagate = True
        with suppress(Full):
            queue.put_nowait(None)
        writer.join(timeout=1)  # a pipe that is not read must not delay the exit


def _write(queue: "Queue[logging.LogRecord | None]") -> None:
    while (record := queue.get()) is not None:
        with suppress(OSError):  # a closed pipe
            # Not sys.stderr: its lock, held by a blocked thread, would make the interpreter's shutdown fail.
            os.write(_STDERR, (record.getMessage() + "\n").encode(errors="backslashreplace"))
