"""The benchmark's command line: each section prints its table as soon as it is measured."""

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

from tests.benchmarks import fixtures, start, tables
from tests.benchmarks.contenders import Ceiling, Contender, Flowruns, Followed, Part, copied, fill, peer
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
    """Measures what is asked for, and prints it; returns 1 if a request failed."""
    options = arguments()
    print(f"{machine()}; load by {GENERATOR}\n")
    with tempfile.TemporaryDirectory(prefix="flowruns-benchmark-", dir=options.folder) as folder:
        told = chosen(options)(options, Path(folder))
    if options.json:
        options.json.write_text(json.dumps(plain({"machine": machine(), "load_by": GENERATOR, **told}), indent=1))
    by_connections = [found for by in told["load"].values() for found in by.values()]
    return judged([one for found in by_connections for measured in found.values() for one in measured.loads])


def chosen(options: argparse.Namespace) -> Callable[[argparse.Namespace, Path], dict[str, Any]]:
    """The sections that *options* ask for."""
    sections = {"growth": growth, "parts": parts, "streams": streams, "fixtures": of_fixtures, "transfer": transfer}
    return next((section for name, section in sections.items() if getattr(options, name)), usual)


def transfer(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs in and out, as it is printed."""
    found = transfers(options.runs, folder, lambda step: print(f"{step} …", end=" ", file=sys.stderr, flush=True))
    print(tables.transfers(found, options.runs), "\n")
    return {"load": {"transfer": {16: {OURS: Measured([found.before, found.meanwhile], 0)}}}, "transfer": found}


def usual(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Load, start and imports, as they are printed."""
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
    """Every operation at every size, as it is printed; the sizes take turns."""
    contenders = [Flowruns(f"{runs:,}", runs, folder / f"{runs}.db") for runs in sorted(options.sizes)]
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
    """What each part of flowruns costs: the load on servers that do without it."""
    answers, template = folder / "answers.json", folder / "template.db"
    fill(template, 0, options.runs)
    whole = Flowruns(OURS, options.runs, template)
    starlette = Ceiling("Starlette", "bare_starlette", options.runs, answers)
    contenders: list[Contender] = [whole, *(Part(name, whole) for name in PARTS), starlette]
    results = measured(OPERATIONS, contenders, options, answers)
    print(tables.parts(results, [contender.name for contender in contenders], "Starlette"), "\n")
    return {"load": results}


def streams(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What followers cost whom nothing concerns that is written, beside the same server without any."""
    template = folder / "template.db"
    fill(template, 0, options.runs + _FOLLOWERS)
    followed = {
        "nobody": [],
        "nobody, too": [],  # what two equal servers differ by
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
    print(f"{_FOLLOWERS} followers of …\n" + tables.streams(results, list(followed), "nobody"), "\n")
    return {"load": results}


def of_fixtures(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What the fixtures cost tests."""
    costs, suites = fixtures.costs(options.starts), fixtures.suites(options.rounds)
    print(tables.fixtures(costs, fixtures.AIMS, suites), "\n")
    return {"load": {}, "fixtures": costs, "suites": suites}


def measured(
    operations: Mapping[str, Operation], contenders: Sequence[Contender], options: argparse.Namespace, answers: Path
) -> Results:
    """Each of the operations that are asked for, at each number of connections."""
    plan = Plan(options.rounds, options.seconds)
    results: Results = {}
    for name in options.operations or operations:
        for connections in options.connections:
            print(f"{name}, {connections} …", end=" ", file=sys.stderr, flush=True)
            found = measure(operations[name], contenders, connections, plan, answers)
            results.setdefault(name, {})[connections] = found
    return results


def judged(loads: Sequence[Load]) -> int:
    """Says how far the figures can be trusted; returns 1 if a request failed."""
    if not loads:
        return 0
    disturbed = sum(one.others > MOST_OTHERS for one in loads)
    failed = sum(one.failed for one in loads)
    print(f"{disturbed} of {len(loads)} measurements met other programs that used over {MOST_OTHERS:.0%} of a core.")
    if disturbed > len(loads) / 10:
        print("WARNING: this machine is busy: trust ratios more than rates, and neither much.")
    if failed:
        print(f"ERROR: {failed} requests failed, or were not answered with 2xx: the figures are void.")
    return 1 if failed else 0


def machine() -> str:
    """What the figures hang on."""
    load = f", load average {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}{load}"


def plain(value: Any) -> Any:
    """*value* for JSON, with the names of what is in it."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def listed(type: Callable[[str], T]) -> Callable[[str], list[T]]:
    """A reader of values that commas separate."""
    return lambda text: [type(one) for one in text.split(",")]


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="How fast flowruns is.")
    parser.add_argument("--quick", action="store_true", help="under a minute: 16 connections, short rounds")
    parser.add_argument("--growth", action="store_true", help="the long one: every operation as runs become more")
    parser.add_argument("--parts", action="store_true", help="what each part of it costs: the load without it")
    parser.add_argument("--streams", action="store_true", help="what followers cost whom no write concerns")
    parser.add_argument("--fixtures", action="store_true", help="what they cost tests: start, reset and stop")
    parser.add_argument("--transfer", action="store_true", help="import, export, backup, prune; --runs 1000000")
    parser.add_argument(
        "--peer",
        nargs="?",
        const="",
        metavar="PYTHON",
        help="FastAPI and SQLAlchemy too, under an interpreter that has them (default: this one)",
    )
    parser.add_argument("--operations", type=listed(str), help=f"of {','.join(GROWTH_OPERATIONS)}")
    parser.add_argument("--connections", type=listed(int), help="default 1,16,64; for --growth 1,16")
    parser.add_argument("--rounds", type=int, help="of each measurement; the median counts")
    parser.add_argument("--seconds", type=float, help="of one round")
    parser.add_argument("--runs", type=int, default=10_000, help="in the database (default 10000)")
    parser.add_argument("--sizes", type=listed(int), default=SIZES, help="for --growth: default 1000 to 1000000")
    parser.add_argument("--stall-seconds", type=float, default=15, help="of mixed load at each size (default 15)")
    parser.add_argument("--folder", help="for the databases; growth takes 8 GB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args()
    if min(options.runs, *options.sizes) < FEWEST_RUNS:
        parser.error(f"filters fill a page from {FEWEST_RUNS} runs on")
    usual = {"connections": [1, 16, 64], "rounds": 3, "seconds": 1.5, "starts": 10}
    quick = {"connections": [16], "rounds": 2, "seconds": 0.5, "starts": 3}
    growth = {"connections": [1, 16], "rounds": 3, "seconds": 1.0}
    parts = {"connections": [16], "operations": ["get", "list", "deep", "create", "replace", "mixed"], "rounds": 5}
    streams = {"connections": [16], "operations": ["create", "replace"], "rounds": 9}
    chosen = [streams] * options.streams + [growth] * options.growth + [parts] * options.parts + [quick] * options.quick
    for name, value in ChainMap(*reversed(chosen), usual).items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    raise SystemExit(main())
