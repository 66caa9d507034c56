"""`site` has the real runs and is not changed; `own` is a server that a test finds empty; `page` is a tab that holds
the page to what it promises: no error on its console, no request to another host.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.browser import chromium
from tests.browser.other_site import OtherSite, serving_page
from tests.conftest import REAL_RUNS, RUNS
from tests.processes import serving
from tests.waits import FOREVER

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_WAIT_MS = 60_000  # for what the page is to show: a minute, because each failure takes as long


class Server:
    """A server to put runs into."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ui = f"{url}/ui/"
        self._client = httpx.Client(base_url=url)

    def put(self, id: str, **fields: Any) -> None:
        """Creates or replaces a run."""
        body = {"flowId": "deploy-web", "flowType": "automation"} | fields
        self.put_bytes(id, json.dumps(body).encode())

    def put_bytes(self, id: str, body: bytes) -> None:
        """The same, of bytes that no library would write."""
        headers = {"content-type": "application/json"}
        self._client.put(f"{RUNS}/{id}", content=body, headers=headers).raise_for_status()

    def delete(self, id: str) -> None:
        self._client.delete(f"{RUNS}/{id}").raise_for_status()

    def status(self, id: str) -> int:
        return self._client.get(f"{RUNS}/{id}").status_code

    def wait_for_seconds(self, count: int) -> None:
        """Until the server's clock, which its answers tell in whole seconds, has gone on so often."""
        for _ in range(count):
            before = self._client.get("/health").headers["date"]
            while self._client.get("/health").headers["date"] == before:
                pass

    def clear(self) -> None:
        """Deletes all runs."""
        while items := self._client.get(RUNS).json()["items"]:
            for run in items:
                self.delete(run["id"])

    def close(self) -> None:
        self._client.close()


def open_live(page: "Page", url: str) -> None:
    """Opens *url*, and returns once the page follows changes."""
    page.goto(url)
    page.wait_for_selector("#badge[data-state=live]")


def enter_token(page: "Page", token: str) -> None:
    """Enters *token* where the page asks for one, after a wrong one."""
    for title, entered in (("This server requires a token", "wrong"), ("The server rejected this token", token)):
        page.get_by_role("heading", name=title).wait_for()
        page.keyboard.type(entered)
        page.keyboard.press("Enter")


def fill(server: Server) -> None:
    for line in REAL_RUNS.read_bytes().splitlines():
        server.put_bytes(json.loads(line)["id"], line)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    if reason := chromium.missing():
        pytest.skip(reason)  # Chromium is missing, and how to get it
    from playwright.sync_api import expect

    expect.set_options(timeout=_WAIT_MS)
    with chromium.launched() as browser:
        yield browser


@contextmanager
def _serving(folder: Path) -> Iterator[Server]:
    with serving(folder, ":memory:", seconds=FOREVER) as served:
        server = Server(served.url)
        yield server
        server.close()


@pytest.fixture(scope="session")
def site(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _serving(tmp_path_factory.mktemp("site")) as server:
        fill(server)
        yield server


@pytest.fixture(scope="session")
def changing(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _serving(tmp_path_factory.mktemp("changing")) as server:
        yield server


@pytest.fixture
def other_site() -> Iterator[OtherSite]:
    """An empty page on another port."""
    with serving_page() as site:
        yield site


@pytest.fixture
def own(changing: Server) -> Server:
    changing.clear()
    return changing


@pytest.fixture
def tab(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """A function that opens a page with the options of a browser's context, and what it promises is checked."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []
    hosts: set[str] = set()

    def open(**options: Any) -> "Page":
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(_WAIT_MS)
        page = context.new_page()
        # "Failed to load resource" is the browser's own word on a status of 400 or more, and on a server that is gone.
        page.on("console", lambda said: said.type in ("error", "warning") and "Failed to load" not in said.text
                and faults.append(said.text))  # fmt: skip
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
        return page

    yield open
    for context in contexts:
        context.close()
    assert faults == []
    assert {host.partition(":")[0] for host in hosts} <= {"127.0.0.1", ""}


@pytest.fixture
def any_page(browser: "Browser") -> "Iterator[Page]":
    """A page that is held to nothing: what the browser blocks, it reports as an error on the console."""
    with browser.new_context() as context:
        context.set_default_timeout(_WAIT_MS)
        yield context.new_page()


@pytest.fixture
def page(tab: "Callable[..., Page]") -> "Page":
    return tab(viewport={"width": 1280, "height": 800}, color_scheme="light", timezone_id="UTC", locale="en-GB")
