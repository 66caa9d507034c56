"""What flowruns answered, for the ceilings to send: bytes for bytes, headers too."""

import http.client
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from tests.benchmarks.processes import Server
from tests.benchmarks.runs import RUNS

_SERVERS_OWN = {"date", "server", "connection", "transfer-encoding"}  # uvicorn adds them


def record(server: Server, lines: Iterable[str], file: Path) -> None:
    """Sends the requests of *lines* to *server*, and writes to *file* the most typical answer to each kind.

    A kind is a method and whether it asks for a run or a page.
    """
    connection = http.client.HTTPConnection(server.host)
    answers: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        method, target, body = line.split("\t")
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, target, body.encode() or None, headers)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status >= 300:
            raise SystemExit(f"flowruns returned {response.status} to {method} {target}: {text}")
        kind = f"{method} run" if target.startswith(RUNS + "/") else f"{method} page"
        kept = [(name.lower(), value) for name, value in response.getheaders() if name.lower() not in _SERVERS_OWN]
        answers.setdefault(kind, []).append({"status": response.status, "headers": kept, "body": text})
    connection.close()
    typical = {kind: _of_mean_size(found[len(found) // 2 :]) for kind, found in answers.items()}
    file.write_text(json.dumps(typical), encoding="utf-8")


def _of_mean_size(answers: list[dict[str, Any]]) -> dict[str, Any]:
    size = mean(len(answer["body"]) for answer in answers)
    return min(answers, key=lambda answer: abs(len(answer["body"]) - size))
