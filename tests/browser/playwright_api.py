"""What tests use of Playwright. Without it, modules that import this are skipped."""

from collections.abc import Callable

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -e '.[browser]'")

from playwright.sync_api import Locator, Page, Route, expect  # now it is there

Tab = Callable[..., Page]  # opens a page with the options of a browser's context

__all__ = ["Locator", "Page", "Route", "Tab", "expect"]
