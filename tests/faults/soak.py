"""A long time under mixed load: memory, descriptors, threads and the log stay bounded, and small reads never wait.

What is looked at is Linux's: /proc.
"""

import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.contenders import fill
from tests.benchmarks.processes import Server
from tests.conftest import RUNS
from tests.faults import check_duration, progress, run_tasks
from tests.faults.clients import damages
from tests.faults.mixed_load import Load
from tests.processes import ended, serving
from tests.waits import FOREVER, eventually
from tests.wire import RUN, Wire

NAME = "runs.db"
MAX_RUNS = 10_000  # at the beginning
MAX_GROWTH = 16  # MiB of memory, after the first quarter
MAX_DESCRIPTORS = 8  # more than at rest, beside the connections
MAX_LOG = 64  # MiB
MAX_WAIT = 0.5  # seconds, promised
_MIB = 1024 * 1024
_PAUSE_SECONDS = 0.003  # between two small reads
_SAMPLE_SECONDS = 0.1
_PROBE = "probe"


class Sample(NamedTuple):
    """What the system says of the process: MiB, numbers, MiB."""

    sent: int
    memory: float
    descriptors: int  # beside those of connections
    threads: int
    log: float


class Watch:
    """Asks for one run all the time, and looks at the process now and then."""

    def __init__(self, url: str, pid: int, file: Path, load: Load) -> None:
        self.over = threading.Event()
        self.waits: list[float] = []  # ms
        self.samples: list[Sample] = []
        self._url = url
        self._server = Server(url, pid, 0)
        self._log = file.with_name(f"{file.name}-wal")
        self._load = load

    def work(self) -> None:
        """Works until it is *over*."""
        sampled = 0.0
        with Wire(self._url) as wire:
            while not self.over.is_set():
                began = time.perf_counter()
                reply = wire.ask("GET", f"{RUNS}/{_PROBE}")
                self.waits.append((time.perf_counter() - began) * 1000)
                assert reply.status == 200, f"a small read is {reply.status}: {reply.body[:500]!r}"
                if began - sampled > _SAMPLE_SECONDS:
                    sampled = began
                    self.samples.append(self._sample())
                    sent, memory, *_ = self.samples[-1]
                    progress(f"soak: {sent:,} of {self._load.requests:,} requests, {memory:.0f} MiB")
                self.over.wait(_PAUSE_SECONDS)

    def _sample(self) -> Sample:
        opened = self._load.open
        descriptors, threads = held(self._server.pid)
        connections = max(opened, self._load.open) + 1  # and this one
        log = self._log.stat().st_size / _MIB
        return Sample(self._load.sent, self._server.rss(), descriptors - connections, threads, log)


def held(pid: int) -> tuple[int, int]:
    """The descriptors and the threads of a process."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def run(rounds: int, seed: int) -> str:
    """Sends so many thousands of requests."""
    requests = rounds * 1_000
    runs = max(1_000, min(MAX_RUNS, requests // 10))
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as folder:
        file = Path(folder) / NAME
        fill(file, 0, runs)
        with serving(file.parent, NAME, seconds=FOREVER) as server:
            pid = server.process.pid
            at_rest = held(pid)
            load = Load(server.url, requests, runs, random.Random(seed))
            watch = Watch(server.url, pid, file, load)
            with Wire(server.url) as wire:
                assert wire.ask("PUT", f"{RUNS}/{_PROBE}", RUN).status == 201
            began = time.perf_counter()
            under_load(load, watch)
            seconds = time.perf_counter() - began
            eventually(
                lambda: held(pid) == at_rest,
                lambda: f"descriptors, threads were {at_rest}, and are {held(pid)} without connections",
            )
            with Wire(server.url) as wire:
                counted = wire.ask("GET", "/health").json["runs"]
            assert counted == load.runs + 1, f"there are {counted:,} runs, where {load.runs + 1:,} were acknowledged"
            server.process.send_signal(signal.SIGTERM)
            code, said = ended(server.process)
        assert (code, said) == (0, ""), f"it ended with {code}, and wrote to stderr: {said!r}"
        left = sorted(os.listdir(folder))
        assert left == [NAME], f"left were {left}"
        assert (wrong := damages(file)) == [], f"the database is damaged: {wrong}"
    return (
        f"soak: {requests:,} requests in {seconds:.0f} s ({counts(load.statuses)}),"
        f" {load.left:,} clients disconnected midway, {load.stalls_cut} stalled uploads closed;"
        f" {judged(watch, at_rest)}; {counted:,} runs in the end, exit code 0, integrity ok"
    )


def under_load(load: Load, watch: Watch) -> None:
    """Sends the *load*, while there is a *watch*."""
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch.work)
        try:
            run_tasks(load.go())
        finally:
            watch.over.set()
        watching.result()


def judged(watch: Watch, at_rest: tuple[int, int]) -> str:
    """What *watch* has seen. Raises AssertionError unless it is as promised."""
    samples, waits = watch.samples, sorted(watch.waits)
    warm = [sample for sample in samples if sample.sent >= samples[-1].sent / 4]
    grown = max(sample.memory for sample in warm) - warm[0].memory
    descriptors = max(sample.descriptors for sample in samples)
    threads = max(sample.threads for sample in samples)
    log = max(sample.log for sample in samples)
    said = (
        f"memory {warm[0].memory:.1f} MiB after a quarter, then at most {grown:+.1f},"
        f" descriptors {at_rest[0]} at rest, at most {descriptors - at_rest[0]:+} beside the connections,"
        f" threads {at_rest[1]}, at most {threads - at_rest[1]:+}, WAL at most {log:.1f} MiB,"
        f" {len(waits):,} small reads took {waits[len(waits) * 99 // 100]:.1f} ms (p99), at most {waits[-1]:.1f}"
    )
    assert grown < MAX_GROWTH, f"memory grew by more than {MAX_GROWTH} MiB: {said}"
    assert descriptors - at_rest[0] < MAX_DESCRIPTORS, f"{MAX_DESCRIPTORS} more descriptors: {said}"
    assert threads - at_rest[1] < MAX_DESCRIPTORS, f"{MAX_DESCRIPTORS} more threads: {said}"
    assert log < MAX_LOG, f"the WAL has more than {MAX_LOG} MiB: {said}"
    check_duration(waits[-1] / 1000, MAX_WAIT, f"the longest small read ({said})")
    return said


def counts(statuses: Counter[int]) -> str:
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
