"""A load generator for where there is no wrk: `generator.py CONNECTIONS URL FILE`, with replay.lua's file and answer.

It takes about as much time a request as the raw ceiling does, so it tells the fast ones less well apart.
"""

import asyncio
import contextlib
import json
import random
import re
import signal
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import cast

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Connection(asyncio.Protocol):
    """Sends the next of *requests* as soon as the one before is answered; appends what it took, in ms, to *times*."""

    def __init__(self, requests: Iterator[bytes], times: list[float], failures: list[bytes]) -> None:
        self._requests, self._times, self._failures = requests, times, failures
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self._times.append((perf_counter() - self._began) * 1000)
        if not head.startswith(b"HTTP/1.1 2"):
            self._failures.append(head)
        self._received = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._failures.append(repr(error).encode())

    def _send(self) -> None:
        self._began = perf_counter()
        self._transport.write(next(self._requests))


def prepared(file: Path, host: str) -> Iterator[bytes]:
    """The requests of *file* in turn, for ever, from one at random on."""
    lines = file.read_text(encoding="utf-8").splitlines()
    at = random.randrange(len(lines))
    requests = []
    for line in lines[at:] + lines[:at]:
        method, target, body = line.split("\t")
        kind = "Content-Type: application/json\r\n" if body else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{kind}Content-Length: {len(body.encode())}\r\n\r\n"
        requests.append((head + body).encode())
    return cycle(requests)


async def main(connections: int, url: str, file: Path) -> None:
    """Loads the server at *url* until SIGINT, then prints what came of it."""
    host, _, port = url.removeprefix("http://").partition(":")
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    requests, times, failures = prepared(file, host), list[float](), list[bytes]()
    print("ready", file=sys.stderr, flush=True)
    began = perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(requests, times, failures), host, int(port))
    await stop.wait()
    seconds = perf_counter() - began
    times.sort()
    p50, p99 = (times[int(len(times) * part)] for part in (0.5, 0.99)) if times else (0, 0)
    print(json.dumps({"requests": len(times), "seconds": seconds, "failed": len(failures), "p50": p50, "p99": p99}))


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
