"""The cookie that stands for a token: what sets and ends it, and which requests it counts in."""

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from flowruns.http.app import create_app
from flowruns.server.starting import running
from flowruns.settings import Settings
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.streams import Stream
from tests.wire import RUN, Reply, Wire, call

HOST = (b"host", b"localhost:8000")
BEARER = (b"authorization", b"Bearer s3cret")
JSON = (b"content-type", b"application/json")
SITE = b"sec-fetch-site"


@pytest.fixture
def app(store: Store) -> ASGIApp:
    return create_app(store, Settings(tokens={"s3cret": 7, "other": 8}, cors_origins={"http://localhost:3000", "null"}))


async def cookie_of(app: ASGIApp, *headers: tuple[bytes, bytes], host: tuple[bytes, bytes] = HOST) -> bytes:
    """The cookie that POST /session sets, without its attributes."""
    reply = await call(app, "POST", "/session", [host, *(headers or [BEARER])])
    assert (reply.status, reply.body) == (204, b"")
    value = reply.header(b"set-cookie")
    assert value
    return value.partition(b";")[0]


async def ask(app: ASGIApp, method: str, cookie: bytes, *headers: tuple[bytes, bytes], **more: Any) -> Reply:
    target = RUNS if method in ("GET", "HEAD") else f"{RUNS}/a"
    return await call(app, method, target, [HOST, JSON, (b"cookie", cookie), *headers], RUN, **more)


async def test_cookie_stands_for_the_token_and_hides_it(app: ASGIApp) -> None:
    reply = await call(app, "POST", "/session", [HOST, BEARER])
    value = reply.header(b"set-cookie") or b""
    assert re.fullmatch(rb"flowruns-8000=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Strict", value)
    assert b"s3cret" not in value
    cookie = await cookie_of(app)
    assert (await ask(app, "GET", cookie)).status == 200
    assert (await ask(app, "GET", b"a=b; " + cookie + b"; c=d")).status == 200
    reply = await ask(app, "PUT", cookie, (b"origin", b"http://localhost:8000"))
    assert (reply.status, reply.json["createdBy"]) == (201, 7)
    whole = await call(app, "GET", "/health", [HOST, (b"cookie", cookie)])
    assert whole.json["runs"] == 1


async def test_cookie_is_secure_behind_tls_and_belongs_to_the_prefix(app: ASGIApp) -> None:
    reply = await call(app, "POST", "/portal/session", [HOST, BEARER], scheme="https", root_path="/portal")
    assert (reply.header(b"set-cookie") or b"").endswith(b"; Path=/portal/; HttpOnly; SameSite=Strict; Secure")


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer wrong")], [(b"authorization", b"Basic s3cret")]])
async def test_only_a_token_sets_a_cookie(app: ASGIApp, headers: list[tuple[bytes, bytes]]) -> None:
    reply = await call(app, "POST", "/session", [HOST, *headers])
    assert reply.details(401)
    assert reply.header(b"set-cookie") is None
    cookie = await cookie_of(app)
    reply = await call(app, "POST", "/session", [HOST, (b"cookie", cookie), *headers])
    assert reply.details(401)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("PUT", [(b"origin", b"http://localhost:8000")], 201),
        ("PUT", [(b"origin", b"http://localhost:3000")], 201),  # which is allowed
        ("PUT", [(SITE, b"same-origin")], 201),
        ("PUT", [], 401),
        ("PUT", [(SITE, b"same-site")], 401),
        ("PUT", [(b"origin", b"null")], 401),  # any page can have it
        ("PUT", [(b"origin", b"http://localhost:9000")], 403),
        ("DELETE", [(SITE, b"cross-site")], 401),
        ("GET", [], 200),
        ("GET", [(SITE, b"same-origin")], 200),
        ("GET", [(SITE, b"none")], 200),
        ("GET", [(SITE, b"same-site")], 401),  # a page on another port
        ("GET", [(SITE, b"cross-site")], 401),
        ("GET", [(b"origin", b"http://localhost:3000"), (SITE, b"same-site")], 200),
        ("GET", [(b"origin", b"null")], 401),
        ("GET", [(b"origin", b"http://localhost:9000")], 403),
        ("GET", [(b"authorization", b"Bearer wrong")], 401),
    ],
)
async def test_cookie_counts_in_requests_of_own_and_allowed_pages(
    app: ASGIApp, method: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    assert (await ask(app, method, await cookie_of(app), *headers)).status == status


async def test_401_of_an_allowed_page_without_credentials_says_what_a_browser_must_do(app: ASGIApp) -> None:
    page = (b"origin", b"http://localhost:3000")
    for method, target in (("GET", RUNS), ("GET", f"{RUNS}/a"), ("PUT", f"{RUNS}/a"), ("POST", "/session")):
        reply = await call(
            app, method, target, [HOST, page, (b"cookie", b"theme=dark"), (b"accept", b"text/event-stream")]
        )
        assert reply.details(401)
        assert "withCredentials of EventSource" in reply.json["detail"][0]["msg"]
    for headers in ([], [page, (b"cookie", b"flowruns-8000=old")]):
        reply = await call(app, "GET", RUNS, [HOST, *headers])
        assert reply.json["detail"][0]["msg"].endswith("Authorization: Bearer TOKEN")
    for headers in ([], [page]):
        reply = await call(app, "GET", RUNS, [HOST, *headers, (b"authorization", b"Bearer wrong")])
        assert reply.json["detail"][0]["msg"].endswith("Authorization: Bearer TOKEN; the one that was sent is not")


async def test_allowed_origins_may_send_the_cookie(app: ASGIApp, store: Store) -> None:
    name = b"access-control-allow-credentials"
    cookie = await cookie_of(app)
    reply = await ask(app, "GET", cookie, (b"origin", b"http://localhost:3000"))
    assert (reply.status, reply.header(name)) == (200, b"true")
    assert (await ask(app, "GET", cookie, (b"origin", b"null"))).header(name) is None
    without = create_app(store, Settings(cors_origins={"http://localhost:3000"}))
    assert (await ask(without, "GET", b"", (b"origin", b"http://localhost:3000"))).header(name) == b"true"


async def test_cookie_is_of_its_host_and_port_and_token(app: ASGIApp) -> None:
    cookie = await cookie_of(app)
    elsewhere = await cookie_of(app, host=(b"host", b"localhost:8001"))
    other = await cookie_of(app, (b"authorization", b"Bearer other"))
    assert elsewhere.startswith(b"flowruns-8001=")
    assert (await cookie_of(app, host=(b"host", b"localhost"))).startswith(b"flowruns=")
    for wrong in (elsewhere, elsewhere.replace(b"8001", b"8000"), cookie[:-1], cookie + b"0", b"flowruns-8000="):
        assert (await ask(app, "GET", wrong)).status == 401
    assert (await ask(app, "GET", elsewhere + b"; flowruns-8000=x; " + cookie)).status == 200
    reply = await ask(app, "PUT", other, (SITE, b"same-origin"))
    assert reply.json["createdBy"] == 8


async def test_delete_removes_the_cookie_even_an_invalid_one(app: ASGIApp) -> None:
    for cookie in (await cookie_of(app), b"flowruns-8000=old"):
        reply = await call(app, "DELETE", "/session", [HOST, (b"cookie", cookie)])
        assert reply.status == 204
        assert reply.header(b"set-cookie") == b"flowruns-8000=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
    reply = await call(app, "DELETE", "/session", [HOST, (b"origin", b"http://localhost:9000")])
    assert reply.details(403)


async def test_server_without_tokens_sets_no_cookie(store: Store) -> None:
    reply = await call(create_app(store), "POST", "/session", [HOST])
    assert (reply.status, reply.header(b"set-cookie")) == (204, None)


def test_cookie_lives_as_long_as_the_token_and_opens_streams(path: Path) -> None:
    def settings(*tokens: str, port: int) -> Settings:
        return Settings(database=str(path), port=port, tokens=dict.fromkeys(tokens, 7))

    with running(settings("s3cret", port=0)) as ready, Wire(ready.url) as wire:
        port = int(ready.url.rpartition(":")[2])
        reply = wire.ask("POST", "/session", None, "Authorization: Bearer s3cret", "Content-Length: 0")
        cookie = f"Cookie: {(reply.header(b'set-cookie') or b'').decode().partition(';')[0]}"
    with running(settings("s3cret", "new", port=port)) as ready, Stream(ready.url, "", None, cookie) as stream:
        assert stream.answer.status == 200
    with running(settings("new", port=port)) as ready, Wire(ready.url) as wire:
        assert wire.ask("GET", RUNS, None, cookie).details(401)
