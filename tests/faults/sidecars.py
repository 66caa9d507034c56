"""Sidecars of programs that are killed, and many that start at once."""

import json
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flowruns.sqlite.lockfile import lock_info
from tests.conftest import RUNS
from tests.faults import check_duration, progress
from tests.processes import COMMAND, Process, ended, started
from tests.wire import RUN, Wire, request

READY = ("--port", "0", "--ready", "json")
SIDECAR = (*READY, "--exit-with-stdin", "--token", "auto", "--reuse")
GONE_SECONDS = 2  # promised
_AT_ONCE = 20
_STREAM = "Accept: text/event-stream"
# Has a sidecar, and waits until it is killed.
_PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
sys.stdin.read()
"""


class Sidecar:
    """A process, and the line that it wrote to stdout once it was ready."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.line: dict[str, Any] = json.loads(process.stdout.readline())

    @property
    def token(self) -> str:
        return f"Authorization: Bearer {self.line['token']}"

    def end(self) -> tuple[int, str]:
        """The exit code and stderr, once standard input is closed."""
        self.process.stdin.close()
        return ended(self.process)


def orphans(rounds: int, seed: int) -> str:
    """In every round a program that has a sidecar is killed, and the sidecar has to be gone. Before that, some start at
    once.
    """
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as name:
        folder = Path(name)
        at_once(folder, _AT_ONCE)
        waits = []
        for number in range(rounds):
            progress(f"sidecar: round {number} of {rounds}")
            busy = chance.choice(("idle", "body", "stream", "starting"))
            waits.append(orphaned(folder, f"{number}.db", busy, chance))
            left = sorted(path.name for path in folder.iterdir() if path.name.startswith(f"{number}.db"))
            assert left in ([], [f"{number}.db"]), f"the sidecar left {left}"
    return (
        f"sidecar: {_AT_ONCE} at once had {_AT_ONCE} ports and tokens, and every line was true;"
        f" {rounds} parents killed, {rounds} sidecars gone, the last after {max(waits):.2f} s, and nothing"
        " was left but the databases"
    )


def at_once(folder: Path, number: int) -> None:
    """Starts so many, and looks whether each is where its line says."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started(folder, f"s{one}.db", *SIDECAR)) for one in range(number)]
        with ThreadPoolExecutor(number) as pool:
            sidecars = list(pool.map(Sidecar, processes))
        for key in ("port", "token", "instance"):
            assert len({one.line[key] for one in sidecars}) == number, f"two have the same {key}"
        for one in sidecars:
            with Wire(one.line["url"]) as wire:
                assert wire.ask("GET", "/health", None, one.token).json["instance"] == one.line["instance"]
        assert [one.end() for one in sidecars] == [(0, "")] * number


def orphaned(folder: Path, database: str, busy: str, chance: random.Random) -> float:
    """The seconds after which the sidecar of a killed program is gone, whatever it is *busy* with."""
    command = [sys.executable, "-c", _PARENT, *COMMAND]
    with started(folder, database, *SIDECAR, command=command) as parent, ExitStack() as stack:
        if busy == "starting":
            time.sleep(chance.random() / 2)  # any moment will do
        else:
            line = json.loads(parent.stdout.readline())
            wire = stack.enter_context(Wire(line["url"]))
            token = f"Authorization: Bearer {line['token']}"
            if busy == "body":
                wire.send(request("PUT", f"{RUNS}/a1", RUN, token)[:-1])
            if busy == "stream":
                wire.send(request("GET", RUNS, None, token, _STREAM))
                wire.socket.recv(1)
        parent.kill()
        began = time.monotonic()
        parent.stdout.read()  # ends once the sidecar, which has the other end too, is gone
        waited = time.monotonic() - began
    if busy != "starting":
        check_duration(waited, GONE_SECONDS, f"the end of a sidecar ({busy})")
    assert lock_info(folder / database) is None
    return waited
