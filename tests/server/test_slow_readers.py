"""Clients that take without giving: they do not read their answers, or leave with a reset."""

import gc
import random
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowruns.server.protocol import Protocol, WriteProgress
from flowruns.server.starting import RunningServer, running
from flowruns.settings import Settings
from tests.conftest import RUNS
from tests.faults import crowds
from tests.processes import serving
from tests.wire import Wire, ping, request

HEAVY = 8_000_000  # bytes: more than the buffers of both ends hold
HEAVY_RUN = b'{"flowId":"a","flowType":"automation","args":{"x":"%b"}}' % (b"x" * HEAVY)


@pytest.fixture
def impatient() -> Iterator[RunningServer]:
    """A server that waits 0.1 s for a client to read."""
    with running(Settings(database=":memory:", port=0, body_timeout=0.1, max_body=2 * HEAVY)) as server:
        yield server


def connections(server: RunningServer) -> list[Protocol]:
    """The connections that the server holds in memory."""

    async def held() -> list[Protocol]:
        gc.collect()
        return [one for one in gc.get_objects() if isinstance(one, Protocol) and one.loop is server.loop]

    return server.call(held())


@pytest.mark.parametrize("target", [RUNS, f"{RUNS}/a"])
def test_client_that_does_not_read_is_ended(impatient: RunningServer, target: str) -> None:
    with Wire(impatient.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/a", HEAVY_RUN).status == 201
    with Wire(impatient.url) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send(request("GET", target))
        poll = select.poll()
        poll.register(wire.socket, select.POLLHUP)
        assert poll.poll(60_000), "still connected"
    ping(impatient.url)


def test_client_that_reads_on_time_gets_a_large_answer_whole(impatient: RunningServer) -> None:
    with Wire(impatient.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/a", HEAVY_RUN).status == 201
        reply = wire.ask("GET", f"{RUNS}/a")
        assert len(reply.json["args"]["x"]) == HEAVY
        assert wire.ask("GET", "/health").status == 200


def test_connection_that_ends_by_reset_is_forgotten_at_once(impatient: RunningServer) -> None:
    for _ in range(20):
        wire = Wire(impatient.url)
        assert wire.ask("GET", "/health").status == 200
        wire.reset()
    ping(impatient.url)
    while len(connections(impatient)) > 1:  # the test's time-out, if they stay
        ping(impatient.url)


@pytest.mark.parametrize(
    ("samples", "stalled"),
    [
        ([(0, 0), (9, 0)], 0),  # nothing waits
        ([(0, 50), (9, 50)], 9),
        ([(0, 50), (5, 40), (9, 40)], 4),  # it has read something
        ([(0, 0), (5, 50), (9, 50)], 4),  # what it does not read came later
        ([(0, 50), (5, 60), (9, 70)], 9),  # more is written than it reads
        ([(0, 50), (5, 0), (9, 50)], 0),
    ],
)
def test_progress_is_what_leaves_the_buffer(samples: list[tuple[float, int]], stalled: float) -> None:
    progress = WriteProgress()
    assert [progress.stalled_seconds(buffered, now) for now, buffered in samples][-1] == stalled


@pytest.mark.skipif(sys.platform != "linux", reason="the descriptors of a process are looked up in Linux's /proc")
@pytest.mark.parametrize("name", ["reset", "trickle headers", "trickle bodies and stop"])
def test_a_crowd_leaves_no_connection_behind(tmp_path: Path, name: str) -> None:
    with serving(tmp_path, "runs.db", "--body-timeout", "0.5", "--head-timeout", "0.5") as server:
        crowds.crowd(server, name, 10, random.Random(1))
