"""flowruns behind the real proxies, as the page `proxies` configures them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from msgspec.structs import replace

from flowruns.client.client import Client
from flowruns.server.starting import running
from flowruns.settings import Settings
from tests.conftest import RUNS
from tests.processes import serving
from tests.proxies.programs import HOST, IS_ROOT, PROGRAMS, SOCKETS, Proxy, documented_sockets, proxied
from tests.waits import FOREVER, HANG

RUN = {"flowId": "deploy", "flowType": "automation"}
A1 = f"{RUNS}/a1"
MAX_BODY = 8 * 1024 * 1024
OPTIONS = ("--allow-host", HOST, "--forwarded-allow-ips", "127.0.0.1", "--root-path", "/portal")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that the proxies may use."""
    with serving(tmp_path_factory.mktemp("behind"), ":memory:", *OPTIONS, seconds=FOREVER) as served:
        yield served.url


@pytest.fixture(scope="module", params=PROGRAMS)
def proxy(request: pytest.FixtureRequest, behind: str) -> Iterator[Proxy]:
    with proxied(request.param, behind) as proxy:
        yield proxy


@pytest.fixture
def site(proxy: Proxy) -> Iterator[httpx.Client]:
    """A client of the proxy that sends what a browser sends from the page."""
    with proxy.client(origin=proxy.origin) as client:
        yield client


@pytest.fixture
def program(proxy: Proxy) -> Iterator[httpx.Client]:
    """A client of the proxy that is no browser."""
    with proxy.client() as client:
        yield client


def test_the_page_can_change_runs(site: httpx.Client) -> None:
    site.delete(A1)
    response = site.put(A1, json=RUN)
    assert (response.status_code, response.headers["location"]) == (201, f"/portal{A1}")
    assert site.post(RUNS, json={"flowId": "deploy"}).headers["location"].startswith(f"/portal{RUNS}/")
    assert site.delete(A1).status_code == 204


def test_the_files_of_the_page_are_below_the_prefix(site: httpx.Client, program: httpx.Client) -> None:
    for path, start in (("/", "/ui/"), ("/ui", "/ui/")):
        response = program.get(path)
        assert (response.status_code, response.headers["location"]) == (307, start[1:])
    for path in ("/ui/", "/ui/runs/a1", "/docs"):
        page = program.get(path)
        (base,) = re.findall(r'<base href="([^"]*)">', page.text)
        script = re.findall(r'<script type="module" src="([^"]*)">', page.text)[0]
        address = page.url.join(base).join(script)
        assert site.get(address.path.removeprefix("/portal")).status_code == 200  # with an Origin, as in Chromium
    assert program.get("/openapi.json").json()["servers"] == [{"url": "/portal"}]


def test_other_sites_cannot_change_runs(program: httpx.Client) -> None:
    """Whatever a client says of itself to the proxy."""
    evil = {"origin": "https://evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}
    assert program.put(A1, json=RUN, headers=evil).status_code == 403
    prefix = {"x-forwarded-prefix": "//evil.example"}
    assert program.post(RUNS, json={"flowId": "a"}, headers=prefix).headers["location"].startswith(f"/portal{RUNS}/")


def test_etags_survive_compression(program: httpx.Client) -> None:
    program.put(A1, json=RUN | {"args": {"text": "x" * 10_000}})
    run = program.get(A1, headers={"accept-encoding": "gzip"})
    assert re.fullmatch(r'"[^"-]+"', run.headers["etag"])
    assert program.put(A1, json=RUN, headers={"if-match": run.headers["etag"]}).status_code == 200
    assert program.put(A1, json=RUN, headers={"if-match": run.headers["etag"]}).status_code == 412
    page = program.get(RUNS, headers={"accept-encoding": "gzip"})
    assert re.fullmatch(r'"[^"-]+"', page.headers["etag"])
    assert program.get(RUNS, headers={"if-none-match": page.headers["etag"]}).status_code == 304


def test_events_arrive_as_they_happen(program: httpx.Client, behind: str) -> None:
    start = program.get(RUNS).headers["etag"].strip('"')
    headers = {"accept": "text/event-stream", "accept-encoding": "gzip", "last-event-id": start}
    with program.stream("GET", RUNS, headers=headers) as response, Client(behind) as writer:
        lines = response.iter_lines()
        for number in range(3):
            writer.put("streamed", flowId=f"flow-{number}", flowType="automation")
            while not (line := next(lines)).startswith('data: {"id":'):
                pass
            assert json.loads(line.removeprefix("data: "))["flowId"] == f"flow-{number}"


def test_bodies_have_the_limit_of_the_server(program: httpx.Client) -> None:
    frame = json.dumps(RUN | {"args": {"text": ""}}).encode()
    largest = frame.replace(b'""', b'"%b"' % (b"x" * (MAX_BODY - len(frame))))
    headers = {"content-type": "application/json"}
    assert len(largest) == MAX_BODY
    assert program.put(A1, content=largest, headers=headers).status_code in (200, 201)
    assert program.get(A1).json()["args"]["text"] == "x" * (MAX_BODY - len(frame))
    refused = program.put(A1, content=largest + b" ", headers=headers)
    assert refused.status_code == 413
    assert refused.json()["detail"][0]["type"] == "too_large"
    program.delete(A1)


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_trust_in_the_proxy_its_headers_have_no_effect(name: str, tmp_path: Path) -> None:
    with (
        serving(tmp_path, ":memory:", "--allow-host", HOST) as served,
        proxied(name, served.url) as proxy,
        proxy.client(origin=proxy.origin) as site,
    ):
        response = site.put(A1, json=RUN, timeout=HANG)
        # The proxy preserves the host, which is named: TLS in front of it needs no trust. The prefix does.
        assert (response.status_code, response.headers["location"]) == (201, A1)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_socket_between_proxy_and_server_is_named_as_the_page_says(name: str) -> None:
    if name == "apache" and IS_ROOT:
        pytest.skip("Apache's workers are another user than root, who alone can connect: run the tests as another user")
    assert SOCKETS[name] in documented_sockets()
    settings = Settings(database=":memory:", allow_hosts=frozenset({HOST}), forwarded_allow_ips=frozenset({"*"}))
    with TemporaryDirectory(prefix="flowruns-") as folder:
        socket = f"{folder}/s"
        with (
            running(replace(settings, uds=socket)),
            proxied(name, socket) as proxy,
            proxy.client(origin=proxy.origin) as site,
        ):
            response = site.put(A1, json=RUN)
            assert (response.status_code, response.headers["location"]) == (201, f"/portal{A1}")
