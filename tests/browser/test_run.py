"""One run: its header, actions, args and outputs."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.browser.conftest import Server, open_live
from tests.browser.playwright_api import Locator, Page, Route, Tab, expect
from tests.waits import HANG

SIXTY = "gh-577324554"
T0 = "2026-01-01T00:00:00Z"
SLOW = 0.1  # seconds between two events of a finger: without speed for Chromium, which looks at less


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def shown(page: Page) -> Locator:
    """The visible parts, without the announcements."""
    return page.locator("#main, #toasts")


def width(page: Page) -> float:
    """The width of the first complete bar, in one evaluation: the chart is redrawn every second."""
    return float(page.evaluate("document.querySelector('.bar.complete').getBoundingClientRect().width"))


@pytest.fixture
def page(page: Page) -> Page:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return page


def test_sixty_actions_are_on_one_axis_by_job(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}runs/{SIXTY}")
    expect(page.locator(".gantt .step")).to_have_count(60)
    expect(shown(page).get_by_text("60 actions · time span 2 min 05 s")).to_be_visible()
    lane = page.locator(".lane").first.bounding_box()
    assert lane
    for box in page.locator(".bar").evaluate_all("bars => bars.map((bar) => bar.getBoundingClientRect().toJSON())"):
        assert lane["x"] <= box["left"] <= box["right"] <= lane["x"] + lane["width"] + 1
        assert box["width"] >= 3
    job = page.get_by_role("button", name="deployubuntu").first
    job.click()
    expect(page.locator(".gantt .step")).to_have_count(40)
    expect(job).to_be_focused()


def test_odd_actions_are_described_in_words(own: Server, page: Page) -> None:
    began = datetime.now(UTC) - timedelta(hours=4)

    def hours(count: float) -> str:
        return (began + timedelta(hours=count)).isoformat()

    own.put("odd", phase="running", startTime=hours(0), actions=[
        {"id": "whole", "phase": "succeeded", "startTime": hours(0), "endTime": hours(1)},
        {"id": "after-a-gap", "phase": "succeeded", "startTime": hours(2), "endTime": hours(3)},
        {"id": "reversed", "phase": "failed", "startTime": hours(3), "endTime": hours(2.9)},
        {"id": "never", "phase": "cancelled", "endTime": hours(3)},
        {"id": "none", "phase": "pending"},
        {"id": "running", "phase": "running", "startTime": hours(3)},
    ])  # fmt: skip
    page.clock.install()
    page.goto(f"{own.ui}runs/odd")
    for note in ("6 actions", "1 not started", "1 without a start time", "1 ended before the start"):
        expect(page.locator(".notes")).to_contain_text(note)
    for kind in ("complete", "reversed", "no-start", "running"):
        expect(page.locator(f".bar.{kind}").first).to_be_visible()
    expect(page.locator(".gap").first).to_have_attribute("title", "No action ran for 1 h 00 min")
    before = width(page)
    page.clock.fast_forward(timedelta(hours=3).seconds * 1_000)
    expect(page.locator(".notes")).to_contain_text("time span 7 h 00 min")  # the running bar ends now
    after = width(page)
    assert 0 < after < before


def test_a_run_is_updated_while_it_is_shown(own: Server, page: Page) -> None:
    own.put("a", phase="running", startTime=T0, actions=[{"id": "build", "phase": "running", "startTime": T0}])
    open_live(page, f"{own.ui}runs/a")
    expect(page.locator("h1")).to_contain_text("running")
    own.put("a", phase="succeeded", startTime=T0, endTime="2026-01-01T00:00:09Z", outputs={"ok": True}, actions=[
        {"id": "build", "phase": "succeeded", "startTime": T0, "endTime": "2026-01-01T00:00:07Z"},
        {"id": "ship", "phase": "succeeded", "startTime": "2026-01-01T00:00:07Z", "endTime": "2026-01-01T00:00:09Z"},
    ])  # fmt: skip
    expect(page.locator("h1")).to_contain_text("succeeded")
    expect(shown(page).get_by_text("2 actions · time span 9.0 s")).to_be_visible()
    expect(page).to_have_title("succeeded deploy-web · flowruns")


@pytest.mark.parametrize(("id", "segment"), [(".", "%252E"), ("..", "%252E%252e"), ("...", "...")])
def test_a_run_whose_id_browsers_remove_from_paths_is_like_others(
    own: Server, page: Page, id: str, segment: str
) -> None:
    own.put(segment, phase="running")
    page.clock.install()
    page.goto(own.ui)
    page.get_by_role("link", name="deploy-web").click()
    expect(page.locator("#badge")).to_have_text("live")
    expect(page.locator(".head code")).to_have_text(id)
    page.reload()
    expect(page.locator("h1")).to_contain_text("running")
    page.get_by_role("button", name="Copy as curl").click()
    expect(shown(page).get_by_text("copied")).to_be_visible()
    command = clipboard(page).replace('"running"', '"failed"')
    subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HANG, check=True)
    expect(page.locator("h1")).to_contain_text("failed")
    page.get_by_role("button", name="Delete").click()
    page.clock.run_for(7_000)
    expect(page).to_have_url(own.ui)
    assert own.status(segment) == 404


def test_numbers_and_duplicate_keys_are_shown_as_sent(own: Server, page: Page) -> None:
    args = (
        '{"big": 123456789012345678901234567890, "e": 1E5, "minus": -0, "huge": 1e400, '
        '"twice": 1, "twice": 2.50, "a":{"b":[{}, []]}}'
    )
    own.put_bytes("exact", b'{"flowId": "f", "flowType": "automation", "args": %b}' % args.encode())
    page.goto(f"{own.ui}runs/exact?tab=args")
    tree = page.locator(".tree")
    for text in ("123456789012345678901234567890", "1E5", "-0", "1e400", "2.50", "duplicate"):
        expect(tree).to_contain_text(text)
    page.get_by_role("button", name="Raw").click()
    assert page.locator("pre").inner_text() == args
    page.get_by_role("button", name="Copy PUT body").click()
    expect(shown(page).get_by_text("Copied: PUT body")).to_be_visible()
    assert f'"args":{args}' in clipboard(page)


def test_the_curl_command_recreates_the_run(own: Server, page: Page) -> None:
    own.put_bytes("again", b'{"flowId": "f", "flowType": "automation", "args": {"x": 1E5, "quote": "it\'s $HOME"}}')
    page.goto(f"{own.ui}runs/again")
    page.get_by_role("button", name="Copy as curl").click()
    expect(shown(page).get_by_text("copied")).to_be_visible()
    command = clipboard(page)
    own.delete("again")
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=HANG, check=True)
    assert '"args":{"x": 1E5, "quote": "it\'s $HOME"}' in result.stdout
    assert own.status("again") == 200


def test_large_objects_are_shown_a_hundred_members_at_a_time(own: Server, page: Page) -> None:
    own.put("large", args={"many": [{"n": n} for n in range(250)], "long": "x" * 5_000})
    page.goto(f"{own.ui}runs/large?tab=args")
    expect(shown(page).get_by_text("4,400 more characters")).to_be_visible()
    page.get_by_role("button", name="many: 250 items").click()
    page.get_by_role("button", name="many: 250 items").click()
    page.get_by_role("button", name="Show 150 more", exact=True).click()
    page.get_by_role("button", name="Show 50 more", exact=True).click()
    expect(page.locator(".tree .fold", has_text="249")).to_be_visible()


def test_expand_all_opens_members_that_are_shown_later_and_closes_none(own: Server, page: Page) -> None:
    deep = {"a": {"b": {"c": 1}}}
    own.put("large", args={"many": [deep] * 150, "deep": deep})
    page.goto(f"{own.ui}runs/large?tab=args")
    expect(page.locator(".tree")).to_be_visible()
    # The user opens all branches that are there once the first of them was expanded.
    page.evaluate("""() => {
        const folds = document.querySelectorAll(".fold[aria-expanded=false]");
        new MutationObserver((_, observer) => {
            observer.disconnect();
            for (const fold of [...folds].slice(1)) if (fold.ariaExpanded === "false") fold.click();
        }).observe(folds[0], { attributes: true });
        window.closed = 0;
        new MutationObserver((records) => {
            for (const { target } of records) if (target.ariaExpanded === "false") window.closed += 1;
        }).observe(document.querySelector(".tree"), { attributeFilter: ["aria-expanded"], subtree: true });
    }""")
    closed = page.locator(".fold[aria-expanded=false]")
    page.get_by_role("button", name="Expand all").dblclick()
    expect(closed).to_have_count(0)
    assert page.evaluate("window.closed") == 0
    page.locator(".fold", has_text="deep:").click()
    page.get_by_role("button", name="Show 50 more").click()
    expect(page.locator(".leaf", has_text="c: 1")).to_have_count(151)
    expect(closed).to_have_count(1)  # which the user closed
    page.get_by_role("button", name="Collapse all").click()
    expect(closed).not_to_have_count(1)


def test_a_deletion_can_be_undone_for_six_seconds(own: Server, page: Page) -> None:
    own.put("saved", phase="failed")
    page.clock.install()
    page.goto(f"{own.ui}runs/saved")
    page.get_by_role("button", name="Delete").click()
    page.clock.run_for(4_000)
    page.get_by_role("button", name="Undo").click()
    page.clock.run_for(10_000)
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert own.status("saved") == 200
    page.get_by_role("button", name="Delete").click()
    page.clock.run_for(7_000)
    expect(page).to_have_url(own.ui)  # the list again
    assert own.status("saved") == 404


def test_tabs_are_links_and_keys(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}runs/gh-711446981")
    expect(page.get_by_role("link", name="Timeline 6")).to_have_attribute("aria-current", "page")
    for key, tab in (("2", "logs"), ("3", "args"), ("4", "outputs"), ("5", "json"), ("1", "timeline")):
        page.keyboard.press(key)
        expect(page.get_by_role("region", name=re.compile(tab, re.IGNORECASE)).first).to_be_visible()
        expect(page).to_have_url(re.compile(f"tab={tab}$"))
    page.get_by_role("link", name="Logs 112").click()
    expect(page).to_have_url(re.compile("tab=logs"))


def test_tags_and_flow_lead_to_their_runs(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}runs/gh-711446981")
    page.get_by_role("link", name="branch:main").click()
    expect(page).to_have_url(f"{site.ui}?tag=branch%3Amain")
    page.go_back()
    page.get_by_role("link", name="ghworkflowruntest.fast-workflow").click()
    expect(shown(page).get_by_text("of 51 runs")).to_be_visible()


def test_two_runs_of_a_flow_are_compared(own: Server, page: Page) -> None:
    action = {"id": "build", "phase": "succeeded", "startTime": T0, "endTime": "2026-01-01T00:00:10Z"}
    slower = action | {"phase": "failed", "endTime": "2026-01-01T00:00:25Z"}
    own.put("good", phase="succeeded", startTime=T0, actions=[action], args={"ref": "main", "n": 1}, outputs={"a": 1})
    own.put("bad", phase="failed", startTime=T0, actions=[slower], args={"ref": "dev", "n": 1}, outputs={"b": [1]})
    page.goto(f"{own.ui}runs/bad")
    page.locator("summary", has_text="Compare with").click()
    page.get_by_role("link", name="good").click()
    expect(page).to_have_url(f"{own.ui}compare?a=good&b=bad")
    expect(page.locator(".both tbody tr")).to_contain_text("+15 s")
    expect(page.locator(".both .bar")).to_have_count(2)
    expect(page.locator("h2", has_text="args")).to_contain_text("1 of 2 differ")
    assert page.locator("tr.changed").inner_text().split() == ["$.ref", "changed", '"main"', '"dev"']
    expect(page.locator("tr.removed")).to_contain_text("$.a")
    expect(page.locator("tr.added")).to_contain_text("$.b[0]")
    page.get_by_role("button", name="Only differences").click()
    expect(page.locator("tr.same")).to_contain_text("$.n")
    expect(page.get_by_role("button", name="Only differences")).to_be_focused()
    own.put("bad", phase="failed", startTime=T0, actions=[slower], args={"ref": "main", "n": 1})
    expect(page.locator("h2", has_text="args")).to_contain_text("no differences")


def wide(count: int, value: str) -> dict[str, str]:
    return {f"key-{number:04}": f"{value} {number} {'word ' * 60}" for number in range(count)}


def test_a_long_comparison_stays_where_it_is_when_a_run_changes(own: Server, page: Page) -> None:
    args = wide(400, "b")
    own.put("a", args=wide(400, "a"))
    own.put("b", args=args)
    page.goto(f"{own.ui}compare?a=a&b=b")
    page.wait_for_function("""() => { // rows that come near the view correct the height of the table
        const rows = [...document.querySelectorAll(".changes tr.changed")];
        const row = rows.find(({ innerText }) => innerText.includes("key-0200"));
        if (!row) scrollBy(0, 500);
        row?.scrollIntoView({ block: "center" });
        return row;
    }""")
    row = page.locator("tr.changed", has_text="key-0200")
    expect(row).to_be_in_viewport()
    top = "(row) => row.getBoundingClientRect().top"
    before = row.evaluate(top)
    own.put("b", args=args | {"key-0200": args["key-0200"].replace("b", "c")})
    expect(row).to_contain_text('"c 200')
    assert abs(row.evaluate(top) - before) < 2  # px


def test_a_comparison_that_fails_says_why(own: Server, any_page: Page) -> None:
    for id in ("a", "b"):
        own.put(id, args={"id": id})

    signed_in = []

    def like_a_proxy(route: Route) -> None:
        if signed_in:
            route.continue_()
        elif "event-stream" not in route.request.headers["accept"]:  # the stream waits
            route.fulfill(body="<p>Please sign in")

    page = any_page
    page.route("**/flow-runs/b", like_a_proxy)
    page.goto(f"{own.ui}compare?a=a&b=b")
    expect(page.get_by_role("heading", name="This page has an internal error")).to_be_visible()
    signed_in.append(True)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("tr.changed")).to_contain_text("$.id")


def test_a_comparison_without_both_runs_shows_what_is_missing_now(own: Server, page: Page) -> None:
    for id in ("a", "b"):
        own.put(id)
    page.goto(f"{own.ui}compare?a=a&b=b")
    expect(page.locator("h2", has_text="Actions")).to_be_visible()
    for id in ("a", "b"):
        own.delete(id)
        expect(page.get_by_role("heading", name=f"{id} was deleted")).to_be_visible()
    own.put("b")
    expect(page.get_by_role("heading", name="a was deleted")).to_be_visible()
    own.put("a", args={"n": 1})
    expect(page.locator("tr", has_text="$.n")).to_be_visible()


def test_the_put_body_has_only_fields_of_a_put(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}runs/gh-711446981")
    page.get_by_role("button", name="Copy PUT body").click()
    expect(shown(page).get_by_text("copied")).to_be_visible()
    body = json.loads(clipboard(page))
    assert (body["id"], len(body["logs"]), "createdAt" in body) == ("gh-711446981", 125, False)


def test_a_failed_copy_is_reported(own: Server, page: Page) -> None:
    own.put("a")
    page.goto(f"{own.ui}runs/a")
    page.evaluate("navigator.clipboard.writeText = () => Promise.reject(); document.execCommand = () => false")
    page.get_by_role("button", name="Copy PUT body").click()
    expect(page.locator("#toasts")).to_contain_text("does not allow this page to copy")


def test_thousands_of_duplicate_keys_are_compared_quickly(own: Server, page: Page) -> None:
    args = ",".join(['"a":1'] * 30_000)
    for id in ("one", "other"):
        own.put_bytes(id, b'{"flowId": "f", "flowType": "automation", "args": {%b}}' % args.encode())
    page.goto(f"{own.ui}compare?a=one&b=other")
    expect(page.locator("h2", has_text="args")).to_contain_text("no differences")


def test_undo_works_after_a_double_click_on_delete(own: Server, page: Page) -> None:
    own.put("saved")
    page.clock.install()
    page.goto(f"{own.ui}runs/saved")
    page.get_by_role("button", name="Delete").dblclick()
    page.get_by_role("button", name="Undo").first.click()
    page.clock.run_for(10_000)
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert own.status("saved") == 200


def failing(own: Server) -> None:
    """A run of 60 actions whose 41st failed, with a log."""
    ids = [f"job-{number // 20}.step-{number % 20}" for number in range(60)]
    actions = [{"id": id, "phase": "failed" if id == "job-2.step-1" else "succeeded", "startTime": T0,
                "endTime": "2026-01-01T00:00:05Z"} for id in ids]  # fmt: skip
    message = "##[group]Tests\n##[error]2 tests \x1b[31mfailed\x1b[0m\nmore"
    logs = [{"message": "a\nb", "action": "job-0.step-0"}, {"message": "x", "level": "error", "action": "job-0.step-0"},
            {"message": message, "action": "job-2.step-1"}]  # fmt: skip
    own.put("bad", phase="failed", startTime=T0, endTime="2026-01-01T00:00:05Z", actions=actions, logs=logs)


def test_a_failed_run_begins_with_what_failed(own: Server, page: Page) -> None:
    failing(own)
    page.goto(f"{own.ui}runs/bad")
    box = page.get_by_role("region", name="Failure")
    expect(box).to_contain_text("job-2.step-1 failed after 5.0 s")
    expect(box).to_be_in_viewport()
    expect(box.locator("code")).to_have_text("2 tests failed")  # the first error of the failed action, without escapes
    expect(page.locator(".job.bad")).to_have_count(1)
    expect(page.locator(".job.bad")).to_contain_text("1 failed")
    page.get_by_role("button", name="Failed only (1)").click()
    expect(page.locator(".gantt tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Failed only (1)").click()
    expect(page.locator(".gantt .step")).to_have_count(60)
    box.get_by_role("link", name="Line 5").click()
    expect(page.locator(".line.selected")).to_contain_text("2 tests failed")


def test_a_run_that_did_not_fail_has_no_failure(own: Server, page: Page) -> None:
    own.put("good", phase="succeeded", logs=[{"message": "ok"}])
    page.goto(f"{own.ui}runs/good")
    expect(page.locator("h1")).to_contain_text("succeeded")
    expect(page.get_by_role("region", name="Failure")).to_have_count(0)


def test_a_run_is_sent_again_with_other_args_and_tags(own: Server, page: Page) -> None:
    args = '{"big": 123456789012345678901234567890, "ref": "main"}'
    body = b'{"flowId": "deploy", "flowType": "automation", "args": %b, "tags": [{"key": "env", "value": "a:b"}]}'
    own.put_bytes("old", body % args.encode())
    page.goto(f"{own.ui}runs/old")
    page.get_by_role("button", name="Send again").click()
    dialog = page.get_by_role("dialog", name="Send again")
    expect(dialog.get_by_label("Flow")).to_have_value("deploy")
    field = dialog.get_by_label("Args")
    sent = field.input_value().replace('"main"', '"dev"')
    field.fill("[1]")
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("alert")).to_have_text("The args must be a JSON object, like {}")
    field.fill(sent)
    dialog.get_by_label("Tags").fill("env:a:b\nwhy:again")
    dialog.get_by_role("button", name="Send").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).not_to_have_url(f"{own.ui}runs/old")
    expect(page.locator("h1")).to_contain_text("pending")
    expect(page.get_by_role("group", name="Tags")).to_contain_text("why:again")
    page.get_by_role("link", name="Args").click()
    expect(page.locator(".tree")).to_contain_text("123456789012345678901234567890")
    expect(page.locator(".tree")).to_contain_text('"dev"')


def test_a_run_that_cannot_be_sent_again_says_why(own: Server, page: Page) -> None:
    own.put("old")
    page.goto(f"{own.ui}runs/old")
    page.get_by_role("button", name="Send again").click()
    dialog = page.get_by_role("dialog", name="Send again")
    dialog.get_by_label("Flow").fill("No Flow")
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("alert")).to_contain_text("pattern")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)


def test_the_head_is_short_and_the_rest_is_behind_details(own: Server, page: Page) -> None:
    own.put("a", phase="succeeded", startTime=T0, endTime="2026-01-01T00:00:40Z")
    page.goto(f"{own.ui}runs/a")
    head = page.get_by_role("region", name="Run details")
    expect(head).to_contain_text("took 40 s, ")
    expect(head.get_by_text("Created", exact=True)).to_be_hidden()
    head.get_by_text("Details").click()
    expect(head.get_by_text("Created", exact=True)).to_be_visible()
    expect(head.locator("dd time").first).to_have_attribute("title", re.compile(r"00:00:00 UTC\n2026-01-01T00:00:00"))
    own.put("a", phase="failed", startTime=T0, endTime="2026-01-01T00:00:50Z")
    expect(head).to_contain_text("took 50 s, ")
    expect(head.get_by_text("Created", exact=True)).to_be_visible()


def test_the_json_tab_shows_the_document_and_a_link_leads_to_the_api(own: Server, page: Page) -> None:
    own.put("a", args={"n": 1})
    page.goto(f"{own.ui}runs/a?tab=json")
    expect(page.locator(".tree")).to_contain_text("createdAt")
    expect(page.get_by_role("link", name="API", exact=True).last).to_have_attribute(
        "href", f"{own.url}/api/v1/flow-runs/a"
    )


def test_selected_text_stays_while_a_timeline_runs(own: Server, page: Page) -> None:
    own.put("a", phase="running", startTime=T0, actions=[{"id": "build", "phase": "running", "startTime": T0}])
    page.clock.install()
    page.goto(f"{own.ui}runs/a")
    label = page.locator(".gantt tbody th span[title=build]")
    label.evaluate("(label) => getSelection().selectAllChildren(label)")
    before = page.locator(".notes").inner_text()
    page.clock.run_for(timedelta(hours=24 * 400).seconds * 1_000 + 3_600_000)
    expect(page.locator(".notes")).not_to_have_text(before)  # the chart has moved on
    assert page.evaluate("String(getSelection())") == "build"


def test_versions_are_not_split_into_jobs(own: Server, page: Page) -> None:
    own.put("a", actions=[{"id": id} for id in ("python-3.11", "python-3.12", "build.1", "build.2")])
    page.goto(f"{own.ui}runs/a")
    names = page.locator(".gantt tbody th").all_inner_texts()
    assert [name.replace("no phase", "").split()[-1] for name in names] == [
        "python-3.11", "python-3.12", "2", "1", "2"]  # fmt: skip


def drag_over_ruler(page: Page) -> Callable[[float], None]:
    """Drags from 40 to 60 % of the ruler, and returns what drags on, to a fraction of it. The button stays down."""
    box = page.locator(".ruler").bounding_box()
    assert box

    def drag_to(fraction: float) -> None:
        page.mouse.move(box["x"] + box["width"] * fraction, box["y"] + box["height"] / 2)

    drag_to(0.4)
    page.mouse.down()
    drag_to(0.6)
    return drag_to


def test_a_part_of_the_timeline_is_enlarged_by_dragging(own: Server, page: Page) -> None:
    own.put("a", phase="succeeded", startTime=T0, endTime="2026-01-01T00:10:00Z", actions=[
        {"id": "early", "phase": "succeeded", "startTime": T0, "endTime": "2026-01-01T00:01:00Z"},
        {"id": "late", "phase": "succeeded", "startTime": "2026-01-01T00:05:00Z", "endTime": "2026-01-01T00:10:00Z"},
    ])  # fmt: skip
    page.goto(f"{own.ui}runs/a")
    drag_to = drag_over_ruler(page)
    drag_to(0.75)
    page.mouse.up()
    expect(page.locator(".bar:visible")).to_have_count(1)
    expect(page.locator(".notch").first).to_contain_text("min")  # the marks tell the time since the start
    page.get_by_role("button", name="Whole run").click()
    expect(page.locator(".bar:visible")).to_have_count(2)


def test_a_finger_enlarges_a_part_of_the_timeline_and_shows_details(own: Server, tab: Tab) -> None:
    failing(own)
    page = tab(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto(f"{own.ui}runs/bad")
    page.locator(".lane").nth(3).tap()
    expect(page.locator(".detail")).to_contain_text("job-0.step-2")
    box = page.locator(".lane").nth(3).bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 10, box["y"] + box["height"] / 2
    swipe(page, (x, y), (x + 2, y - 200))  # up: it scrolls
    page.wait_for_function("scrollY > 100")
    expect(page.get_by_role("button", name="Whole run")).to_be_hidden()
    swipe(page, (x, y), (x + box["width"] / 2, y + 2))
    expect(page.get_by_role("button", name="Whole run")).to_be_visible()
    assert page.evaluate("visualViewport.scale") == 1
    page.get_by_role("button", name="Whole run").tap()
    expect(page.get_by_role("button", name="Whole run")).to_be_hidden()


def swipe(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Moves a finger, which Playwright's touch screen cannot. The times of its events are `SLOW` apart, so that it has
    no speed when it lifts. With speed, Chromium flings: the page scrolls on, and a tap soon afterwards ends the fling
    and is no click.
    """
    steps = 10
    session = page.context.new_cdp_session(page)
    began = time.time() - SLOW * (steps + 1)
    for step in range(steps + 2):
        x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
        is_end = step > steps
        session.send("Input.dispatchTouchEvent", {
            "type": "touchEnd" if is_end else "touchMove" if step else "touchStart",
            "touchPoints": [] if is_end else [{"x": x, "y": y}],
            "timestamp": began + SLOW * step,
        })  # fmt: skip
    session.detach()


def test_a_second_pointer_does_not_end_a_drag_over_the_timeline(own: Server, page: Page) -> None:
    own.put("a", phase="succeeded", startTime=T0, endTime="2026-01-01T00:10:00Z", actions=[
        {"id": "only", "phase": "succeeded", "startTime": T0, "endTime": "2026-01-01T00:10:00Z"},
    ])  # fmt: skip
    page.goto(f"{own.ui}runs/a")
    drag_over_ruler(page)
    mark = page.locator("i.zoom")
    before = mark.bounding_box()
    for kind in ("move", "up", "cancel"):
        page.evaluate(f"dispatchEvent(new PointerEvent('pointer{kind}', {{ pointerId: 99, clientX: 0 }}))")
        assert mark.bounding_box() == before
    page.mouse.up()
    expect(mark).to_have_count(0)
    expect(page.get_by_role("button", name="Whole run")).to_be_visible()


def test_the_legend_explains_gaps_that_appear_later(own: Server, page: Page) -> None:
    first = {"id": "first", "phase": "succeeded", "startTime": T0, "endTime": "2026-01-01T00:01:00Z"}
    second = first | {"id": "second", "startTime": "2026-01-01T00:01:00Z", "endTime": "2026-01-01T00:02:00Z"}
    own.put("a", phase="running", startTime=T0, actions=[first, second])
    page.goto(f"{own.ui}runs/a")
    expect(page.locator(".gantt tbody tr")).to_have_count(2)
    legend = page.locator(".legend")
    expect(legend).not_to_contain_text("no action ran")
    third = first | {"id": "third", "startTime": "2026-01-01T00:05:00Z", "endTime": "2026-01-01T00:06:00Z"}
    own.put("a", phase="running", startTime=T0, actions=[first, second, third])
    expect(legend).to_contain_text("no action ran")
    own.put("a", phase="running", startTime=T0, actions=[first, second])
    expect(legend).not_to_contain_text("no action ran")


def test_the_timeline_is_enlarged_while_its_actions_run(own: Server, page: Page) -> None:
    began = datetime.now(UTC) - timedelta(hours=1)
    own.put("a", phase="running", actions=[{"id": "build", "phase": "running", "startTime": began.isoformat()}])
    page.goto(f"{own.ui}runs/a")
    box = page.locator(".ruler").bounding_box()
    assert box
    page.mouse.move(box["x"] + 10, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 5)
    page.evaluate("""() => new Promise((done) => {
        new MutationObserver(done).observe(document.querySelector(".ruler"), { childList: true }); // it is drawn again
    })""")
    page.mouse.up()
    expect(page.get_by_role("button", name="Whole run")).to_be_visible()


def test_of_thousands_of_actions_only_those_near_the_view_are_in_the_document(own: Server, page: Page) -> None:
    actions = [
        {"id": f"job-{number // 500}.step-{number}", "phase": "succeeded", "startTime": T0, "endTime": T0}
        for number in range(3_000)
    ]
    own.put("many", phase="running", startTime=T0, actions=actions)
    page.goto(f"{own.ui}runs/many")
    rows = page.locator(".gantt .step")
    expect(rows.first).to_be_visible()
    height = page.evaluate("document.querySelector('.gantt').offsetHeight")
    assert rows.count() < 500
    last = page.locator(".gantt .step", has_text="step-2999")
    page.keyboard.press("End")
    expect(last).to_be_in_viewport()
    assert rows.count() < 500
    assert abs(page.evaluate("document.querySelector('.gantt').offsetHeight") - height) < 24  # a row
    own.put("many", phase="running", startTime=T0, actions=[*actions[:-1], actions[-1] | {"phase": "failed"}])
    expect(last.locator(".phase")).to_contain_text("failed")
    expect(last).to_be_in_viewport()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(rows).to_have_count(3_000)


def test_the_details_of_an_action_are_shown_by_focus_and_tap(own: Server, page: Page) -> None:
    failing(own)
    page.goto(f"{own.ui}runs/bad")
    page.get_by_role("link", name="step-1", exact=True).focus()
    expect(page.locator(".detail")).to_contain_text("job-2.step-1, failed: Thu")
    expect(page.locator(".detail")).to_contain_text("took 5.0 s, 1 log line")
    page.locator(".lane").nth(3).click()
    expect(page.locator(".detail")).to_contain_text("job-0.step-2")


def test_the_tab_and_the_chips_count_the_same_lines(own: Server, page: Page) -> None:
    own.put(
        "a", logs=[{"message": "##[group]x\r\na\rb\r\n##[endgroup]"}, {"message": "::endgroup::"}, {"message": "y"}]
    )
    page.goto(f"{own.ui}runs/a?tab=logs")
    expect(page.get_by_role("link", name="Logs 3")).to_be_visible()
    expect(page.get_by_role("button", name="All 3")).to_be_visible()


def test_a_long_phase_fits_a_phone(own: Server, tab: Tab) -> None:
    phase = "a_phase_of_as_many_characters_as_one_may_have_which_is_64_of_them"[:64]
    action = {"id": "a-long-name-of-an-action", "phase": phase, "startTime": T0, "endTime": "2026-01-01T01:00:10Z"}
    own.put("a", phase=phase, actions=[action], args={"url": "https://example.org/" + "x" * 90})
    own.put("b", phase="failed", actions=[action | {"phase": "failed"}])
    page = tab(viewport={"width": 390, "height": 844})
    for path in ("", "runs/a", "runs/a?tab=args", "compare?a=a&b=b", f"?phase={phase}"):
        open_live(page, own.ui + path)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
        clipped = """[...document.querySelectorAll(".both td, .changes td, h1:not(.sr-only), .chip")]
            .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.innerText)"""
        assert page.evaluate(clipped) == [], path


def test_long_words_do_not_widen_the_page(own: Server, tab: Tab) -> None:
    word = "w" * 200
    own.put(word, flowId=word, phase="failed", args={word: word}, tags=[{"key": word[:100], "value": word[:100]}],
            actions=[{"id": word, "phase": "failed", "startTime": T0}],
            logs=[{"message": word * 10, "action": word, "level": "error"}])  # fmt: skip
    own.put("b", args={"a": 1})
    for width in (768, 1440):
        page = tab(viewport={"width": width, "height": 900})
        for path in ("", f"runs/{word}", f"runs/{word}?tab=logs", f"runs/{word}?tab=json", f"compare?a={word}&b=b"):
            page.goto(own.ui + path)
            expect(page.locator(".runs tbody tr, .gantt tbody tr, .line, .tree, .changes").first).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") == width, path


def test_a_long_error_leaves_room_for_the_run_on_a_phone(own: Server, tab: Tab) -> None:
    own.put("a", phase="failed", logs=[{"message": "w" * 3_000, "level": "error"}])
    page = tab(viewport={"width": 390, "height": 844})
    page.goto(f"{own.ui}runs/a?tab=json")
    expect(page.get_by_role("link", name="Line 1")).to_be_visible()
    expect(page.locator(".tree")).to_be_in_viewport()


def test_the_tab_that_is_open_is_in_view_on_a_phone(own: Server, tab: Tab) -> None:
    failing(own)
    page = tab(viewport={"width": 390, "height": 844})
    page.goto(f"{own.ui}runs/bad?tab=outputs")
    open_tab = page.locator(".tab[aria-current]")
    expect(open_tab).to_have_text(re.compile("outputs", re.IGNORECASE))
    for key, name in (("5", "json"), ("1", "timeline"), ("5", "json")):
        page.keyboard.press(key)
        expect(open_tab).to_have_text(re.compile(name, re.IGNORECASE))
        assert open_tab.evaluate(
            "it => it.getBoundingClientRect().left >= 0 && it.getBoundingClientRect().right <= innerWidth"
        )


def test_the_link_to_all_runs_keeps_the_filters(own: Server, page: Page) -> None:
    own.put("a", phase="failed", actions=[{"id": "build", "phase": "failed"}])
    page.goto(f"{own.ui}?phase=failed")
    page.locator("[data-id=a] .c-started").click()
    expect(page.locator(".failure")).to_contain_text("No error was logged.")
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page).to_have_url(f"{own.ui}?phase=failed")
