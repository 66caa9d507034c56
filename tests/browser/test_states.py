"""Empty states, errors, and reconnection."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.browser.conftest import Server, enter_token, open_live
from tests.browser.playwright_api import Page, Route, Tab, expect
from tests.processes import serving
from tests.waits import HANG

HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_an_empty_server_shows_the_command_that_creates_a_run(own: Server, page: Page) -> None:
    page.goto(own.ui)
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    expect(page.locator("#badge")).to_have_text("live")
    command = page.locator("pre.command").inner_text()
    assert own.url in command
    subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=HANG)
    expect(page.locator(".runs tbody tr")).to_contain_text("deploy-web")


def test_the_page_asks_for_a_token_and_stores_it(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/ui/?phase=failed")
        enter_token(page, "s3cret")
        expect(page.get_by_role("heading", name="No runs match these filters")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="No runs match these filters")).to_be_visible()
        page.get_by_role("button", name="Clear filters").click()
        assert "s3cret" not in page.locator("pre.command").inner_text()  # users share screens


def test_a_token_in_the_url_is_removed_from_the_address_bar(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/ui/#token=s3cret")
        expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
        expect(page).to_have_url(f"{served.url}/ui/")
        assert page.evaluate("history.length") <= 2


def test_a_restart_of_the_server_loses_no_change(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, "runs.db") as served:
        port = served.url.rpartition(":")[2]
        server = Server(served.url)
        server.put("before", phase="running")
        open_live(page, f"{served.url}/ui/")
        expect(page.locator("[data-id=before]")).to_be_visible()
        served.process.kill()
        served.process.wait()
        expect(page.locator("#banner")).to_contain_text(re.compile(r"has not responded since \d\d:\d\d:\d\d"))
        expect(page.locator("#badge")).to_have_text("reconnecting")
        expect(page.locator("[data-id=before]")).to_be_visible()
        page.locator("[data-id=before] .run").click()  # a view that cannot load also waits for the server
        expect(page.locator("#banner")).to_be_visible()
    with serving(tmp_path, "runs.db", env={"FLOWRUNS_PORT": port}):
        server.put("before", phase="succeeded")
        expect(page.locator("h1")).to_contain_text("succeeded")
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#badge")).to_have_text("live")
        server.close()


def test_changes_while_the_tab_was_hidden_are_shown_later(own: Server, page: Page) -> None:
    own.put("a", phase="running")
    open_live(page, own.ui)
    page.evaluate(HIDE, True)
    expect(page.locator("#badge")).to_have_text("paused")
    own.put("a", phase="failed")
    own.put("b", phase="pending")
    expect(page.locator("[data-id=a]")).to_contain_text("running")
    page.evaluate(HIDE, False)
    expect(page.locator("#badge")).to_have_text("live")
    expect(page.locator("[data-id=a]")).to_contain_text("failed")
    expect(page.get_by_role("button", name="1 new run")).to_be_visible()


def test_a_run_that_is_deleted_and_recreated(own: Server, page: Page) -> None:
    own.put("a")
    open_live(page, f"{own.ui}runs/a")
    own.delete("a")
    expect(page.get_by_role("heading", name="a was deleted")).to_be_visible()
    own.put("a", phase="running")
    expect(page.locator("h1")).to_contain_text("running")


def test_a_run_that_does_not_exist(own: Server, page: Page) -> None:
    page.goto(f"{own.ui}runs/nowhere")
    expect(page.get_by_role("heading", name="Run not found: nowhere")).to_be_visible()
    page.get_by_role("link", name="Show all runs").click()
    expect(page).to_have_url(own.ui)


@pytest.mark.parametrize("query", ["phase=not+a+phase", "cursor=damaged", "size=0", "createdAfter=yesterday"])
def test_an_invalid_query_is_explained_and_can_be_fixed(own: Server, page: Page, query: str) -> None:
    own.put("a")
    name = query.partition("=")[0]
    page.goto(f"{own.ui}?{query}&flowId=deploy-web")
    expect(page.get_by_role("heading", name="The filters in the URL are not valid")).to_be_visible()
    expect(page.locator(".state li")).to_contain_text(name)
    page.get_by_role("button", name=f"Remove {name}").click()
    expect(page.locator("[data-id=a]")).to_be_visible()
    expect(page).to_have_url(f"{own.ui}?flowId=deploy-web")


def test_the_theme_follows_the_system_until_it_is_chosen(site: Server, page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    page.goto(site.ui)
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Theme: system").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)" != dark
    page.reload()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(ground) == dark


@pytest.mark.parametrize(
    "path",
    ["", "runs/gh-577324554", "runs/gh-711446981?tab=logs", "runs/gh-711446981?tab=args",
     "compare?a=gh-711446981&b=gh-711436991"],
)  # fmt: skip
def test_360_px_are_enough(site: Server, tab: Tab, path: str) -> None:
    page = tab(viewport={"width": 360, "height": 740})
    open_live(page, site.ui + path)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_reduced_motion_stops_all_animations(site: Server, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{site.ui}?phase=running")
    expect(page.locator(".runs .busy").first).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


def test_a_view_can_be_loaded_again_after_an_error(own: Server, page: Page) -> None:
    own.put("a", phase="running")
    for path in ("", "runs/a"):
        page.route("**/api/v1/flow-runs*/**" if path else "**/api/v1/flow-runs?*", refuse_streams)
        page.route("**/api/v1/flow-runs", refuse_streams)
        page.goto(own.ui + path)
        expect(page.get_by_role("heading", name="The server returned an error")).to_be_visible()
        page.unroute_all()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#badge")).to_have_text("live")
        expect(page.locator("#main")).to_contain_text("deploy-web")


def refuse_streams(route: Route) -> None:
    if "event-stream" in route.request.headers["accept"]:
        route.fulfill(status=403, json={"detail": [{"loc": [], "msg": "not from here", "type": "forbidden"}]})
    else:
        route.continue_()


def test_a_run_that_is_missing_after_a_restart_is_not_found(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:") as served:
        port = served.url.rpartition(":")[2]
        server = Server(served.url)
        server.put("a")
        open_live(page, f"{server.ui}runs/a")
    with serving(tmp_path, ":memory:", env={"FLOWRUNS_PORT": port}):
        expect(page.get_by_role("heading", name="Run not found: a")).to_be_visible()
        expect(page.locator("#main")).not_to_contain_text("it appears here")
        server.close()


def test_a_token_that_no_header_can_carry_is_not_sent(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s+cret=7") as served:
        page.goto(f"{served.url}/ui/#token=s%E2%82%ACcret")
        expect(page.get_by_role("heading", name="This server requires a token")).to_be_visible()
        page.keyboard.type("s€cret")
        page.keyboard.press("Enter")
        assert page.locator("#token:invalid").count() == 1
        page.evaluate("location.hash = '#token=s+cret'")  # as if the user typed it into the address bar
        expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
        expect(page).to_have_url(f"{served.url}/ui/")


def test_a_token_in_the_url_replaces_a_wrong_one(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/ui/runs/a#token=wrong")
        expect(page.get_by_role("heading", name="The server rejected this token")).to_be_visible()
        page.evaluate("location.hash = '#token=s3cret'")
        expect(page.get_by_role("heading", name="Run not found: a")).to_be_visible()


def test_a_malformed_url_is_a_run_that_does_not_exist(own: Server, page: Page) -> None:
    page.goto(f"{own.ui}runs/%ff")
    expect(page.locator("#main h1")).to_be_visible()


def test_an_idle_connection_is_closed(own: Server, page: Page) -> None:
    own.put("a")
    page.clock.install()
    open_live(page, f"{own.ui}runs/a")
    page.evaluate(HIDE, True)
    idle: list[Route] = []  # a server that twice accepts a request and sends nothing
    page.route("**/flow-runs/a", lambda route: idle.append(route) if len(idle) < 2 else route.fallback())
    with page.expect_request("**/flow-runs/a"):
        page.evaluate(HIDE, False)
    page.clock.run_for(13_000)
    expect(page.locator("#badge")).to_have_text("reconnecting")
    page.clock.run_for(3_000)
    page.get_by_role("button", name="Retry now").click()
    expect(page.locator("#badge")).to_have_text("live")


def test_a_run_that_cannot_load_tells_since_when_the_server_is_gone(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, "runs.db") as served:
        server = Server(served.url)
        server.put("a", phase="running")
        open_live(page, f"{served.url}/ui/")
        served.process.kill()
        served.process.wait()
        expect(page.locator("#banner")).to_contain_text("This page may be out of date.")
        since = re.compile(r"since (\d\d:\d\d:\d\d)")
        first = since.search(page.locator("#banner").inner_text())
        page.wait_for_function("(then) => new Date().toISOString().slice(11, 19) > then", arg=first and first[1])
        page.locator("[data-id=a] .run").click()
        expect(page.locator("#banner")).to_contain_text("This view appears once the server responds.")
        second = since.search(page.locator("#banner").inner_text())
        assert first is not None
        assert second is not None
        assert first[1] == second[1]  # not the time of the click
        expect(page.locator(".skeleton")).to_be_visible()
        server.close()


@pytest.mark.parametrize(
    ("path", "title"),
    [("runs/nowhere", "Run not found: nowhere · flowruns"), ("compare?a=x&b=y", re.compile("not found: [xy] · ")),
     ("compare", "Compare · flowruns"), ("", "flowruns"), ("runs/a", "failed deploy-web · flowruns"),
     ("compare?a=a&b=a", "Compare a and a · flowruns")],
)  # fmt: skip
def test_each_view_has_a_title(own: Server, page: Page, path: str, title: str | re.Pattern[str]) -> None:
    own.put("a", phase="failed")
    page.goto(own.ui + path)
    expect(page).to_have_title(title)


def test_an_unknown_path_below_the_page_is_a_page(own: Server, page: Page) -> None:
    page.goto(f"{own.ui}nonsense")
    expect(page.get_by_role("heading", name="404")).to_be_visible()
    page.get_by_role("link", name="Runs").click()
    expect(page).to_have_url(own.ui)
