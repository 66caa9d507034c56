"""What the page says where it has nothing to show, and what it does about it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.browser.conftest import Server
from tests.processes import serving
from tests.waits import HANG

api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -e '.[browser]'")
expect, Page = api.expect, api.Page

HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_an_empty_server_shows_the_command_that_makes_the_first_run(own: Server, page: Page) -> None:
    page.goto(own.ui)
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    expect(page.locator("#badge")).to_have_text("live")
    command = page.locator("pre.command").inner_text()
    assert own.url in command
    subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=HANG)
    expect(page.locator(".runs tbody tr")).to_contain_text("deploy-web")


def test_a_token_is_asked_for_and_kept(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/ui/?phase=failed")
        expect(page.get_by_role("heading", name="This server asks for a token")).to_be_visible()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="This token does not fit")).to_be_visible()
        page.keyboard.type("s3cret")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="No run fits these filters")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="No run fits these filters")).to_be_visible()
        page.get_by_role("button", name="Clear the filters").click()
        assert "s3cret" not in page.locator("pre.command").inner_text()  # screens are shared


def test_a_token_in_the_link_is_taken_out_of_the_address_bar(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/ui/#token=s3cret")
        expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
        expect(page).to_have_url(f"{served.url}/ui/")
        assert page.evaluate("history.length") <= 2


def test_a_server_that_is_gone_and_back_loses_nothing(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, "runs.db") as served:
        port = served.url.rpartition(":")[2]
        server = Server(served.url)
        server.put("before", phase="running")
        page.goto(f"{served.url}/ui/")
        expect(page.locator("#badge")).to_have_text("live")
        expect(page.locator("[data-id=before]")).to_be_visible()
        served.process.kill()
        served.process.wait()
        expect(page.locator("#banner")).to_contain_text(re.compile(r"has not answered since \d\d:\d\d:\d\d"))
        expect(page.locator("#badge")).to_have_text("reconnecting")
        expect(page.locator("[data-id=before]")).to_be_visible()
        page.locator("[data-id=before] .run").click()  # a page that cannot be loaded waits for the server too
        expect(page.locator("#banner")).to_be_visible()
    with serving(tmp_path, "runs.db", env={"FLOWRUNS_PORT": port}):
        server.put("before", phase="succeeded")
        expect(page.locator("h1")).to_contain_text("succeeded")
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#badge")).to_have_text("live")
        server.close()


def test_what_happened_while_the_tab_was_hidden_is_shown_then(own: Server, page: Page) -> None:
    own.put("a", phase="running")
    page.goto(own.ui)
    expect(page.locator("#badge")).to_have_text("live")
    page.evaluate(HIDE, True)
    expect(page.locator("#badge")).to_have_text("paused")
    own.put("a", phase="failed")
    own.put("b", phase="pending")
    expect(page.locator("[data-id=a]")).to_contain_text("running")
    page.evaluate(HIDE, False)
    expect(page.locator("#badge")).to_have_text("live")
    expect(page.locator("[data-id=a]")).to_contain_text("failed")
    expect(page.get_by_role("button", name="1 new")).to_be_visible()


def test_a_run_that_is_deleted_and_made_again(own: Server, page: Page) -> None:
    own.put("a")
    page.goto(f"{own.ui}runs/a")
    expect(page.locator("#badge")).to_have_text("live")
    own.delete("a")
    expect(page.get_by_role("heading", name="a was deleted")).to_be_visible()
    own.put("a", phase="running")
    expect(page.locator("h1")).to_contain_text("running")


def test_a_run_that_is_not_there(own: Server, page: Page) -> None:
    page.goto(f"{own.ui}runs/nowhere")
    expect(page.get_by_role("heading", name="There is no run nowhere")).to_be_visible()
    page.get_by_role("link", name="To the list of runs").click()
    expect(page).to_have_url(own.ui)


@pytest.mark.parametrize("query", ["phase=not+a+phase", "cursor=damaged", "size=0", "createdAfter=yesterday"])
def test_a_query_that_is_refused_is_explained_and_mended(own: Server, page: Page, query: str) -> None:
    own.put("a")
    name = query.partition("=")[0]
    page.goto(f"{own.ui}?{query}&flowId=deploy-web")
    expect(page.get_by_role("heading", name="The server does not take these filters")).to_be_visible()
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
def test_360_px_are_enough(site: Server, tab: "api.Callable[..., Page]", path: str) -> None:
    page = tab(viewport={"width": 360, "height": 740})
    page.goto(site.ui + path)
    expect(page.locator("#badge")).to_have_text("live")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_nothing_moves_for_those_who_asked_for_that(site: Server, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{site.ui}?phase=running")
    expect(page.locator(".runs .busy").first).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


def test_a_page_that_could_not_be_shown_comes_back(own: Server, page: Page) -> None:
    own.put("a", phase="running")
    for path in ("", "runs/a"):
        page.route("**/api/v1/flow-runs*/**" if path else "**/api/v1/flow-runs?*", refuse_streams)
        page.route("**/api/v1/flow-runs", refuse_streams)
        page.goto(own.ui + path)
        expect(page.get_by_role("heading", name="The server could not answer")).to_be_visible()
        page.unroute_all()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#badge")).to_have_text("live")
        expect(page.locator("#main")).to_contain_text("deploy-web")


def refuse_streams(route: "api.Route") -> None:
    if "event-stream" in route.request.headers["accept"]:
        route.fulfill(status=403, json={"detail": [{"loc": [], "msg": "not from here", "type": "forbidden"}]})
    else:
        route.continue_()


def test_a_run_that_a_new_server_does_not_have_is_not_promised(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:") as served:
        port = served.url.rpartition(":")[2]
        server = Server(served.url)
        server.put("a")
        page.goto(f"{server.ui}runs/a")
        expect(page.locator("#badge")).to_have_text("live")
    with serving(tmp_path, ":memory:", env={"FLOWRUNS_PORT": port}):
        expect(page.get_by_role("heading", name="There is no run a")).to_be_visible(timeout=20_000)
        expect(page.locator("#main")).not_to_contain_text("it appears here")
        server.close()


def test_a_token_that_no_header_can_carry_is_not_sent(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s+cret=7") as served:
        page.goto(f"{served.url}/ui/#token=s%E2%82%ACcret")
        expect(page.get_by_role("heading", name="This server asks for a token")).to_be_visible()
        page.keyboard.type("s€cret")
        page.keyboard.press("Enter")
        assert page.locator("#token:invalid").count() == 1
        page.evaluate("location.hash = '#token=s+cret'")  # as if it were written into the address bar
        expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
        expect(page).to_have_url(f"{served.url}/ui/")


def test_a_token_in_the_address_bar_is_taken_where_a_wrong_one_was(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/ui/runs/a#token=wrong")
        expect(page.get_by_role("heading", name="This token does not fit")).to_be_visible()
        page.evaluate("location.hash = '#token=s3cret'")
        expect(page.get_by_role("heading", name="There is no run a")).to_be_visible()


def test_an_address_that_is_no_text_is_an_id_that_is_not_there(own: Server, page: Page) -> None:
    page.goto(f"{own.ui}runs/%ff")
    expect(page.locator("#main h1")).to_be_visible()


def test_a_server_that_is_silent_is_given_up(own: Server, page: Page) -> None:
    own.put("a")
    page.clock.install()
    page.goto(f"{own.ui}runs/a")
    expect(page.locator("#badge")).to_have_text("live")
    page.evaluate(HIDE, True)
    silent: list[api.Route] = []  # a server that twice takes the connection, and says nothing
    page.route("**/flow-runs/a", lambda route: silent.append(route) if len(silent) < 2 else route.fallback())
    with page.expect_request("**/flow-runs/a"):
        page.evaluate(HIDE, False)
    page.clock.run_for(41_000)
    expect(page.locator("#badge")).to_have_text("reconnecting")
    page.clock.run_for(3_000)
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#badge")).to_have_text("live")
