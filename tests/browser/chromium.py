"""Chromium, driven by Playwright, which uses the one that is installed and downloads none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip


def missing() -> str | None:
    """What has to be installed first; None: nothing."""
    try:
        import playwright.sync_api  # noqa: F401  # whether it is there
    except ModuleNotFoundError:
        return "playwright is missing: pip install -e '.[browser]'"
    return None if path() else "chromium is missing: apt-get install chromium"


def path() -> str | None:
    """Where Chromium is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched() -> "Iterator[Browser]":
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    # Its sandbox does not work for root, who runs CI.
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path(), args=[*QUIET, *root])
        try:
            yield browser
        finally:
            browser.close()
