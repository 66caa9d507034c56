"""Litestream replicates a database, both programs are killed while clients write, and the replica is restored."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import NamedTuple

from flowruns.cli.docs import page
from tests.conftest import RUNS
from tests.faults import Impossible, progress
from tests.faults.clients import Connection
from tests.processes import Process, output, serving, started
from tests.streams import Stream
from tests.waits import FOREVER, HANG, eventually
from tests.wire import Wire

NAME = "flowruns.db"
CONFIG = "litestream.yml"
CURE = 'pip install "flowruns[litestream]"'
_WRITERS = 8
_RUNS_OF_EACH = 20
_WORK_SECONDS = 2.5  # until the end comes, at the most
_BUCKET = "backups"
_S3_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

Target = Callable[[Path], str]  # the configuration for a folder


class Written(NamedTuple):
    """An acknowledged write, with its change number and the time of its response."""

    number: int
    id: str
    time: float


def program() -> str:
    """The path of Litestream. Raises Impossible if it is not installed."""
    beside = Path(sys.executable).with_name("litestream")
    found = str(beside) if beside.exists() else shutil.which("litestream")
    if found is None:
        raise Impossible(f"Litestream is not installed: {CURE}")
    return found


def example(kind: str) -> str:
    """The configuration of Litestream that the documents show for a replica of this *kind*."""
    blocks: list[str] = re.findall(r"^```yaml\n(.*?)^```$", page("copies"), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if f"type: {kind}\n" in block]
    return found


def to_file(folder: Path) -> str:
    """The configuration for a replica in *folder*."""
    return example("file").replace("/mnt/replica/flowruns", str(folder / "replica"))


@contextmanager
def s3() -> Iterator[Target]:
    """A replica in a bucket of moto's server. Raises Impossible if moto is not installed."""
    if find_spec("moto") is None or find_spec("flask") is None:
        raise Impossible(f"moto's server is not installed: {CURE}")
    command = [sys.executable, "-c", _S3_SERVER]
    with started(Path.cwd(), command=command, stderr=subprocess.DEVNULL, seconds=FOREVER) as server:
        port = int(server.stdout.readline())
        with closing(HTTPConnection("127.0.0.1", port, timeout=HANG)) as connection:
            connection.request("PUT", f"/{_BUCKET}")
            assert connection.getresponse().status == 200

        def target(folder: Path) -> str:
            lines = example("s3").replace("https://s3.example.com", f"http://127.0.0.1:{port}")
            return lines.replace("path: flowruns\n", f"path: {folder.name}\n")

        yield target


def configure(folder: Path, target: Target) -> None:
    """Writes the configuration for a database in *folder*, with other intervals than in the documents."""
    text = target(folder).replace("/srv/flowruns/flowruns.db", str(folder / NAME))
    (folder / CONFIG).write_text(re.sub(r"interval: 1s\n", "interval: 100ms\n", text))


@contextmanager
def replicating(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Litestream on the database in *folder*; killed at the end."""
    command = [program(), "replicate", "-config", CONFIG]
    with (folder / "litestream.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log, umask=0o077)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def restore(folder: Path, target: Path) -> None:
    """Restores the newest replica of the database in *folder* to *target*."""
    litestream(folder, "restore", "-config", CONFIG, "-o", str(target), str(folder / NAME))


def has_replica(folder: Path) -> bool:
    """Whether the database in *folder* can be restored."""
    try:
        litestream(folder, "restore", "-config", CONFIG, "-dry-run", "-o", "first.db", str(folder / NAME))
    except AssertionError:
        return False
    return True


def litestream(folder: Path, *args: str) -> None:
    """Runs Litestream in *folder*, and asserts that it succeeds."""
    command = [program(), *args]
    run = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, umask=0o077)
    assert run.returncode == 0, run.stderr


def environment() -> dict[str, str]:
    """The environment without the variable that Litestream cannot use, and with the keys of the bucket."""
    usable = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    return usable | {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@contextmanager
def at_work(url: str) -> Iterator[list[Written]]:
    """Clients that write until the server is gone or the block ends; the writes that were acknowledged."""
    written: list[Written] = []
    over = threading.Event()

    def work(name: int) -> None:
        number = 0
        with Connection(url) as wire, suppress(ConnectionError):
            while not over.is_set():
                id = f"w{name}-{number % _RUNS_OF_EACH}"
                body = {"flowId": "f", "flowType": "automation", "args": {"write": number, "text": "x" * 200}}
                reply = wire.ask("PUT", f"{RUNS}/{id}", json.dumps(body).encode())
                assert reply.status in (200, 201), reply
                written.append(Written(number_of(reply.header(b"etag")), id, time.monotonic()))
                number += 1

    with ThreadPoolExecutor(_WRITERS) as pool:
        working = [pool.submit(work, name) for name in range(_WRITERS)]
        try:
            eventually(lambda: len(written) >= _WRITERS or any(one.done() for one in working))
            yield written
        finally:
            over.set()
    for one in working:
        one.result()


def number_of(etag: bytes | None) -> int:
    """The change number in an ETag."""
    return int((etag or b"").strip(b'"'))


def lost_writes(file: Path, written: list[Written]) -> list[Written]:
    """Those of the acknowledged writes that the restored *file* does not have, in order. Raises AssertionError unless
    they are the last ones.
    """
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        last = connection.execute("select seq from sequence").fetchone()[0]
        found = dict(connection.execute("select id, seq from run"))
    numbers = {write.number for write in written}
    expected: dict[str, int] = {}
    for write in sorted(written):
        if write.number <= last:
            expected[write.id] = write.number
    for id, number in expected.items():
        seen = found.get(id, 0)
        # A later write may be there whose response did not arrive.
        assert seen == number or (seen > number and seen not in numbers), f"{id} is of write {seen}, not {number}"
    return [write for write in sorted(written) if write.number > last]


def fits_nothing(url: str, lost: Written) -> None:
    """Asserts that clients which know the *lost* write learn that it is gone, before and after other writes."""
    body = b'{"flowId":"f","flowType":"automation"}'
    with Wire(url) as wire:
        for _ in range(2):
            with Stream(url, after=lost.number) as stream:
                assert stream.event().kind == "resync"
            answer = wire.ask("PUT", f"{RUNS}/{lost.id}", body, f'If-Match: "{lost.number}"')
            assert answer.status == 412, answer
            assert wire.ask("GET", RUNS, None, f'If-None-Match: "{lost.number}"').status == 200
            for _ in range(200):
                assert wire.ask("PUT", f"{RUNS}/{lost.id}", body).status in (200, 201)


@dataclass
class _Losses:
    """What was lost, in all rounds."""

    acknowledged: int = 0
    lost: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def summary(self, rounds: int) -> str:
        return (
            f"{rounds:,} rounds, {self.acknowledged:,} acknowledged writes, {min(self.lost)} to {max(self.lost)} lost"
            f" per round, always the last ones, of at most {max(self.seconds):.2f} s; check ok {rounds:,} times"
        )


def kill_file(rounds: int, seed: int) -> str:
    """In every round both programs are killed, and the replica, a folder, is restored."""
    return f"replica: {_rounds('replica', rounds, seed, to_file)}"


def kill_s3(rounds: int, seed: int) -> str:
    """In every round both programs are killed, and the replica, in a bucket, is restored."""
    with s3() as target:
        return f"replica-s3: {_rounds('replica-s3', rounds, seed, target)}"


def _rounds(name: str, rounds: int, seed: int, target: Target) -> str:
    losses, chance = _Losses(), Random(seed)
    for number in range(rounds):
        progress(f"{name}: round {number + 1} of {rounds}")
        with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as folder:
            _round(Path(folder), target, losses, chance.uniform(0.5, _WORK_SECONDS))
    return losses.summary(rounds)


def _round(folder: Path, target: Target, losses: _Losses, seconds: float) -> None:
    configure(folder, target)
    with serving(folder, NAME) as server, replicating(folder) as replicator:
        eventually(lambda: has_replica(folder))
        with at_work(server.url) as written:
            time.sleep(seconds)  # the end comes at a random moment
            killed = kill(server.process, replicator)
    restored = folder / "restored"
    restored.mkdir()
    restore(folder, restored / NAME)
    lost = lost_writes(restored / NAME, written)
    losses.acknowledged += len(written)
    losses.lost.append(len(lost))
    losses.seconds.append(max((killed - write.time for write in lost), default=0))
    assert " is ok: " in output(restored, "check", "-d", NAME)
    if lost:
        with serving(restored, NAME) as server:
            fits_nothing(server.url, lost[-1])
        assert " is ok: " in output(restored, "check", "-d", NAME)


def kill(*processes: "Process | subprocess.Popen[bytes]") -> float:
    """Kills the *processes*; the time, as in `Written`."""
    for process in processes:
        process.kill()
    killed = time.monotonic()
    for process in processes:
        process.wait()
    return killed
