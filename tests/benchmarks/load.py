"""Load from another process: wrk where it is installed, else our own generator."""

import json
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks.processes import Server, others_cpu, python

WRK = shutil.which("wrk")
GENERATOR = "wrk" if WRK else "our own generator (install wrk for better figures)"
MOST_OTHERS = 0.15  # of one core, used by other programs: above it a measurement is called disturbed
_HERE = Path(__file__).parent


class Load(NamedTuple):
    """What came of one measurement: requests a second, ms, microseconds of the server's CPU a request."""

    rate: float
    p50: float
    p99: float
    cpu: float
    failed: int
    others: float  # CPU that other programs used, in cores


def load(server: Server, requests: Path, connections: int, seconds: float, done: threading.Event | None = None) -> Load:
    """What *server* does with the *requests* of a file over *connections* for *seconds*, or until it is *done*."""
    began, cpu, others = time.perf_counter(), server.cpu(), others_cpu(server)
    measured = _generate(server.url, requests, connections, seconds, done or threading.Event())
    took = time.perf_counter() - began
    return Load(
        rate=measured["requests"] / measured["seconds"],
        p50=measured["p50"],
        p99=measured["p99"],
        cpu=(server.cpu() - cpu) / measured["requests"] * 1e6,
        failed=int(measured["failed"]),
        others=(others_cpu(server) - others) / took,
    )


def typical(loads: list[Load]) -> Load:
    """The median of each figure of *loads*; all that failed."""
    figures = Load(*(median(column) for column in zip(*loads, strict=True)))
    return figures._replace(failed=sum(one.failed for one in loads))


def _generate(url: str, requests: Path, connections: int, seconds: float, done: threading.Event) -> dict[str, float]:
    if WRK:
        # It takes whole seconds only, so it is stopped earlier. One thread, as replay.lua wants.
        command = [WRK, "-t1", f"-c{connections}", "-d600s", "--timeout=10s", "-s", str(_HERE / "replay.lua"), url]
        command += ["--", str(requests)]
    else:
        command = python(str(_HERE / "generator.py"), str(connections), url, str(requests))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    if process.stderr.readline() != "ready\n":
        raise SystemExit(f"{command[0]} failed: {process.communicate()}")
    done.wait(seconds)  # the measurement itself
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    measured: dict[str, float] = json.loads(out.strip().splitlines()[-1]) if process.returncode == 0 else {}
    if not measured.get("requests"):
        raise SystemExit(f"{command[0]} got no response: {out}{err}")
    return measured
