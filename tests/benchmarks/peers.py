"""What it takes to have a server of this kind at all: what is installed, how long a start takes, what it holds idle.

`python -m tests.benchmarks.peers` installs flowruns and what people would use in its place, each into a folder of its
own, from the package indexes that pip and npm use, and starts each in turn on an empty database.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.benchmarks.processes import CHECKOUT, inherited
from tests.benchmarks.runs import RUNS
from tests.benchmarks.tables import markdown

_START_SECONDS = 120
_PORT = 18_923
_AT = f"--port {_PORT}"


class Peer(NamedTuple):
    """A program: the packages it comes in, how it is started in an empty folder, and a path that it answers."""

    packages: str
    command: str
    path: str
    kind: str = "pip"
    environment: Mapping[str, str] = {}


PEERS = {
    "flowruns": Peer(str(CHECKOUT), f"flowruns runs.db {_AT}", f"{RUNS}?size=1"),
    "a service by FastAPI": Peer(
        "fastapi uvicorn httptools uvloop sqlalchemy greenlet aiosqlite fastapi-pagination sqlakeyset",
        f"uvicorn tests.benchmarks.peer:app {_AT}",
        f"{RUNS}?size=1",
        environment={"PYTHONPATH": str(CHECKOUT), "PEER_DATABASE": "peer.db"},
    ),
    "json-server": Peer("json-server", f"json-server runs.json {_AT}", "/runs", "npm"),
    "Datasette": Peer("datasette", f"datasette runs.db --create {_AT}", "/-/versions.json"),
    "Prefect": Peer(
        "prefect",
        f"prefect server start {_AT}",
        "/api/health",
        environment={"PREFECT_HOME": "home", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
    ),
}


def installed(peer: Peer, folder: Path) -> tuple[Path, float, int, str]:
    """The folder of its commands, and what was installed: its size in MB, how many packages, its version."""
    if peer.kind == "npm":
        (folder / "package.json").write_text("{}")
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--omit=dev", peer.packages], folder)
        listed = _run(["npm", "ls", "--all", "--parseable", "--long"], folder).splitlines()[1:]
        version = next(line.rpartition("@")[2] for line in listed if f":{peer.packages}@" in line)
        return folder / "node_modules" / ".bin", _size(folder), len(listed), version
    _run([sys.executable, "-m", "venv", "env"], folder)
    before = _size(folder)
    python = folder / "env" / "bin" / "python"
    _run([str(python), "-m", "pip", "install", "--quiet", *peer.packages.split()], folder)
    listed = [
        line for line in _run([str(python), "-m", "pip", "list", "--format=freeze"], folder).splitlines()
        if line.partition("==")[0] not in ("pip", "setuptools", "wheel")
    ]  # fmt: skip
    name = peer.command.split()[0] if len(peer.packages.split()) == 1 else peer.packages.split()[0]
    version = next(line.partition("==")[2] for line in listed if line.startswith(f"{name}=="))
    return python.parent, _size(folder) - before, len(listed), version


@contextmanager
def started(peer: Peer, commands: Path) -> Iterator[tuple[float, float]]:
    """A server in a folder of its own: milliseconds to its first answer, and MB that it and its children hold then."""
    with tempfile.TemporaryDirectory() as empty:
        Path(empty, "runs.json").write_text('{"runs": []}')
        name, *options = peer.command.split()
        environment = {**inherited(), **peer.environment}
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(commands / name), *options], cwd=empty, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _first_answer(f"http://127.0.0.1:{_PORT}{peer.path}", process)
            yield (time.perf_counter() - began) * 1000, sum(map(_rss, _family(process.pid)))
        finally:
            process.terminate()
            process.wait(_START_SECONDS)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="starts of each; the median counts")
    parser.add_argument("--only", help="peers whose name has this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands, parts, starts = {}, {}, {}
        for number, (name, peer) in enumerate(PEERS.items()):
            if (options.only or "") in name:
                (home := Path(folder, str(number))).mkdir()
                print(f"{name} …", end=" ", file=sys.stderr, flush=True)
                commands[name], *parts[name] = installed(peer, home)
                with started(peer, commands[name]):  # what is made once: bytecode, say
                    starts[name] = []
        for _ in range(options.rounds):
            for name in starts:
                with started(PEERS[name], commands[name]) as figures:
                    starts[name].append(figures)
    rows = []
    for name, figures in starts.items():
        ms, rss = (median(column) for column in zip(*figures, strict=True))
        size, packages, version = parts[name]
        rows.append([f"{name} {version}", f"{size:.0f}", str(packages), f"{ms / 1000:.2f}", f"{rss:.0f}"])
    print(markdown(["", "MB on the disk", "packages", "start, s", "memory idle, MB"], rows))


def _first_answer(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(url, timeout=_START_SECONDS).close()
        except HTTPError as error:
            raise SystemExit(f"{url} returned {error.code}") from None
        except (URLError, ConnectionError):
            time.sleep(0.002)  # nothing tells that a program listens
        else:
            return
    raise SystemExit(f"no response from {url}: {process.args!r} ended with {process.poll()}")


def _run(command: list[str], folder: Path) -> str:
    run = subprocess.run(command, cwd=folder, env=inherited(), capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{command} failed:\n{run.stdout}{run.stderr}")
    return run.stdout


def _size(folder: Path) -> float:
    """MB of all files below *folder*."""
    return sum(os.lstat(path).st_size for path in folder.rglob("*")) / 1e6


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _rss(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
