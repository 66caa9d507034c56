"""The log on stderr: one escaped line for each record, and no wait for its reader."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.types import Message, Receive, Scope, Send

from flowruns.http.logs import RequestLog, log, log_to_stderr
from tests.wire import call

uvicorn = logging.getLogger("uvicorn.error")


@contextmanager
def stderr_to(handle: int) -> Iterator[None]:
    """While entered, the process's stderr is the file *handle*."""
    before = os.dup(2)
    os.dup2(handle, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("plain text, ü and 🙂", "plain text, ü and 🙂"),
        ("two\nlines", r"two\nlines"),
        ("two\r\nlines", r"two\r\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\0\x7f\x85\x9b", r"\x00\x7f\x85\x9b"),
        ("\u2028\u202e\ufeff", r"\u2028\u202e\ufeff"),
        ("\udc80", r"\udc80"),
        ("\t", r"\t"),
    ],
)
def test_record_is_one_line_whatever_it_contains(capfd: pytest.CaptureFixture[str], message: str, written: str) -> None:
    with log_to_stderr("INFO"):
        log.info("%s", message)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith(f" INFO {written}\n")
    assert err.count("\n") == 1


def test_traceback_is_one_line_too(capfd: pytest.CaptureFixture[str]) -> None:
    with log_to_stderr("DEBUG"):
        try:
            raise ValueError("two\nlines")
        except ValueError as error:
            log.debug("", exc_info=error)
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert r"ValueError: two\nlines" in err


@pytest.mark.parametrize(
    ("level", "ours", "uvicorns"),
    [
        ("DEBUG", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("INFO", ["info", "warning", "error"], ["warning", "error"]),
        ("WARNING", ["warning", "error"], ["warning", "error"]),
        ("ERROR", ["error"], ["error"]),
    ],
)
def test_level_is_for_us_and_at_least_warning_for_uvicorn(
    capfd: pytest.CaptureFixture[str], level: str, ours: list[str], uvicorns: list[str]
) -> None:
    with log_to_stderr(level):
        for logger in (log, uvicorn):
            for word in ("debug", "info", "warning", "error"):
                getattr(logger, word)(word)
    assert [line.split()[-1] for line in capfd.readouterr().err.splitlines()] == ours + uvicorns


def test_loggers_are_as_before_in_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    def state() -> list[tuple[int, bool, list[logging.Handler]]]:
        return [(logger.level, logger.propagate, list(logger.handlers)) for logger in (log, uvicorn)]

    threads, before = threading.enumerate(), state()
    with log_to_stderr("DEBUG"):
        assert state() != before
    log.warning("not written")
    assert "not written" not in capfd.readouterr().err
    assert set(threading.enumerate()) <= set(threads)  # threads of earlier tests may end meanwhile
    assert state() == before


def test_closed_pipe_breaks_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with stderr_to(writing), log_to_stderr("INFO"):
            for _ in range(10):
                log.info("not read")
    finally:
        os.close(writing)


async def test_request_is_logged_with_method_path_status_and_time(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    caplog.set_level(logging.INFO, "flowruns")
    await call(RequestLog(app), "GET", "/pot", [(b"authorization", b"Bearer secret")], b"a body")
    [line] = caplog.messages
    assert line.startswith("GET /pot 418 ")
    assert line.endswith(" ms")


async def test_request_without_a_response_is_logged_as_left(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    caplog.set_level(logging.INFO, "flowruns")
    await RequestLog(app)({"type": "http", "method": "PUT", "path": "/"}, receive, send)
    await RequestLog(app)({"type": "lifespan"}, receive, send)
    [line] = caplog.messages
    assert line.startswith("PUT / left ")
