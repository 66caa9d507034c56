"""The browser's own EventSource: where it starts, how it resumes, and with which cookie it may."""

from pathlib import Path

from tests.browser.conftest import Server
from tests.browser.other_site import OtherSite
from tests.browser.playwright_api import Page
from tests.conftest import RUNS
from tests.processes import ended, serving

OPEN = """([url, options]) => {
    window.events = [];
    const source = new EventSource(url, options);
    source.onopen = () => events.push(["open"]);
    source.onerror = () => events.push(["error", source.readyState]);
    for (const type of ["run", "left", "deleted", "resync", "position", "bye", "message"]) {
        source.addEventListener(type, ({ data, lastEventId }) => events.push([type, JSON.parse(data).id, lastEventId]));
    }
}"""
SEEN = "(part) => JSON.stringify(window.events).includes(part) ? window.events : null"


def seen(page: Page, part: str) -> list[list[str]]:
    """The events so far, once their JSON has *part*."""
    events: list[list[str]] = page.wait_for_function(SEEN, arg=part).json_value()
    return events


def test_event_source_starts_at_a_number_and_resumes_after_a_restart(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, "runs.db") as served:
        port = served.url.rpartition(":")[2]
        server = Server(served.url)
        server.put("a", phase="running")
        page.goto(f"{served.url}/docs")
        page.evaluate(OPEN, [f"{served.url}{RUNS}?phase=running&lastEventId=0", {}])
        assert [event[0] for event in seen(page, '"a"')] == ["open", "position", "run"]
        server.put("a", phase="succeeded")
        seen(page, '"left","a"')
        server.put("b", phase="running")
        seen(page, '"run","b"')
        server.close()
        served.process.terminate()
        ended(served.process)
    with serving(tmp_path, "runs.db", env={"FLOWRUNS_PORT": port}) as served:
        server = Server(served.url)
        server.put("c", phase="running")
        events = seen(page, '"run","c"')
        assert [event[1] for event in events if event[0] == "run"] == ["a", "b", "c"]
        assert ["bye", None, events[-1][2]] not in events
        assert "resync" not in [event[0] for event in events]
        server.close()


def test_event_source_needs_the_cookie_that_a_token_sets(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/docs#token=s3cret")
        page.locator("#createFlowRun").wait_for()
        kept = page.evaluate("document.cookie + JSON.stringify(sessionStorage) + JSON.stringify(localStorage)")
        assert "s3cret" not in kept
        assert "flowruns-" not in kept
        page.evaluate(OPEN, [f"{served.url}{RUNS}?lastEventId=0", {}])
        seen(page, '"position"')
        page.evaluate("fetch('../session', {method: 'DELETE'})")
        page.evaluate(OPEN, [f"{served.url}{RUNS}", {}])
        assert seen(page, '"error"') == [["error", 2]]  # closed


def test_page_on_another_port_cannot_use_the_cookie(tmp_path: Path, any_page: Page, other_site: OtherSite) -> None:
    tries = """async (url) => {
        const run = {flowId: "a", flowType: "automation"};
        const send = (options) => fetch(url, {credentials: "include", ...options}).then(({type, status}) =>
            `${type} ${status}`, () => "failed");
        const body = JSON.stringify(run);
        return [
            await send({mode: "no-cors"}), await send({}), await send({mode: "no-cors", method: "POST", body}),
            await send({method: "POST", body, headers: {"Content-Type": "application/json"}}),
        ];
    }"""
    page = any_page
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/ui/#token=s3cret")
        page.get_by_role("heading", name="No runs yet").wait_for()
        page.goto(other_site.origin)
        responses: dict[str, int] = {}
        page.on("response", lambda response: responses.update({response.request.method: response.status}))
        results = page.evaluate(tries, f"{served.url}{RUNS}")
        assert results == ["opaque 0", "failed", "opaque 0", "failed"]
        assert set(responses.values()) <= {401, 403, 405}
        page.evaluate(OPEN, [f"{served.url}{RUNS}", {"withCredentials": True}])
        assert seen(page, '"error"') == [["error", 2]]
        page.goto(f"{served.url}/ui/")
        page.get_by_role("heading", name="No runs yet").wait_for()
