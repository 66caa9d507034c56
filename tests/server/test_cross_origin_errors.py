"""Pages of an allowed origin can read the errors that arise below the application."""

from collections.abc import Iterator
from typing import Any

import pytest

from flowruns.server.starting import running
from flowruns.settings import Settings
from tests.conftest import RUNS
from tests.wire import Wire, request

PORTAL = "https://portal.example"
SETTINGS = Settings(
    database=":memory:", port=0, cors_origins=frozenset({PORTAL}), max_head=1024, max_body=10, body_timeout=0.0
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(SETTINGS) as server:
        yield server.url


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (("PUT", f"{RUNS}/a1", b"", "X: " + "x" * 2000), 431),
        (("PUT", f"{RUNS}/a1", b'{"args": "too large"}'), 413),
        (("PUT", f"{RUNS}/a1", None, "Content-Type: application/json", "Content-Length: 5"), 408),  # it never comes
        (("PUT", f"{RUNS}/a1", None, "Transfer-Encoding: chunked", "\r\nx"), 400),
    ],
)
def test_errors_below_the_application_can_be_read(url: str, sent: tuple[Any, ...], status: int) -> None:
    method, target, body, *lines = sent
    for origin, allowed in ((PORTAL, PORTAL.encode()), ("https://evil.example", None)):
        with Wire(url) as wire:
            wire.send(request(method, target, body, f"Origin: {origin}", *lines))
            reply = wire.reply()
        assert reply.status == (status if allowed or status in (431, 400) else 403)
        assert reply.header(b"access-control-allow-origin") == allowed
        assert reply.header(b"vary") == (b"origin" if allowed else None)
