"""axe reports no serious violation, in light and in dark; the keyboard reaches all controls; changes are announced."""

import pytest

from tests.browser.conftest import Server

api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -e '.[browser]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing: pip install -e '.[browser]'")
expect, Page = api.expect, api.Page

VIEWS = {
    "list": "?size=10",
    "filters": "?phase=failed&flowId=ants.codeql&size=5",
    "timeline": "runs/gh-577324554",
    "log": "runs/gh-711446981?tab=logs&line=17",
    "args": "runs/gh-711446981?tab=args",
    "compare": "compare?a=gh-711446981&b=gh-711436991",
    "missing": "runs/nowhere",
    "invalid": "?size=0",
}


def serious(page: Page) -> list[str]:
    """The violations that axe calls serious or critical: the rule and the element."""
    violations = axe.Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_reports_no_serious_violation(site: Server, tab: "api.Callable[..., Page]", view: str, scheme: str) -> None:
    page = tab(color_scheme=scheme, reduced_motion="reduce", viewport={"width": 1280, "height": 800})
    page.goto(site.ui + VIEWS[view])
    expect(page.locator(".runs tr, .gantt tr, .line, .tree, .state").first).to_be_visible()
    assert serious(page) == []


def test_open_menus_and_the_shortcuts_are_accessible(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}?size=5")
    for name in ("Flow", "Created"):
        page.locator("summary", has_text=name).click()
        assert serious(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    assert serious(page) == []


def test_tab_reaches_all_controls(site: Server, page: Page) -> None:
    page.goto(f"{site.ui}runs/gh-711446981?tab=logs")
    expect(page.locator(".line").first).to_be_visible()
    name = "document.activeElement.ariaLabel || document.activeElement.innerText"
    reached = set()
    for _ in range(30):
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
    page.goto(f"{own.ui}runs/a")
    expect(page.locator("#badge")).to_have_text("live")
    own.put("a", phase="failed", startTime="2026-01-01T00:00:00Z")
    expect(page.locator("#announcer")).to_have_text("Phase: failed")
