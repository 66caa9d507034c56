"""The transport of the clients: its requests, its errors, and how it resumes streams."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowruns.client.transport import Transport
from flowruns.errors import NotFound, Refused, Unreachable
from flowruns.model.cursors import MAX_PAGE_SIZE
from flowruns.testing import server
from flowruns.testing.server import Flowruns
from tests.client.test_client import StubHandler, stub_server


@pytest.fixture
def client(runs: Flowruns) -> Iterator[Transport]:
    with Transport(runs.url) as client:
        yield client


def docs(source: Transport, **query: Any) -> list[bytes]:
    return [doc for page in source.pages(**query) for doc in page.docs]


def ids(docs: list[bytes]) -> list[str]:
    return [json.loads(doc)["id"] for doc in docs]


# Pages


@pytest.mark.parametrize("limit", [1, MAX_PAGE_SIZE, MAX_PAGE_SIZE + 1])
def test_no_more_than_the_limit_is_returned_or_requested(runs: Flowruns, client: Transport, limit: int) -> None:
    for number in range(MAX_PAGE_SIZE + 5):
        runs.run(f"run-{number}")
    assert len(docs(client, limit=limit)) == limit
    assert runs.requests.count("GET") == -(-limit // MAX_PAGE_SIZE)


def test_documents_are_returned_as_they_are_stored(runs: Flowruns, client: Transport) -> None:
    body = b'{"flowId":"f","flowType":"automation","args":{"b": 1e400,\n "a":-0, "a":"\xc3\xa4\\u00e4"}}'
    runs.client.put("/api/v1/flow-runs/a1", content=body, headers={"Content-Type": "application/json"})
    stored = runs.client.get("/api/v1/flow-runs/a1").content
    assert body[40:-1] in stored
    assert client.get("a1") == stored
    assert docs(client) == [stored]


# One connection


class Counting(StubHandler):
    """Counts its connections, and keeps them open."""

    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self) -> None:
        Counting.connections += 1
        super().setup()

    def do_GET(self) -> None:
        body = b'{"detail": [{"loc": ["path", "id_"], "msg": "", "type": "not_found"}]}'
        self.send_response(404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET


def test_one_connection_is_reused() -> None:
    with stub_server(Counting) as url, Transport(url) as client:
        for method in (client.get, client.delete, client.get):
            with pytest.raises(NotFound):
                method("a1")
        assert Counting.connections == 1


def test_get_is_repeated_after_the_server_closed_the_connection(runs: Flowruns, client: Transport) -> None:
    runs.run("a1")
    client.get("a1")
    runs.drop_connection()
    assert ids([client.get("a1")]) == ["a1"]
    runs.drop_connection(times=2)
    with pytest.raises(Unreachable):
        client.get("a1")


def test_delete_is_never_sent_twice(runs: Flowruns, client: Transport) -> None:
    runs.run("a1")
    client.get("a1")
    runs.drop_connection(done=True)
    with pytest.raises(Unreachable):
        client.delete("a1")
    assert len(runs.assert_called("DELETE", id="a1")) == 1


# Errors


@pytest.mark.parametrize("id", ["nothing", "NO ID", "a/b", "", "%2e", ".."])
def test_id_that_does_not_exist_or_cannot_is_not_found(runs: Flowruns, client: Transport, id: str) -> None:
    for method in (client.get, client.delete, lambda id: next(client.watch(id))):
        with pytest.raises(NotFound):
            method(id)


def test_address_with_a_wrong_path_is_refused(runs: Flowruns) -> None:
    with Transport(f"{runs.url}/health") as client, pytest.raises(Refused, match="nothing at this path"):
        docs(client)


def test_address_may_end_as_the_banner_shows_it(runs: Flowruns) -> None:
    runs.run("a1")
    for ending in ("/api/v1/flow-runs", "/"):
        with Transport(runs.url + ending) as client:
            assert ids(docs(client)) == ["a1"]


# Changes


def test_no_change_is_missed_during_a_restart(path: Path) -> None:
    with server.serve(path) as runs:
        port = int(runs.url.rpartition(":")[2])
        events = Transport(runs.url).watch()
        assert next(events).kind == "open"
        runs.run("a1")
        assert ids([next(events).data]) == ["a1"]
    assert next(events).kind == "lost"
    with server.serve(path, port=port) as runs:
        runs.run("b1")
        assert [next(events).kind, *ids([next(events).data])] == ["open", "b1"]
        runs.run("c1")
        assert ids([next(events).data]) == ["c1"]
