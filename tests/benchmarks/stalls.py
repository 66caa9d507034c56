"""How long the event loop stands still: what an answer that needs no database waits while others write and read."""

import http.client
import math
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.contenders import Contender
from tests.benchmarks.load import load
from tests.benchmarks.operations import OPERATIONS
from tests.benchmarks.processes import Server

_CONNECTIONS = 16
_MIXED, _DELETES = 72_000, 8_000  # more than are sent, as a run goes but once
_PAUSE_SECONDS = 0.001


class Waits(NamedTuple):
    """What the waits were, in ms: half are below *p50*, one in a thousand above *p999*."""

    p50: float
    p999: float
    longest: float


def waits(contenders: Sequence[Contender], seconds: float, folder: Path) -> dict[str, Waits]:
    """The waits at each of the *contenders* under a mixed load, one request in ten a DELETE, by name."""
    found = {}
    for contender in contenders:
        with contender.serving(OPERATIONS["mixed"], _DELETES) as server:
            known = contender.known(server, _DELETES)
            requests = folder / "requests"
            lines = [OPERATIONS["mixed"].line(known) for _ in range(_MIXED)]
            lines += [OPERATIONS["delete"].line(known) for _ in range(_DELETES)]
            random.shuffle(lines)
            requests.write_text("\n".join(lines), encoding="utf-8")
            others = threading.Thread(target=load, args=(server, requests, _CONNECTIONS, seconds))
            others.start()
            found[contender.name] = _asked(server, others)
            others.join()
    return found


def _asked(server: Server, while_alive: threading.Thread) -> Waits:
    """The waits of requests for a path that is not there, one after the other."""
    connection = http.client.HTTPConnection(server.host)
    took = []
    while while_alive.is_alive():
        began = time.perf_counter()
        connection.request("GET", "/nothing")
        connection.getresponse().read()
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(_PAUSE_SECONDS)  # so that asking is no load of its own
    connection.close()
    took.sort()
    return Waits(took[len(took) // 2], took[math.ceil(len(took) * 0.999) - 1], took[-1])
