"""The log of a run."""

import re
from pathlib import Path

import pytest

from tests.browser.conftest import Server, open_live
from tests.browser.playwright_api import Locator, Page, expect

LOGS = "runs/gh-711446981?tab=logs"  # 125 lines, with groups and colours
T0 = "2026-01-01T00:00:00Z"
LINE = "[data-line='{}']"


# The boxes of the rows from top to bottom, after the frame that scrolling requested.
BOXES = """async () => {
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    const boxes = [...document.querySelectorAll(".line")].map((line) => line.getBoundingClientRect().toJSON());
    return boxes.sort((a, b) => a.top - b.top);
}"""


def lines(page: Page) -> Locator:
    return page.locator(".line")


def text(page: Page) -> list[str]:
    return [str(line) for line in lines(page).locator(".text").all_inner_texts()]


@pytest.fixture
def long(own: Server) -> Server:
    """A run with 20,000 lines, an error in every 5,000th."""
    logs = [{"message": f"line {n} does its work", "level": "info" if n % 5_000 else "error"} for n in range(1, 20_001)]
    own.put("long", phase="running", startTime="2026-01-01T00:00:00Z", logs=logs)
    return own


def test_a_log_is_shown_with_groups_and_colours(site: Server, page: Page) -> None:
    page.goto(site.ui + LOGS)
    expect(page.locator(LINE.format(2))).to_contain_text("Operating System")
    assert not any("##[" in line or "\x1b" in line for line in text(page))
    page.get_by_role("button", name="Group Operating System").click()
    expect(page.locator(LINE.format(3))).to_have_count(0)
    page.get_by_role("button", name="Collapse groups").click()
    expect(page.locator(LINE.format(8))).to_have_count(0)
    page.get_by_role("button", name="Collapse groups").click()
    page.get_by_label("Search the log").fill("Run echo Add other actions")
    coloured = page.locator(".ansi-fg.ansi-bold").first
    expect(coloured).to_be_visible()
    assert coloured.evaluate("(span) => getComputedStyle(span).color !== getComputedStyle(document.body).color")


def test_filters_by_level_and_action_ignore_collapsed_groups(site: Server, page: Page) -> None:
    page.goto(site.ui + LOGS)
    page.get_by_role("button", name="debug 18").click()
    expect(lines(page)).to_have_count(18)
    assert all("/usr/bin/git" in line for line in text(page))
    page.get_by_role("button", name=re.compile("^All")).click()
    page.get_by_label("Action", exact=True).select_option("post-run-actionscheckout-v2")
    expect(page).to_have_url(re.compile("action=post-run-actionscheckout-v2"))
    expect(lines(page).first).to_contain_text("Post job cleanup")
    page.reload()
    expect(lines(page).first).to_contain_text("Post job cleanup")


def test_search_counts_and_highlights_matches_and_expands_groups(site: Server, page: Page) -> None:
    page.goto(site.ui + LOGS)
    page.get_by_role("button", name="Collapse groups").click()
    page.keyboard.press("/")
    page.keyboard.type("SAFE.DIRECTORY or git version")
    expect(page.get_by_role("status").filter(has_text="0 found")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.type("git version")
    expect(page.locator(".search .count")).to_have_text(re.compile(r"1 of \d"))
    expect(page.locator(".line.current mark")).to_have_text("git version", ignore_case=True)
    first = page.locator(".line.current").get_attribute("data-line")
    page.keyboard.press("Enter")
    expect(page.locator(".search .count")).to_have_text(re.compile(r"2 of \d"))
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".line.current")).to_have_attribute("data-line", str(first))


def test_a_line_has_a_link(site: Server, page: Page) -> None:
    page.goto(site.ui + LOGS)
    page.locator(LINE.format(17)).locator("a").click()
    page.locator(LINE.format(20)).locator("a").click(modifiers=["Shift"])
    expect(page).to_have_url(re.compile("line=17-20"))
    page.goto(f"{site.ui}{LOGS}&line=99-100")
    expect(page.locator(".line.selected")).to_have_count(2)
    expect(page.locator(LINE.format(100))).to_be_in_viewport()


def test_few_of_twenty_thousand_lines_are_in_the_document(long: Server, page: Page) -> None:
    page.goto(f"{long.ui}runs/long?tab=logs&line=10000")
    expect(page.locator(LINE.format(10_000))).to_be_in_viewport()
    expect(page.locator(".line.selected")).to_contain_text("line 10000 does its work")
    assert lines(page).count() < 100
    for place in ("15000", "20000", "5000", "10000"):
        page.keyboard.press("n")
        expect(page.locator(".line.selected")).to_have_attribute("data-line", place)
    page.keyboard.press("N")
    expect(page.locator(".line.selected")).to_have_attribute("data-line", "5000")
    page.get_by_label("Search the log").fill("line 19999 ")
    expect(page.locator(".search .count")).to_have_text("1 of 1")
    expect(page.locator(LINE.format(19_999))).to_be_in_viewport()
    page.get_by_role("button", name="error 4").click()
    expect(lines(page)).to_have_count(4)


def test_a_log_is_followed_until_the_user_scrolls_up(own: Server, page: Page) -> None:
    logs = [{"message": f"line {n}", "level": "info"} for n in range(1, 301)]
    own.put("a", phase="running", startTime="2026-01-01T00:00:00Z", logs=logs[:200])
    open_live(page, f"{own.ui}runs/a?tab=logs")
    expect(page.locator(LINE.format(200))).to_be_in_viewport()
    own.put("a", phase="running", startTime="2026-01-01T00:00:00Z", logs=logs[:250])
    expect(page.locator(LINE.format(250))).to_be_in_viewport()
    page.locator(".log").evaluate("log => log.scrollTo(0, 500)")
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
    own.put("a", phase="running", startTime="2026-01-01T00:00:00Z", logs=logs)
    expect(page.get_by_role("button", name=re.compile("^All"))).to_contain_text("300")
    assert page.locator(".log").evaluate("log => log.scrollTop") == 500
    page.keyboard.press("G")
    expect(page.locator(LINE.format(300))).to_be_in_viewport()


def test_long_lines_wrap_or_not_and_do_not_overlap(own: Server, page: Page) -> None:
    own.put("a", logs=[{"message": f"{n} " + "字x" * (n * 37 % 400)} for n in range(60)], endTime=T0)
    page.goto(f"{own.ui}runs/a?tab=logs")
    for _ in range(2):
        page.locator(".log").evaluate("log => log.scrollTo(0, 400)")
        boxes = page.evaluate(BOXES)
        assert all(abs(a["bottom"] - b["top"]) < 1 for a, b in zip(boxes, boxes[1:], strict=False))
        page.get_by_role("button", name="Wrap lines").click()


def test_a_log_is_copied_and_downloaded(site: Server, page: Page, tmp_path: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{site.ui}{LOGS}&line=1-2")
    page.get_by_role("button", name="debug 18").click()
    page.locator("summary", has_text="Copy or download").click()
    page.get_by_role("button", name="Copy shown lines (18)").click()
    expect(page.locator("#toasts")).to_contain_text("Copied: shown lines")
    assert len(str(page.evaluate("navigator.clipboard.readText()")).splitlines()) == 18
    page.get_by_role("button", name="Copy lines 1–2").click()
    expect(page.locator("#toasts")).to_contain_text("Copied: lines 1–2")
    assert len(str(page.evaluate("navigator.clipboard.readText()")).splitlines()) == 2
    with page.expect_download() as started:
        page.get_by_role("button", name="Download all lines").click()
    assert started.value.suggested_filename == "gh-711446981.log"
    started.value.save_as(tmp_path / "log")
    saved = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert saved[0] == "2021-04-02T10:48:36.810Z info  [set-up-job] Current runner version: '2.277.1'"


def test_all_lines_are_printed(own: Server, page: Page) -> None:
    own.put("a", logs=[{"message": f"line {n}"} for n in range(2_000)])
    page.goto(f"{own.ui}runs/a?tab=logs")
    expect(lines(page).first).to_be_visible()
    # At once, as the browser prints then: a scroll that is still due draws the visible lines again.
    drawn = "dispatchEvent(new Event('beforeprint')), document.querySelectorAll('.line').length"
    assert page.evaluate(drawn) == 2_000
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert lines(page).count() < 100


def test_a_log_that_has_ended_is_not_followed(own: Server, page: Page) -> None:
    logs = [{"message": f"line {n}"} for n in range(1, 301)]
    own.put("a", phase="running", startTime=T0, logs=logs[:200])
    open_live(page, f"{own.ui}runs/a?tab=logs")
    expect(page.locator(LINE.format(200))).to_be_in_viewport()
    own.put("a", phase="succeeded", startTime=T0, endTime=T0, logs=logs[:250])
    expect(page.get_by_role("button", name=re.compile("^All"))).to_contain_text("250")
    assert page.locator(".log").evaluate("log => log.scrollTop + log.clientHeight === log.scrollHeight")
    page.locator(".log").evaluate("log => log.scrollTo(0, 500)")
    expect(page.locator(LINE.format(27))).to_be_in_viewport()
    own.put("a", phase="succeeded", startTime=T0, endTime=T0, logs=logs)
    expect(page.get_by_role("button", name=re.compile("^All"))).to_contain_text("300")
    assert page.locator(".log").evaluate("log => log.scrollTop") == 500


def test_a_run_that_has_ended_opens_at_its_first_line(own: Server, page: Page) -> None:
    own.put("a", phase="succeeded", startTime=T0, logs=[{"message": f"line {n}"} for n in range(200)])
    page.goto(f"{own.ui}runs/a?tab=logs")
    expect(page.locator(LINE.format(1))).to_be_in_viewport()
    expect(page.get_by_role("button", name="Follow")).to_have_count(0)


def test_a_level_is_text_and_not_a_class(own: Server, page: Page) -> None:
    own.put("a", endTime=T0, logs=[{"message": "x", "level": level} for level in ("tick", "sr-only", "error")])
    page.clock.install()
    page.goto(f"{own.ui}runs/a?tab=logs")
    expect(page.get_by_role("button", name="sr-only 1")).to_be_visible()
    page.clock.run_for(2_000)  # an error on the console fails the test
    page.get_by_role("button", name="tick 1").click()
    expect(lines(page)).to_have_count(1)
    expect(page.get_by_role("button", name="tick 1")).to_be_focused()


def test_going_to_the_end_of_an_empty_log_is_no_error(own: Server, page: Page) -> None:
    own.put("a", endTime=T0)
    page.goto(f"{own.ui}runs/a?tab=logs")
    expect(page.get_by_text("This run has no logs.")).to_be_visible()
    page.keyboard.press("G")
    page.keyboard.press("1")
    expect(page).to_have_url(re.compile("tab=timeline"))


NUMBERS = "[...document.querySelectorAll('.line')].map((line) => Number(line.dataset.line))"


def test_lines_are_in_document_order(long: Server, page: Page) -> None:
    page.goto(f"{long.ui}runs/long?tab=logs&line=10000")
    expect(page.locator(LINE.format(10_000))).to_be_in_viewport()
    for by in (-300, 500, -100):
        page.locator(".log").evaluate("(log, by) => log.scrollBy(0, by)", by)
        page.evaluate(BOXES)
        numbers = page.evaluate(NUMBERS)
        assert numbers == sorted(numbers)


def test_the_line_in_view_stays_while_the_log_changes(own: Server, page: Page) -> None:
    logs = [{"message": f"{n} " + "字x" * (n * 37 % 400)} for n in range(200)] + [{"message": "##[group]open"}]
    own.put("a", phase="running", startTime=T0, logs=logs)
    open_live(page, f"{own.ui}runs/a?tab=logs&line=150")
    expect(page.locator(LINE.format(150))).to_be_in_viewport()
    page.evaluate(BOXES)
    top = page.locator(LINE.format(150)).evaluate("line => line.getBoundingClientRect().top")
    own.put("a", phase="running", startTime=T0, logs=[*logs, {"message": "more"}])
    expect(page.get_by_role("button", name=re.compile("^All"))).to_contain_text("202")
    assert page.locator(LINE.format(150)).evaluate("line => line.getBoundingClientRect().top") == top
    page.get_by_role("button", name="Collapse groups").click()
    page.evaluate(BOXES)
    assert abs(page.locator(LINE.format(150)).evaluate("line => line.getBoundingClientRect().top") - top) < 1


def test_printed_lines_do_not_overlap(own: Server, page: Page) -> None:
    own.put("a", logs=[{"message": f"{n} " + "字x" * (n * 37 % 400)} for n in range(60)], endTime=T0)
    page.goto(f"{own.ui}runs/a?tab=logs")
    expect(lines(page).first).to_be_visible()
    page.emulate_media(media="print")
    page.evaluate(BOXES)
    boxes = page.evaluate("""() => {
        dispatchEvent(new Event("beforeprint"));
        document.body.style.width = "400px"; // as on paper: another width, and the lines are not measured again
        return [...document.querySelectorAll(".line")].map((line) => line.getBoundingClientRect().toJSON());
    }""")
    assert len(boxes) == 60
    assert all(abs(a["bottom"] - b["top"]) < 1 for a, b in zip(boxes, boxes[1:], strict=False))


def test_a_long_log_is_read_in_parts(long: Server, page: Page) -> None:
    page.add_init_script("""addEventListener("DOMContentLoaded", () => {
        window.turns = 0;
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => { // a task that runs whenever it can
            const count = document.querySelector(".logbar .count:not([role])")?.textContent;
            if (count && count !== "20,000") window.turns += 1;
            port2.postMessage(null);
        };
        port2.postMessage(null);
    })""")
    page.goto(f"{long.ui}runs/long?tab=logs&wrap=off")
    expect(page.get_by_role("button", name=re.compile("^All"))).to_contain_text("20,000")
    assert page.evaluate("window.turns") >= 10  # of other tasks, while the log was read


def test_an_append_reads_only_what_is_new(own: Server, page: Page) -> None:
    logs = [{"message": f"line {n}", "timestamp": T0} for n in range(5_000)]
    own.put("a", phase="running", startTime=T0, logs=logs)
    open_live(page, f"{own.ui}runs/a?tab=logs&line=2500")
    expect(page.locator(".line.selected")).to_be_in_viewport()
    page.locator(".line.selected").evaluate("(line) => { line.kept = true }")
    own.put("a", phase="running", startTime=T0, logs=[*logs, {"message": "more", "timestamp": T0}])
    expect(page.get_by_role("button", name=re.compile("^All"))).to_contain_text("5,001")
    assert page.locator(".line.selected").evaluate("(line) => line.kept")


def test_the_url_holds_level_search_and_wrapping(own: Server, page: Page) -> None:
    own.put("a", endTime=T0, logs=[{"message": f"line {n}", "level": "debug" if n % 2 else "info"} for n in range(40)])
    page.goto(f"{own.ui}runs/a?tab=logs")
    page.get_by_role("button", name="debug 20").click()
    page.get_by_role("button", name="Wrap lines").click()
    page.get_by_label("Search the log").fill("line 17")
    expect(page).to_have_url(f"{own.ui}runs/a?tab=logs&level=debug&wrap=off&search=line+17")
    page.reload()
    expect(lines(page)).to_have_count(20)
    expect(page.locator(".line mark")).to_have_text("line 17")
    expect(page.get_by_label("Search the log")).to_have_value("line 17")
    expect(page.get_by_role("button", name="Wrap lines")).to_have_attribute("aria-pressed", "false")


def test_the_previous_match_of_a_search_in_the_url_is_the_last(own: Server, page: Page) -> None:
    own.put("a", endTime=T0, logs=[{"message": f"line {n}"} for n in range(3)])
    page.goto(f"{own.ui}runs/a?tab=logs&search=line")
    expect(page.locator(".line mark")).to_have_count(3)
    page.locator(".log").focus()
    page.keyboard.press("N")
    expect(page.get_by_role("status").filter(has_text="3 of 3")).to_be_visible()


def test_addresses_are_links(own: Server, page: Page) -> None:
    own.put("a", endTime=T0, logs=[{"message": "see \x1b[32mhttps://example.org/a?b=1#c\x1b[0m, (http://x.test/y)."},
                                   {"message": "javascript:alert(1) ftp://x file:///etc"}])  # fmt: skip
    page.goto(f"{own.ui}runs/a?tab=logs")
    expect(page.locator(LINE.format(1)).locator(".text a")).to_have_count(2)
    links = page.locator(".line .text a").evaluate_all(
        "links => links.map((link) => [link.href, link.target, link.rel])"
    )
    assert links == [["https://example.org/a?b=1#c", "_blank", "noreferrer noopener"],
                     ["http://x.test/y", "_blank", "noreferrer noopener"]]  # fmt: skip
    page.get_by_label("Search the log").fill("org/a")
    expect(page.locator(".line .text a mark")).to_have_text("org/a")


def test_empty_columns_are_left_out(own: Server, page: Page) -> None:
    own.put("a", endTime=T0, logs=[{"message": "x"}])
    own.put("b", endTime=T0, logs=[{"message": "x", "action": "build"}, {"message": "y", "level": "debug"}])
    page.goto(f"{own.ui}runs/a?tab=logs")
    expect(page.locator(".line .time")).to_be_visible()
    assert page.locator(".line .level:visible, .line .action:visible").count() == 0
    page.goto(f"{own.ui}runs/b?tab=logs")
    expect(page.locator(".line .level").last).to_have_text("debug")
    expect(page.locator(".line .action").first).to_be_visible()
