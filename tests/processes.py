"""`flowruns` as a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from threading import Timer
from typing import NamedTuple

from tests.waits import HANG

COMMAND = [sys.executable, "-W", "error", "-m", "flowruns"]

Process = subprocess.Popen[str]


class Served(NamedTuple):
    process: Process
    url: str
    banner: list[str]  # the lines on stderr once it was ready


def command_with(module: str, **constants: object) -> list[str]:
    """`flowruns` in which *constants* of *module* have other values, for example the seconds it waits."""
    lines = [f"import sys, {module} as module", "from flowruns.cli.main import main"]
    lines += [f"assert hasattr(module, {name!r}); module.{name} = {value!r}" for name, value in constants.items()]
    return [sys.executable, "-W", "error", "-c", "\n".join([*lines, "sys.exit(main())"])]


@contextmanager
def started(
    cwd: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    stdout: int = PIPE,
    seconds: float = HANG,
    command: Sequence[str] = COMMAND,
) -> Iterator[Process]:
    """`flowruns` with *args* in the folder *cwd*; killed at the end, and after *seconds*."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWRUNS_", "COLUMNS"))}
    with subprocess.Popen(
        [*command, *args], cwd=cwd, env=clean | dict(env or {}), stdin=PIPE, stdout=stdout, stderr=PIPE,
        encoding="utf-8",
    ) as process:  # fmt: skip
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
    seconds: float = HANG,
    command: Sequence[str] = COMMAND,
) -> Iterator[Served]:
    """A `flowruns` that is ready, on a free port unless *env* sets one."""
    port = () if "FLOWRUNS_PORT" in (env or {}) else ("--port", "0")
    with started(cwd, *args, *port, env=env, seconds=seconds, command=command) as process:
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
    """The exit code, and what was written to stderr since; nothing was written to stdout."""
    assert process.stdout
    assert process.stderr
    said = process.stderr.read()
    assert process.stdout.read() == ""
    return process.wait(), said


def ran(cwd: Path, *args: str, env: Mapping[str, str] | None = None, stdin: str = "") -> tuple[int, str]:
    """The exit code and the stderr of a `flowruns` that ends by itself."""
    with started(cwd, *args, env=env) as process:
        assert process.stdin
        process.stdin.write(stdin)
        process.stdin.close()
        return ended(process)
