"""How heavy and how quick the page is, in a real Chromium: `python -m tests.benchmarks.page`."""

import argparse
import gzip
import json
import statistics
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowruns.http import static
from tests.benchmarks.contenders import fill
from tests.benchmarks.runs import RUNS
from tests.benchmarks.tasks import longest
from tests.browser.chromium import launched, missing
from tests.processes import serving
from tests.waits import FOREVER

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_LINES = 20_000
_FRAMES = 300
_WAIT_MS = 300_000
_HEAVY = 6  # runs of 830 KB
_STEP = 240  # px that each frame scrolls, 12 lines: a quick wheel

# When the first row stood in the document; when a row last showed a change.
_WATCH = """
new MutationObserver(() => {
    if (!window.firstRow && document.querySelector(".runs tbody tr")) window.firstRow = performance.now();
    if (document.querySelector(".fresh")) window.changed ??= Date.now();
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
_PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_SCROLL = """([frames, step]) => new Promise((done) => {
    const box = document.querySelector(".log");
    const times = [];
    box.scrollTop = 0;
    const next = (now) => {
        times.push(now);
        box.scrollTop += step;
        if (times.length <= frames) requestAnimationFrame(next);
        else done(times.slice(1).map((time, at) => time - times[at]));
    };
    requestAnimationFrame(next);
})"""


def main() -> None:
    """Measures, and prints a table."""
    options = arguments()
    if reason := missing():
        raise SystemExit(reason)
    weight()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "runs.db", 0, options.runs)
        with serving(Path(folder), "runs.db", seconds=FOREVER) as served, launched() as browser:
            first_paint(browser, served.url, options)
            changes(browser, served.url, options)
            frames(browser, served.url)
            tasks(browser, served.url, Path(folder))
        with serving(Path(folder), ":memory:", seconds=FOREVER) as served, launched() as browser:
            slow_network(browser, served.url)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.page", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="in the store (default: %(default)s)")
    parser.add_argument("--times", type=int, default=20, help="that each thing is done (default: %(default)s)")
    return parser.parse_args()


def weight() -> None:
    """The bytes of all files, as they are sent, and as gzip would make them."""
    bodies = static.files().values()
    raw, zipped = sum(map(len, bodies)), sum(len(gzip.compress(body)) for body in bodies)
    print(f"weight: {len(bodies)} files, {raw:,} bytes, {zipped:,} with gzip")


def first_paint(browser: "Browser", url: str, options: argparse.Namespace) -> None:
    """From the click to the first paint and the first row, with an empty cache each time."""
    painted, rows = [], []
    for _ in range(options.times):
        page = watched(browser)
        page.goto(f"{url}/ui/")
        page.wait_for_selector(".runs tbody tr")
        painted.append(page.evaluate(_PAINTED))
        rows.append(page.evaluate("window.firstRow"))
        page.context.close()
    tell(f"first paint with {options.runs:,} runs", painted)
    tell("first row in the document", rows)


def changes(browser: "Browser", url: str, options: argparse.Namespace) -> None:
    """From a PUT to the row that shows it."""
    page = watched(browser)
    page.goto(f"{url}/ui/")
    page.wait_for_selector("#badge[data-state=live]")
    id = page.get_attribute(".runs tbody tr", "data-id")
    waits = []
    for number in range(options.times):
        page.evaluate("document.querySelector('.fresh')?.classList.remove('fresh'); window.changed = undefined")
        phase = ("running", "failed")[number % 2]
        began = page.evaluate("Date.now()")
        put(f"{url}{RUNS}/{id}", {"flowId": "deploy-web", "flowType": "automation", "phase": phase})
        page.wait_for_selector(".fresh")
        waits.append(page.evaluate("window.changed") - began)
    page.context.close()
    tell("from PUT to the row that shows it", waits)


def frames(browser: "Browser", url: str) -> None:
    """How long frames take while a long log is scrolled."""
    logs = [{"message": f"line {number} \x1b[32mdone\x1b[0m {'work ' * (number % 40)}"} for number in range(_LINES)]
    put(f"{url}{RUNS}/long", {"flowId": "deploy-web", "flowType": "automation", "phase": "running", "logs": logs})
    page = watched(browser)
    page.goto(f"{url}/ui/runs/long?tab=logs")
    page.wait_for_selector(".line")
    found = page.evaluate(_SCROLL, [_FRAMES, _STEP])
    page.context.close()
    tell(f"a frame while {_LINES:,} log lines scroll", found)
    print(f"frames over 20 ms: {sum(one > 20 for one in found)} of {len(found)}")


def tasks(browser: "Browser", url: str, folder: Path) -> None:
    """The longest task of each step of a user."""
    page = watched(browser)
    for task in longest(browser, page, url, put, folder):
        print(f"{task.step}: longest task {task.processor:.0f} ms of processor time, took {task.duration:.0f} ms")
    page.context.close()


def slow_network(browser: "Browser", url: str) -> None:
    """What a list of heavy runs takes over 10 Mbit/s with 50 ms of latency, with an empty cache."""
    logs = [{"message": f"line {number} " + "x" * 800} for number in range(1_000)]
    for number in range(_HEAVY):
        body = {"flowId": "deploy-web", "flowType": "automation", "phase": "failed", "logs": logs}
        put(f"{url}{RUNS}/heavy-{number}", body)
    page = watched(browser)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", {
        "offline": False, "latency": 50, "downloadThroughput": 10e6 / 8, "uploadThroughput": 10e6 / 8,
    })  # fmt: skip
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(f"{url}/ui/")
    page.wait_for_selector("#badge[data-state=live]")
    page.wait_for_selector(".chip[data-value=failed] .count:not(:empty)")
    rows = page.evaluate("window.firstRow")
    sent = f"{len(sizes)} requests, {sum(sizes):,.0f} bytes"
    print(f"10 Mbit/s, 50 ms, {_HEAVY} heavy runs: {sent}, rows after {rows:.0f} ms")
    page.context.close()


def watched(browser: "Browser") -> "Page":
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(_WAIT_MS)
    page.add_init_script(_WATCH)
    return page


def put(url: str, body: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers, method="PUT")).close()


def tell(what: str, found: list[float]) -> None:
    tenths = statistics.quantiles(found, n=10, method="inclusive")
    print(f"{what}: {statistics.median(found):.0f} ms, p90 {tenths[-1]:.0f} ms, longest {max(found):.0f} ms")


if __name__ == "__main__":
    main()
