"""axe, which finds what people with a screen reader, a keyboard or weak eyes cannot use."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCHEMES = ("light", "dark")


def serious(page: "Page", *rules: str) -> list[str]:
    """The violations of *rules*, or of all, that axe calls serious or critical: the rule and the element."""
    missing = "axe is missing: pip install -e '.[browser]'"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=missing)
    options: dict[str, Any] = {"resultTypes": ["violations"]}  # the elements without any take as long again
    if rules:
        options["runOnly"] = list(rules)
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in axe.Axe().run(page, options=options).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
