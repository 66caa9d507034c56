"""The page behind TLS, below a prefix, in frames, and pages of other origins that use the API: in Chromium."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from flowruns.client.client import Client
from tests.browser.conftest import Server
from tests.browser.other_site import OtherSite, serving_page
from tests.browser.playwright_api import Page, Tab, expect
from tests.conftest import RUNS
from tests.processes import ended, serving
from tests.proxies.programs import PROGRAMS, proxied
from tests.waits import HANG

LOOPBACK = ("--allow-host", "127.0.0.1")  # the name of the proxy here


@pytest.mark.parametrize(("name", "trust"), [*((name, True) for name in PROGRAMS), ("nginx", False)])
def test_the_page_works_behind_tls_and_below_a_prefix(name: str, trust: bool, tmp_path: Path, tab: Tab) -> None:
    options = ("--forwarded-allow-ips", "127.0.0.1") if trust else ()
    page = tab(ignore_https_errors=True)
    with (
        serving(tmp_path, ":memory:", *LOOPBACK, *options) as served,
        proxied(name, served.url, host="127.0.0.1") as proxy,
    ):
        server = Server(served.url)
        server.put("a1")
        page.goto(f"https://127.0.0.1:{proxy.port}/portal/")
        expect(page).to_have_url(re.compile("/portal/ui/$"))
        expect(page.locator("#badge")).to_have_text("live")
        server.put("a2")
        expect(page.locator(".runs tbody tr")).to_have_count(1)  # new runs move nothing
        page.get_by_role("button", name=re.compile("1 new run")).click()
        expect(page.locator(".runs tbody tr")).to_have_count(2)
        assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        page.goto(f"https://127.0.0.1:{proxy.port}/portal/docs#deleteFlowRun")
        form = page.locator("#deleteFlowRun")
        form.get_by_label("id_").fill("a2")
        form.get_by_role("button", name="Send DELETE").click()
        expect(form.locator(".status-line")).to_contain_text("204")  # HTTP/2 has no reason phrase
        assert server.status("a2") == 404
        if name == "nginx":  # it takes the seconds in which a deletion can be undone
            page.goto(f"https://127.0.0.1:{proxy.port}/portal/ui/runs/a1")
            page.get_by_role("button", name="Delete", exact=True).click()
            expect(page).to_have_url(re.compile("/portal/ui/$"), timeout=HANG * 1000)  # once it cannot be undone
            assert server.status("a1") == 404
        server.close()


EIGHT = """() => {
    window.seen = {};
    const open = (number, last) => {
        const source = new EventSource(`../api/v1/flow-runs?phase=running&lastEventId=${last}`);
        for (const type of ["run", "left", "deleted", "resync", "position", "bye", "message"]) {
            source.addEventListener(type, ({ data, lastEventId }) => {
                last = lastEventId || last;
                const { id } = JSON.parse(data);
                if (id ?? type === "resync") seen[number].push(`${type} ${id}`);
            });
        }
        source.onerror = () => { // closed by a 502 of the proxy
            if (source.readyState === EventSource.CLOSED) setTimeout(open, 100, number, last);
        };
    };
    for (let number = 0; number < 8; number++) {
        seen[number] = [];
        open(number, 0);
    }
}"""
ALL_SEEN = "(part) => Object.values(seen).every((events) => events.includes(part))"


@pytest.mark.parametrize("name", PROGRAMS)
def test_eight_streams_at_once_over_http_2_resume_after_a_restart(name: str, tmp_path: Path, tab: Tab) -> None:
    options = ("runs.db", *LOOPBACK, "--forwarded-allow-ips", "127.0.0.1", "--token", "s3cret=7")
    run = {"flowId": "deploy", "flowType": "automation"}
    page = tab(ignore_https_errors=True)
    with ExitStack() as stack:
        with serving(tmp_path, *options) as served, Client(served.url, token="s3cret") as client:
            port = served.url.rpartition(":")[2]
            proxy = stack.enter_context(proxied(name, served.url, host="127.0.0.1"))
            page.goto(f"https://127.0.0.1:{proxy.port}/portal/docs#token=s3cret")
            page.locator("#createFlowRun").wait_for()
            page.evaluate(EIGHT)
            client.put("a", phase="running", **run)
            page.wait_for_function(ALL_SEEN, arg="run a")
            assert page.evaluate("fetch('../api/v1/flow-runs').then(({ status }) => status)") == 200  # a ninth request
            served.process.terminate()
            ended(served.process)
        with (
            serving(tmp_path, *options, env={"FLOWRUNS_PORT": port}) as served,
            Client(served.url, token="s3cret") as client,
        ):
            client.put("a", phase="succeeded", **run)
            client.put("b", phase="running", **run)
            page.wait_for_function(ALL_SEEN, arg="run b")
            assert list(page.evaluate("seen").values()) == [["run a", "left a", "run b"]] * 8
            names = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('flow-runs'))"
            assert set(page.evaluate(f"{names}.map((entry) => entry.nextHopProtocol)")) == {"h2"}
        page.goto("about:blank")  # ends the streams before the proxy


def test_a_page_whose_scripts_are_refused_says_why(own: Server, any_page: Page) -> None:
    refused = '{"detail": [{"loc": ["header", "origin"], "msg": "This origin is not allowed", "type": "x"}]}'
    for path, script in (("ui/", "app.js"), ("docs", "docs.js")):
        any_page.route(f"**/{script}", lambda route: route.fulfill(status=403, body=refused))
        any_page.goto(f"{own.url}/{path}")
        expect(any_page.get_by_role("alert")).to_contain_text("has the status 403: This origin is not allowed")


def test_a_page_one_of_whose_modules_is_missing_says_so(own: Server, any_page: Page) -> None:
    any_page.route("**/stream.js", lambda route: route.fulfill(status=502, body="Bad gateway"))
    any_page.goto(own.ui)
    expect(any_page.get_by_role("alert")).to_contain_text("a script that")


def test_a_page_none_of_whose_scripts_loads_is_no_empty_shell(own: Server, any_page: Page) -> None:
    any_page.emulate_media(reduced_motion="reduce")
    any_page.route("**/*.js", lambda route: route.abort())
    for path in ("ui/", "docs"):
        any_page.goto(f"{own.url}/{path}")
        expect(any_page.locator("#late")).to_be_visible()


FETCH = """async ([url, headers]) => {
    try {
        const response = await fetch(url, { method: "PUT", headers, body: '{"flowId":"a","flowType":"automation"}' });
        return [response.status, response.headers.get("etag") !== null];
    } catch (error) {
        return error.name;
    }
}"""
TRACED = {"content-type": "application/json", "traceparent": "00-1", "x-request-id": "1", "cache-control": "no-cache"}


def test_a_page_of_an_allowed_origin_may_send_any_header(tmp_path: Path, any_page: Page, other_site: OtherSite) -> None:
    origin = other_site.origin
    with serving(tmp_path, ":memory:", "--cors-origin", f"{origin}/") as served:
        any_page.goto(origin)
        assert any_page.evaluate(FETCH, [f"{served.url}{RUNS}/a1", TRACED]) == [201, True]
        any_page.goto(origin.replace("127.0.0.1", "localhost"))
        assert any_page.evaluate(FETCH, [f"{served.url}{RUNS}/a1", TRACED]) == "TypeError"


@pytest.mark.parametrize(
    ("options", "result"), [((), "TypeError"), (("--cors-origin", "null", "--anonymous"), [201, True])]
)
def test_a_sandboxed_frame_needs_the_origin_null(
    tmp_path: Path, any_page: Page, options: tuple[str, ...], result: object
) -> None:
    with (
        serving_page("<iframe sandbox='allow-scripts' srcdoc='<p>frame</p>'></iframe>") as site,
        serving(tmp_path, ":memory:", *options) as served,
    ):
        any_page.goto(site.origin)
        frame = any_page.frames[1]
        assert frame.evaluate("origin") == "null"
        assert frame.evaluate(FETCH, [f"{served.url}{RUNS}/a1", TRACED]) == result


def test_the_page_is_shown_in_frames_of_named_origins_only(
    tmp_path: Path, any_page: Page, other_site: OtherSite
) -> None:
    origin = other_site.origin
    with serving(tmp_path, ":memory:", "--frame-ancestors", f"{origin}/") as served:
        add = f"document.body.innerHTML = '<iframe src=\"{served.url}/ui/\"></iframe>'"
        any_page.goto(origin)
        any_page.evaluate(add)
        expect(any_page.frame_locator("iframe").get_by_role("heading", name="No runs yet")).to_be_visible()
        any_page.goto(origin.replace("127.0.0.1", "localhost"))
        with any_page.expect_console_message(lambda said: "frame-ancestors" in said.text or "violates" in said.text):
            any_page.evaluate(add)


def test_a_page_of_an_allowed_origin_can_read_errors_below_the_application(
    tmp_path: Path, any_page: Page, other_site: OtherSite
) -> None:
    with serving(tmp_path, ":memory:", "--cors-origin", other_site.origin, "--max-head", "4KiB") as served:
        any_page.goto(other_site.origin)
        headers = {"content-type": "application/json", "x-large": "x" * 5000}
        assert any_page.evaluate(FETCH, [f"{served.url}{RUNS}/a1", headers]) == [431, False]
