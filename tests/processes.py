"""`flowruns` as a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import NamedTuple

COMMAND = [sys.executable, "-W", "error", "-m", "flowruns"]
SECONDS = 20  # after which a process that should have ended is killed, so that nothing waits for it for ever

Process = subprocess.Popen[str]


class Served(NamedTuple):
    process: Process
    url: str
    banner: list[str]  # what it said once it was ready


@contextmanager
def started(cwd: Path, *args: str, env: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Iterator[Process]:
    """`flowruns` with *args* in the folder *cwd*; killed at the end, and after so many *seconds*."""
    pipe = subprocess.PIPE
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWRUNS_")}
    with subprocess.Popen(
        [*COMMAND, *args], cwd=cwd, env=clean | dict(env or {}), stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8"
    ) as process:
        watchdog = Timer(seconds, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()


@contextmanager
def serving(
    cwd: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    seconds: float = SECONDS,
) -> Iterator[Served]:
    """A `flowruns` that is ready, on a free port unless *env* says which."""
    port = () if "FLOWRUNS_PORT" in (env or {}) else ("--port", "0")
    with started(cwd, *args, *port, env=env, seconds=seconds) as process:
        assert process.stdin
        assert process.stderr
        if stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        banner = [process.stderr.readline() for _ in range(3)]
        found = re.search(r"(http://\S+:\d+)/api/v1/flow-runs\n", banner[0])
        assert found, banner + process.stderr.readlines()
        yield Served(process, found[1], banner)


def ended(process: Process) -> tuple[int, str]:
    """The exit code, and what was said on stderr since; nothing was said on stdout."""
    assert process.stdout
    assert process.stderr
    said = process.stderr.read()
    assert process.stdout.read() == ""
    return process.wait(), said


def ran(cwd: Path, *args: str, env: Mapping[str, str] | None = None, stdin: str = "") -> tuple[int, str]:
    """The exit code and the stderr of a `flowruns` that ends of itself."""
    with started(cwd, *args, env=env) as process:
        assert process.stdin
        process.stdin.write(stdin)
        process.stdin.close()
        return ended(process)
