"""Runs of a file: by its server, or straight from it and without a trace."""

import asyncio
import json
import os
import shlex
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import encode

from flowruns.cli.sources import LocalSource
from flowruns.client.transport import Transport
from flowruns.errors import DatabaseInUse, DatabaseUnusable, Invalid, NotFound, Refused
from flowruns.model.cursors import MAX_PAGE_SIZE
from flowruns.model.runs import FlowType, RunPut
from flowruns.store.store import Store
from flowruns.testing import server
from tests.cli.test_main import UNUSABLE, files
from tests.client.test_transport import docs, ids
from tests.conftest import RUNS
from tests.processes import serving, started
from tests.sqlite.test_migrations import restored
from tests.waits import HANG
from tests.wire import Wire, request


@pytest.fixture
def full(path: Path) -> Path:
    """A file with some runs that no server has."""
    with server.serve(path) as runs:
        for number in range(MAX_PAGE_SIZE + 5):
            runs.run(f"run-{number}", phase=("failed", "running")[number % 2], tags={"n": str(number)})
    return path


QUERIES: list[dict[str, Any]] = [
    {}, {"order": "asc"}, {"limit": 3}, {"limit": MAX_PAGE_SIZE + 1}, {"phase": "failed"},
    {"phase": ["failed", "pending"]},
    {"tag": "n:7"}, {"createdBy": 7}, {"flowId": "nothing"}, {"createdAfter": "2001-01-01T00:00:00Z", "limit": 2},
]  # fmt: skip


def test_file_answers_as_its_server_does(full: Path) -> None:
    local = LocalSource(str(full))
    straight = [list(local.pages(**query)) for query in QUERIES]
    with server.serve(full) as runs, Transport(runs.url) as client:
        assert straight == [list(client.pages(**query)) for query in QUERIES]
        assert [list(local.pages(**query)) for query in QUERIES] == straight
        assert local.name == runs.url
        local.close()
    assert len(straight[0][0].docs) == MAX_PAGE_SIZE


def test_reading_leaves_the_file_as_it_is_and_nothing_beside_it(full: Path) -> None:
    before, stat = files(full.parent), full.stat()
    local = LocalSource(str(full))
    assert len(docs(local)) == MAX_PAGE_SIZE + 5
    local.get("run-1")
    events = local.watch("run-1")
    assert [next(events).kind, next(events).data] == ["open", local.get("run-1")]
    assert next(events).kind == "lost"
    with pytest.raises(NotFound):
        local.get("nothing")
    assert files(full.parent) == before
    assert (full.stat().st_mtime_ns, full.stat().st_ino) == (stat.st_mtime_ns, stat.st_ino)


def test_what_a_killed_server_has_left_in_the_log_is_read(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db") as server, Wire(server.url) as wire:
        assert wire.ask("PUT", "/api/v1/flow-runs/a1", b'{"flowId":"f","flowType":"automation"}').status == 201
        server.process.kill()
        server.process.wait()
    local = LocalSource(str(tmp_path / "runs.db"))
    assert [ids(docs(local)), ids(docs(local))] == [["a1"], ["a1"]]
    assert not (tmp_path / "runs.db-wal").exists()  # as after any program that has read it with SQLite


def test_other_programs_may_write_meanwhile(full: Path) -> None:
    """What is read is one state of the file, also where it changes while it is read."""
    done = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(full, isolation_level=None, timeout=HANG)) as connection:
            while not done.is_set():
                connection.execute("update run set doc = doc where created_seq > 0")
                connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            assert len(docs(LocalSource(str(full)))) == MAX_PAGE_SIZE + 5
    finally:
        done.set()
        writer.join()


def test_empty_file_has_no_runs_and_stays_empty(path: Path) -> None:
    path.touch()
    local = LocalSource(str(path))
    assert list(local.pages()) == [([], 0)]
    with pytest.raises(NotFound):
        local.get("a1")
    assert files(path.parent) == {path.name: b""}


@pytest.mark.parametrize(("make", "message"), UNUSABLE)
def test_unusable_file_is_reported_and_not_touched(path: Path, make: Callable[[Path], object], message: str) -> None:
    make(path)
    before = files(path.parent)
    for ask in (lambda local: local.get("a1"), lambda local: local.delete("a1"), lambda local: next(local.watch())):
        with pytest.raises(DatabaseUnusable, match=f"{path.name} .*{message}"):
            ask(LocalSource(str(path)))
    assert files(path.parent) == before


def test_file_that_is_not_there_is_not_made(path: Path) -> None:
    for ask in (lambda local: local.get("a1"), lambda local: local.delete("a1"), lambda local: docs(local)):
        with pytest.raises(DatabaseUnusable, match="flowruns serve"):
            ask(LocalSource(str(path)))
    assert os.listdir(path.parent) == []


def test_older_file_is_left_to_a_server(path: Path) -> None:
    restored(1, path)
    before = files(path.parent)
    with pytest.raises(DatabaseUnusable, match="schema 1; run `flowruns serve`"):
        LocalSource(str(path)).get("a1")
    assert files(path.parent) == before


def test_memory_is_a_servers_own() -> None:
    with pytest.raises(DatabaseUnusable, match="--url"):
        LocalSource(":memory:")


def test_filters_that_break_rules_are_invalid(full: Path) -> None:
    with pytest.raises(Invalid):
        docs(LocalSource(str(full)), flowType="nothing")


def test_run_is_deleted_in_the_file(full: Path) -> None:
    local = LocalSource(str(full))
    local.delete("run-1")
    for ask in (local.get, local.delete):
        with pytest.raises(NotFound):
            ask("run-1")
    assert os.listdir(full.parent) == [full.name]


def test_run_is_deleted_by_the_server_that_has_the_file(full: Path) -> None:
    with server.serve(full, tokens={"secret": 7}) as runs:
        for token in (None, "wrong"):
            with LocalSource(str(full), token) as local, pytest.raises(Refused):
                local.delete("run-1")
        with LocalSource(str(full), "secret") as local:
            local.delete("run-1")
        runs.assert_called("DELETE", id="run-1")


def test_file_that_a_program_has_open_is_read_and_not_written(full: Path, tmp_path: Path) -> None:
    from flowruns.sqlite.lockfile import locked

    with locked(full, "pid 1"):
        local = LocalSource(str(full))
        local.get("run-1")
        with pytest.raises(DatabaseInUse):
            local.delete("run-1")


def test_token_of_a_server_that_made_one_is_found(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db", "--token", "auto=7") as server:
        with LocalSource(str(tmp_path / "runs.db")) as local:
            assert list(local.pages()) == [([], 0)]
        with Wire(server.url) as wire:
            wire.send(request("GET", "/api/v1/flow-runs"))
            assert wire.reply().status == 401


def test_changes_go_on_over_servers_and_without_one(path: Path) -> None:
    with server.serve(path) as runs:
        runs.run("a1")
    local = LocalSource(str(path))
    events = local.watch()
    assert [next(events).kind, next(events).kind] == ["open", "lost"]
    for name in ("b1", "c1"):  # each at a port of its own
        with server.serve(path) as runs:
            runs.run(name)
            assert [next(events).kind, json.loads(next(events).data)["id"]] == ["open", name]
        assert next(events).kind == "lost"
    LocalSource(str(path)).delete("a1")  # without a server
    assert json.loads(next(events).data) == {"id": "a1"}
    local.close()


def test_runs_leave_a_filter_over_servers_and_without_one(path: Path) -> None:
    with server.serve(path) as runs:
        for name in ("a1", "b1"):
            runs.run(name, phase="running")
        runs.run("c1")
    local = LocalSource(str(path))
    events = local.watch(phase="running", after=0)
    assert [(event.kind, event.data[:11]) for event in (next(events) for _ in range(4))] == [
        ("open", b""), ("run", b'{"id":"a1",'), ("run", b'{"id":"b1",'), ("lost", b""),
    ]  # fmt: skip
    with server.serve(path) as runs:
        runs.advance("a1", "failed")
        assert [next(events).kind, next(events)[::2]] == ["open", ("left", b'{"id":"a1"}')]
    assert next(events).kind == "lost"

    async def change() -> None:  # without a server
        async with Store.open(path) as store:
            for id in ("c1", "b1", "a1"):
                await store.put(id, RunPut(flow_id="deploy-web", flow_type=FlowType.AUTOMATION))

    asyncio.run(change())
    assert [next(events)[::2] for _ in "cba"] == [("left", encode({"id": id})) for id in ("c1", "b1", "a1")]
    local.close()


def test_generated_token_is_printed_by_the_command_in_the_log(tmp_path: Path) -> None:
    with serving(tmp_path, "a b.db", "--token", "auto") as server:
        line = server.process.stderr.readline()
        _, command, _ = line.split("`")
        with started(tmp_path, *shlex.split(command)[1:]) as one:
            learned, _ = one.communicate()
        with Wire(server.url) as wire:
            assert wire.ask("GET", RUNS, None, f"Authorization: Bearer {json.loads(learned)['token']}").status == 200
    with serving(tmp_path, ":memory:", "--token", "auto") as server:
        assert "give --ready json" in server.process.stderr.readline()
