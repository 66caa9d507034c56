"""The files of the page, and the headers that they are sent with. What they do is tested in tests/browser."""

import gzip
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from flowruns.http import static
from flowruns.http.app import create_app
from flowruns.settings import Settings
from flowruns.store.store import Store
from tests.conftest import RUNS, client_of

MAX_BYTES = {"index.html": 60_000, "docs.html": 20_000}  # with gzip; the second without what it shares with the first
MAX_LINE = 120  # characters
SOURCE = Path(static.__file__).parents[1] / "ui"
PATHS = ["/ui/", "/ui/runs/a1", "/ui/compare", "/docs"]
ASSETS = sorted(name for name in static.files() if not name.endswith(".html"))
HOST = "http://localhost"


def asset(name: str) -> str:
    return f"/ui/assets/{static.version()}/{name}"


def policy(response: httpx.Response) -> dict[str, str]:
    directives = [part.strip().partition(" ") for part in response.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in directives}


@pytest.mark.parametrize("target", ["/", "/ui"])
async def test_short_paths_lead_to_the_page(client: httpx.AsyncClient, target: str) -> None:
    response = await client.get(target)
    assert (response.status_code, response.headers["location"]) == (307, "ui/")
    assert (await client.get(target, follow_redirects=True)).url == f"{HOST}/ui/"


@pytest.mark.parametrize("target", PATHS)
async def test_each_view_is_a_document_with_its_way_to_the_files(client: httpx.AsyncClient, target: str) -> None:
    response = await client.get(target)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    base = re.search(r'<base href="([./a-z]+)">', response.text)
    assert base
    found = re.findall(r'(?:href|src)="(assets/[^"]+)"', response.text)
    assert len(found) >= 4
    for address in found:
        assert (await client.get(response.url.join(base[1]).join(address))).status_code == 200


@pytest.mark.parametrize("name", ASSETS)
async def test_an_asset_may_be_kept_for_ever_under_its_version(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(asset(name))
    assert response.content == static.files()[name]
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["content-type"].partition(";")[0] in ("text/css", "text/javascript", "image/svg+xml")


@pytest.mark.parametrize("target", [*PATHS, asset("app.js")])
async def test_a_file_is_sent_compressed_to_clients_that_accept_it(client: httpx.AsyncClient, target: str) -> None:
    plain = await client.get(target, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    zipped = await client.get(target, headers={"accept-encoding": "br, gzip;q=0.5"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.content == plain.content  # httpx has decompressed it
    assert int(zipped.headers["content-length"]) < int(plain.headers["content-length"])
    assert zipped.headers["etag"] != plain.headers["etag"]
    assert zipped.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    for refused in ("gzip;q=0", "br", "*;q=0", "gzip;q=0, *"):
        assert "content-encoding" not in (await client.get(target, headers={"accept-encoding": refused})).headers


@pytest.mark.parametrize("name", static.files())
def test_no_line_of_the_source_is_long(name: str) -> None:
    lines = (SOURCE / name).read_text(encoding="utf-8").expandtabs(1).splitlines()
    assert max(map(len, lines)) <= MAX_LINE


@pytest.mark.parametrize("name", [name for name in ASSETS if name.endswith(".js")])
def test_a_script_is_sent_without_comments_and_with_its_line_numbers(name: str) -> None:
    source = (SOURCE / name).read_text(encoding="utf-8").splitlines()
    sent = static.files()[name].decode().splitlines()
    assert len(sent) == len(source)
    for before, after in zip(source, sent, strict=True):
        assert before.startswith(after)
        removed = before.removeprefix(after)
        is_comment = removed.startswith(" // ") and not set(removed) & set("\"'`")
        assert is_comment or not removed or before.lstrip("\t").startswith(("//", "/**", " *"))
    assert not any("/**" in line for line in sent)


@pytest.mark.parametrize("name", ["page.css", "docs.css"])
def test_a_style_sheet_is_sent_without_comments_and_with_its_line_numbers(name: str) -> None:
    source = (SOURCE / name).read_text(encoding="utf-8").splitlines()
    sent = static.files()[name].decode().splitlines()
    assert sent == [line.partition("/*")[0].rstrip() for line in source]


@pytest.mark.parametrize("target", [*PATHS, "/", asset("app.js")])
async def test_the_policy_allows_nothing_else(client: httpx.AsyncClient, target: str) -> None:
    response = await client.get(target)
    assert policy(response) == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:",
        "connect-src": "'self'", "base-uri": "'self'", "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("target", [*PATHS, asset("page.css")])
async def test_what_has_not_changed_is_not_sent_again(client: httpx.AsyncClient, target: str) -> None:
    first = await client.get(target)
    again = await client.get(target, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == first.headers["cache-control"]
    head = await client.head(target)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
    refused = await client.post(target)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "target",
    ["/ui/runs", "/ui/runs/", "/ui/runs/a/b", "/ui/index.html", "/ui/assets/old/app.js", asset("index.htm"),
     asset("__init__.py"), asset("..%2f..%2fsettings.py"), asset("%2e%2e/settings.py"), "/ui/compare/"],
)  # fmt: skip
async def test_nothing_else_is_there(client: httpx.AsyncClient, target: str) -> None:
    response = await client.get(httpx.URL(HOST + target))
    assert response.status_code == 404
    assert response.json()["detail"][0]["type"] == "not_found"


async def test_the_page_is_for_callers_without_a_token_and_the_data_is_not(store: Store) -> None:
    async with client_of(create_app(store, Settings(tokens={"s3cret": 7}))) as client:
        for target in [*PATHS, "/", "/ui", asset("app.js"), "/ui/nothing"]:
            assert (await client.get(target)).status_code in (200, 307, 404), target
        for target in [RUNS, f"{RUNS}/a1", "/openapi.json", "/uix", "/ui/../openapi.json", "//ui/"]:
            assert (await client.get(httpx.URL(HOST + target))).status_code == 401, target


@pytest.mark.parametrize("target", [*PATHS, "/", asset("app.js")])
async def test_files_need_an_own_host_and_no_origin(client: httpx.AsyncClient, target: str) -> None:
    assert (await client.get(target, headers={"host": "evil.example"})).status_code == 403
    # Browsers send it with module scripts, and behind a proxy it is not known to be that of the page.
    response = await client.get(target, headers={"origin": "https://portal.example"})
    assert response.status_code in (200, 307)
    assert [name for name in response.headers if name.startswith("access-control-")] == []
    assert (await client.post(target, headers={"origin": "https://portal.example"})).status_code == 403


async def test_it_works_under_a_prefix_with_and_without_a_token(store: Store) -> None:
    app = Starlette(routes=[Mount("/deep/inside", create_app(store, Settings(tokens={"s3cret": 7})))])
    async with client_of(app) as client:
        page = await client.get("/deep/inside/", follow_redirects=True)
        assert page.url == f"{HOST}/deep/inside/ui/"
        assert (await client.get("/deep/inside" + asset("app.js"))).status_code == 200
        assert (await client.get(f"/deep/inside{RUNS}")).status_code == 401


def files_of(page: str) -> set[str]:
    """The files that *page* loads, itself and what its scripts import among them."""
    found, new = set[str](), {page}
    while new:
        text = "".join(static.files()[name].decode() for name in new)
        found |= new
        new = set(re.findall(r'(?:assets/\{version\}| from "\.)/([\w.]+)"', text)) - found
    return found


@pytest.mark.parametrize(
    ("page", "shared", "files"), [("index.html", set(), 20), ("docs.html", files_of("index.html"), 5)]
)
def test_a_page_is_small_and_loads_nothing_from_elsewhere(page: str, shared: set[str], files: int) -> None:
    bodies = {name: static.files()[name] for name in files_of(page) - shared}
    assert len(bodies) >= files
    assert sum(len(gzip.compress(body)) for body in bodies.values()) < MAX_BYTES[page]
    for name, body in bodies.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", body.decode()))
        assert addresses <= {"http://www.w3.org", "http://192.168."}, name  # a namespace; an example in a comment


@pytest.mark.parametrize("page", MAX_BYTES)
def test_a_page_requests_all_its_scripts_at_once(page: str) -> None:
    named = set(re.findall(r'assets/\{version\}/(\w+\.js)"', static.files()[page].decode()))
    assert named == {name for name in files_of(page) if name.endswith(".js")}


@pytest.mark.parametrize("name", [name for name in ASSETS if name.endswith(".js")])
def test_no_script_makes_markup_or_code_out_of_text(name: str) -> None:
    text = static.files()[name].decode()
    assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|DOMParser|srcdoc|\beval\b|new Function", text)
    assert not re.search(r"setAttribute\(\"(style|on)", text)
