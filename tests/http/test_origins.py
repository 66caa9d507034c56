"""Behind a proxy, and for pages of other origins: which headers count, from which client, and what browsers receive."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from flowruns.http.app import create_app
from flowruns.settings import ANY_HOST, Settings
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.wire import RUN, Reply, call

NAMED = (b"host", b"portal.example")
LOCAL = (b"host", b"127.0.0.1:8000")
JSON = (b"content-type", b"application/json")
PORTAL = "https://portal.example"
PROXY = ("10.0.0.1", 4711)
A1 = f"{RUNS}/a1"

Make = Callable[..., Starlette]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with Store.open(":memory:") as store:
        yield store


@pytest.fixture
def make(store: Store) -> Make:
    return lambda **settings: create_app(store, Settings(anonymous=True, **settings))


@pytest.fixture
def behind(make: Make) -> Make:
    """An application that trusts the proxy at 10.0.0.1."""
    return lambda **more: make(
        allow_hosts=frozenset({"portal.example"}), forwarded_allow_ips=frozenset({"10.0.0.0/30", "::1"}), **more
    )


def origin(value: str) -> tuple[bytes, bytes]:
    return b"origin", value.encode()


def forwarding(**values: str) -> list[tuple[bytes, bytes]]:
    return [(f"x-forwarded-{name}".encode(), value.encode()) for name, value in values.items()]


async def put(app: Any, *headers: tuple[bytes, bytes], path: str = A1, **scope: Any) -> Reply:
    return await call(app, "PUT", path, [JSON, *headers], RUN, **scope)


# Origins of own pages


@pytest.mark.parametrize(
    ("host", "sent", "status"),
    [
        ("portal.example", "https://portal.example", 201), ("portal.example", "http://portal.example", 201),
        ("portal.example:443", "https://portal.example", 201), ("Portal.Example", "HTTPS://portal.EXAMPLE", 201),
        ("portal.example:8443", "https://portal.example:8443", 201),
        ("portal.example", "https://portal.example:8443", 403), ("portal.example", "https://other.example", 403),
        ("portal.example", "ftp://portal.example", 403), ("portal.example", "null", 403),
        ("portal.example:80", "https://portal.example", 403), ("localhost:8000", "https://localhost:8000", 403),
    ],
)  # fmt: skip
async def test_tls_may_end_before_a_host_that_is_named(make: Make, host: str, sent: str, status: int) -> None:
    app = make(allow_hosts=frozenset({"portal.example"}))
    assert (await put(app, (b"host", host.encode()), origin(sent))).status == status


async def test_an_application_that_allows_any_host_compares_the_names(make: Make) -> None:
    app = make(allow_hosts=frozenset({ANY_HOST}))
    assert (await put(app, NAMED, origin(PORTAL))).status == 201
    assert (await put(app, NAMED, origin("https://evil.example"))).status == 403


# Trusted proxies


async def test_scheme_host_and_prefix_come_from_a_trusted_proxy(behind: Make) -> None:
    forwarded = forwarding(proto="https", host="portal.example", prefix="/portal")
    reply = await put(behind(), LOCAL, origin(PORTAL), *forwarded, client=PROXY)
    assert (reply.status, reply.header(b"location")) == (201, f"/portal{A1}".encode())
    api = await call(behind(), "GET", "/openapi.json", [LOCAL, *forwarded], client=PROXY)
    assert api.json["servers"] == [{"url": "/portal"}]


@pytest.mark.parametrize("client", [("127.0.0.1", 1), ("10.0.0.4", 1), ("testclient", 1), None])
async def test_others_are_not_heeded(behind: Make, client: tuple[str, int] | None) -> None:
    forwarded = forwarding(proto="https", host="portal.example", prefix="/portal")
    assert (await put(behind(), LOCAL, origin(PORTAL), *forwarded, client=client)).status == 403
    reply = await put(behind(), LOCAL, *forwarded, client=client)
    assert reply.header(b"location") == A1.encode()


async def test_nobody_is_trusted_by_default(make: Make) -> None:
    app = make(allow_hosts=frozenset({"portal.example"}))
    for client in (("127.0.0.1", 1), ("::1", 1), None):
        forwarded = forwarding(proto="https", host="portal.example", prefix="/portal")
        assert (await put(app, LOCAL, origin(PORTAL), *forwarded, client=client)).status == 403


@pytest.mark.parametrize("client", [("::ffff:10.0.0.1", 1), ("::1", 1), PROXY])
async def test_a_proxy_is_known_at_its_address_in_both_families(behind: Make, client: tuple[str, int]) -> None:
    assert (await put(behind(), LOCAL, origin(PORTAL), *forwarding(host="portal.example"), client=client)).status == 201


async def test_a_star_trusts_every_client_as_at_a_unix_socket(make: Make) -> None:
    app = make(allow_hosts=frozenset({"portal.example"}), forwarded_allow_ips=frozenset({"*"}))
    assert (await put(app, LOCAL, origin(PORTAL), *forwarding(host="portal.example"), client=None)).status == 201


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"evil.example"), *forwarding(host="localhost")],  # DNS rebinding on the machine of the proxy
        [LOCAL, *forwarding(host="evil.example")],  # through a proxy that serves every name
        [LOCAL, *forwarding(host="localhost, evil.example")],
        [LOCAL, *forwarding(host="localhost"), *forwarding(host="evil.example")],
    ],
)
async def test_both_the_host_of_the_proxy_and_that_of_the_client_are_checked(
    behind: Make, headers: list[tuple[bytes, bytes]]
) -> None:
    reply = await call(behind(), "GET", RUNS, headers, client=PROXY)
    assert reply.details(403) == [(("header", "host"), "host_not_allowed")]


async def test_the_last_value_is_that_of_the_proxy(behind: Make) -> None:
    """A proxy adds to what its client sent, which may be anything."""
    forwarded = forwarding(host="evil.example, portal.example", prefix="/evil, /portal", proto="gopher,https")
    reply = await put(behind(), LOCAL, origin(PORTAL), *forwarded, client=PROXY)
    assert (reply.status, reply.header(b"location")) == (201, f"/portal{A1}".encode())


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "/a/../b", "portal", "https://evil.example", "/a b", "/%2f", "/\xe4"]
)
async def test_an_invalid_prefix_has_no_effect(behind: Make, prefix: str) -> None:
    reply = await put(behind(), LOCAL, (b"x-forwarded-prefix", prefix.encode("latin-1")), client=PROXY)
    assert reply.header(b"location") == A1.encode()


# Prefixes


@pytest.mark.parametrize("path", [A1, f"/portal{A1}"])
async def test_root_path_is_added_whether_the_proxy_removes_it_or_not(make: Make, path: str) -> None:
    app = make(root_path="/portal/")
    reply = await put(app, LOCAL, path=path)
    assert (reply.status, reply.header(b"location")) == (201, f"/portal{A1}".encode())
    assert (await call(app, "GET", "/openapi.json", [LOCAL])).json["servers"] == [{"url": "/portal"}]


@pytest.mark.parametrize("prefix", ["/api", "/api/v1", "/ui"])
async def test_a_prefix_like_a_path_of_ours_must_be_removed(make: Make, prefix: str) -> None:
    reply = await put(make(root_path=prefix), LOCAL)
    assert (reply.status, reply.header(b"location")) == (201, f"{prefix}{A1}".encode())
    assert (await call(make(root_path=prefix), "GET", "/ui/", [LOCAL])).status == 200


async def test_only_whole_segments_are_a_prefix(make: Make) -> None:
    assert (await call(make(root_path="/portal"), "GET", f"/portals{A1}", [LOCAL])).status == 404


async def test_the_prefix_of_the_proxy_comes_before_that_of_the_mount(behind: Make) -> None:
    outer = Starlette(routes=[Mount("/runs", behind(root_path="/unused"))])
    reply = await put(outer, LOCAL, *forwarding(prefix="/portal"), path=f"/runs{A1}", client=PROXY)
    assert (reply.status, reply.header(b"location")) == (201, f"/portal/runs{A1}".encode())


async def test_tokens_are_required_below_a_prefix(make: Make) -> None:
    app = make(root_path="/portal", tokens={"secret": 7})
    for path in (RUNS, f"/portal{RUNS}", "/portal/openapi.json", "/portal/portal/ui/"):
        assert (await call(app, "GET", path, [LOCAL])).status == 401
    for path in ("/ui/", "/portal/ui/", "/portal/docs"):
        assert (await call(app, "GET", path, [LOCAL])).status == 200


async def test_a_page_for_unknown_paths_leads_back_below_the_prefix(make: Make) -> None:
    for path in ("/no/such", "/portal/no/such"):
        reply = await call(make(root_path="/portal"), "GET", path, [LOCAL, (b"accept", b"text/html")])
        assert b'<base href="../">' in reply.body


# Pages of other origins


@pytest.fixture
def shared(make: Make) -> Starlette:
    return make(cors_origins=["https://portal.example:443/", "null", "file://"])


@pytest.mark.parametrize("sent", [PORTAL, "null", "file://"])
async def test_origins_are_compared_as_browsers_send_them(shared: Starlette, sent: str) -> None:
    reply = await put(shared, LOCAL, origin(sent))
    assert (reply.status, reply.header(b"access-control-allow-origin")) == (201, sent.encode())


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (b"traceparent, x-request-id,cache-control", b"traceparent, x-request-id,cache-control"),
        (b"content-type", b"content-type"), (b"", None), (b"a b", None), (b"a:b", None), (b"a,,b", None),
    ],
)  # fmt: skip
async def test_preflight_allows_the_headers_that_are_asked_for(
    shared: Starlette, asked: bytes, allowed: bytes | None
) -> None:
    headers = [LOCAL, origin(PORTAL), (b"access-control-request-headers", asked)]
    reply = await call(shared, "OPTIONS", A1, headers)
    default = b"authorization, content-type, if-match, if-none-match, last-event-id"
    assert (reply.status, reply.header(b"access-control-allow-headers")) == (204, allowed or default)


async def test_preflight_of_a_public_site_may_reach_this_machine(shared: Starlette) -> None:
    asked = (b"access-control-request-private-network", b"true")
    reply = await call(shared, "OPTIONS", A1, [LOCAL, origin(PORTAL), asked])
    assert reply.header(b"access-control-allow-private-network") == b"true"
    plain = await call(shared, "OPTIONS", A1, [LOCAL, origin(PORTAL)])
    assert plain.header(b"access-control-allow-private-network") is None
    assert (await call(shared, "OPTIONS", A1, [LOCAL, origin("https://evil.example"), asked])).status == 403


async def test_frames_are_for_the_origins_that_are_named(make: Make) -> None:
    for settings, sources in (
        ({}, b"'none'"), ({"frame_ancestors": ["self", "https://portal.example/"]}, b"'self' https://portal.example"),
    ):  # fmt: skip
        app = make(**settings)
        for path in ("/ui/", "/docs", "/ui/runs/a1", "/nothing"):
            reply = await call(app, "GET", path, [LOCAL, (b"accept", b"text/html")])
            policy = reply.header(b"content-security-policy") or b""
            assert policy.rpartition(b"; frame-ancestors ")[2] == sources
