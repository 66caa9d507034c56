"""The promises of flowruns under faults, kept or not, on real processes: `python -m tests.faults --help`."""

import sys


class Impossible(Exception):
    """This machine does not allow what is to be tried; the message says why."""


def progress(text: str) -> None:
    """Shows *text* in place of what was shown before, if somebody is there to see it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
