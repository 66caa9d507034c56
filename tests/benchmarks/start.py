"""What a process costs before it does anything: time to its first answer, idle memory, imports."""

import re
import subprocess
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from tests.benchmarks.contenders import Contender
from tests.benchmarks.operations import OPERATIONS
from tests.benchmarks.processes import CHECKOUT, inherited, python

IMPORTS = {
    "flowruns.cli": "flowruns.cli.main",
    "flowruns.server": "flowruns.cli.main, flowruns.server.starting",
    "uvicorn": "uvicorn.main, uvicorn.loops.auto, uvicorn.protocols.http.httptools_impl, uvloop",
}


class Start(NamedTuple):
    """Milliseconds from the command to the first 200, and MB held then."""

    ms: float
    rss: float


class Import(NamedTuple):
    """Milliseconds that imports take in all, and in flowruns' own modules."""

    ms: float
    own: float
    modules: int


def starts(contenders: Sequence[Contender], rounds: int) -> dict[str, Start]:
    """The medians of each contender over *rounds*, by name."""
    found: dict[str, list[Start]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            with contender.serving(OPERATIONS["get"], victims=0) as server:
                found[contender.name].append(Start(server.start_seconds * 1000, server.rss()))
    return {name: Start(*map(median, zip(*rows, strict=True))) for name, rows in found.items()}


def imports(rounds: int) -> dict[str, Import]:
    """The medians over *rounds* of what `-X importtime` tells, less the interpreter's own modules."""
    found: dict[str, list[Import]] = {name: [] for name in IMPORTS}
    for _ in range(rounds):
        bare = _import("sys")
        for name, modules in IMPORTS.items():
            one = _import(modules)
            found[name].append(Import(one.ms - bare.ms, one.own, one.modules - bare.modules))
    return {name: Import(*map(median, zip(*rows, strict=True))) for name, rows in found.items()}


def _import(modules: str) -> Import:
    command = python("-X", "importtime", "-c", f"import {modules}")
    imports = subprocess.run(command, check=True, cwd=CHECKOUT, env=inherited(), capture_output=True, text=True).stderr
    lines = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", imports)
    own = sum(int(time) for time, module in lines if module.split(".")[0] == "flowruns")
    return Import(sum(int(time) for time, _ in lines) / 1000, own / 1000, len(lines))
