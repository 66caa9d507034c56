"""What flowruns promises under faults, on real processes. `python -m tests.faults` does the same for longer."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from flowruns.errors import NotFound, Unavailable
from flowruns.model.runs import FlowType, Log, RunPut
from flowruns.server.starting import running
from flowruns.settings import Settings
from flowruns.sqlite.datafile import APPLICATION_ID
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.faults import crashes, players, power, soak, streams
from tests.faults.__main__ import main
from tests.faults.clients import Findings, Writer, crew, each
from tests.faults.crashes import NAME, end, ended_by, kill, stop
from tests.faults.databases import Small, full, held, leave_room, locked, mounted, reads, size_limit, small_disk
from tests.faults.streams import Follower, Place, Row
from tests.processes import command_with, done, ended, serving, started
from tests.sqlite.files import contents, unwritable
from tests.streams import Event, Stream
from tests.waits import HANG
from tests.wire import RUN, Wire, ping, request


def test_nothing_acknowledged_is_lost_to_kill_9() -> None:
    assert "0 lost" in kill(2, seed=1)


def test_nothing_acknowledged_is_lost_to_a_power_cut() -> None:
    assert "0 lost" in power.cut(2, seed=1)


def test_what_is_not_flushed_is_lost_to_a_power_cut() -> None:
    with pytest.raises(AssertionError, match="is gone, with write|is of write"):
        power.cut(20, 1, "--synchronous", "normal")


def test_nothing_acknowledged_is_lost_at_the_end() -> None:
    assert "0 lost" in stop(2, seed=1)


def test_runs_that_are_played_beside_other_writers_are_not_lost_and_not_overwritten() -> None:
    assert "0 lost, 0 twice" in players.run(40, seed=1, speed=200)


@pytest.mark.parametrize("small", [small_disk, size_limit])
def test_full_disk_refuses_writes_until_there_is_room(small: Small) -> None:
    assert "0 lost" in full(2, seed=8, small=small)  # which draws little room, soon taken


@pytest.mark.parametrize(
    "args", [["--port", "0"], ["runs.db", "--port", "0", "--ready", "json"], ["vacuum", "-d", "runs.db"]]
)
def test_command_on_a_full_disk_is_one_line(args: list[str]) -> None:
    with mounted() as folder:
        assert done(folder, "import", "-d", "runs.db", "-", stdin="").code == 0
        leave_room(folder, 0)
        run = done(folder, *args)
        assert (run.code, run.stderr.count("\n"), "No space left" in run.stderr) == (5, 1, True), run.stderr
        assert sorted(path.name for path in folder.iterdir()) == ["ballast", "runs.db"]
        if "json" in args:
            assert json.loads(run.stdout)["code"] == 5


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(
    ("args", "stdout"),
    [
        (["ls", "--json"], '{"id":"a1",'), (["get", "a1", "--json"], '{"id":"a1",'), (["export"], '{"id":"a1",'),
        (["check"], "runs.db is ok: 1 run, 0 deleted"), (["backup", "../copy.db"], "../copy.db: "),
    ],
)  # fmt: skip
def test_runs_are_read_on_a_full_disk(tmp_path: Path, killed: bool, args: list[str], stdout: str) -> None:
    with mounted(tmp_path) as folder:
        with serving(folder, "runs.db") as server, Wire(server.url) as wire:
            assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
            server.process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
            server.process.wait()
        (folder / "runs.db-shm").unlink(missing_ok=True)
        leave_room(folder, 0)
        run = done(folder, *args, "-d", "runs.db")
        assert (run.code, run.stderr) == (0, "")
        assert run.stdout.startswith(stdout)
        assert not (folder / "runs.db-shm").exists()


@pytest.mark.parametrize("part", ["folder", "file"])
def test_what_cannot_be_written_is_served_to_readers(tmp_path: Path, part: str) -> None:
    assert done(tmp_path, "import", "-d", "runs.db", "-", stdin=f'{{"id":"a1",{RUN.decode()[1:]}\n').code == 0
    with unwritable(tmp_path if part == "folder" else tmp_path / "runs.db"):
        with serving_readers(tmp_path) as url, Wire(url) as wire, Stream(url) as stream:
            assert stream.position > 0
            for target in ("/health", f"{RUNS}/a1"):
                assert wire.ask("GET", target).status == 200
            assert wire.ask("GET", f"{RUNS}?phase=pending").json["total"] == 1
            for method, body in (("PUT", RUN), ("DELETE", None)):
                reply = wire.ask(method, f"{RUNS}/a1", body)
                assert reply.details(503) == [(("database",), "unavailable")]
        assert os.listdir(tmp_path) == ["runs.db"]


@contextmanager
def serving_readers(folder: Path) -> Iterator[str]:
    """The address of a server of runs.db, which is read-only and says so."""
    with started(folder, "runs.db", "--port", "0", "--ready", "json") as process:
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()
        code, said = ended(process)
        assert (code, said.count("\n"), "read-only: writes are refused" in said) == (0, 1, True), said


@pytest.mark.parametrize(
    ("state", "message"), [("a WAL", "copy it with its -wal and .lock files to"),
                           ("older", "with schema 1"), ("empty", "is empty, and is read-only")],
)  # fmt: skip
def test_what_cannot_be_served_read_only_is_refused_in_one_line(tmp_path: Path, state: str, message: str) -> None:
    file = tmp_path / "runs.db"
    file.touch()
    if state == "a WAL":
        with serving(tmp_path, "runs.db") as server, Wire(server.url) as wire:
            assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
            server.process.kill()
            server.process.wait()
    elif state == "older":
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript((Path(__file__).parent / "data" / "schema_1.sql").read_text("utf-8"))
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute("pragma user_version = 1")
    before = contents(tmp_path)
    with unwritable(tmp_path):
        run = done(tmp_path, "runs.db", "--port", "0")
        assert (run.code, run.stderr.count("\n"), message in run.stderr) == (5, 1, True), run.stderr
    assert contents(tmp_path) == before


# SQLite's index of the log (FILE-shm) grows by 32 KiB after 4,062 pages of log, which lie there whole by then.
_PAGE_IN_LOG = 4096 + 24
_FIRST_PAGES = 4062


@pytest.mark.parametrize("pages", range(26, 36))
async def test_write_refused_since_the_index_of_the_log_is_full_is_not_found_after_a_crash(
    pages: int, tmp_path: Path
) -> None:
    body = RunPut(flow_id="deploy", flow_type=FlowType.AUTOMATION, logs=[Log(message="x" * 8000)])
    ids = (f"a{number}" for number in count())
    with mounted() as folder:
        file, log = folder / NAME, folder / f"{NAME}-wal"
        async with Store.open(file) as store:
            while not log.exists() or log.stat().st_size < (_FIRST_PAGES - 20) * _PAGE_IN_LOG:
                await store.put(next(ids), body)
            leave_room(folder, pages * 4096)
            refused = await _first_refused(store, ids, body)
            total = await store.count()
            # As they are when the process is killed now; by another one, as to close them here ends SQLite's locks.
            await asyncio.to_thread(subprocess.run, ["cp", file, log, tmp_path], check=True)
            (folder / "ballast").unlink()
    async with Store.open(tmp_path / NAME) as store:
        assert await store.count() == total
        with pytest.raises(NotFound):
            await store.get(refused)


async def _first_refused(store: Store, ids: Iterator[str], body: RunPut) -> str:
    for id in ids:
        try:
            await store.put(id, body)
        except Unavailable:
            return id
    raise AssertionError


def test_lock_of_another_process_holds_up_nothing_but_writes() -> None:
    assert "0 lost" in locked(1, seed=1)


def test_followers_miss_nothing_over_kill_9_and_ends() -> None:
    assert " 0 missed of " in streams.run(300, seed=1)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what a process holds is looked up in Linux's /proc")
def test_mixed_load_leaves_nothing_behind() -> None:
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    soak.run(4, seed)


def test_what_a_follower_missed_is_found() -> None:
    follower = Follower("some phases", random.Random(1), slow=False)
    run = {"id": "a", "phase": "failed"}
    follower._take(Event(3, "run", json.dumps(run)))
    rows = {"a": Row(3, run, "failed", []), "b": Row(4, None, "succeeded", [])}
    assert follower.missed(rows, Place()) == []
    for number, seen in ((5, run), (3, {**run, "phase": "running"})):
        assert len(follower.missed({"a": Row(number, seen, "running", [])}, Place())) == 1
    for row in (Row(3, None, "failed", []), Row(4, run, "succeeded", [])):  # which it should no longer hold
        assert any("holds a" in said for said in follower.missed({"a": row}, Place()))
    follower._take(Event(4, "left", '{"id":"a"}'))
    assert follower.missed({"a": Row(4, run, "succeeded", [])}, Place()) == []
    assert len(follower.missed({"c": Row(4, None, "failed", [])}, Place())) == 1
    for event in (Event(4, "deleted", '{"id":"a"}'), Event(9, "resync", "{}")):
        with pytest.raises(AssertionError, match="received"):
            follower._take(event)


def test_broken_promise_is_exit_code_1_and_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(rounds: int, seed: int) -> str:
        raise AssertionError(f"2 lost in {rounds} rounds:\nw1-7 is gone")

    monkeypatch.setattr(crashes, "kill", broken)
    monkeypatch.setattr(sys, "argv", ["faults", "kill", "--seed", "7"])
    assert main() == 1
    assert capsys.readouterr() == ("kill: BROKEN: 2 lost in 50 rounds: w1-7 is gone (--seed 7)\n", "")


@pytest.mark.parametrize(
    ("method", "deleted", "found"),
    [("DELETE", False, "1 lost"), ("PUT", False, "1 lost"), ("PUT", True, "1 deletes undone")],
)
def test_loss_is_found(tmp_path: Path, method: str, deleted: bool, found: str) -> None:
    writer = Writer("w", seed=1)
    with running(Settings(database=str(tmp_path / NAME), port=0)) as server, Wire(server.url) as wire:
        while len({kept is None for kept in writer.runs.values()}) < 2:
            writer.write(wire)
        Findings().check(server.url, tmp_path / NAME, [writer])
        id = next(id for id, kept in writer.runs.items() if (kept is None) == deleted)
        wire.ask(method, f"{RUNS}/{id}", RUN if method == "PUT" else None)
        with pytest.raises(AssertionError, match=f"{found}.*: {id} "):
            Findings().check(server.url, tmp_path / NAME, [writer])


def _write_some(url: str, writer: Writer) -> None:
    with Wire(url) as wire:
        for _ in range(3):
            writer.write(wire)


def _refused(url: str, writer: Writer) -> None:
    with Wire(url) as wire:
        assert writer.write(wire, refusable=True).status == 503
        assert wire.ask("GET", RUNS).status in (200, 503)


def test_no_write_into_a_removed_file_is_acknowledged(tmp_path: Path) -> None:
    writers = crew(4, seed=1)
    with serving(tmp_path, NAME) as server:
        each(writers, partial(_write_some, server.url))
        (tmp_path / NAME).unlink()
        each(writers, partial(_refused, server.url))
        ended_by(server.process, signal.SIGTERM)
    assert NAME not in os.listdir(tmp_path)


def test_file_in_place_of_the_one_that_is_served_is_not_touched(tmp_path: Path) -> None:
    file, other = tmp_path / NAME, tmp_path / "other.db"
    others, writers = crew(1, seed=2), crew(4, seed=1)
    with serving(tmp_path, other.name) as server:
        each(others, partial(_write_some, server.url))
        end(server.process, other)
    before = other.read_bytes()
    with serving(tmp_path, NAME) as server:
        each(writers, partial(_write_some, server.url))
        other.replace(file)
        each(writers, partial(_refused, server.url))
        ended_by(server.process, signal.SIGTERM)
    assert file.read_bytes() == before
    with serving(tmp_path, NAME) as server:
        Findings().check(server.url, file, others)
        end(server.process, file)


IMPATIENT = command_with("flowruns.server.server", _STOP_SECONDS=0.2)


def test_write_that_is_refused_as_the_server_ends_is_not_done(tmp_path: Path) -> None:
    options = (NAME, "--lock-timeout", str(HANG))
    with serving(tmp_path, *options, command=IMPATIENT) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/a0", RUN).status == 201
        with held(tmp_path / NAME) as release:
            wire.send(request("PUT", f"{RUNS}/a1", RUN))
            ping(server.url)
            assert len(list(reads(server.url, "a0"))) == 4  # which do not wait for the lock
            server.process.terminate()
            answer = wire.rest()
            release()
        assert ended(server.process)[0] == 0
    with serving(tmp_path, NAME) as server:
        done = "(2 runs)" in server.banner[-1]
    assert not (done and answer), "a write that was done is not refused"
