"""What a server begins with: `--seed` and `--demo`."""

import json
import os
import re
import signal
from io import RawIOBase
from pathlib import Path

import pytest

from tests.cli.test_data import lines, names
from tests.conftest import REAL_RUNS, RUNS
from tests.processes import done, ended, ran, serving, started
from tests.wire import Wire


def test_seeds_are_there_before_the_first_response(tmp_path: Path) -> None:
    (tmp_path / "a b").write_text(lines(3))
    with serving(tmp_path, ":memory:", "--seed", str(REAL_RUNS), "--seed", "a b") as server, Wire(server.url) as wire:
        assert "(349 runs)" in server.banner[-1]
        assert wire.ask("GET", RUNS).json["total"] == 349


def test_seed_comes_from_standard_input_and_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(lines(3))
    with serving(tmp_path, "--seed", "-", stdin=lines(2, 2)) as server:
        assert "(2 runs)" in server.banner[-1]
    with serving(tmp_path, env={"FLOWRUNS_SEED": "a"}) as server:
        assert "(4 runs)" in server.banner[-1]


def test_seed_with_errors_is_exit_6_and_the_file_is_unchanged(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text(lines(3) + "{}\n")
    code, said = ran(tmp_path, "a.db", "--port", "0", "--seed", "bad")
    assert code == 6
    assert said.splitlines() == [
        "bad:4: body.flowId: Field required",
        "bad:4: body.flowType: Field required",
        "flowruns: 2 errors in 1 line of 4; nothing was imported",
    ]
    assert names(tmp_path) == ["bad"]  # what was made for it is gone
    (tmp_path / "a.db").touch()
    run = done(tmp_path, "a.db", "--port", "0", "--seed", "bad", "--ready", "json", "--log", "json")
    assert json.loads(run.stdout)["code"] == 6
    assert [json.loads(line)["level"] for line in run.stderr.splitlines()] == ["error"] * 3
    assert names(tmp_path) == ["a.db", "bad"]


@pytest.mark.parametrize("others", [["--exit-with-stdin"], ["--token", "-"]])
def test_standard_input_is_for_one(tmp_path: Path, others: list[str]) -> None:
    code, said = ran(tmp_path, "--seed", "-", *others)
    assert (code, "--seed -" in said) == (2, True)
    assert ran(tmp_path, "--seed", "nowhere")[0] == 2
    assert names(tmp_path) == []


def flood(pipe: RawIOBase) -> None:
    while True:
        pipe.write(lines(2000).encode())


@pytest.mark.skipif(os.name == "nt", reason="named pipes")
def test_server_that_is_stopped_while_it_is_seeded_has_imported_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with started(tmp_path, "a.db", "--port", "0", "--seed", "pipe") as process:
        with (tmp_path / "pipe").open("wb", buffering=0) as pipe:  # a buffer would be written again when it is closed
            pipe.write(lines(2000).encode())
            while not (tmp_path / "a.db-wal").exists():
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            with pytest.raises(BrokenPipeError):
                flood(pipe)
        assert ended(process) == (0, "")
    assert done(tmp_path, "export", "-d", "a.db").stdout == ""


def test_demo_is_in_memory_and_runs_go_on(tmp_path: Path) -> None:
    with serving(tmp_path, "--demo") as server, Wire(server.url) as wire:
        assert "memory, gone at the end" in server.banner[-1]
        assert "runs, demo)" in server.banner[-1]
        etag = wire.ask("GET", RUNS).header(b"etag")
        while wire.ask("GET", RUNS).header(b"etag") == etag:
            assert server.process.poll() is None
        server.process.terminate()
        assert ended(server.process) == (0, "")
    assert names(tmp_path) == []


def test_demo_is_in_the_database_that_is_named(tmp_path: Path) -> None:
    with serving(tmp_path, "a.db", "--demo") as server:
        assert re.search(r"a\.db \(\d+ runs, demo\)", server.banner[-1])
        server.process.terminate()
        assert ended(server.process) == (0, "")
    assert names(tmp_path) == ["a.db"]
    assert done(tmp_path, "check", "-d", "a.db").code == 0


def test_demo_leaves_runs_that_exist_as_they_are(tmp_path: Path) -> None:
    shown = []
    for _ in range(2):
        with serving(tmp_path, "a.db", "--demo"):
            shown.append(done(tmp_path, "get", "deploy-shop-1", "-d", "a.db", "--json").stdout)
    assert shown[0] == shown[1] != ""
