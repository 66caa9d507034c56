"""A database that cannot be written for a while: writes are refused, reads go on, and afterwards all goes on."""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.conftest import RUNS
from tests.faults import Impossible, check_duration, progress
from tests.faults.clients import Connection, Findings, Writer, acknowledged, crew, each, refused, walked
from tests.faults.crashes import NAME, end, ended_by
from tests.processes import Process, ended, serving, started
from tests.waits import HANG
from tests.wire import Wire

KIB = 1024
MIB = 1024 * KIB

# A full disk

_REFUSALS = 10  # that each writer meets while there is no room
_MOST_WRITES = 2_000  # of one writer, by which there is no room for certain
_DISK = 64 * MIB


class Disk(NamedTuple):
    """A folder that can be full, and what gives it room again."""

    folder: Path
    description: str  # what is full
    take_room: Callable[[Process], object]  # but for little
    make_room: Callable[[Process], None]


Small = Callable[[random.Random], AbstractContextManager[Disk]]


def _room(chance: random.Random) -> int:
    """Bytes that writes have: few, or so many that the WAL is checkpointed, for which there is no room."""
    return chance.choice((chance.randrange(128 * KIB, 4 * MIB), 32 * MIB + chance.randrange(64 * KIB, 256 * KIB)))


@contextmanager
def mounted(parent: Path | None = None) -> Iterator[Path]:
    """A small file system of its own, below *parent*. Raises Impossible where mounting is not allowed."""
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-", dir=parent) as name:
        try:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=700", "flowruns-faults", name]
            subprocess.run(mount, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Impossible(f"no tmpfs can be mounted: {getattr(error, 'stderr', None) or error}") from None
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """While entered, nobody can write the file *path*, or in the folder *path*. Raises Impossible where mounting is not
    allowed.
    """
    try:
        subprocess.run(["mount", "--bind", path, path], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Impossible(f"nothing can be mounted: {getattr(error, 'stderr', None) or error}") from None
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def leave_room(folder: Path, size: int) -> Path:
    """A file beside which the file system of *folder* has room for *size* bytes."""
    ballast, found = folder / "ballast", os.statvfs(folder)
    ballast.write_bytes(bytes(found.f_bavail * found.f_frsize - size))
    return ballast


@contextmanager
def tmpfs(chance: random.Random) -> Iterator[Disk]:
    """A disk of its own. Raises Impossible where mounting is not allowed."""
    with mounted() as folder:
        yield Disk(
            folder,
            "a full tmpfs",
            lambda process: leave_room(folder, _room(chance)),
            lambda process: (folder / "ballast").unlink(),
        )


@contextmanager
def size_limit(chance: random.Random) -> Iterator[Disk]:
    """A folder where the files of a process may not grow. Raises Impossible where there is no prlimit."""
    if not hasattr(resource, "prlimit"):
        raise Impossible("this system has no prlimit")
    unlimited = resource.RLIM_INFINITY
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as name:

        def take_room(process: Process) -> None:
            largest = max(file.stat().st_size for file in Path(name).iterdir())
            room = chance.randrange(128 * KIB, 4 * MIB)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest + room, unlimited))

        def make_room(process: Process) -> None:
            if process.poll() is None:  # the next one has no limit
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))

        yield Disk(Path(name), "files at their size limit (RLIMIT_FSIZE)", take_room, make_room)


@contextmanager
def small_disk(chance: random.Random) -> Iterator[Disk]:
    """The first of these that is possible. Raises Impossible if none is."""
    reasons = []
    with ExitStack() as stack:
        for kind in (tmpfs, size_limit):
            try:
                disk = stack.enter_context(kind(chance))
            except Impossible as error:
                reasons.append(str(error))
            else:
                yield disk
                return
    raise Impossible("; ".join(reasons))


def full(rounds: int, seed: int, small: Small = small_disk) -> str:
    """In every round clients write to a new file until no more fits. By turns there is room again while the process
    runs, or it ends, and the next one begins, without.
    """
    chance = random.Random(seed)
    findings = Findings()
    disks: Counter[str] = Counter()
    starts: Counter[bool] = Counter()
    done = undone = after = 0
    for number in range(rounds):
        progress(f"full: round {number} of {rounds}")
        writers = crew(8, chance.getrandbits(32))
        with small(chance) as disk:
            disks[disk.description] += 1
            file = disk.folder / NAME
            with serving(disk.folder, NAME) as server:
                disk.take_room(server.process)
                each(writers, partial(_write_until_refused, server.url))
                findings.check(server.url, file, writers)
                _healthy(server.url)
                if number % 2:
                    ended_by(server.process, signal.SIGTERM)
                else:
                    disk.make_room(server.process)
                    after += _written(server.url, writers)
                    findings.check(server.url, file, writers)
                    end(server.process, file)
            if number % 2:
                starts[_started_without_room(file, writers, findings)] += 1
                disk.make_room(server.process)
            with serving(disk.folder, NAME) as server:
                findings.check(server.url, file, writers)
                after += _written(server.url, writers)
                findings.check(server.url, file, writers)
                end(server.process, file)
        done += acknowledged(writers)
        undone += refused(writers)
    return (
        f"full: {rounds:,} rounds ({', '.join(f'{times} on {disk}' for disk, times in disks.items())}),"
        f" {done:,} acknowledged writes, {undone:,} refused with 503, {after:,} acknowledged once there was room,"
        f" {findings.summary()}, {starts[True]} starts without room succeeded and {starts[False]} named the reason"
    )


def _started_without_room(file: Path, writers: Sequence[Writer], findings: Findings) -> bool:
    """Whether a server serves on a full disk; if not, it says why in one line."""
    with started(file.parent, NAME, "--port", "0") as process:
        said = process.stderr.readline()
        if found := re.search(r"http://\S+:\d+", said):
            findings.check(found[0], file, writers)
            ended_by(process, signal.SIGTERM)
            return True
        code, rest = ended(process)
        assert (code, rest) == (5, ""), f"a start on a full disk ended with exit code {code}: {said}{rest}"
        assert "full" in said, f"a failed start on a full disk does not name the reason: {said}"
        return False


def _healthy(url: str) -> None:
    with Wire(url) as wire:
        status = wire.ask("GET", "/health").status
        assert status == 200, f"GET /health returned {status} on a full disk"


def _written(url: str, writers: Sequence[Writer]) -> int:
    """How many of some writes were acknowledged, none of which may be refused."""
    before = acknowledged(writers)
    each(writers, partial(_write, url, 3))
    return acknowledged(writers) - before


def _write_until_refused(url: str, writer: Writer) -> None:
    """Writes until 503 has come so often; in between, what was acknowledged can be read."""
    with Connection(url) as wire:
        for _ in range(_MOST_WRITES):
            reply = writer.write(wire, refusable=True)
            if reply.status == 503:
                assert reply.header(b"retry-after"), f"503 without Retry-After: {reply.body!r}"
                writer.read(wire)
            if writer.refused == _REFUSALS:
                return
    raise AssertionError(f"{_MOST_WRITES} writes of {writer.name} had fewer than {_REFUSALS} responses with 503")


def _write(url: str, times: int, writer: Writer) -> None:
    """Writes so often, and is never refused."""
    with Connection(url) as wire:
        for _ in range(times):
            writer.write(wire)


# A lock

LOCK_TIMEOUT = 0.3
_SLACK = 1.0  # seconds that an answer may take beside the wait
_SLOWEST_READ = 0.5  # seconds, as promised
_HELD = 0.5  # seconds that the lock is held while a server starts

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin immediate")
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def held(file: Path) -> Iterator[Callable[[], None]]:
    """While entered, another process has the lock of the database in *file*; what is given releases it before."""
    with started(file.parent, str(file), command=[sys.executable, "-c", HOLDER]) as process:

        def release() -> None:
            process.kill()
            process.wait()

        assert process.stdout.readline() == "\n", "the process that was to hold the lock has ended"
        try:
            yield release
        finally:
            release()


def locked(rounds: int, seed: int) -> str:
    """In every round another process has the lock for longer than writes wait, then while a server starts, and while
    it ends.
    """
    writers = crew(20, seed)
    findings = Findings()
    waits: list[float] = []
    read: list[float] = []
    starts: list[float] = []
    ends: list[float] = []
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as folder:
        file = Path(folder) / NAME
        for number in range(rounds):
            progress(f"locked: round {number} of {rounds}")
            with serving(file.parent, NAME, "--lock-timeout", str(LOCK_TIMEOUT)) as server:
                each(writers, partial(_write, server.url, 3))
                one = next(iter(walked(server.url)))
                with held(file), ThreadPoolExecutor(len(writers)) as pool:
                    refusals = [pool.submit(_refused, server.url, writer) for writer in writers]
                    while not all(refusal.done() for refusal in refusals):
                        read += reads(server.url, one)
                waits += [refusal.result() for refusal in refusals]
                each(writers, partial(_write, server.url, 1))
                findings.check(server.url, file, writers)
                end(server.process, file)
            with held(file) as release:
                threading.Timer(_HELD, release).start()
                began = time.perf_counter()
                with serving(file.parent, NAME, "--lock-timeout", str(HANG)) as server:
                    starts.append(time.perf_counter() - began)
                    each(writers, partial(_write, server.url, 1))
                    findings.check(server.url, file, writers)
                    with held(file):
                        ends.append(ended_by(server.process, signal.SIGTERM)[0])
    return (
        f"locked: {rounds:,} rounds, {refused(writers):,} writes refused with 503, the last of {len(writers)} after"
        f" {max(waits):.2f} s at a time-out of {LOCK_TIMEOUT} s, {len(read):,} reads meanwhile took"
        f" {max(read) * 1000:.0f} ms at most, {acknowledged(writers):,} acknowledged writes, {findings.summary()},"
        f" longest start {max(starts):.2f} s under a lock of {_HELD} s, longest end under a lock {max(ends):.2f} s"
    )


def _refused(url: str, writer: Writer) -> float:
    """Seconds until a write was refused, for the lock."""
    with Connection(url) as wire:
        began = time.perf_counter()
        reply = writer.write(wire, refusable=True)
        seconds = time.perf_counter() - began
    assert reply.status == 503, f"a write returned {reply.status} while another process had the lock"
    assert reply.header(b"retry-after"), f"503 without Retry-After: {reply.body!r}"
    assert seconds > LOCK_TIMEOUT - 0.1, f"a write was refused after {seconds:.2f} s"
    check_duration(seconds, LOCK_TIMEOUT + _SLACK, "a refused write")
    return seconds


def reads(url: str, id: str) -> Iterator[float]:
    """Seconds that a read of each kind takes, the run *id* among them."""
    with Wire(url) as wire:
        for target in (f"{RUNS}/{id}", RUNS, f"{RUNS}?phase=succeeded", "/health"):
            began = time.perf_counter()
            status = wire.ask("GET", target).status
            seconds = time.perf_counter() - began
            assert status == 200, f"GET {target} returned {status} while another process had the lock"
            check_duration(seconds, _SLOWEST_READ, f"GET {target}, while another process had the lock,")
            yield seconds
