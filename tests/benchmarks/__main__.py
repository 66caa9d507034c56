"""The command line of the benchmarks: each section prints its table as soon as it is measured."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.benchmarks import delays, fixtures, start, tables
from tests.benchmarks.contenders import Ceiling, Contender, Flowruns, Followed, copied, fill, peer
from tests.benchmarks.load import GENERATOR, MOST_OTHERS, Load
from tests.benchmarks.measure import Measured, Plan, measure
from tests.benchmarks.operations import GROWTH_OPERATIONS, OPERATIONS, Operation
from tests.benchmarks.parts import PARTS
from tests.benchmarks.runs import FEWEST_RUNS, id_of
from tests.benchmarks.stalls import waits
from tests.benchmarks.transfer import transfers

OURS = "flowruns"
_FOLLOWERS, _NOBODY = 50, "nobody-writes-this"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
T = TypeVar("T")
Results = dict[str, dict[int, dict[str, Measured]]]  # by operation, connections, contender


def main() -> int:
    """Measures the chosen section and prints it. Returns 1 if a request failed."""
    options = arguments()
    print(f"{machine()}; load by {GENERATOR}\n")
    with tempfile.TemporaryDirectory(prefix="flowruns-benchmark-", dir=options.folder) as folder:
        results = chosen(options)(options, Path(folder))
    if options.json:
        options.json.write_text(json.dumps(plain({"machine": machine(), "load_by": GENERATOR, **results}), indent=1))
    by_connections = [found for by in results["load"].values() for found in by.values()]
    return judged([one for found in by_connections for measured in found.values() for one in measured.loads])


def chosen(options: argparse.Namespace) -> Callable[[argparse.Namespace, Path], dict[str, Any]]:
    """The sections that *options* ask for."""
    sections = {
        "growth": growth,
        "parts": parts,
        "streams": streams,
        "fixtures": of_fixtures,
        "transfer": transfer,
        "delays": of_delays,
    }
    return next((section for name, section in sections.items() if getattr(options, name)), default)


def transfer(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures import, export, backup and prune, and prints the results."""
    found = transfers(options.runs, folder, lambda step: print(f"{step} …", end=" ", file=sys.stderr, flush=True))
    print(tables.transfers(found, options.runs), "\n")
    return {"load": {"transfer": {16: {OURS: Measured([found.before, found.meanwhile], 0)}}}, "transfer": found}


def default(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures load, start and imports, and prints the results."""
    answers, template = folder / "answers.json", folder / "template.db"
    rate = fill(template, 0, options.runs)
    print(f"{options.runs:,} runs, put through Store at {rate:,.0f} a second\n")
    contenders: list[Contender] = [
        Ceiling("raw", "bare_asgi", options.runs, answers),
        Ceiling("Starlette", "bare_starlette", options.runs, answers),
        Flowruns(OURS, options.runs, template),
        *peer(options.peer, options.runs, folder),
    ]
    names = [contender.name for contender in contenders]
    results = measured(OPERATIONS, contenders, options, answers)
    print(tables.rates(results, names, OURS), "\n")
    started = start.starts(contenders, options.starts)
    print(tables.starts(started, "raw"), "\n")
    imported = start.imports(options.starts)
    print(tables.imports(imported), "\n")
    return {"load": results, "start": started, "import": imported, "store_puts_a_second": rate}


def growth(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures every operation at every size, in turns, and prints the results. All reads are those of the database."""
    contenders = [Flowruns(f"{runs:,}", runs, folder / f"{runs}.db", "no memory") for runs in sorted(options.sizes)]
    full = folder / "full.db"
    runs = 0
    for contender in contenders:
        rate = fill(full, runs, contender.runs)
        runs = contender.runs
        copied(full, contender.template)
        print(f"to {runs:,} runs, put through Store at {rate:,.0f} a second")
    full.unlink()
    sizes = {contender.name: contender.template.stat().st_size / contender.runs for contender in contenders}
    results = measured(GROWTH_OPERATIONS, contenders, options, folder / "answers.json")
    print("\n" + tables.growth(results, [contender.name for contender in contenders], sizes), "\n")
    waited = waits(contenders, options.stall_seconds, folder)
    print(tables.waits(waited), "\n")
    return {"load": results, "bytes_a_run": sizes, "waits": waited}


def parts(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures the cost of each part of flowruns: the load on servers without it."""
    answers, template = folder / "answers.json", folder / "template.db"
    fill(template, 0, options.runs)
    contenders: list[Contender] = [
        Flowruns(OURS, options.runs, template),
        *(Flowruns(part, options.runs, template, part) for part in PARTS),
        Ceiling("Starlette", "bare_starlette", options.runs, answers),
    ]
    results = measured(OPERATIONS, contenders, options, answers)
    print(tables.shares(results, [contender.name for contender in contenders], "Starlette"), "\n")
    return {"load": results}


def streams(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures the cost of subscribers that no write matches, against the same server without subscribers."""
    template = folder / "template.db"
    fill(template, 0, options.runs + _FOLLOWERS)
    followed = {
        "none": [],
        "none, again": [],  # the difference between two equal servers
        "a filter": [f"?flowId={_NOBODY}"] * _FOLLOWERS,
        "a filter each": [f"?flowId={_NOBODY}-{number}" for number in range(_FOLLOWERS)],
        "a run": [f"/{id_of(options.runs)}"] * _FOLLOWERS,
        "a run each": [f"/{id_of(options.runs + number)}" for number in range(_FOLLOWERS)],
    }
    contenders = [
        Followed(name, Flowruns(name, options.runs, copied(template, folder / f"{name}.db")), queries)
        for name, queries in followed.items()
    ]
    results = measured(OPERATIONS, contenders, options, folder / "answers.json")
    print(f"{_FOLLOWERS} subscribers of …\n" + tables.shares(results, list(followed), "none"), "\n")
    return {"load": results}


def of_fixtures(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures the cost of the pytest fixtures."""
    costs, suites = fixtures.costs(options.starts), fixtures.suites(options.rounds)
    print(tables.fixtures(costs, fixtures.AIMS, suites), "\n")
    return {"load": {}, "fixtures": costs, "suites": suites}


def of_delays(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures how long hostile and large requests make small ones wait."""
    contender = Flowruns(OURS, options.runs, folder / "template.db")
    fill(contender.template, 0, options.runs)
    quiet, found = delays.delays(contender)
    print(tables.delays(quiet, found), "\n")
    return {"load": {}, "quiet": quiet, "delays": found}


def measured(
    operations: Mapping[str, Operation], contenders: Sequence[Contender], options: argparse.Namespace, answers: Path
) -> Results:
    """Measures each chosen operation at each number of connections."""
    plan = Plan(options.rounds, options.seconds)
    results: Results = {}
    for name in options.operations or operations:
        for connections in options.connections:
            print(f"{name}, {connections} …", end=" ", file=sys.stderr, flush=True)
            found = measure(operations[name], contenders, connections, plan, answers)
            results.setdefault(name, {})[connections] = found
    return results


def judged(loads: Sequence[Load]) -> int:
    """Prints how reliable the results are. Returns 1 if a request failed."""
    if not loads:
        return 0
    disturbed = sum(one.others > MOST_OTHERS for one in loads)
    failed = sum(one.failed for one in loads)
    print(f"{disturbed} of {len(loads)} measurements ran beside programs that used over {MOST_OTHERS:.0%} of a core.")
    if disturbed > len(loads) / 10:
        print("WARNING: this machine is busy: the rates are unreliable, and the ratios less so.")
    if failed:
        print(f"ERROR: {failed} requests failed or had no 2xx response: the results are invalid.")
    return 1 if failed else 0


def machine() -> str:
    """The machine and the Python that the results depend on."""
    load = f", load average {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}{load}"


def plain(value: Any) -> Any:
    """*value* for JSON: named tuples as objects."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def listed(type: Callable[[str], T]) -> Callable[[str], list[T]]:
    """A parser of values that commas separate."""
    return lambda text: [type(one) for one in text.split(",")]


def arguments() -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measures flowruns.")
    parser.add_argument("--quick", action="store_true", help="under a minute: 16 connections, short rounds")
    parser.add_argument("--growth", action="store_true", help="every operation at growing numbers of runs; takes long")
    parser.add_argument("--parts", action="store_true", help="the cost of each part of flowruns: the load without it")
    parser.add_argument("--streams", action="store_true", help="the cost of subscribers that no write matches")
    parser.add_argument("--fixtures", action="store_true", help="the cost of the fixtures: start, reset and stop")
    parser.add_argument("--delays", action="store_true", help="how long hostile and large requests delay small ones")
    parser.add_argument("--transfer", action="store_true", help="import, export, backup, prune; --runs 1000000")
    parser.add_argument(
        "--peer",
        nargs="?",
        const="",
        metavar="PYTHON",
        help="FastAPI and SQLAlchemy too, in an interpreter that has them installed (default: this one)",
    )
    parser.add_argument("--operations", type=listed(str), help=f"separated by commas: {','.join(GROWTH_OPERATIONS)}")
    parser.add_argument("--connections", type=listed(int), help="default 1,16,64; for --growth 1,16")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement; their median is printed")
    parser.add_argument("--seconds", type=float, help="duration of a round")
    parser.add_argument("--runs", type=int, default=10_000, help="runs in the database (default 10000)")
    parser.add_argument("--sizes", type=listed(int), default=SIZES, help="for --growth: default 1000 to 1000000")
    parser.add_argument("--stall-seconds", type=float, default=15, help="of mixed load at each size (default 15)")
    parser.add_argument("--folder", help="folder of the databases; --growth takes 8 GB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    options = parser.parse_args()
    if min(options.runs, *options.sizes) < FEWEST_RUNS:
        parser.error(f"give at least {FEWEST_RUNS} runs: with fewer, no filter fills a page")
    defaults = {"connections": [1, 16, 64], "rounds": 3, "seconds": 1.5, "starts": 10}
    quick = {"connections": [16], "rounds": 2, "seconds": 0.5, "starts": 3}
    growth = {"connections": [1, 16], "rounds": 3, "seconds": 1.0}
    parts = {"connections": [16], "operations": ["get", "list", "deep", "create", "replace", "mixed"], "rounds": 5}
    streams = {"connections": [16], "operations": ["create", "replace"], "rounds": 9}
    chosen = [streams] * options.streams + [growth] * options.growth + [parts] * options.parts + [quick] * options.quick
    for name, value in ChainMap(*reversed(chosen), defaults).items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    raise SystemExit(main())
