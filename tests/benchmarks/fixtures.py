"""What the fixtures cost those who test with them: their server's start, reset and stop, and many tests in a row."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from flowruns.testing.server import Flowruns, serve
from tests.benchmarks.processes import CHECKOUT, inherited, python

RUNS = 1_000  # in the store that is reset
TESTS = 1_000
AIMS = {"first start": 150, "start": 20, f"reset of {RUNS:,} runs": 5, "reset of none": 5, "stop": 300}
_TEST = "import pytest\n@pytest.mark.parametrize('number', range({}))\ndef test_it(number{}): pass\n"
Figures = dict[str, float]


def costs(rounds: int) -> Figures:
    """The medians over *rounds*, in ms; each round is a process of its own."""
    found: list[Figures] = []
    for _ in range(rounds):
        command = python("-m", "tests.benchmarks.fixtures")
        process = subprocess.run(command, check=True, cwd=CHECKOUT, env=inherited(), capture_output=True, text=True)
        found.append(json.loads(process.stdout))
    return {name: median(one[name] for one in found) for name in AIMS}


def suites(rounds: int) -> Figures:
    """The seconds that pytest takes for 1,000 tests which do nothing: with `flowruns`, and without."""
    return {name: median(_suite(given) for _ in range(rounds)) for name, given in _SUITES.items()}


_SUITES = {f"{TESTS:,} tests with flowruns": ", flowruns", f"{TESTS:,} tests without": ""}


def _suite(given: str) -> float:
    with tempfile.TemporaryDirectory(prefix="flowruns-benchmark-") as folder:
        Path(folder, "test_it.py").write_text(_TEST.format(TESTS, given))
        environment = {**inherited(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        began = time.perf_counter()
        subprocess.run(
            python("-m", "pytest", "-q", "-p", "flowruns", "-p", "no:cacheprovider", "--rootdir=."),
            check=True,
            cwd=folder,
            env=environment,
            capture_output=True,
        )
        return time.perf_counter() - began


def _start(stack: ExitStack, servers: list[Flowruns]) -> None:
    servers.append(stack.enter_context(serve()))


def _round() -> Figures:
    """One of `costs`: flowruns is imported by now, and nothing has been started."""
    found: Figures = {}

    def timed(name: str, function: Callable[[], object]) -> None:
        began = time.perf_counter()
        function()
        found[name] = (time.perf_counter() - began) * 1000

    for name in ("first start", "start"):
        stack = ExitStack()
        servers: list[Flowruns] = []
        timed(name, partial(_start, stack, servers))
        (runs,) = servers
        for _ in range(RUNS):
            runs.run()
        timed(f"reset of {RUNS:,} runs", runs.reset)
        timed("reset of none", runs.reset)
        timed("stop", stack.close)
    return found


if __name__ == "__main__":
    print(json.dumps(_round()))
