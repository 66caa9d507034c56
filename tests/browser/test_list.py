"""The list of runs."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.browser.conftest import Server, open_live
from tests.browser.playwright_api import Locator, Page, Route, Tab, expect


def rows(page: Page) -> Locator:
    return page.locator(".runs tbody tr")


def pages(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Pages", exact=True)


def chip(page: Page, phase: str) -> Locator:
    return page.get_by_role("group", name="Phase").locator(f"[data-value={phase}]")


def test_the_root_redirects_to_the_first_page_of_runs(site: Server, page: Page) -> None:
    page.goto(site.url)
    expect(page).to_have_url(site.ui)
    expect(rows(page)).to_have_count(50)
    expect(page.locator(".status")).to_contain_text("1–50 of 346 runs")
    expect(page.locator("#badge")).to_have_text("live")
    failed = page.locator("[data-id=gh-21458831126]")
    for text in ("failed", "biome.lint-pull-request-titles", "gh-21458831126", "28 Jan 2026", "40 s", "1 error"):
        expect(failed).to_contain_text(text)
    expect(failed.locator("time")).to_have_attribute("title", re.compile(r"Wed, 28 Jan 2026, 23:04:\d\d UTC"))


def test_a_chip_shows_a_count_and_filters_by_its_phase(site: Server, page: Page) -> None:
    page.goto(site.ui)
    expect(chip(page, "failed")).to_have_text("failed 92")
    chip(page, "failed").click()
    expect(page).to_have_url(f"{site.ui}?phase=failed")
    expect(page.locator(".status")).to_contain_text("1–50 of 92 runs")
    assert {"failed"} == set(rows(page).locator(".c-phase").all_inner_texts())
    chip(page, "running").click()
    expect(page.locator(".status")).to_contain_text("1–50 of 104 runs")
    page.go_back()
    expect(page.locator(".status")).to_contain_text("1–50 of 92 runs")
    page.reload()
    expect(chip(page, "failed")).to_have_attribute("aria-pressed", "true")


def test_filters_in_the_url_are_shown_and_can_be_removed(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?flowId=ants.codeql&tag=source:github-actions&createdAfter=2020-01-01T00:00:00Z")
    expect(rows(page)).to_have_count(19)
    page.get_by_role("button", name="Remove filter: flow ants.codeql").click()
    expect(page.locator(".status")).to_contain_text("of 167 runs")
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".status")).to_contain_text("of 346 runs")
    expect(page).to_have_url(f"{site.ui}")


def test_menus_offer_known_values_with_counts(site: Server, page: Page) -> None:
    page.goto(site.ui)
    page.locator("summary", has_text="Type").click()
    expect(page.locator("[data-value=scorecard]")).to_have_text("scorecard 18")
    page.locator("[data-value=scorecard]").click()
    expect(rows(page)).to_have_count(18)
    page.keyboard.press("Escape")
    page.locator("summary", has_text="Tag").click()
    page.get_by_label("Tag", exact=True).fill("repository:github/hello-world")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"flowType=scorecard&tag=repository%3Agithub%2Fhello-world"))


def test_the_created_menu_filters_by_time(site: Server, page: Page) -> None:
    page.goto(site.ui)
    page.locator("summary", has_text="Created").click()
    page.get_by_role("button", name="Last hour").click()
    expect(page.get_by_role("button", name="Remove filter: created after")).to_be_visible()
    expect(page.locator(".status")).to_contain_text("of 346 runs")
    page.locator("summary", has_text="Created").click()
    page.get_by_role("textbox", name="Created before").fill("2020-01-01T00:00")
    page.get_by_role("textbox", name="Created after").fill("")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("heading", name="No runs match these filters")).to_be_visible()
    page.get_by_role("button", name="Clear filters").click()
    expect(rows(page)).to_have_count(50)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("failed", "?phase=failed"),
        ("FAILED", "?phase=failed"),
        ("biome.lint-pull-request-titles", "?flowId=biome.lint-pull-request-titles"),
        ("biome.lint", "?flowId=biome.lint-pull-request-titles"),
        ("merico.pip_test", "?flowId=merico.pip_test"),  # not on the first page
        ("my-org.devlake-jenkins", "?flowId=jenkins.my-org.devlake-jenkins"),
        ("source:jenkins", "?tag=source%3Ajenkins"),
        ("self-serv", "?flowType=selfServiceAction"),
        ("gh-711446981", "runs/gh-711446981"),
        ("21458831126", "runs/gh-21458831126"),  # a part of an id on this page
    ],
)
def test_the_search_box_filters_or_opens_a_run(site: Server, page: Page, text: str, url: str) -> None:
    page.goto(site.ui)
    expect(rows(page)).to_have_count(50)
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page).to_have_url(site.ui + url)


def test_a_search_without_a_result_stays_on_the_list(site: Server, page: Page) -> None:
    page.goto(site.ui)
    expect(rows(page)).to_have_count(50)
    page.keyboard.press("/")
    page.keyboard.type("nothing-of-that-name")
    page.keyboard.press("Enter")
    expect(page.get_by_role("search")).to_contain_text("contains “nothing-of-that-name”")
    expect(rows(page)).to_have_count(50)
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_role("combobox")).to_be_focused()
    expect(page.get_by_role("search")).not_to_contain_text("nothing")


def test_suggestions_come_from_all_runs_and_are_chosen_with_keys(site: Server, page: Page) -> None:
    page.goto(site.ui)
    expect(rows(page)).to_have_count(50)
    page.keyboard.press("/")
    page.keyboard.type("PIP_")
    option = page.get_by_role("option", name=re.compile("flow merico.pip_test"))  # of no run on this page
    expect(option.locator(".count")).to_have_text("58")
    page.keyboard.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.ui}?flowId=merico.pip_test")
    page.get_by_role("combobox").fill("succ")
    page.get_by_role("option", name=re.compile("succeeded")).click()
    expect(page).to_have_url(f"{site.ui}?flowId=merico.pip_test&phase=succeeded")


def test_a_menu_offers_all_flows(site: Server, page: Page) -> None:
    page.goto(site.ui)
    page.locator("summary", has_text="Flow").click()
    flows = httpx.get(f"{site.url}/api/v1/stats").json()["flowId"]
    expect(page.locator(".column .chip")).to_have_count(min(40, len(flows)))


def test_links_lead_to_the_next_and_previous_page(site: Server, page: Page) -> None:
    page.goto(site.ui)
    first = rows(page).first.get_attribute("data-id")
    pages(page).get_by_role("link", name="Older").click()
    expect(page.locator(".status")).to_contain_text("51–100 of 346 runs")
    expect(page).to_have_url(re.compile("cursor="))
    pages(page).get_by_role("link", name="Older").click()
    expect(page.locator(".status")).to_contain_text("101–150 of 346 runs")
    pages(page).get_by_role("link", name="Newer").click()
    expect(page.locator(".status")).to_contain_text("51–100 of 346 runs")
    pages(page).get_by_role("link", name="Newest").click()
    expect(rows(page).first).to_have_attribute("data-id", str(first))


def test_back_from_a_run_returns_to_its_row(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?phase=succeeded")
    row = rows(page).nth(40)
    id = row.get_attribute("data-id")
    row.locator(".c-started").click()
    expect(page.locator("code", has_text=str(id))).to_be_visible()
    page.go_back()
    expect(page.locator(f"[data-id='{id}'] .run")).to_be_focused()
    expect(row).to_be_in_viewport()


def test_new_runs_are_counted_and_changed_runs_change_in_place(own: Server, page: Page) -> None:
    for number in range(3):
        own.put(f"old-{number}", phase="running", startTime="2026-01-01T00:00:00Z")
    open_live(page, own.ui)
    before = rows(page).evaluate_all("rows => rows.map((row) => row.dataset.id)")
    for number in range(3):
        own.put(f"new-{number}")
    expect(page.get_by_role("button", name="3 new runs")).to_be_visible()
    own.put("old-1", phase="failed", startTime="2026-01-01T00:00:00Z", endTime="2026-01-01T00:00:42Z",
            logs=[{"message": "no", "level": "error"}])  # fmt: skip
    expect(page.locator("[data-id=old-1]")).to_contain_text("42 s")
    expect(page.locator("[data-id=old-1]")).to_contain_text("1 error")
    assert rows(page).evaluate_all("rows => rows.map((row) => row.dataset.id)") == before
    own.delete("old-0")
    expect(page.locator("[data-id=old-0]")).to_contain_text("deleted")
    page.get_by_role("button", name="3 new runs").click()
    expect(rows(page).first).to_have_attribute("data-id", "new-2")
    expect(rows(page)).to_have_count(5)
    expect(page.get_by_role("button", name="new", exact=False)).to_have_count(0)


def test_a_run_that_loses_its_tag_shows_that_it_has_left(own: Server, page: Page) -> None:
    tags = [{"key": "env", "value": "test"}]
    for id in ("a", "b"):
        own.put(id, phase="running", tags=tags)
    page.goto(f"{own.ui}?tag=env:test")
    row = page.locator("[data-id=a]")
    expect(row).to_contain_text("running")
    expect(page.locator("#badge")).to_have_text("live")
    own.put("a", phase="failed")
    expect(row).to_contain_text("failed")
    expect(row).to_have_attribute("title", "This run no longer matches the filters")
    expect(page.locator(".left")).to_have_count(1)
    own.put("a", phase="succeeded", tags=tags)
    expect(row).to_contain_text("succeeded")
    expect(page.locator(".left")).to_have_count(0)


def test_a_run_that_leaves_the_filter_shows_how_it_ended(own: Server, page: Page) -> None:
    own.put("a", phase="running", startTime="2026-01-01T00:00:00Z")
    page.goto(f"{own.ui}?phase=running")
    expect(page.locator("[data-id=a] .c-took .tick")).to_be_visible()
    expect(page.locator("#badge")).to_have_text("live")
    own.put("a", phase="succeeded", startTime="2026-01-01T00:00:00Z", endTime="2026-01-01T00:00:05Z")
    expect(page.locator("[data-id=a]")).to_contain_text("succeeded")
    expect(page.locator("[data-id=a] .c-took")).to_have_text("5.0 s")


def test_a_running_duration_ticks(own: Server, page: Page) -> None:
    began = datetime.now(UTC) - timedelta(days=2, hours=3, minutes=30)
    own.put("a", phase="running", startTime=began.isoformat())
    page.clock.install()
    page.goto(own.ui)
    expect(page.locator("[data-id=a] .c-took")).to_have_text("2 d 03 h")
    page.clock.fast_forward(timedelta(hours=1).seconds * 1_000)
    expect(page.locator("[data-id=a] .c-took")).to_have_text("2 d 04 h")


def test_keys_move_the_focus_open_a_run_and_show_help(site: Server, page: Page) -> None:
    page.goto(site.ui)
    expect(rows(page)).to_have_count(50)
    for key in "jjk":
        page.keyboard.press(key)
    expect(rows(page).first.locator(".run")).to_be_focused()
    page.keyboard.press("G")
    expect(rows(page).last.locator(".run")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/ui/runs/"))
    page.keyboard.press("Escape")
    expect(page).to_have_url(site.ui)


def test_a_page_in_ascending_order_is_labelled(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?order=asc")
    expect(page.get_by_role("table", name="Runs, oldest first")).to_be_visible()
    pages(page).get_by_role("link", name="Newer").click()
    expect(page.locator(".status")).to_contain_text("51–100 of 346 runs")
    expect(pages(page).get_by_role("link", name="Newer")).to_be_focused()
    pages(page).get_by_role("link", name="Oldest").click()
    expect(page.locator(".status")).to_contain_text("1–50 of 346 runs")


def test_a_deleted_run_does_not_tick(own: Server, page: Page) -> None:
    own.put("a", phase="running", startTime="2026-01-01T00:00:00Z")
    open_live(page, own.ui)
    own.delete("a")
    expect(page.locator("[data-id=a]")).to_contain_text("deleted")
    expect(page.locator("[data-id=a] .c-took .tick")).to_have_count(0)


def test_a_later_page_counts_only_new_runs(own: Server, page: Page) -> None:
    for number in range(4):
        own.put(f"old-{number}")
    own.wait_for_seconds(2)
    page.goto(f"{own.ui}?size=2")
    pages(page).get_by_role("link", name="Older").click()
    expect(page.locator(".status")).to_contain_text("3–4 of 4 runs")
    expect(page.locator("#badge")).to_have_text("live")
    own.put("old-3", phase="running")
    own.put("old-0", phase="failed")
    expect(page.locator("[data-id=old-0]")).to_contain_text("failed")  # its event comes after that of old-3
    expect(page.get_by_role("button", name="new", exact=False)).to_have_count(0)
    own.put("fresh")
    expect(page.get_by_role("button", name="1 new run")).to_be_visible()


def test_a_closed_list_sends_no_requests(own: Server, page: Page) -> None:
    own.put("a")
    page.clock.install()
    open_live(page, own.ui)
    own.put("a", phase="failed")
    expect(page.locator("[data-id=a]")).to_contain_text("failed")
    page.locator("[data-id=a] .run").click()
    expect(page.locator("h1")).to_contain_text("failed")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "flow-runs" in request.url else None)
    page.clock.run_for(3_000)
    page.get_by_role("link", name="Args").click()
    expect(page).to_have_url(re.compile("tab=args"))
    assert requests == []


def test_filters_that_are_chosen_quickly_all_apply(site: Server, page: Page) -> None:
    page.goto(site.ui)
    expect(chip(page, "failed")).to_have_text("failed 92")
    page.evaluate("""() => {
        for (const phase of ["failed", "running"]) document.querySelector(`.chip[data-value=${phase}]`).click();
    }""")
    expect(page.locator(".status")).to_contain_text("1–50 of 104 runs")
    expect(page).to_have_url(f"{site.ui}?phase=failed&phase=running")


def test_a_filter_that_is_typed_again_stays(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?phase=failed")
    expect(page.locator(".status")).to_contain_text("of 92 runs")
    page.get_by_role("combobox").fill("failed")
    page.keyboard.press("Enter")
    page.get_by_role("combobox").fill("running")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.ui}?phase=failed&phase=running")


def test_a_late_search_result_does_not_navigate_away(site: Server, page: Page) -> None:
    page.goto(site.ui)
    expect(chip(page, "failed")).to_have_text("failed 92")
    routes: list[Route] = []
    page.route("**/flow-runs?flowId=unknown*", lambda route: routes.append(route))
    page.get_by_role("combobox").fill("unknown")
    with page.expect_request("**/flow-runs?flowId=unknown*"):
        page.keyboard.press("Enter")
    rows(page).first.locator(".run").click()
    expect(page.locator(".tabs")).to_be_visible()
    url = page.url
    with page.expect_response("**/flow-runs?flowId=unknown*"):
        routes[0].continue_()
    page.get_by_role("link", name="Outputs").click()
    expect(page).to_have_url(f"{url}?tab=outputs")


def test_text_in_a_menu_stays_while_runs_change(own: Server, page: Page) -> None:
    own.put("a", flowId="one")
    own.put("b", flowId="other")
    page.clock.install()
    open_live(page, own.ui)
    page.locator("summary", has_text="Flow").click()
    page.get_by_label("Flow", exact=True).fill("oth")
    expect(page.locator(".panel [data-value=one]")).to_have_count(0)
    own.put("c", flowId="another")
    expect(page.get_by_role("button", name="1 new run")).to_be_visible()
    page.clock.run_for(3_000)
    expect(page.locator(".panel [data-value=another]")).to_be_visible()
    expect(page.locator(".panel [data-value=one]")).to_have_count(0)


def test_the_focus_moves_to_a_remaining_filter(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?flowId=ants.codeql&tag=source:github-actions")
    page.get_by_role("button", name="Remove filter: flow ants.codeql").click()
    expect(page.get_by_role("button", name="Remove filter: tag")).to_be_focused()
    page.get_by_role("button", name="Clear all").click()
    expect(page.get_by_role("group", name="Phase").get_by_role("button", name="All")).to_be_focused()


def test_a_row_opens_its_run_wherever_it_is_clicked(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?phase=failed")
    row = rows(page).nth(3)
    id = row.get_attribute("data-id")
    row.click()  # its centre
    expect(page).to_have_url(f"{site.ui}runs/{id}")


def test_a_row_opens_in_a_new_tab_as_its_link_would(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?phase=failed")
    row = rows(page).nth(3)
    id = row.get_attribute("data-id")
    for how in ({"modifiers": ["ControlOrMeta"]}, {"button": "middle"}):
        with page.context.expect_page() as opened:
            row.locator(".c-started").click(**how)
        expect(opened.value).to_have_url(f"{site.ui}runs/{id}")
        opened.value.close()
    expect(page).to_have_url(f"{site.ui}?phase=failed")


def test_a_count_in_a_narrow_menu_stays_on_one_line(own: Server, page: Page) -> None:
    for number in range(15):
        own.put(f"r{number}", flowId="a-flow-with-a-name-that-is-much-longer-than-the-menu-" + "x" * 60)
    page.goto(own.ui)
    expect(rows(page)).to_have_count(15)
    page.locator("summary", has_text="Flow").click()
    count = page.locator(".panel .count")
    expect(count).to_have_text("15")
    assert count.evaluate("(count) => count.getClientRects().length === 1 && count.offsetHeight < 30")


def test_the_total_and_the_chip_agree_when_a_run_leaves_the_filter(own: Server, page: Page) -> None:
    for id in ("a", "b"):
        own.put(id, phase="running")
    page.clock.install()
    open_live(page, f"{own.ui}?phase=running")
    expect(page.locator(".status")).to_contain_text("2 runs")
    own.put("a", phase="succeeded")
    expect(page.locator("[data-id=a]")).to_have_class(re.compile("left"))
    page.clock.run_for(3_000)
    expect(chip(page, "running")).to_have_text("running 1")
    expect(page.locator(".status")).to_contain_text("1 run")
    expect(page.locator(".status")).not_to_contain_text("2 runs")
    expect(rows(page)).to_have_count(2)  # the row stays, and shows how the run ended


def test_all_chips_arrive_together(own: Server, page: Page) -> None:
    for phase in ("running", "failed", "succeeded", "waiting"):
        own.put(phase, phase=phase)
    page.add_init_script("""
        window.seen = new Set();
        new MutationObserver(() => window.seen.add(document.querySelectorAll(".phases .chip").length))
            .observe(document, { subtree: true, childList: true });
    """)
    page.goto(own.ui)
    expect(page.locator(".phases .chip")).to_have_count(5)
    assert set(page.evaluate("[...window.seen]")) <= {0, 5}


def test_the_list_requests_no_logs_and_no_args(own: Server, page: Page) -> None:
    own.put("a", phase="failed", args={"x": "y" * 100_000}, logs=[{"message": "z" * 100_000, "level": "error"}],
            actions=[{"id": "build", "phase": "succeeded"}, {"id": "ship", "phase": "failed"}])  # fmt: skip
    sizes: list[int] = []
    page.on("response", lambda response: "/api/" in response.url and "stream" not in response.headers["content-type"]
            and sizes.append(len(response.body())))  # fmt: skip
    page.goto(own.ui)
    expect(page.locator("[data-id=a] .c-issues")).to_contain_text("ship")
    expect(page.locator("[data-id=a] .c-issues")).to_contain_text("1 error")
    expect(chip(page, "failed")).to_have_text("failed 1")
    expect(page.locator("#badge")).to_have_text("live")
    own.put("a", phase="failed", args={"x": "y" * 100_000}, actions=[{"id": "test", "phase": "failed"}])
    expect(page.locator("[data-id=a] .c-issues")).to_have_text("test")
    assert 0 < sum(sizes) < 3_000


def test_several_runs_are_deleted_at_once_and_can_be_restored(own: Server, page: Page) -> None:
    for id in ("a", "b", "c"):
        own.put(id)
    page.clock.install()
    page.goto(own.ui)
    for id in ("a", "c"):
        page.get_by_label(f"Select {id}").check()
    selected = page.get_by_role("group", name="Selected runs")
    expect(selected).to_contain_text("2 runs selected")
    selected.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Undo").click()
    page.clock.run_for(8_000)
    assert {own.status(id) for id in ("a", "b", "c")} == {200}
    expect(selected).to_contain_text("2 runs selected")  # as before
    selected.get_by_role("button", name="Delete").click()
    page.clock.run_for(7_000)
    expect(page.locator("tr.gone")).to_have_count(2)
    assert [own.status(id) for id in ("a", "b", "c")] == [404, 200, 404]


def test_undo_selects_restored_runs_again_in_addition_to_others(own: Server, page: Page) -> None:
    for id in ("a", "b", "c"):
        own.put(id)
    page.clock.install()
    open_live(page, own.ui)
    page.get_by_label("Select a").check()
    page.get_by_role("group", name="Selected runs").get_by_role("button", name="Delete").click()
    own.put("d")
    page.get_by_role("button", name="1 new run").click()  # all rows are drawn again
    expect(rows(page)).to_have_count(4)
    page.get_by_label("Select b").check()
    page.get_by_role("button", name="Undo").click()
    for id, checked in {"a": True, "b": True, "c": False, "d": False}.items():
        expect(page.get_by_label(f"Select {id}")).to_be_checked(checked=checked)
    expect(page.get_by_role("group", name="Selected runs")).to_contain_text("2 runs selected")


def test_all_rows_of_a_page_are_selected_by_the_head(own: Server, page: Page) -> None:
    for id in ("a", "b", "c"):
        own.put(id)
    page.goto(own.ui)
    every, selected = page.get_by_label("All runs on this page"), page.get_by_role("group", name="Selected runs")
    every.check()
    expect(selected).to_contain_text("3 runs selected")
    page.get_by_label("Select b").uncheck()
    expect(selected).to_contain_text("2 runs selected")
    assert every.evaluate("(box) => box.indeterminate")
    every.check()
    every.uncheck()
    expect(selected).to_be_hidden()


def test_two_selected_runs_are_compared(own: Server, page: Page) -> None:
    for id in ("a", "b"):
        own.put(id, args={"id": id})
    page.goto(own.ui)
    for id in ("a", "b"):
        page.get_by_label(f"Select {id}").check()
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("tr.changed")).to_contain_text("$.id")


def test_columns_can_be_hidden_and_the_order_reversed(own: Server, page: Page) -> None:
    for id in ("a", "b"):
        own.put(id, tags=[{"key": "only", "value": id}])
    page.goto(own.ui)
    expect(rows(page).first).to_have_attribute("data-id", "b")
    page.get_by_role("link", name="Newest first").click()
    expect(page).to_have_url(f"{own.ui}?order=asc")
    expect(rows(page).first).to_have_attribute("data-id", "a")
    expect(page.locator("[data-id=a] .c-tags")).to_be_visible()
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Tags", exact=True).last.uncheck()
    expect(page.locator("[data-id=a] .c-tags")).to_be_hidden()
    page.reload()
    expect(rows(page)).to_have_count(2)
    expect(page.locator("[data-id=a] .c-tags")).to_be_hidden()


def test_tags_that_all_rows_share_are_left_out(own: Server, page: Page) -> None:
    for id in ("a", "b"):
        own.put(id, tags=[{"key": "source", "value": "ci"}, {"key": "only", "value": f"of-{id}"}])
    page.goto(own.ui)
    expect(page.locator("[data-id=a] .c-tags")).to_have_text("of-a")


def test_a_long_id_is_shortened_in_its_middle(own: Server, tab: Tab) -> None:
    ids = [f"0197f3c2-7a11-7c44-9f61-2a1d3c5b7e9{number}-{'x' * 40}-end{number}" for number in range(2)]
    for id in ids:
        own.put(id)
    page = tab(viewport={"width": 390, "height": 844})
    page.goto(own.ui)
    expect(rows(page)).to_have_count(2)
    for id in ids:
        cell = page.locator(f"[data-id='{id}'] .id")
        expect(cell).to_have_text(id)
        assert cell.evaluate("(cell) => cell.scrollWidth <= cell.clientWidth")  # its end is not clipped
    expect(rows(page).first).to_contain_text("created")


def test_the_overview_shows_runs_over_time_and_the_facts_of_a_flow(own: Server, page: Page) -> None:
    for number, phase in enumerate(["succeeded", "succeeded", "succeeded", "failed", "running"]):
        end = {} if phase == "running" else {"endTime": f"2026-01-01T00:00:{10 + number}Z"}
        own.put(f"r{number}", phase=phase, startTime="2026-01-01T00:00:00Z", **end)
    own.put("other", flowId="other", phase="failed")
    page.goto(own.ui)
    expect(rows(page)).to_have_count(6)
    page.get_by_text("Over time").click()
    chart = page.get_by_role("group", name="Runs over time")
    expect(chart.locator(".bucket")).to_have_count(20)
    counts = r"""bars => bars.flatMap((bar) => [...bar.title.matchAll(/(\d+) (failed|succeeded|running)/g)])
        .reduce((sum, [, count]) => sum + Number(count), 0)"""
    assert chart.locator(".bucket").evaluate_all(counts) == 6
    assert page.locator(".overview").get_by_text("succeeded").count() == 0  # several flows
    page.goto(f"{own.ui}?flowId=deploy-web")
    page.get_by_text("Over time").click()
    expect(page.locator(".overview")).to_contain_text(
        "75% of 4 runs succeeded · median 11 s, 95% within 13 s (4 durations)"
    )
    page.locator("a.bucket").first.click()
    expect(page).to_have_url(re.compile("createdAfter=.*createdBefore="))
    expect(rows(page).first).to_be_visible()


def test_the_overview_can_be_opened_before_the_runs_arrive(own: Server, page: Page) -> None:
    own.put("a", phase="failed")
    held: list[Route] = []
    page.route("**/api/v1/flow-runs?*", lambda route: route.continue_() if held else held.append(route))
    page.goto(own.ui)
    page.get_by_text("Over time").click()
    expect(page.locator("details.overview")).to_have_attribute("open", "")
    held[0].continue_()
    expect(page.locator(".bucket")).to_have_count(20)


def test_the_durations_of_a_flow_are_those_of_all_its_runs(own: Server, page: Page) -> None:
    for number in range(120):
        seconds = 50 if number < 15 else 10  # the oldest took longer
        own.put(
            f"r{number}", phase="succeeded", startTime="2026-01-01T00:00:00Z", endTime=f"2026-01-01T00:00:{seconds}Z"
        )
    page.goto(f"{own.ui}?flowId=deploy-web")
    page.get_by_text("Over time").click()
    expect(page.locator(".overview")).to_contain_text("median 10 s, 95% within 50 s (120 durations)")
