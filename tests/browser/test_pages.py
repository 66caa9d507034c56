"""The page and the function of `flowruns docs pages`, in pages of another port and of another site."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowruns.cli.docs import page as document
from tests.browser.conftest import Server
from tests.browser.other_site import OtherSite
from tests.browser.playwright_api import Page, expect
from tests.conftest import RUNS
from tests.processes import Served, ended, serving

PAGES = document("pages")
HTML, JS = (re.findall(rf"^```{language}\n(.*?)^```$", PAGES, re.M | re.S)[0] for language in ("html", "js"))
SCRIPT = """[[rule]]
flowId = "deploy-*"
steps = [
  { action = "build", for = "200ms", log = "building {run.id}" },
  { action = "test", phase = "running" },
  { phase = "waiting" },
]

[[rule]]
flowId = "deploy-*"
phase = "approved"
steps = [{ end = "succeeded" }]
"""

HAS = "(event) => JSON.stringify(window.events).includes(event)"


def show(site: OtherSite, served: Served, text: str = HTML) -> None:
    """Has *site* serve *text* from now on, with the port of *served*."""
    site.html = text.replace(":8000", f":{served.url.rpartition(':')[2]}")


@contextmanager
def playing(path: Path, site: OtherSite, *args: str, port: str = "0") -> Iterator[Served]:
    """A server as the document starts it, with a short script."""
    (path / "deploy.toml").write_text(SCRIPT)
    command = ("--cors-origin", site.origin, "--play", "deploy.toml", "runs.db", *args)
    with serving(path, *command, env={"FLOWRUNS_PORT": port}) as served:
        yield served


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_page_follows_its_runs_and_survives_a_restart(tmp_path: Path, page: Page, other_site: OtherSite) -> None:
    state, rows, opened = page.locator("#state"), page.locator("ul li"), page.locator("section")
    with playing(tmp_path, other_site) as served:
        show(other_site, served)
        page.goto(other_site.origin)
        expect(state).to_have_text("live")
        page.get_by_role("button", name="Deploy main").click()
        expect(rows).to_have_text([re.compile(": waiting$")])
        expect(opened.locator("ol li")).to_have_text(["build: succeeded", "test: running"])
        expect(opened.locator("pre")).to_have_text(re.compile("Z building "))
        expect(opened).to_contain_text("1 actions have ended")
        expect(opened.locator("progress")).to_be_visible()
        id = rows.inner_text().partition(":")[0]
        server = Server(served.url)
        server.put("old", flowId="deploy-web", phase="done")
        server.put("other", flowId="deploy-api", phase="done")
        server.put("moved", flowId="deploy-web", phase="done")
        expect(rows).to_have_text(["moved: done", "old: done", f"{id}: waiting"])
        server.put("moved", flowId="deploy-api", phase="done")
        server.delete("old")
        expect(rows).to_have_text([f"{id}: waiting"])
        server.close()
        served.process.terminate()
        ended(served.process)
    expect(state).to_have_text("connection lost")
    with playing(tmp_path, other_site, port=served.url.rpartition(":")[2]) as served:
        expect(state).to_have_text("live")
        server = Server(served.url)
        server.put(id, flowId="deploy-web", phase="approved")
        expect(rows).to_have_text([f"{id}: succeeded"])
        expect(opened.locator("progress")).to_be_hidden()
        server.delete(id)
        expect(opened).to_be_hidden()
        server.close()


def test_page_signs_in_with_a_token(tmp_path: Path, page: Page, other_site: OtherSite) -> None:
    state = page.locator("#state")
    with playing(tmp_path, other_site, "--token", "secret=1", "--token", "agent=2") as served:
        show(other_site, served)
        page.goto(other_site.origin)
        expect(state).to_contain_text("withCredentials of EventSource")
        sign_in(page, "wrong")
        expect(state).to_have_text(re.compile("Bearer TOKEN; the one that was sent is not$"))
        sign_in(page, "secret")
        expect(state).to_have_text("live")
        page.get_by_role("button", name="Deploy main").click()
        expect(page.locator("h2")).to_have_text(re.compile(": waiting$"))
        page.reload()
        expect(page.locator("ul button")).to_have_text([re.compile(": waiting$")])
        page.locator("ul button").click()
        expect(page.locator("ol li").first).to_have_text("build: succeeded")


def test_localhost_and_127_0_0_1_are_two_sites_for_the_cookie(
    tmp_path: Path, any_page: Page, other_site: OtherSite
) -> None:
    page = any_page
    with playing(tmp_path, other_site, "--token", "secret=1") as served:
        show(other_site, served, HTML.replace("${location.hostname}", "localhost"))
        page.goto(other_site.origin)
        sign_in(page, "secret")
        expect(page.locator("form")).to_be_visible()
        expect(page.locator("#state")).to_contain_text("localhost and 127.0.0.1 are two")


def test_page_of_another_site_reads_the_stream_with_fetch(
    tmp_path: Path, any_page: Page, other_site: OtherSite
) -> None:
    page, token = any_page, ("--token", "secret=1")
    call = """([url, token]) => {
        window.events = [];
        window.refused = follow(url, token, "0", (type, data) => events.push([type, data.id]))
            .then(({status}) => status);
    }"""
    with playing(tmp_path, other_site, *token) as served:
        show(other_site, served, f"<!doctype html><link rel=icon href=data:,><script>{JS}</script>")
        url = f"{served.url.replace('127.0.0.1', 'localhost')}{RUNS}?flowId=deploy-web"
        page.goto(other_site.origin)
        page.evaluate(call, [url, "wrong"])
        assert page.evaluate("window.refused") == 401
        page.evaluate(call, [url, "secret"])
        page.wait_for_function(HAS, arg='["position",null]')
        create = """(url) => fetch(url, {method: "POST", body: '{"flowId": "deploy-web", "id": "a"}',
            headers: {Authorization: "Bearer secret", "Content-Type": "application/json"}})"""
        page.evaluate(create, url)
        page.wait_for_function(HAS, arg='["run","a"]')
        served.process.terminate()
        ended(served.process)
        page.evaluate("events.length = 0")
    with playing(tmp_path, other_site, *token, port=served.url.rpartition(":")[2]):
        page.evaluate(create.replace('"a"', '"b"'), url)
        page.wait_for_function(HAS, arg='["run","b"]')
        assert page.evaluate("events.filter(([type]) => type === 'resync')") == []
