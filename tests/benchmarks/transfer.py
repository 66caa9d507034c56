"""Many runs in and out of a file: the commands as processes, what they take, and the memory that they hold."""

import filecmp
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.load import Load, load
from tests.benchmarks.operations import OPERATIONS, Known
from tests.benchmarks.processes import CHECKOUT, Server, inherited, python, serving
from tests.benchmarks.runs import body_of, id_of

_QUARTERS = 4
_LOOK_SECONDS = 0.1
_WRITERS = 16
_REQUESTS = 10_000  # prepared; they are sent in turn
_WARM_SECONDS = 2.0  # that writers write before a copy is made, and after
_MOST_SECONDS = 3600.0
_OLD = "2020-01-20T18:53:03.558Z"


class Spent(NamedTuple):
    """What a command took: seconds, and the most memory in MB that it held in each quarter of them."""

    seconds: float
    rss: list[float]


class Transferred(NamedTuple):
    """What each command took, by name; how many bytes a run was, as a line and in the file; and the load meanwhile."""

    spent: dict[str, Spent]
    line_bytes: float
    file_bytes: float
    same: bool  # what was exported again
    before: Load  # of writers, where no copy was made
    meanwhile: Load


def transfers(runs: int, folder: Path, say: Callable[[str], None]) -> Transferred:
    """Every command on so many *runs*, half of which are old."""
    lines, database, copy = folder / "runs.ndjson", folder / "runs.db", folder / "copy.db"
    write_lines(lines, runs)
    line_bytes = lines.stat().st_size / runs
    spent: dict[str, Spent] = {}

    def step(name: str, *words: str | Path) -> None:
        say(name)
        spent[name] = ran(*map(str, words))

    step("import", "import", lines, "-d", database)
    lines.unlink()
    file_bytes = database.stat().st_size / runs
    first, second = folder / "first.ndjson", folder / "second.ndjson"
    step("export", "export", "-d", database, "-o", first)
    step("import of the export", "import", first, "-d", copy)
    step("export of that", "export", "-d", copy, "-o", second)
    same = filecmp.cmp(first, second, shallow=False)
    for file in (first, second, copy):
        file.unlink()
    step("backup", "backup", copy, "-d", database)
    copy.unlink()
    with writers(database, runs, folder) as (server, requests):
        say("writers alone")
        before = load(server, requests, _WRITERS, _WARM_SECONDS * 2)
        found: list[Load] = []
        done = threading.Event()
        others = threading.Thread(target=lambda: found.append(loaded_until(done, server, requests)))
        others.start()
        time.sleep(_WARM_SECONDS)  # the writers' rate is measured before and after the backup, too
        step("backup under 16 writers", "backup", copy, "-d", database)
        time.sleep(_WARM_SECONDS)  # the writers' rate is measured before and after the backup, too
        done.set()
        others.join()
    step("check of that", "check", "-d", copy)
    copy.unlink()
    step("check", "check", "-d", database)
    step("prune of half", "prune", "--older-than", "30d", "-d", database)
    step("vacuum", "vacuum", "-d", database)
    step("check after that", "check", "-d", database)
    return Transferred(spent, line_bytes, file_bytes, same, before, found[0])


def write_lines(file: Path, runs: int) -> None:
    """Makes *file* an import of so many *runs*, the first half of them old."""
    with file.open("w", encoding="utf-8") as lines:
        for number in range(runs):
            run = {"id": id_of(number), **body_of(number)} | ({"createdAt": _OLD} if number < runs // 2 else {})
            lines.write(json.dumps(run, separators=(",", ":")) + "\n")


def ran(*words: str) -> Spent:
    """What the command of these *words* took."""
    began = time.perf_counter()
    seen: list[tuple[float, float]] = []
    with subprocess.Popen(
        python("-m", "flowruns", *words), cwd=CHECKOUT, env=inherited(), stdout=subprocess.PIPE, text=True
    ) as process:
        looked = Server("", process.pid, 0)
        while process.poll() is None:
            time.sleep(_LOOK_SECONDS)  # between two looks at what the system says
            with suppress(IndexError):  # it has just ended
                seen.append((time.perf_counter() - began, looked.rss()))
        said = process.stdout.read() if process.stdout else ""
    took = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"flowruns {' '.join(words)} ended with {process.returncode}: {said}")
    quarters: list[list[float]] = [[0.0] for _ in range(_QUARTERS)]
    for when, rss in seen:
        quarters[min(_QUARTERS - 1, int(when / took * _QUARTERS))].append(rss)
    return Spent(took, [max(quarter) for quarter in quarters])


@contextmanager
def writers(database: Path, runs: int, folder: Path) -> Iterator[tuple[Server, Path]]:
    """A server of *database*, and requests that replace its runs and create others."""
    requests = folder / "requests"
    known = Known(runs)
    made = [OPERATIONS[("create", "replace")[number % 2]].line(known) for number in range(_REQUESTS)]
    requests.write_text("\n".join(made), encoding="utf-8")
    with serving(python("-m", "flowruns", str(database), "--port", "0")) as server:
        yield server, requests


def loaded_until(done: threading.Event, server: Server, requests: Path) -> Load:
    """What came of the writers until it is *done*."""
    return load(server, requests, _WRITERS, _MOST_SECONDS, done)
