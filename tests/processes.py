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
from typing import IO, NamedTuple

from tests.waits import HANG

COMMAND = [sys.executable, "-W", "error", "-m", "flowruns"]


class Process(subprocess.Popen[str]):
    """A process whose standard streams are pipes, but for those that `started` was given."""

    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]


class Done(NamedTuple):
    """How a process has ended."""

    code: int
    stdout: str
    stderr: str


class Served(NamedTuple):
    process: Process
    url: str
    banner: list[str]  # the lines on stderr once it was ready


def command_with(module: str, **constants: object) -> list[str]:
    """`flowruns` in which *constants* of *module* have other values, for example the seconds it waits."""
    lines = [f"import sys, {module} as module", "from flowruns.cli.main import main"]
    lines += [f"assert hasattr(module, {name!r}); module.{name} = {value!r}" for name, value in constants.items()]
    return [sys.executable, "-W", "error", "-c", "\n".join([*lines, "sys.exit(main())"])]


def clean(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """*env*, and the environment without the variables of flowruns."""
    ours = ("FLOWRUNS_", "COLUMNS")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | dict(env or {})


@contextmanager
def started(
    cwd: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    seconds: float = HANG,
    command: Sequence[str] = COMMAND,
    stdin: int = PIPE,
    stdout: int = PIPE,
    stderr: int = PIPE,
) -> Iterator[Process]:
    """*command* with *args* in the folder *cwd*; killed at the end, and after *seconds*."""
    with Process(
        [*command, *args], cwd=cwd, env=clean(env), stdin=stdin, stdout=stdout, stderr=stderr, encoding="utf-8"
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
    seconds: float = HANG,
    command: Sequence[str] = COMMAND,
) -> Iterator[Served]:
    """A `flowruns` that is ready, on a free port unless *env* sets one."""
    port = () if "FLOWRUNS_PORT" in (env or {}) else ("--port", "0")
    with started(cwd, *args, *port, env=env, seconds=seconds, command=command) as process:
        if stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        banner = [process.stderr.readline() for _ in range(3)]
        found = re.search(r"(http://\S+:\d+)/api/v1/flow-runs\n", banner[0])
        assert found, banner + process.stderr.readlines()
        yield Served(process, found[1], banner)


def ended(process: Process) -> tuple[int, str]:
    """The exit code, and what was written to stderr since; nothing was written to stdout."""
    said = process.stderr.read()
    assert process.stdout.read() == ""
    return process.wait(), said


def done(cwd: Path, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Done:
    """The result of a `flowruns` that ends by itself."""
    with started(cwd, *args, env=env) as process:
        stdout, stderr = process.communicate(stdin)
    return Done(process.returncode, stdout, stderr)


def ran(cwd: Path, *args: str, env: Mapping[str, str] | None = None, stdin: str = "") -> tuple[int, str]:
    """The exit code and the stderr of a `flowruns` that ends by itself, and writes nothing to stdout."""
    code, stdout, stderr = done(cwd, *args, env=env, stdin=stdin)
    assert stdout == ""
    return code, stderr


def output(cwd: Path, *args: str) -> str:
    """The stdout of a `flowruns` that succeeds."""
    code, stdout, stderr = done(cwd, *args)
    assert code == 0, stderr
    return stdout
