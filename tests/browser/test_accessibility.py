"""axe reports no serious violation, in light and in dark; the keyboard reaches all controls; changes are announced."""

import pytest

from tests.browser.axe import SCHEMES, serious
from tests.browser.conftest import Server, open_live
from tests.browser.playwright_api import Page, Tab, expect

VIEWS = {
    "list": "?size=10",
    "filters": "?phase=failed&flowId=ants.codeql&size=5",
    "timeline": "runs/gh-577324554",
    "log": "runs/gh-711446981?tab=logs&line=17",
    "args": "runs/gh-711446981?tab=args",
    "json": "runs/gh-21458831126?tab=json",
    "compare": "compare?a=gh-711446981&b=gh-711436991",
    "missing": "runs/nowhere",
    "invalid": "?size=0",
}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_reports_no_serious_violation(site: Server, tab: Tab, view: str, width: int) -> None:
    page = tab(reduced_motion="reduce", viewport={"width": width, "height": 800})
    page.goto(site.ui + VIEWS[view])
    expect(page.locator(".runs tbody tr, .gantt tbody tr, .line, .tree, .state").first).to_be_visible()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == [], scheme


def test_open_menus_and_the_shortcuts_are_accessible(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?size=5")
    for name in ("Flow", "Created"):
        page.locator("summary", has_text=name).click()
        assert serious(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    assert serious(page) == []


def test_all_colours_of_a_log_are_legible(own: Server, tab: Tab) -> None:
    codes = [
        *(f"38;5;{n}" for n in range(256)),
        *(f"38;2;{n};{255 - n};0" for n in range(0, 256, 51)),
        "30;43",
        "41;37",
    ]
    coloured = [f"\x1b[{code}m{code} \x1b[0m" for code in codes]
    logs = [{"message": "".join(coloured[at : at + 40])} for at in range(0, len(coloured), 40)]
    own.put("a", endTime="2026-01-01T00:00:00Z", logs=logs)
    page = tab(reduced_motion="reduce", viewport={"width": 1280, "height": 800})
    for selection in ("", "&line=1-20", "&search=38"):
        page.goto(f"{own.ui}runs/a?tab=logs{selection}")
        expect(page.locator(".line").last).to_be_visible()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert serious(page, "color-contrast") == [], scheme


def test_a_large_tree_has_no_nested_controls(own: Server, page: Page) -> None:
    own.put("a", args={"o": {f"k{n}": {"v": n, "w": [1, 2, {"x": "y" * 2_000}]} for n in range(150)}})
    page.goto(f"{own.ui}runs/a?tab=args")
    page.get_by_role("button", name="Expand all").click()
    expect(page.get_by_role("button", name="Show 50 more")).to_be_visible()
    expect(page.locator(".fold[aria-expanded=false]")).to_have_count(0)
    assert serious(page, "nested-interactive") == []


def test_the_dialog_and_the_failure_are_accessible(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}runs/gh-21458831126")
    expect(page.get_by_role("region", name="Failure")).to_be_visible()
    page.get_by_text("Details", exact=True).click()
    assert serious(page) == []
    page.get_by_role("button", name="Send again").click()
    assert serious(page) == []


def test_tab_reaches_all_controls(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}runs/gh-711446981?tab=logs")
    expect(page.locator(".line").first).to_be_visible()
    name = "document.activeElement.ariaLabel || document.activeElement.innerText"
    reached = set()
    for _ in range(50):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(name))
    assert reached >= {"Skip to content", "Delete", "Search the log", "Log lines", "Collapse groups", "Wrap lines"}
    assert any(name.startswith("Logs") for name in reached)
    page.goto(site.ui)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_changes_are_announced(own: Server, page: Page) -> None:
    own.put("a", phase="running", startTime="2026-01-01T00:00:00Z")
    open_live(page, f"{own.ui}runs/a")
    for phase, announced in (("failed", "failed"), (None, "none")):
        own.put("a", phase=phase, startTime="2026-01-01T00:00:00Z")
        expect(page.locator("#announcer")).to_have_text(f"Phase: {announced}")
