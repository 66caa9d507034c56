"""The longest tasks of the page: while one runs, the page neither scrolls nor takes input.

Chromium's trace has the processor time of each task beside its duration, so other programs do not count.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.benchmarks.runs import RUNS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_LINES = 20_000
_ACTIONS = 5_000
_MEMBERS = 20_000  # of args
_ROWS = 100
_APPENDS = 3
_TIME = "2026-01-01T00:00:00Z"  # else the server sets another one with each PUT
_CATEGORIES = ["toplevel", "disabled-by-default-devtools.timeline", "__metadata"]

# Until nothing is left to do: three frames and, after each, an idle moment.
_IDLE = """async () => {
    for (let times = 0; times < 3; times += 1) {
        await new Promise(requestAnimationFrame);
        await new Promise(requestIdleCallback);
    }
}"""

_LOGS = [
    {"message": f"line {number} \x1b[32mdone\x1b[0m {'work ' * (number % 9)}", "timestamp": _TIME}
    for number in range(_LINES)
]
_RUNNING = [
    {"id": f"job-{number // 50}.step-{number}", "phase": "running", "startTime": _TIME} for number in range(_ACTIONS)
]
_ARGS = {f"member {number}": {"value": number, "list": [1, 2, 3]} for number in range(_MEMBERS)}

Put = Callable[[str, dict[str, Any]], None]
Step = Callable[["Steps"], object]


class Task(NamedTuple):
    """The longest task of a step, in ms."""

    step: str
    processor: float
    duration: float


class Steps:
    """What is done to *page*, which shows the runs that *put* writes to the server at *url*."""

    def __init__(self, page: "Page", url: str, put: Put) -> None:
        self.page, self.url, self._put = page, url, put

    def write(self, id: str, **fields: Any) -> None:
        """Creates or replaces a run."""
        body = {"flowId": "deploy-web", "flowType": "automation", "phase": "running", "startTime": _TIME}
        self._put(f"{self.url}{RUNS}/{id}", body | fields)

    def fill(self) -> None:
        """Creates the runs."""
        self.write("lines", logs=_LOGS)
        self.write("actions", actions=_RUNNING)
        self.write("tree", args=_ARGS)
        self.write("tree-2", args=_ARGS | {"member 7": None})
        for number in range(_ROWS):
            self.write(f"row-{number}", tags=[{"key": "row", "value": str(number)}])

    def visit(self, path: str, selector: str, text: str | None = None) -> None:
        self.page.goto(f"{self.url}/ui/{path}")
        self.shows("#badge[data-state=live]")
        self.shows(selector, text)

    def shows(self, selector: str, text: str | None = None) -> None:
        """Waits until it does."""
        self.page.locator(selector, has_text=text).first.wait_for()

    def change_row(self) -> None:
        self.write("row-7", phase="failed")
        self.shows(".runs .bad")

    def append(self) -> None:
        """Appends a line to the log that is shown."""
        lines = int(self.page.locator(".chip .count").first.inner_text().replace(",", ""))
        self.write("lines", logs=[*_LOGS, *[{"message": "more", "timestamp": _TIME}] * (lines + 1 - _LINES)])
        self.shows(".chip .count", f"{lines + 1:,}")

    def append_above(self) -> None:
        """The same where the log is read at its beginning."""
        self.page.locator(".log").evaluate("(box) => box.scrollTo(0, 0)")
        self.shows(".line", "line 0")
        self.append()

    def change_action(self) -> None:
        self.write("actions", actions=[_RUNNING[0] | {"phase": "failed"}, *_RUNNING[1:]])
        self.shows(".gantt .failed")

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name).first.click()


_STEPS: list[tuple[str, Step]] = [
    (f"a list of {_ROWS} runs opens", lambda steps: steps.visit(f"?size={_ROWS}", ".runs tbody tr")),
    ("one of them changes", Steps.change_row),
    (f"a log of {_LINES:,} lines opens", lambda steps: steps.visit("runs/lines?tab=logs", ".chip", f"{_LINES:,}")),
    *[("a line is appended, at the end", Steps.append)] * _APPENDS,
    *[("a line is appended, at the beginning", Steps.append_above)] * _APPENDS,
    ("the log is searched", lambda steps: steps.page.get_by_label("Search the log").press_sequentially("done work")),
    ("the log is not wrapped", lambda steps: steps.click("Wrap lines")),
    (f"{_ACTIONS:,} running actions open", lambda steps: steps.visit("runs/actions", ".gantt tbody tr")),
    ("a second passes", lambda steps: steps.page.wait_for_timeout(1_100)),
    ("one of them fails", Steps.change_action),
    ("the list of actions is scrolled to its end", lambda steps: steps.page.keyboard.press("End")),
    (f"args of {_MEMBERS:,} members open", lambda steps: steps.visit("runs/tree?tab=args", ".tree")),
    ("all are expanded", lambda steps: steps.click("Expand all")),
    ("they open as JSON", lambda steps: steps.visit("runs/tree?tab=json", ".tree")),
    ("two such runs are compared", lambda steps: steps.visit("compare?a=tree&b=tree-2", ".changes")),
    ("all that is equal is shown", lambda steps: steps.click("Only differences")),
]  # fmt: skip


def longest(browser: "Browser", page: "Page", url: str, put: Put, folder: Path) -> Iterator[Task]:
    """Yields the longest task of each step, by processor time."""
    steps = Steps(page, url, put)
    steps.fill()
    for name, step in _STEPS:
        yield Task(name, *_traced(browser, steps, step, folder / "trace.json"))


def _traced(browser: "Browser", steps: Steps, step: Step, trace: Path) -> tuple[float, float]:
    """Processor time and duration, in ms, of the task of *step* with the most processor time."""
    browser.start_tracing(page=steps.page, path=trace, categories=_CATEGORIES)
    step(steps)
    steps.page.evaluate(_IDLE)
    browser.stop_tracing()
    events = json.loads(trace.read_bytes())["traceEvents"]
    names = [event for event in events if event["name"] == "thread_name"]
    main = {(event["pid"], event["tid"]) for event in names if event["args"]["name"] == "CrRendererMain"}
    tasks = [event for event in events if event["name"] == "RunTask" and (event["pid"], event["tid"]) in main]
    return max((event["tdur"] / 1_000, event["dur"] / 1_000) for event in tasks if "tdur" in event)
