"""How long one hostile or large request makes small GETs of other clients wait, and how long it takes itself."""

import http.client
import itertools
import re
import socket
import statistics
import threading
import time
from contextlib import ExitStack
from typing import NamedTuple

from tests.benchmarks.contenders import Flowruns
from tests.benchmarks.operations import OPERATIONS
from tests.benchmarks.processes import Server
from tests.benchmarks.runs import RUNS

_BODY_BYTES = 8 * 1024 * 1024 - 1024  # just below --max-body
_TIMES = 3  # that each request is sent; the median counts
_PIPELINED = 25_000
_PAUSE_SECONDS = 0.002
_STREAM_SECONDS = 1  # until a stream is closed
# Each with a number: what was read before is answered from memory.
_PROBES = {"one run": f"{RUNS}/probe-{{}}", "page": f"{RUNS}?size=1&flowId=probe-{{}}", "health": "/health"}
_PUT, _POST = b'{"flowId":"a","flowType":"automation",', b'{"flowId":"a",'


class Delay(NamedTuple):
    """What a request did: its status, its own seconds, and the longest wait of other requests, in ms, less the longest
    one while nothing else was sent.
    """

    status: int
    seconds: float
    longest: float


def requests() -> dict[str, list[bytes]]:
    """Hostile and large requests, by what they are made of: what is sent on each connection."""
    found = {f"GET by {name}": [_request("GET", RUNS + query)] for name, query in _queries().items()}
    for name in ("a tag and a phase", "nothing that fits"):
        found[f"stream from 0 by {name}"] = [_stream(_queries()[name])]
    found["100 streams from 0 by a flow each"] = [_stream(f"?flowId=flow-{number}") for number in range(100)]
    headers = "\r\n".join(f"X-{number}: {'x' * 240}" for number in range(240))
    found["GET with headers of 60 KiB"] = [_request("GET", "/health", None, headers)]
    many = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n" * _PIPELINED
    found[f"{_PIPELINED:,} pipelined requests"] = [many + _request("GET", "/x")]
    puts = _bodies()
    found |= {f"PUT of {name}": [_request("PUT", f"{RUNS}/hostile", body)] for name, body in puts.items()}
    found["GET of a run of 35 MB"] = [_request("GET", f"{RUNS}/hostile")]
    found["DELETE of it"] = [_request("DELETE", f"{RUNS}/hostile")]
    posts = {name: body.replace(_PUT, _POST, 1) for name, body in puts.items() if not re.search("line|action", name)}
    found |= {f"POST of {name}": [_request("POST", RUNS, body)] for name, body in posts.items()}
    found["GET of a page of 16 MiB"] = [_request("GET", RUNS)]
    return found


def _bodies() -> dict[str, bytes]:
    """PUT bodies of almost 8 MiB."""
    time_ = b'"timestamp":"2025-01-20T18:53:03.558Z"'
    line, action, tag = b'{"message":"m",%b}' % time_, b'{"id":""}', b'{"key":"a","value":"b"}'
    long = b"x" * (_BODY_BYTES // 4)
    return {
        "log lines": _list(b"logs", line),
        "log lines, the last wrong": _list(b"logs", line, b'{"message":1}'),
        "log lines, all wrong": _list(b"logs", b'{"message":1}'),
        "four long log lines": _list(b"logs", b'{"message":"%b"}' % long),
        "actions": _list(b"actions", action),
        "actions with times": _list(b"actions", b'{"id":"","startTime":"2025-01-20T18:53:03Z"}'),
        "actions, the last wrong": _list(b"actions", action, b'{"id":1}'),
        "actions, all wrong": _list(b"actions", b"0"),
        "tags": _list(b"tags", tag),
        "different tags": _PUT + b'"tags":[%b]}' % b",".join(b'{"key":"%d","value":""}' % n for n in range(100_000)),
        "tags without flowId": _list(b"tags", tag, start=b"{"),
        "tags, all wrong": _list(b"tags", b'{"key":1,"value":2}'),
        "numbers in args": _PUT + b'"args":{"a":[' + b"1," * (_BODY_BYTES // 2) + b"1]}}",
        "empty objects in args": _PUT + b'"args":{"a":[' + b",".join([b"{}"] * (_BODY_BYTES // 3)) + b"]}}",
        "strings in nested args": _PUT + b'"args":{"a":[' + b"[]," * 600 + b'"",' * (_BODY_BYTES // 3 - 700) + b"0]}}",
        "brackets in a string": _PUT + b'"args":{"a":"' + b"[" * _BODY_BYTES + b'"}}',
        "args nested too deep": _PUT + b'"args":{"a":' + b"[" * (_BODY_BYTES // 2) + b"]" * (_BODY_BYTES // 2) + b"}}",
        "text that is not ASCII": _PUT + b'"args":{"a":"' + "日".encode() * (_BODY_BYTES // 3) + b'"}}',
        "unknown fields": _PUT + b",".join(b'"k%07d":1' % number for number in range(_BODY_BYTES // 13)) + b"}",
        "no JSON": b"[" * _BODY_BYTES,
        "no UTF-8": _PUT + b'"args":{"a":"' + b"x" * _BODY_BYTES + b'\xff"}}',
        "log lines without a time": _list(b"logs", b'{"message":""}'),
    }


def _queries() -> dict[str, str]:
    """Queries whose totals must be counted, that scan, or that repeat parameters."""
    times = [f"createdAfter=2020-01-01T00:00:{number % 60:02}Z" for number in range(100)]
    window = "createdAfter=2020-01-01T00:00:00Z&createdBefore=2100-01-01T00:00:00Z"
    tag, flow = "tag=source:github-actions", "flowId=biome.lint-pull-request-titles"
    return {
        "nothing": "?size=50",
        "a tag": f"?{tag}",
        "a tag and a phase": f"?{tag}&phase=failed",
        "two tags": f"?{tag}&tag=branch:main",
        "flows and a tag": f"?{flow}&flowId=x&{tag}",
        "a flow and a window of times": f"?{flow}&{window}",
        "a tag and a window of times": f"?{tag}&{window}",
        "nothing that fits": f"?{tag}&phase=nothing&{window}",
        "a user": "?createdBy=1",
        "a window of times": f"?{window}",
        "100 times": "?" + "&".join(times),
        "100 times and their window": "?" + "&".join([*times, window]),
        "100 flows": "?" + "&".join(f"flowId=flow-{number}" for number in range(100)),
        "100 tags": "?" + "&".join(f"tag=key:{number}" for number in range(100)),
        "32,000 parameters": "?" + "a&" * 30_000,
        "a wrong cursor": "?cursor=" + "x" * 60_000,
    }


def delays(contender: Flowruns) -> tuple[float, dict[str, Delay]]:
    """The longest wait while nothing else is sent, in ms, and the delay of each hostile request."""
    found: dict[str, Delay] = {}
    with contender.serving(OPERATIONS["replace"], 0) as server, _Probes(server) as probes:
        time.sleep(1)  # of nothing else
        quiet = probes.longest()
        for name, connections in requests().items():
            sent = []
            for _ in range(_TIMES):
                _forget(server)
                sent.append(_delay(server, probes, quiet, connections))
            seconds, longest = (statistics.median(one[column] for one in sent) for column in (1, 2))
            found[name] = Delay(sent[0].status, seconds, longest)
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
        for number in itertools.count():
            if self._ended.is_set():
                break
            began = time.perf_counter()
            connection.request("GET", target.format(number))
            connection.getresponse().read()
            self._waits.append(time.perf_counter() - began)
            time.sleep(_PAUSE_SECONDS)  # leaves the processor to the server
        connection.close()


def _forget(server: Server) -> None:
    """Writes a run: after that, the server reads every page anew."""
    connection = http.client.HTTPConnection(server.host)
    connection.request("PUT", f"{RUNS}/small", _PUT[:-1] + b"}", {"Content-Type": "application/json"})
    assert connection.getresponse().status in (200, 201)
    connection.close()


def _delay(server: Server, probes: _Probes, quiet: float, requests: list[bytes]) -> Delay:
    probes.longest()
    began = time.perf_counter()
    host, _, port = server.host.rpartition(":")
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in requests]
        senders = [threading.Thread(target=_send, args=sent) for sent in zip(connections, requests, strict=True)]
        for sender in senders:
            sender.start()
        start = received = connections[0].recv(1024 * 1024)
        if b"text/event-stream" in start:
            time.sleep(_STREAM_SECONDS)  # during which the server reads the past
        else:
            while received:
                received = connections[0].recv(1024 * 1024)
        for sender in senders:
            sender.join()
    seconds = time.perf_counter() - began
    time.sleep(0.1)  # so that waits that began meanwhile are counted
    return Delay(int(start[9:12]), seconds, max(0.0, probes.longest() - quiet))


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except ConnectionError:
        return  # the response came before the end of the request


def _request(method: str, target: str, body: bytes | None = None, headers: str = "") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *filter(None, [headers])]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def _stream(query: str) -> bytes:
    return _request("GET", RUNS + query, None, "Accept: text/event-stream\r\nLast-Event-ID: 0")


def _list(field: bytes, item: bytes, last: bytes | None = None, start: bytes = _PUT) -> bytes:
    items = [item] * (_BODY_BYTES // (len(item) + 1))
    return b'%b"%b":[%b]}' % (start, field, b",".join([*items[:-1], last or item]))
