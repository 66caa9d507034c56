"""Paths without a route: JSON for programs, a page for browsers."""

import re

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from flowruns.http import static
from flowruns.http.accept import prefers_html
from flowruns.http.app import create_app
from flowruns.settings import Settings
from flowruns.store.store import Store
from tests.conftest import RUNS, client_of

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}
PATHS = ["/nothing", "/nothing/", "/a/b/c", "/a/b%2Fc", "//ui/", "/api/v1", f"{RUNS}/", "/ui/runs", "/" + "x/" * 100,
         "/ui/assets/old/app.js"]  # fmt: skip
HOST = "http://localhost"


async def get(client: httpx.AsyncClient, target: str, **headers: str) -> httpx.Response:
    return await client.get(httpx.URL(HOST + target), headers=headers)


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER["accept"], True),
        ("text/html", True),
        ("Text/HTML;q=0.9,*/*;q=0.8", True),
        ("text/html, application/json;q=0.5", True),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html, */*", False),
        ("text/html;q=0.5, application/*", False),
        ("text/html;q=0", False),
        ("text/event-stream", False),
        (",,;", False),
    ],
)
def test_browsers_prefer_html(accept: str, html: bool) -> None:
    assert prefers_html(accept) == html


@pytest.mark.parametrize("headers", [{}, {"accept": "*/*"}, {"accept": "application/json"}])
async def test_json_is_the_default_and_names_the_runs_and_the_documentation(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    response = await client.get("/nothing", headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/json")
    (detail,) = response.json()["detail"]
    assert (detail["loc"], detail["type"]) == (["path"], "not_found")
    assert RUNS in detail["msg"]
    assert "/docs" in detail["msg"]


@pytest.mark.parametrize("target", PATHS)
async def test_a_browser_gets_a_page_whose_links_work(client: httpx.AsyncClient, target: str) -> None:
    response = await get(client, target, **BROWSER)
    assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert RUNS in response.text
    await links_work(client, response)


async def links_work(client: httpx.AsyncClient, response: httpx.Response) -> None:
    base = re.search(r'<base href="([^"]+)">', response.text)
    assert base
    links = re.findall(r'(?:href|src)="([^"]+)"', response.text.replace(base[0], ""))
    assert {"ui/", "docs"} < set(links)
    for link in links:
        assert (await client.get(response.url.join(base[1]).join(link))).status_code == 200, link


@pytest.mark.parametrize("prefix", ["/deep/inside", "/a b"])
@pytest.mark.parametrize("target", [target for target in PATHS if target != "//ui/"])
async def test_its_links_work_below_a_prefix(store: Store, prefix: str, target: str) -> None:
    app = Starlette(routes=[Mount(prefix, create_app(store))])
    async with client_of(app) as client:
        await links_work(client, await get(client, prefix + target, **BROWSER))


async def test_its_links_work_behind_a_proxy_that_removes_the_prefix(client: httpx.AsyncClient) -> None:
    response = await get(client, "/a/b", **BROWSER)
    base = re.search(r'<base href="([^"]+)">', response.text)
    assert base
    assert httpx.URL("https://example.com/tools/a/b").join(base[1]).join("ui/").path == "/tools/ui/"


async def test_it_has_the_security_headers_of_the_page_and_no_script(client: httpx.AsyncClient) -> None:
    response, page = await client.get("/nothing", headers=BROWSER), await client.get("/ui/")
    for name in ("content-security-policy", "x-content-type-options", "referrer-policy", "cache-control",
                 "cross-origin-resource-policy"):  # fmt: skip
        assert response.headers[name] == page.headers[name]
    assert response.headers["vary"] == "accept"
    assert not re.search(r"<script|//|style=", response.text)


async def test_nothing_of_the_path_is_in_the_page(client: httpx.AsyncClient) -> None:
    short, long = await get(client, "/a", **BROWSER), await get(client, "/%3Cb%3E%22{version}", **BROWSER)
    assert short.content == long.content
    deep = await get(client, "/" * 10_000, **BROWSER)
    assert len(deep.content) < 2_000


async def test_head_has_its_headers_and_no_body(client: httpx.AsyncClient) -> None:
    head, response = await client.head("/nothing", headers=BROWSER), await client.get("/nothing", headers=BROWSER)
    assert (head.status_code, head.content, head.headers) == (404, b"", response.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_get_json(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/nothing", headers=BROWSER)
    assert response.json()["detail"][0]["type"] == "not_found"


async def test_other_errors_stay_json(client: httpx.AsyncClient, store: Store) -> None:
    for path, status in ((f"{RUNS}/nobody", 404), (f"{RUNS}?size=0", 422)):
        response = await client.get(path, headers=BROWSER)
        assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    async with client_of(create_app(store, Settings(tokens={"s3cret": 7}))) as other:
        assert (await other.get("/nothing", headers=BROWSER)).json()["detail"][0]["type"] == "unauthorized"


def test_its_style_is_in_the_style_sheet_of_the_page() -> None:
    assert ".state {" in static.files()["page.css"].decode()
