"""The API page: it shows /openapi.json and sends requests."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from flowruns import create_app, lifespan_of
from tests.browser.axe import SCHEMES, serious
from tests.browser.conftest import Server, enter_token
from tests.browser.playwright_api import Locator, Page, Tab, expect
from tests.processes import serving
from tests.waits import HANG

MARKUP = "<img src=x onerror=alert(1)>"


def open_docs(page: Page, server: Server, id: str = "") -> Locator:
    """Opens the page and returns the section of the operation *id*."""
    page.goto(f"{server.url}/docs#{id}")
    expect(page.locator("#Error")).to_be_attached()
    return page.locator(f"#{id}" if id else "main")


def send(section: Locator) -> Locator:
    """Sends the form of *section* and returns the status line of the response."""
    section.locator("button.primary", has_text="Send").first.click()
    return section.locator(".status-line")


def test_the_page_shows_the_whole_description(own: Server, page: Page) -> None:
    open_docs(page, own)
    description = httpx.get(f"{own.url}/openapi.json").json()
    operations = [operation for item in description["paths"].values() for operation in item.values()]
    shown = page.locator("section.operation").evaluate_all("all => all.map(section => section.id)")
    assert sorted(shown) == sorted([*(operation["operationId"] for operation in operations), "Error"])
    for operation in operations:
        section = page.locator(f"#{operation['operationId']}")
        expect(section).to_contain_text(operation["summary"])
        for parameter in operation["parameters"]:
            expect(section.locator(".parameters th", has_text=parameter["name"]).first).to_be_visible()
        statuses = section.locator(".response-doc summary b").all_inner_texts()
        assert statuses == list(operation["responses"])


def test_fields_show_their_types_and_constraints(own: Server, page: Page) -> None:
    section = open_docs(page, own, "upsertFlowRun")
    row = {name: section.locator("tr", has=page.get_by_role("rowheader", name=name, exact=True)).last for name in (
        "flowType required", "startTime", "actions[].id required", "phase", "tags[].key required")}  # fmt: skip
    expect(row["flowType required"]).to_contain_text("selfServiceAction")
    expect(row["startTime"]).to_contain_text("date-time or null")
    expect(row["actions[].id required"]).to_contain_text("string")
    expect(row["phase"]).to_contain_text("pattern ^[A-Za-z][A-Za-z0-9_-]{0,63}$ · default pending")
    expect(row["tags[].key required"]).to_be_visible()
    section.locator("summary", has_text="201").click()
    expect(section.get_by_text("/api/v1/flow-runs/example-run", exact=True)).to_be_visible()
    expect(section.get_by_role("row", name="reviewedAt")).to_contain_text("no request sets it")
    expect(section.locator("pre", has_text='"createdAt": "2026-01-28T23:05:10.042Z"')).to_be_visible()


def test_fields_of_runs_are_a_parameter_and_a_response_of_their_own(own: Server, page: Page) -> None:
    own.put("a1")
    for id in ("getFlowRuns", "getFlowRun"):
        section = open_docs(page, own, id)
        for name in ("id", "phase"):
            section.get_by_role("group", name="fields").get_by_role("button", name=name, exact=True).click()
        expect(send(section)).to_contain_text("200 OK")
        expect(section.locator(".response")).to_contain_text('"phase"')
        expect(section.locator(".response")).not_to_contain_text('"createdAt"')
        section.locator("summary", has_text="200").first.click()
        expect(section.get_by_role("heading", name="application/json with fields: PartialFlowRun")).to_be_visible()
        expect(section.get_by_text("each run in the response, or in the stream, has this schema")).to_be_visible()
        expect(section.get_by_role("row", name="the number of actions by phase")).to_be_visible()
        expect(section.get_by_text("Every field is always present.")).to_have_count(1)  # of the whole run or page


def test_a_run_is_created_replaced_read_and_deleted(own: Server, page: Page) -> None:
    put = open_docs(page, own, "upsertFlowRun")
    expect(send(put)).to_contain_text("201 Created")
    expect(put.locator(".headers")).to_contain_text("/api/v1/flow-runs/example-run")
    assert own.status("example-run") == 200
    expect(send(put)).to_contain_text("200 OK")
    tag = put.locator(".headers dd").nth(1).inner_text()

    get = open_docs(page, own, "getFlowRun")
    expect(send(get)).to_contain_text("200 OK")
    expect(get.locator(".response pre")).to_contain_text('"flowId": "biome.lint-pull-request-titles"')
    get.get_by_role("button", name="Raw").click()
    expect(get.locator(".response pre")).to_contain_text('"flowId":"biome.lint-pull-request-titles"')
    get.get_by_label("If-None-Match").fill(tag)
    expect(send(get)).to_contain_text("304 Not Modified")

    delete = open_docs(page, own, "deleteFlowRun")
    delete.get_by_label("If-Match").fill('"0"')
    expect(send(delete)).to_contain_text("412 Precondition Failed")
    delete.get_by_label("If-Match").fill(tag)
    expect(send(delete)).to_contain_text("204 No Content")
    assert own.status("example-run") == 404


def test_a_created_run_has_a_link_and_all_forms_use_its_id(own: Server, page: Page) -> None:
    post = open_docs(page, own, "createFlowRun")
    expect(send(post)).to_contain_text("201 Created")
    link = post.locator(".headers a")
    expect(link).to_have_attribute("href", re.compile(f"^{own.url}/api/v1/flow-runs/"))
    assert httpx.get(str(link.get_attribute("href"))).status_code == 200
    get = page.locator("#getFlowRun")
    expect(send(get)).to_contain_text("200 OK")
    expect(get.locator(".response pre")).to_contain_text("deploy-to-production")


def test_numbers_are_shown_as_sent(own: Server, page: Page) -> None:
    put = open_docs(page, own, "upsertFlowRun")
    numbers = ['"b": 1e400', '"c": -0', '"d": [1.0, 12345678901234567890]']
    put.locator(".editor").fill(f'{{"flowId": "a", "flowType": "reference", "args": {{{", ".join(numbers)}}}}}')
    expect(send(put)).to_contain_text("201")
    for text in numbers:
        expect(put.locator(".response pre")).to_contain_text(text)


def test_error_details_link_to_the_values(own: Server, page: Page) -> None:
    put = open_docs(page, own, "upsertFlowRun")
    editor = put.locator(".editor")
    editor.fill('{"flowId": "Bad Flow", "flowType": "x", "tags": [{"key": "ü"}, {"key": 1, "value": ""}]}')
    expect(send(put)).to_contain_text("422")
    selected = "editor => editor.value.slice(editor.selectionStart, editor.selectionEnd)"
    places = {"body.flowId": '"Bad Flow"', "body.tags[1].key": "1", "body.tags[0].value": '{"key": "ü"}'}
    for place, text in places.items():
        put.locator(".details").get_by_role("button", name=place, exact=True).click()
        assert editor.evaluate(selected) == text
    editor.fill('{"flowId": "ü", ]}')
    put.get_by_role("button", name="Send PUT").click()
    put.locator(".details").get_by_role("button", name="body[17]").click()
    assert editor.evaluate(selected) == "]"

    pages = open_docs(page, own, "getFlowRuns")
    pages.get_by_label("size").fill("0")
    expect(send(pages)).to_contain_text("422")
    pages.get_by_role("button", name="query.size").click()
    expect(pages.get_by_label("size")).to_be_focused()
    expect(pages.get_by_label("size")).to_have_attribute("aria-invalid", "true")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_the_command_sends_the_same_request(own: Server, page: Page) -> None:
    put = open_docs(page, own, "upsertFlowRun")
    put.get_by_label("id_").fill("it-s-here")
    args = """{"a": "it's \\\\ $HOME `ls`"}"""
    fields = """"flowType": "automation", "phase": "running", "tags": [{"key": "a b", "value": "c&d'"}]"""
    put.locator(".editor").fill(f'{{"flowId": "it", {fields}, "args": {args}}}')
    pages = page.locator("#getFlowRuns")
    pages.locator("[name=tag]").fill("a b:c&d'")
    pages.locator("[name=phase]").fill("running\nfailed")
    pages.get_by_role("button", name="automation").click()
    outputs = []
    for section in (put, pages):
        command = section.locator(".try pre").last.inner_text()
        run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=HANG)
        outputs.append(run.stdout)
    assert f'"args":{args}' in outputs[0]
    assert '"total":1' in outputs[1]
    expect(send(pages)).to_contain_text("200")
    expect(pages.locator(".response pre")).to_contain_text('"total": 1')


def test_events_are_shown_until_the_stream_is_stopped(own: Server, page: Page) -> None:
    own.put("a", phase="running")
    pages = open_docs(page, own, "getFlowRuns")
    pages.get_by_label("Accept").select_option("text/event-stream")
    pages.get_by_label("Last-Event-ID").fill("0")
    pages.locator("[name=flowId]").fill("deploy-web")
    expect(send(pages)).to_contain_text("200 OK")
    events = pages.locator(".events li")
    expect(events.last).to_contain_text('"id":"a"')
    own.put("b", phase="failed")
    expect(events.last).to_contain_text('"id":"b"')
    own.delete("b")
    expect(events.last).to_contain_text("deleted")
    events.last.locator("summary").click()
    expect(events.last.locator("pre")).to_contain_text('"id": "b"')
    pages.get_by_role("button", name="Stop").click()
    expect(pages.locator(".response")).to_contain_text("Stopped after")


def test_a_server_that_stops_is_reported(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:") as served:
        section = open_docs(page, Server(served.url), "getFlowRuns")
        section.get_by_label("Accept").select_option("text/event-stream")
        expect(send(section)).to_contain_text("200 OK")
    expect(section.locator(".response [role=alert]")).to_contain_text("did not send a complete response")
    send(page.locator("#getHealth"))
    expect(page.locator("#getHealth .response")).to_contain_text("did not send a complete response")


def test_the_page_asks_for_a_token_and_shares_it_with_the_runs_page(tmp_path: Path, page: Page) -> None:
    with serving(tmp_path, ":memory:", "--token", "s3cret=7") as served:
        page.goto(f"{served.url}/docs#upsertFlowRun")
        enter_token(page, "s3cret")
        put = page.locator("#upsertFlowRun")
        expect(put).to_be_in_viewport()
        expect(send(put)).to_contain_text("201")
        expect(put.locator(".response pre")).to_contain_text('"createdBy": 7')
        expect(put.locator(".try pre").last).to_contain_text("Bearer $FLOWRUNS_TOKEN")
        assert "s3cret" not in page.locator("body").inner_text()

        page.locator("#top summary").click()
        page.locator("#menu-token").fill("other")
        page.locator("#menu-token").press("Enter")
        expect(send(put)).to_contain_text("401")
        page.keyboard.type("s3cret")
        page.keyboard.press("Enter")
        expect(send(put)).to_contain_text("200 OK")

        page.goto(f"{served.url}/ui/")
        expect(page.locator("[data-id=example-run]")).to_be_visible()


def test_a_link_scrolls_to_its_operation(own: Server, page: Page) -> None:
    put = open_docs(page, own, "upsertFlowRun")
    expect(put).to_be_in_viewport()
    expect(put).to_be_focused()
    current = page.locator("#contents [aria-current]")
    expect(current).to_have_text("PUTCreate or replace a run")
    page.get_by_role("searchbox").fill("getHealth")
    expect(put).to_be_hidden()
    page.evaluate("location.hash = 'deleteFlowRun'")
    expect(page.locator("#deleteFlowRun")).to_be_in_viewport()
    page.locator("#contents").get_by_role("link", name="Errors").click()
    expect(page.locator("#Error h2")).to_be_in_viewport()
    expect(current).to_have_text("Errors")
    page.go_back()
    expect(page.locator("#deleteFlowRun")).to_be_in_viewport()


def test_search_finds_operations_by_their_fields_and_texts(own: Server, page: Page) -> None:
    open_docs(page, own)
    page.keyboard.press("/")
    page.keyboard.type("last-event-id stream")
    left = page.locator("section.operation:visible")
    expect(left).to_have_count(2)
    expect(page.locator("#links a:visible")).to_contain_text(["A page of runs", "One run"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{own.url}/docs#getFlowRuns")
    expect(page.locator("#getFlowRuns")).to_be_focused()  # after the event hashchange, which would take the focus away
    page.keyboard.press("/")
    page.keyboard.type("zebra")
    expect(page.get_by_text("No operation contains all of these words.")).to_be_visible()
    page.get_by_role("searchbox").fill("reviewedAt")
    expect(page.locator("#deleteFlowRun")).to_be_hidden()
    expect(page.locator("#upsertFlowRun")).to_be_visible()


def test_keys_do_what_the_help_says(own: Server, page: Page) -> None:
    open_docs(page, own, "createFlowRun")
    page.keyboard.press("j")
    expect(page.locator("#getFlowRun")).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator("#createFlowRun")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Send the request")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.locator("#createFlowRun .editor").press("Control+Enter")
    expect(page.locator("#createFlowRun .status-line")).to_contain_text("201")
    page.locator("#createFlowRun .editor").press("Escape")
    page.keyboard.press("j")
    expect(page.locator("#getFlowRun")).to_be_focused()


# Keeps the first report of what is in view until the test delivers it, as a busy machine does.
LATE_REPORT = """
const Observer = IntersectionObserver;
window.IntersectionObserver = class extends Observer {
    constructor(callback, options) {
        super((...report) => window.deliver ??= () => callback(...report), options);
    }
};
"""


def test_a_late_report_of_what_is_in_view_does_not_undo_a_key(own: Server, page: Page) -> None:
    page.add_init_script(LATE_REPORT)
    open_docs(page, own, "createFlowRun")
    page.wait_for_function("Boolean(window.deliver)")
    page.keyboard.press("j")
    expect(page.locator("#getFlowRun")).to_be_focused()
    page.evaluate("deliver()")
    page.keyboard.press("k")
    expect(page.locator("#createFlowRun")).to_be_focused()


def test_the_section_of_the_fragment_is_current_again_once_it_is_in_view_again(own: Server, page: Page) -> None:
    open_docs(page, own, "upsertFlowRun")
    current = page.locator("nav [aria-current=true]")
    expect(current).to_have_attribute("href", re.compile("#upsertFlowRun$"))
    page.evaluate("scrollBy(0, 4000)")
    expect(current).not_to_have_attribute("href", re.compile("#upsertFlowRun$"))
    page.evaluate("scrollBy(0, -4000)")
    expect(current).to_have_attribute("href", re.compile("#upsertFlowRun$"))


def test_commands_examples_and_links_are_copied(own: Server, tab: Tab) -> None:
    page = tab(permissions=["clipboard-read", "clipboard-write"])
    section = open_docs(page, own, "getHealth")
    pasted = "navigator.clipboard.readText()"
    section.locator(".try").get_by_role("button", name="Copy").click()
    expect(page.locator("#toasts")).to_contain_text("Copied: curl command")
    assert page.evaluate(pasted) == f"curl -s {own.url}/health"
    section.locator("summary", has_text="200").click()
    section.locator(".response-doc").get_by_role("button", name="Copy").first.click()
    page.wait_for_function("async () => JSON.parse(await navigator.clipboard.readText()).status === 'ok'")
    section.get_by_role("link", name="Copy link").click()
    page.wait_for_function(f"async () => await {pasted} === location.href")


def test_responses_stay_text(own: Server, page: Page) -> None:
    own.put("a", args={MARKUP: MARKUP}, logs=[{"message": MARKUP}])
    get = open_docs(page, own, "getFlowRun")
    get.get_by_label("id_").fill("a")
    expect(send(get)).to_contain_text("200")
    expect(get.locator(".response pre")).to_contain_text(MARKUP)
    assert page.locator("main img").count() == 0


def test_a_long_response_is_truncated(own: Server, page: Page) -> None:
    own.put("a", logs=[{"message": "x" * 1000}] * 200)
    get = open_docs(page, own, "getFlowRun")
    get.get_by_label("id_").fill("a")
    expect(send(get)).to_contain_text("200")
    expect(get.locator(".response")).to_contain_text("Showing the first 100,000 of 2")


def test_ids_that_a_browser_cannot_request_are_rejected(own: Server, page: Page) -> None:
    get = open_docs(page, own, "getFlowRun")
    get.get_by_label("id_").fill("..")
    get.get_by_role("button", name="Send GET").click()
    expect(get.get_by_role("alert")).to_contain_text("A browser cannot request this ID")


def test_it_links_to_the_runs_and_back(own: Server, page: Page) -> None:
    open_docs(page, own)
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page).to_have_url(own.ui)
    page.get_by_role("link", name="API").click()
    expect(page).to_have_url(f"{own.url}/docs")


def test_the_theme_is_shared_with_the_runs_page(own: Server, page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    open_docs(page, own)
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Theme: system").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)" != dark
    page.goto(own.ui)
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_no_width_scrolls_sideways(own: Server, page: Page) -> None:
    put = open_docs(page, own, "upsertFlowRun")
    for summary in put.locator(".response-doc > summary").all():
        summary.click()
    expect(send(put)).to_be_visible()
    for width in (360, 700, 1000, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_print_has_no_forms(own: Server, page: Page) -> None:
    open_docs(page, own)
    page.emulate_media(media="print")
    expect(page.locator("#upsertFlowRun .fields").last).to_be_visible()
    for hidden in ("#top", "#contents", ".try", ".parameters :is(input, textarea, select)"):
        expect(page.locator(f"{hidden}:visible")).to_have_count(0)


def test_axe_reports_no_serious_violation(own: Server, page: Page) -> None:
    put = open_docs(page, own, "upsertFlowRun")
    put.locator("summary", has_text="201").click()
    put.locator("summary", has_text="422").click()
    expect(send(put)).to_contain_text("201")
    put.locator(".editor").fill("{}")
    expect(send(put)).to_contain_text("422")
    page.locator("#top summary").click()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == [], scheme


@contextmanager
def mounted(prefix: str) -> Iterator[Server]:
    """A server of another application that mounts ours at *prefix*."""
    ours = create_app()
    app = Starlette(routes=[Mount(prefix, ours)], lifespan=lifespan_of(ours))
    host = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    listening = create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=host.run, kwargs={"sockets": [listening]})
    thread.start()
    server = Server(f"http://127.0.0.1:{listening.getsockname()[1]}{prefix}")
    yield server
    server.close()
    host.should_exit = True
    thread.join()


def test_it_works_below_a_prefix(page: Page) -> None:
    with mounted("/deep/er") as server:
        put = open_docs(page, server, "upsertFlowRun")
        expect(page.locator("#server")).to_have_text(server.url)
        expect(send(put)).to_contain_text("201")
        expect(put.locator(".headers")).to_contain_text("/deep/er/api/v1/flow-runs/example-run")
        assert server.url in put.locator(".try pre").last.inner_text()
        page.get_by_role("link", name="Runs", exact=True).click()
        expect(page.locator("[data-id=example-run]")).to_be_visible()
        page.goto("about:blank")  # its stream would keep the host from stopping


def test_a_malformed_fragment_is_ignored(own: Server, page: Page) -> None:
    open_docs(page, own, "%")
    expect(page.get_by_role("heading", name="Errors")).to_be_visible()


def test_a_run_that_is_there_is_the_default_and_can_be_loaded_into_put(own: Server, page: Page) -> None:
    own.put("real", args={"n": 1})
    get = open_docs(page, own, "getFlowRun")
    expect(get.locator("input[name=id_]")).to_have_value("real")
    expect(send(get)).to_contain_text("200 OK")
    get.get_by_role("button", name="Load this run into PUT").click()
    put = page.locator("#upsertFlowRun")
    expect(put).to_be_in_viewport()
    expect(put.locator("input[name=id_]")).to_have_value("real")
    expect(put.locator("textarea[name=body]")).to_have_value(re.compile('"n": 1'))
    expect(send(put)).to_contain_text("200 OK")


def test_a_request_is_shown_in_python_and_javascript(own: Server, page: Page) -> None:
    put = open_docs(page, own, "upsertFlowRun")
    put.locator("input[name=id_]").fill("by-code")
    put.get_by_role("button", name="Python").click()
    code = put.get_by_label("Python command for upsertFlowRun").first.inner_text()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG, check=True)
    assert result.stdout.startswith("201 ")
    put.get_by_role("button", name="JavaScript").click()
    code = put.get_by_label("JavaScript command for upsertFlowRun").first.inner_text()
    with page.expect_console_message() as logged:
        page.evaluate(f"(async () => {{ {code} }})()")
    assert logged.value.text.startswith("200 ")
