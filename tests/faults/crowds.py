"""Crowds of clients that take without giving: what they held is free again soon after they stop.

What is looked at is Linux's: /proc.
"""

import random
import select
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.processes import Server
from tests.conftest import RUNS
from tests.faults import check_duration, progress
from tests.faults.soak import held
from tests.processes import Served, ended, serving
from tests.waits import FOREVER, eventually
from tests.wire import RUN, Wire, ping, request

TIMEOUT = 2  # seconds: --body-timeout and --head-timeout
GONE_SECONDS = TIMEOUT + 1  # promised
SPARE_DESCRIPTORS = 8  # files of connections to the database that were not used before
MAX_GROWTH = 64  # MiB of memory, after a crowd that came before
MAX_PEAK = 1536  # MiB more at any time
_HEAVY, _HEAVY_BYTES = 24, 900_000  # runs: 18 of them are a page of 16 MiB
_SLICE = 512  # bytes of the buffer of a client that does not read
_TICK_SECONDS = 0.05
_DIFFERENT = "do not read different pages"

Clients = Sequence[socket.socket]


class Peak(threading.Thread):
    """The most memory that a process held, in MiB, and descriptors, until *over* is set."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.over = threading.Event()
        self.memory, self.descriptors = 0.0, 0
        self._server = Server("", pid, 0)

    def run(self) -> None:
        while not self.over.wait(_TICK_SECONDS):
            self.memory = max(self.memory, self._server.rss())
            self.descriptors = max(self.descriptors, held(self._server.pid)[0])


class Seen(NamedTuple):
    """What a crowd did: MiB and descriptors more than at rest at most, MiB more afterwards, seconds until the slots
    were free.
    """

    peak: float
    descriptors: int
    left: float
    seconds: float


def run(rounds: int, seed: int) -> str:
    """Sends a crowd of *rounds* clients of each kind, after one that came before."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as folder:
        limits = ("--body-timeout", str(TIMEOUT), "--head-timeout", str(TIMEOUT))
        with serving(Path(folder), "runs.db", *limits, seconds=FOREVER) as server:
            with Wire(server.url) as wire:
                for number in range(_HEAVY):
                    body = b'{"flowId":"heavy","flowType":"automation","args":{"x":"%b"}}' % (b"x" * _HEAVY_BYTES)
                    assert wire.ask("PUT", f"{RUNS}/heavy-{number:02}", body).status == 201
            kinds = list(CROWDS)
            for name in kinds:  # so that what Python and SQLite keep for the next request is not counted
                crowd(server, name, min(rounds, 20), chance)
            seen = {name: crowd(server, name, rounds, chance) for name in kinds}
            server.process.terminate()
            code, said = ended(server.process)
        assert code == 0, f"it ended with {code}, and wrote to stderr: {said!r}"
        assert "Traceback" not in said, said
    parts = [
        f"{name}: {one.descriptors:+} descriptors and {one.peak:+.0f} MiB at most, {one.left:+.0f} MiB afterwards,"
        f" free after {one.seconds:.1f} s"
        for name, one in seen.items()
    ]
    return f"crowds: {rounds} clients of each kind, of {TIMEOUT} s of patience; {'; '.join(parts)}"


def crowd(server: Served, name: str, number: int, chance: random.Random) -> Seen:
    """Sends a crowd, and waits until the server has forgotten it. Raises AssertionError unless it does."""
    progress(f"crowds: {number} clients: {name}")
    process = Server(server.url, server.process.pid, 0)
    ping(server.url)
    memory, descriptors = process.rss(), held(process.pid)[0]
    peak = Peak(process.pid)
    peak.start()
    try:
        with clients(server.url, number) as connected:
            CROWDS[name](server.url, connected, chance)
            with Wire(server.url) as wire:
                wire.ask("GET", "/health")  # 200 or 503: the server has accepted them all
            began = _taken(server.url)
            eventually(
                lambda: held(process.pid)[0] <= descriptors + SPARE_DESCRIPTORS,
                lambda: f"{name}: {held(process.pid)[0]} descriptors, {descriptors} at rest",
            )
            seconds = time.monotonic() - began
    finally:
        peak.over.set()
        peak.join()
    if name != _DIFFERENT:  # whose pages must be read first, one after the other
        check_duration(seconds, GONE_SECONDS, f"until the slots were free ({name})")
    with Wire(server.url) as wire:
        assert wire.ask("GET", f"{RUNS}?size=1").status == 200, f"{name}: no answer afterwards"
    eventually(
        lambda: process.rss() < memory + MAX_GROWTH,
        lambda: f"{name}: {process.rss():.0f} MiB afterwards, {memory:.0f} before",
    )
    left = process.rss() - memory
    assert peak.memory - memory < MAX_PEAK, f"{name}: {peak.memory:.0f} MiB, {memory:.0f} at rest"
    return Seen(peak.memory - memory, peak.descriptors - descriptors, left, seconds)


@contextmanager
def clients(url: str, number: int) -> Iterator[Clients]:
    """Connections that hardly buffer what they receive."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with ExitStack() as stack:
        found = []
        for _ in range(number):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLICE)
            client.connect((host, int(port)))
            found.append(client)
        yield found


def silent(url: str, connected: Clients, chance: random.Random) -> None:
    """All ask for the same page of 16 MiB, and do not read it."""
    for client in connected:
        _send(client, request("GET", f"{RUNS}?flowId=heavy&size=18"))
    _first_bytes(connected)


def silent_differently(url: str, connected: Clients, chance: random.Random) -> None:
    """Each asks for another page of up to 16 MiB, or another heavy run, and does not read it."""
    for number, client in enumerate(connected):
        counted = f"createdAfter=2020-01-01T00:00:{number % 60:02}Z"
        query = chance.choice(("fields=args,id", "order=asc", counted))
        _send(client, request("GET", f"{RUNS}?flowId=heavy&size={12 + number % 80}&{query}"))
    _first_bytes(connected)


def reset(url: str, connected: Clients, chance: random.Random) -> None:
    """All ask for a page of 16 MiB, read a little or nothing, and reset the connection."""
    for client in connected:
        _send(client, request("GET", f"{RUNS}?flowId=heavy&size={chance.randint(1, 18)}"))
        if chance.random() < 0.5:
            with suppress(ConnectionError):  # as the server had no slot for it
                client.recv(100)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def trickled_headers(url: str, connected: Clients, chance: random.Random) -> None:
    """All send their headers byte by byte, until they are disconnected."""
    _trickle(connected, b"GET / HTTP/1.1\r\nX: ", b"x")


def trickled_bodies(url: str, connected: Clients, chance: random.Random) -> None:
    """All send a body byte by byte, and then nothing more."""
    _trickle(connected, request("PUT", f"{RUNS}/never", b" " * 1_000_000)[:-1_000_000], b" ", TIMEOUT)


def unread_streams(url: str, connected: Clients, chance: random.Random) -> None:
    """All open a stream from the first change on, and do not read it, while runs are written."""
    for client in connected:
        _send(client, request("GET", RUNS, None, "Accept: text/event-stream", "Last-Event-ID: 1", "Connection: close"))
    _first_bytes(connected)
    with Wire(url) as wire:
        for number in range(100):  # 10 MB in all: the system buffers up to 4 MiB for each client
            body = RUN.replace(b"}", b',"args":{"x":"%b"}}' % (b"x" * 100_000))
            assert wire.ask("PUT", f"{RUNS}/written-{number}", body).status in (200, 201)


CROWDS: dict[str, Callable[[str, Clients, random.Random], None]] = {
    "reset": reset,
    "do not read": silent,
    _DIFFERENT: silent_differently,
    "trickle headers": trickled_headers,
    "trickle bodies and stop": trickled_bodies,
    "do not read streams": unread_streams,
}


def _taken(url: str) -> float:
    """The time when the system has taken all that it takes for the clients of the server: until then, they seem to
    read.
    """
    port = f":{int(url.rpartition(':')[2]):04X}"
    taken, since = -1, time.monotonic()
    while time.monotonic() - since < 4 * _TICK_SECONDS:
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        queued = sum(int(line[4].partition(":")[0], 16) for line in lines if line[1].endswith(port))
        if queued > taken:
            taken, since = queued, time.monotonic()
        time.sleep(_TICK_SECONDS)  # no event announces it
    return since


def _first_bytes(connected: Clients) -> None:
    """Returns once the responses have begun."""
    for client in connected:
        with suppress(ConnectionError):
            client.recv(1)


def _send(client: socket.socket, data: bytes) -> None:
    try:
        client.sendall(data)
    except ConnectionError:
        return  # the server had no slot for it


def _trickle(connected: Clients, start: bytes, piece: bytes, seconds: float | None = None) -> None:
    """Sends *start*, and then a *piece* again and again on each connection, until it ends or for *seconds*."""
    for client in connected:
        _send(client, start)
    deadline = time.monotonic() + (FOREVER if seconds is None else seconds)
    left = set(connected)
    while left and time.monotonic() < deadline:
        ended, _, _ = select.select(left, [], [], _TICK_SECONDS)
        left.difference_update(ended)
        for client in left:
            _send(client, piece)
