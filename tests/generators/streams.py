"""Streams read by libraries: each starts at a number, with a token, and goes on after the server was restarted."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from subprocess import PIPE, STDOUT
from threading import Timer
from typing import Any

from flowruns.client.client import Client
from tests.conftest import RUNS
from tests.generators.checks import Check
from tests.generators.workshop import Workshop
from tests.processes import serving
from tests.waits import HANG

_TOKEN = "s3cret"
_SILENCES = 2  # times that the server has nothing to send: 8 seconds, longer than the default timeout of httpx


class _Reader:
    """The events that a program prints, each as a line of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        self._lines = iter(process.stdout.readline, "")
        self._number = 0  # of the last event

    def event(self) -> tuple[str, Any]:
        """The next event and its data."""
        line = next(self._lines, "the program has ended\n")
        assert line.startswith("{"), line + "".join(self._lines)
        event = json.loads(line)
        if event["event"] != "bye":  # which has no number
            assert int(event["id"]) >= self._number, f"{line} after {self._number}"
            self._number = int(event["id"])
        return event["event"], event["data"]

    def until(self, kind: str, id: str) -> None:
        """Reads up to the event *kind* of the run *id*. Raises AssertionError if another run comes before."""
        while (event := self.event())[0] in ("position", "bye"):
            assert event[1] == {}
        assert (event[0], event[1]["id"]) == (kind, id), event


def _stream(program: str) -> Check:
    def check(shop: Workshop) -> None:
        folder = shop.folder(program.partition(".")[0], program)
        with ExitStack() as stack:
            with _server(folder, "0", signal.SIGTERM) as (url, client):
                _put(client, "before")
                start = client.tagged("before").etag.strip('"')
                _put(client, "a")
                reader = stack.enter_context(_reading(shop, folder, program, f"{url}{RUNS}", start))
                reader.until("run", "a")  # and not `before`
                _put(client, "a", "succeeded")
                reader.until("left", "a")
                for _ in range(_SILENCES):
                    assert reader.event() == ("position", {})
            for id, ending in (("b", signal.SIGKILL), ("c", signal.SIGTERM)):
                with _server(folder, url.rpartition(":")[2], ending) as (_, client):
                    _put(client, id)
                    reader.until("run", id)  # neither `resync` nor a run that came before

    return check


@contextmanager
def _reading(shop: Workshop, folder: Path, program: str, url: str, start: str) -> Iterator[_Reader]:
    command = [str(shop.python) if program.endswith(".py") else "node", program]
    env = shop.env | {"FLOWRUNS_URL": url, "FLOWRUNS_TOKEN": _TOKEN, "START": start}
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=PIPE, stderr=STDOUT, text=True, start_new_session=True
    ) as process:
        kill = partial(os.killpg, process.pid, signal.SIGKILL)  # the command `node` may start the program itself
        watchdog = Timer(HANG, kill)
        watchdog.start()
        try:
            yield _Reader(process)
        finally:
            watchdog.cancel()
            with suppress(ProcessLookupError):  # it has ended
                kill()


@contextmanager
def _server(folder: Path, port: str, ending: signal.Signals) -> Iterator[tuple[str, Client]]:
    """The address of a server with a token at *port*, and a client of it. It gets the signal *ending* at the end."""
    options = ("--token", f"{_TOKEN}=7")
    with serving(folder, "runs.db", *options, env={"FLOWRUNS_PORT": port}) as served:
        with Client(served.url, token=_TOKEN) as client:
            yield served.url, client
        served.process.send_signal(ending)
        served.process.wait()


def _put(client: Client, id: str, phase: str = "running") -> None:
    client.put(id, flowId="deploy", flowType="automation", phase=phase)


STREAMS: dict[str, Check] = {
    "eventsource": _stream("eventsource.mjs"),
    "fetch-event-source": _stream("fetch_event_source.mjs"),
    "httpx-sse": _stream("httpx_sse_reader.py"),
}
