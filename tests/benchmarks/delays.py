"""How long one hostile or large request makes small GETs of other clients wait, and how long it takes itself."""

import http.client
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.contenders import Flowruns
from tests.benchmarks.operations import OPERATIONS
from tests.benchmarks.processes import Server
from tests.benchmarks.runs import RUNS

_BODY_BYTES = 8 * 1024 * 1024 - 1024  # just below --max-body
_PAUSE_SECONDS = 0.002
_PROBES = {"one run": f"{RUNS}/nothing", "page": f"{RUNS}?size=1", "health": "/health"}
_START, _LEVEL = b'{"flowId":"a","flowType":"automation",', b'"timestamp":"2025-01-20T18:53:03.558Z"'


class Delay(NamedTuple):
    """What a request did: its status, its own seconds, and the longest wait of other requests, in ms, less the longest
    one before it.
    """

    status: int
    seconds: float
    longest: float


def bodies() -> dict[str, bytes]:
    """PUT bodies of almost 8 MiB, by what they are made of."""
    line, action, tag = b'{"message":"m",%b}' % _LEVEL, b'{"id":""}', b'{"key":"a","value":"b"}'
    return {
        "log lines": _list(b"logs", line),
        "log lines, the last wrong": _list(b"logs", line, b'{"message":1}'),
        "log lines without a time": _list(b"logs", b'{"message":""}'),
        "actions": _list(b"actions", action),
        "actions, the last wrong": _list(b"actions", action, b'{"id":1}'),
        "actions, all wrong": _list(b"actions", b"0"),
        "tags": _list(b"tags", tag),
        "tags without flowId": _list(b"tags", tag, start=b"{"),
        "tags, all wrong": _list(b"tags", b'{"key":1,"value":2}'),
        "empty objects in args": _START + b'"args":{"a":[' + b",".join([b"{}"] * (_BODY_BYTES // 3)) + b"]}}",
        "brackets in args": _START + b'"args":{"a":"' + b"[" * _BODY_BYTES + b'"}}',
        "unknown fields": _START + b",".join(b'"k%07d":1' % number for number in range(_BODY_BYTES // 13)) + b"}",
        "no JSON": b"[" * _BODY_BYTES,
    }


def queries() -> dict[str, str]:
    """Queries whose totals must be counted, or that repeat parameters."""
    times = [f"createdAfter=2020-01-01T00:00:{number % 60:02}Z" for number in range(100)]
    return {
        "a tag and a phase": "?tag=source:github-actions&phase=failed",
        "flows and a tag": "?flowId=biome.lint-pull-request-titles&flowId=x&tag=source:github-actions",
        "a window of times": "?createdAfter=2020-01-01T00:00:00Z&createdBefore=2100-01-01T00:00:00Z",
        "100 times": "?" + "&".join(times),
        "100 times and their window": "?" + "&".join([*times, "createdBefore=2100-01-01T00:00:00Z"]),
        "32,000 parameters": "?" + "a&" * 30_000,
    }


def delays(contender: Flowruns) -> tuple[float, dict[str, Delay]]:
    """The longest wait while nothing else is sent, in ms, and the delay of each hostile request."""
    found = {}
    with contender.serving(OPERATIONS["replace"], 0) as server, _Probes(server) as probes:
        time.sleep(1)
        quiet = probes.longest()
        for name, body in bodies().items():
            found[f"PUT of {name}"] = _delay(server, probes, quiet, "PUT", f"{RUNS}/hostile", body)
        for name, query in queries().items():
            found[f"GET by {name}"] = _delay(server, probes, quiet, "GET", RUNS + query)
    return quiet, found


class _Probes:
    """Clients that send small GETs one after the other, and note the longest wait."""

    def __init__(self, server: Server) -> None:
        self._waits: list[float] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(server, target)) for target in _PROBES.values()]

    def __enter__(self) -> "_Probes":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def longest(self) -> float:
        """The longest wait since the last call, in ms."""
        waits, self._waits = self._waits, []
        return max(waits, default=0.0) * 1000

    def _send(self, server: Server, target: str) -> None:
        connection = http.client.HTTPConnection(server.host)
        while not self._ended.is_set():
            began = time.perf_counter()
            connection.request("GET", target)
            connection.getresponse().read()
            self._waits.append(time.perf_counter() - began)
            time.sleep(_PAUSE_SECONDS)
        connection.close()


def _delay(server: Server, probes: _Probes, quiet: float, method: str, target: str, body: bytes | None = None) -> Delay:
    probes.longest()
    began = time.perf_counter()
    connection = http.client.HTTPConnection(server.host)
    connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    response.read()
    seconds = time.perf_counter() - began
    connection.close()
    time.sleep(0.1)  # so that waits that began meanwhile are counted
    return Delay(response.status, seconds, max(0.0, probes.longest() - quiet))


def _list(field: bytes, item: bytes, last: bytes | None = None, start: bytes = _START) -> bytes:
    items = [item] * (_BODY_BYTES // (len(item) + 1))
    return b'%b"%b":[%b]}' % (start, field, b",".join([*items[:-1], last or item]))


def template(folder: Path, runs: int) -> Flowruns:
    """A server of a file of its own."""
    return Flowruns("flowruns", runs, folder / "template.db")
