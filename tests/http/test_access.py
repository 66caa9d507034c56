"""Hosts, origins, tokens, and the errors that nothing else catches."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowruns.http.access import AccessMiddleware
from flowruns.http.app import create_app
from flowruns.http.requests import ClientDisconnected
from flowruns.http.responses import OWN_SERVER
from flowruns.settings import Settings
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.waits import HANG
from tests.wire import RUN, Reply, call

HOST = (b"host", b"localhost:8000")
JSON = (b"content-type", b"application/json")
PORTAL = "https://portal.example"
A1 = f"{RUNS}/a1"
REQUESTS = [
    ("GET", RUNS), ("HEAD", RUNS), ("POST", RUNS), ("PUT", A1), ("GET", A1), ("DELETE", A1), ("PATCH", A1),
    ("OPTIONS", RUNS), ("GET", "/nothing"), ("GET", "/openapi.json"), ("GET", "/nothing/here"),
]  # fmt: skip

Make = Callable[..., Starlette]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with Store.open(":memory:") as store:  # not a file: there are many tests here, and none is about it
        yield store


@pytest.fixture
def make(store: Store) -> Make:
    return lambda **settings: create_app(store, Settings(anonymous=True, **settings))


def origin(value: str) -> tuple[bytes, bytes]:
    return b"origin", value.encode()


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + token.encode()


def cors(reply: Reply) -> list[bytes]:
    return [name for name, _ in reply.headers if name.startswith(b"access-control-")]


# Hosts


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost", "localhost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000"],
)
async def test_loopback_names_are_served_at_any_port(app: Starlette, host: str) -> None:
    assert (await call(app, "GET", RUNS, [(b"host", host.encode())])).status == 200


@pytest.mark.parametrize(
    "hosts",
    [
        [], [b"localhost", b"localhost"], [b"localhost", b"evil.example"], [b""], [b":8000"], [b"evil.example"],
        [b"evil.example:8000"], [b"localhost.evil.example"], [b"127.0.0.1.evil.example"], [b"localhost:8000:8000"],
        [b"localhost:http"], [b"localhost:\xb2"], [b"localhost, evil.example"], [b"user@localhost"], [b"0.0.0.0"],
        [b"0.0.0.0:8000"], [b"[::]"], [b"::1"], [b"[::1"], [b"127.0.0.2"], [b"2130706433"], [b"localhost\xff"],
    ],
)  # fmt: skip
async def test_other_hosts_are_403(app: Starlette, hosts: list[bytes]) -> None:
    reply = await call(app, "GET", RUNS, [(b"host", host) for host in hosts])
    assert reply.details(403) == [(("header", "host"), "host_not_allowed")]


@pytest.mark.parametrize(("method", "target"), REQUESTS)
async def test_foreign_host_is_403_on_every_path_and_changes_nothing(
    app: Starlette, store: Store, method: str, target: str
) -> None:
    reply = await call(app, method, target, [(b"host", b"evil.example"), JSON], RUN)
    assert reply.status == 403
    assert await store.count() == 0


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({"allow_hosts": frozenset({"Runs.Example"})}, "runs.example", 200),
        ({"allow_hosts": frozenset({"runs.example"})}, "RUNS.example:443", 200),
        ({"allow_hosts": frozenset({"runs.example"})}, "localhost", 200),
        ({"allow_hosts": frozenset({"runs.example"})}, "x.runs.example", 403),
        ({"allow_hosts": frozenset({"runs.example:81"})}, "runs.example:81", 200),
        ({"allow_hosts": frozenset({"runs.example:81"})}, "runs.example:82", 403),
        ({"host": "192.0.2.7"}, "192.0.2.7:8000", 200),
        ({"host": "2001:db8::7"}, "[2001:db8::7]:8000", 200),
        ({"host": "0.0.0.0"}, "0.0.0.0:8000", 403),
        ({"host": "0.0.0.0"}, "127.0.0.1:8000", 200),
        ({"host": "::"}, "[::]:8000", 403),
        ({"host": ""}, ":8000", 403),
    ],
)
async def test_served_hosts_are_loopback_the_own_and_the_allowed(
    make: Make, settings: dict[str, object], host: str, status: int
) -> None:
    assert (await call(make(**settings), "GET", RUNS, [(b"host", host.encode())])).status == status


# Origins


@pytest.mark.parametrize("value", ["http://localhost:8000", "HTTP://LocalHost:8000"])
async def test_own_origin_is_served_without_cors_headers(app: Starlette, value: str) -> None:
    reply = await call(app, "PUT", A1, [HOST, JSON, origin(value)], RUN)
    assert reply.status == 201
    assert cors(reply) == []


@pytest.mark.parametrize(
    "values",
    [
        ["null"], [""], ["http://evil.example"], ["http://localhost:8001"], ["http://localhost"],
        ["https://localhost:8000"], ["http://127.0.0.1:8000"], ["http://localhost:8000.evil.example"],
        ["http://localhost:8000/"], ["http://localhost:8000, http://evil.example"],
        ["http://localhost:8000", "http://evil.example"], ["http://evil.example", "http://localhost:8000"],
    ],
)  # fmt: skip
@pytest.mark.parametrize(("method", "target"), [("GET", RUNS), ("PUT", A1), ("GET", "/nothing")])
async def test_foreign_origins_are_403_and_change_nothing(
    app: Starlette, store: Store, values: list[str], method: str, target: str
) -> None:
    reply = await call(app, method, target, [HOST, JSON, *map(origin, values)], RUN)
    assert reply.details(403) == [(("header", "origin"), "origin_not_allowed")]
    assert cors(reply) == []
    assert await store.count() == 0


async def test_refused_origin_is_named_in_the_response_and_logged_once(
    app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    options = {value: value for value in ("http://localhost:21101", "null", PORTAL)}
    options["null"] += ", and --token or --anonymous"
    for value, option in [*options.items(), *options.items()]:
        reply = await call(app, "GET", RUNS, [HOST, origin(value)])
        assert f"start the server with --cors-origin {option};" in reply.json["detail"][0]["msg"]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert caplog.messages == [
        f"refused {value}; to allow its pages: --cors-origin {option}" for value, option in options.items()
    ]


@pytest.mark.parametrize(
    "value",
    ["http://a/$(reboot)", "http://a b", "http://a\r\nERROR forged", "http://A", f"http://{'a' * 300}", "", "\xff"],
)
async def test_text_that_is_no_origin_is_neither_named_nor_logged(
    app: Starlette, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    reply = await call(app, "GET", RUNS, [HOST, origin(value)])
    assert "--cors-origin ORIGIN;" in reply.json["detail"][0]["msg"]
    assert caplog.messages == []


async def test_refused_hosts_are_not_logged_and_origins_only_to_a_number(
    app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        await call(app, "GET", RUNS, [(b"host", b"evil.example"), origin(f"http://{number}.example")])
    assert caplog.messages == []
    for number in range(1000):
        await call(app, "GET", RUNS, [HOST, origin(f"http://{number}.example")])
    assert len(caplog.messages) == 20


async def test_preflight_gets_no_cors_headers_unless_an_origin_is_allowed(app: Starlette) -> None:
    asked = (b"access-control-request-method", b"PUT")
    for reply in (
        await call(app, "OPTIONS", A1, [HOST, asked]),
        await call(app, "OPTIONS", A1, [HOST, asked, origin("http://localhost:8000")]),
    ):
        assert reply.status == 405
        assert reply.header(b"allow") == b"DELETE, GET, HEAD, PUT"
        assert cors(reply) == []


# Cross-origin requests


@pytest.fixture
def shared(make: Make) -> Starlette:
    return make(cors_origins=frozenset({PORTAL}), tokens={"secret": 7})


async def test_preflight_of_an_allowed_origin_needs_no_token(shared: Starlette) -> None:
    reply = await call(shared, "OPTIONS", A1, [HOST, origin(PORTAL), (b"access-control-request-method", b"PUT")])
    assert (reply.status, reply.body) == (204, b"")
    assert reply.header(b"access-control-allow-origin") == PORTAL.encode()
    assert (reply.header(b"access-control-allow-methods") or b"").split(b", ") == [
        b"DELETE", b"GET", b"HEAD", b"POST", b"PUT",
    ]  # fmt: skip
    allowed = (reply.header(b"access-control-allow-headers") or b"").split(b", ")
    assert {b"authorization", b"content-type", b"if-match", b"if-none-match"} <= set(allowed)
    assert reply.header(b"vary") == b"origin"


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "status"),
    [
        ("PUT", A1, RUN, [JSON], 201), ("GET", RUNS, b"", [], 200), ("GET", A1, b"", [], 404),
        ("PATCH", A1, b"", [], 405), ("PUT", A1, b"", [], 415), ("PUT", A1, b"{}", [JSON], 422),
    ],
)  # fmt: skip
async def test_allowed_origin_may_read_every_response(
    shared: Starlette, method: str, target: str, body: bytes, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    reply = await call(shared, method, target, [HOST, bearer("secret"), origin(PORTAL), *headers], body)
    assert reply.status == status
    assert reply.header(b"access-control-allow-origin") == PORTAL.encode()
    assert reply.header(b"access-control-expose-headers") == b"etag, location, retry-after"
    assert reply.header(b"access-control-allow-credentials") == b"true"
    assert reply.header(b"vary") == b"origin"


async def test_allowed_origin_may_read_401_and_500(shared: Starlette) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    for app, status in ((shared, 401), (AccessMiddleware(failing, Settings(cors_origins=frozenset({PORTAL}))), 500)):
        reply = await call(app, "GET", RUNS, [HOST, origin(PORTAL)])
        assert reply.status == status
        assert reply.header(b"access-control-allow-origin") == PORTAL.encode()


@pytest.mark.parametrize("method", ["OPTIONS", "GET", "PUT"])
@pytest.mark.parametrize("other", ["https://evil.example", "null", f"{PORTAL}:444", PORTAL.replace("https", "http")])
async def test_other_origins_stay_403(shared: Starlette, method: str, other: str) -> None:
    reply = await call(shared, method, A1, [HOST, JSON, bearer("secret"), origin(other)], RUN)
    assert reply.status == 403
    assert cors(reply) == []


async def test_allowed_origin_does_not_excuse_a_foreign_host(shared: Starlette) -> None:
    for method in ("OPTIONS", "GET"):
        reply = await call(shared, method, RUNS, [(b"host", b"evil.example"), origin(PORTAL), bearer("secret")])
        assert reply.status == 403


# Tokens


@pytest.fixture
def locked(make: Make) -> Starlette:
    return make(tokens={"secret": 7, "other": 8, "schlüssel": 9})


@pytest.mark.parametrize(
    ("value", "user"),
    [
        (b"Bearer secret", 7), (b"bearer secret", 7), (b"BEARER secret", 7), (b"Bearer  secret ", 7),
        (b"Bearer other", 8), ("Bearer schlüssel".encode(), 9),
    ],
)  # fmt: skip
async def test_right_token_gives_the_user(locked: Starlette, value: bytes, user: int) -> None:
    reply = await call(locked, "PUT", A1, [HOST, JSON, (b"authorization", value)], RUN)
    assert reply.status == 201
    assert (reply.json["createdBy"], reply.json["updatedBy"]) == (user, user)


WRONG = [
    [], [b""], [b"Bearer"], [b"Bearer "], [b"Bearer wrong"], [b"Bearer secre"], [b"Bearer secretx"],
    [b"Bearer SECRET"], [b"Bearer secret other"], [b"Basic secret"], [b"secret"], [b"Bearersecret"], [b"\xff\xfe"],
    [b"Bearer \xff\xfe"], ["Bearer schlüssel".encode("latin-1")], [b"Bearer secret", b"Bearer secret"],
    [b"Bearer secret", b"Bearer wrong"],
]  # fmt: skip


@pytest.mark.parametrize("values", WRONG)
async def test_any_other_token_is_401(locked: Starlette, values: list[bytes]) -> None:
    reply = await call(locked, "GET", RUNS, [HOST, *((b"authorization", value) for value in values)])
    assert reply.details(401) == [(("header", "authorization"), "unauthorized")]
    assert reply.header(b"www-authenticate") == b"Bearer"


@pytest.mark.parametrize(("method", "target"), REQUESTS)
@pytest.mark.parametrize(
    ("headers", "body"),
    [([JSON], RUN), ([JSON], b"not JSON"), ([], RUN), ([JSON, (b"content-length", b"99999999")], b"")],
    ids=["fine", "422", "415", "413"],
)
async def test_401_comes_before_anything_else_is_looked_at(
    locked: Starlette, store: Store, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    reply = await call(locked, method, target, [HOST, *headers, bearer("wrong")], body)
    assert reply.status == 401
    assert reply.header(b"www-authenticate") == b"Bearer"
    assert await store.count() == 0


async def test_foreign_host_and_origin_are_403_whatever_the_token(locked: Starlette) -> None:
    for headers in ([(b"host", b"evil.example")], [HOST, origin("null")]):
        for token in ("secret", "wrong"):
            assert (await call(locked, "GET", RUNS, [*headers, bearer(token)])).status == 403


async def test_created_by_and_updated_by_follow_the_token(locked: Starlette) -> None:
    await call(locked, "PUT", A1, [HOST, JSON, bearer("secret")], RUN)
    replaced = await call(locked, "PUT", A1, [HOST, JSON, bearer("other")], RUN)
    assert (replaced.json["createdBy"], replaced.json["updatedBy"]) == (7, 8)
    posted = await call(locked, "POST", RUNS, [HOST, JSON, bearer("other")], b'{"flowId":"deploy"}')
    assert (posted.json["createdBy"], posted.json["updatedBy"]) == (8, 8)


async def test_without_tokens_callers_are_anonymous_whatever_they_send(app: Starlette) -> None:
    reply = await call(app, "PUT", A1, [HOST, JSON, bearer("secret")], RUN)
    assert (reply.json["createdBy"], reply.json["updatedBy"]) == (None, None)


# Errors that nothing else catches


def protected(app: ASGIApp) -> AccessMiddleware:
    return AccessMiddleware(app, Settings())


async def test_unexpected_exception_is_500_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("what a client sent")

    caplog.set_level(logging.INFO)
    reply = await call(protected(failing), "GET", "/", [HOST])
    assert reply.details(500) == [(("server",), "internal_error")]
    assert b"ZeroDivisionError" not in reply.body
    assert b"client" not in reply.body
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"ZeroDivisionError at {__file__}:{failing.__code__.co_firstlineno + 1}" in caplog.text
    assert "what a client sent" not in caplog.text


async def test_client_that_left_gets_nothing_and_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def leaving(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnected

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await protected(leaving)({"type": "http", "method": "PUT", "path": "/", "headers": [HOST]}, receive, send)
    assert sent == []
    assert caplog.records == []


async def test_cancelled_handler_responds_503() -> None:
    inside = asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(call(protected(waiting), "GET", "/", [HOST], **{OWN_SERVER: True}))
    async with asyncio.timeout(HANG):
        await inside.wait()
        task.cancel()
        reply = await task
    assert [type for _, type in reply.details(503)] == ["unavailable"]
    assert reply.header(b"retry-after") == b"1"


async def test_a_cancelled_request_of_another_server_ends() -> None:
    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await call(protected(waiting), "PUT", "/", [HOST])


async def test_what_is_not_http_passes() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        pass

    await protected(app)({"type": "lifespan"}, receive, send)
    assert seen == ["lifespan"]


@pytest.mark.parametrize(("headers", "status"), [([], 200), ([(b"authorization", b"Bearer wrong")], 401)])
async def test_a_probe_without_a_token_gets_the_status_alone(
    store: Store, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    app = create_app(store, Settings(tokens={"secret": 7}))
    reply = await call(app, "GET", "/health", [HOST, *headers])
    assert reply.status == status
    assert status != 200 or reply.json == {"status": "ok"}
    whole = await call(app, "GET", "/health", [HOST, (b"authorization", b"Bearer secret")])
    assert set(whole.json) == {"status", "version", "schema", "runs", "instance"}
