"""Servers as processes of their own, and what the system says of them. CPU and memory are Linux's: nan elsewhere."""

import http.client
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tests.benchmarks.runs import RUNS

CHECKOUT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60


class Server(NamedTuple):
    """A process that serves."""

    host: str
    pid: int
    start_seconds: float  # from the command to its first 200

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def cpu(self) -> float:
        """The seconds of CPU that it has used."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return math.nan
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss(self) -> float:
        """The memory that it holds, in MB."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except FileNotFoundError:
            return math.nan
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that *command* starts and that writes its address to stderr; it is stopped at the end."""
    with tempfile.TemporaryFile("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env={**inherited(), **(environment or {})}, stdout=log, stderr=log
        )
        try:
            host = _address(process, log)
            _first_answer(host)
            yield Server(host, process.pid, time.perf_counter() - began)
        finally:
            process.terminate()
            process.wait(timeout=30)


def inherited() -> dict[str, str]:
    """The environment without what would change flowruns, or have its modules compiled at each start: pip does that
    once.
    """
    ours = ("FLOWRUNS_", "PYTHONDONTWRITEBYTECODE")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


def others_cpu(server: Server) -> float:
    """The seconds of CPU that the machine has spent on none of this benchmark's processes, once its children ended."""
    try:
        spent = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    except FileNotFoundError:
        return math.nan
    busy = (sum(spent) - spent[3] - spent[4]) / _TICKS  # all but idle and waiting for the disk
    ours = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return busy - ours - server.cpu()


def python(*arguments: str) -> list[str]:
    """The command that runs this interpreter with *arguments*."""
    return [sys.executable, *arguments]


def _address(process: subprocess.Popen[bytes], log: IO[str]) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        # By position: the process writes at the end of the same open file.
        text = os.pread(log.fileno(), 100_000, 0).decode(errors="replace")
        if found := re.search(r"https?://([\w.]+:\d+)", text):
            return found[1]
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(map(str, process.args))} ended:\n{text}")  # type: ignore[arg-type]  # a list of words
        time.sleep(0.001)  # between two looks at a file, which cannot be waited for
    raise SystemExit(f"no server within {_START_SECONDS} s:\n{text}")


def _first_answer(host: str) -> None:
    connection = http.client.HTTPConnection(host, timeout=_START_SECONDS)
    connection.request("GET", f"{RUNS}?size=1")
    if (answer := connection.getresponse()).status != 200:
        raise SystemExit(f"{host} returned {answer.status}: {answer.read()!r}")
    connection.close()
