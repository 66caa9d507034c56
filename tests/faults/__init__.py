"""The promises of flowruns under faults, kept or not, on real processes: `python -m tests.faults --help`."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from uvicorn.loops.auto import auto_loop_factory

durations_count = False  # whether `check_duration` checks; the command line sets it, tests never do


def check_duration(seconds: float, limit: float, what: str) -> None:
    """Raises AssertionError if *what* took *seconds*, more than the *limit* that is promised.

    Only on the command line, which wants a machine that does nothing else. A test must pass on any.
    """
    assert not durations_count or seconds < limit, f"{what} took {seconds:.2f} s, {limit} s at most are promised"


class Impossible(pytest.skip.Exception):  # type: ignore[name-defined, misc]  # mypy knows no attributes of functions
    """This machine does not allow what is to be tried; the message has the reason. A test that raises it is skipped."""


def progress(text: str) -> None:
    """Shows *text* in place of what was shown before, if somebody is there to see it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def run_tasks(main: Coroutine[Any, Any, None]) -> None:
    """Runs *main* in an event loop as quick as the server's. Raises AssertionError for what its tasks raise."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        try:
            runner.run(main)
        except* Exception as errors:
            raise AssertionError("; ".join(f"{error!r}" for error in errors.exceptions[:3])) from errors
