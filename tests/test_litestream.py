"""Litestream, the real program, keeps a replica of a database that flowruns serves, and restores it.

`python -m tests.faults replica` and `replica-s3` kill both programs more often.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import RUNS
from tests.faults.replicas import (
    CONFIG,
    NAME,
    at_work,
    configure,
    environment,
    kill,
    kill_file,
    kill_s3,
    litestream,
    lost_writes,
    program,
    replicating,
    restore,
    to_file,
)
from tests.processes import ended, output, serving
from tests.test_docs import blocks, installed
from tests.waits import eventually
from tests.wire import RUN, Wire


@pytest.fixture(autouse=True)
def _installed() -> None:
    """Skips a test that needs a program which is not installed."""
    program()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a database, and a configuration that replicates it to another folder."""
    configure(tmp_path, to_file)
    output(tmp_path, "import", "-d", NAME, os.devnull)  # before Litestream starts, as on the page
    return tmp_path


def restored(folder: Path, *args: str) -> list[str]:
    """The ids of the runs of the replica, the oldest first, as of the moment that *args* choose."""
    target = folder / "restored.db"
    target.unlink(missing_ok=True)
    litestream(folder, "restore", "-config", CONFIG, "-o", target.name, *args, str(folder / NAME))
    assert " is ok: " in output(folder, "check", "-d", target.name)
    with closing(sqlite3.connect(target)) as connection:
        return [id for (id,) in connection.execute("select id from run where created_seq > 0 order by created_seq")]


def replicated(folder: Path, id: str) -> None:
    """Returns once the replica has the run *id*."""

    def holds() -> bool:
        try:
            return id in restored(folder)
        except AssertionError:  # there is no replica yet
            return False

    eventually(holds)


def test_killed_server_and_replica_lose_only_the_last_writes_which_then_fit_nothing() -> None:
    assert "always the last ones" in kill_file(1, seed=1)


def test_replica_in_s3_loses_only_the_last_writes_which_then_fit_nothing() -> None:
    assert "always the last ones" in kill_s3(1, seed=1)


def test_end_of_litestream_around_the_server_loses_nothing(folder: Path) -> None:
    server = f"{sys.executable} -m flowruns {NAME} --port 0 --ready json"
    command = [program(), "replicate", "-config", CONFIG, "-exec", server]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            with at_work(json.loads(process.stdout.readline())["url"]) as written:
                eventually(lambda: len(written) > 100)
                process.terminate()
                stdout, stderr = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, stdout) == (0, "")
    assert stderr.count("\n") == 1
    assert "another program reads" in stderr
    restore(folder, folder / "restored.db")
    assert lost_writes(folder / "restored.db", written) == []


def test_server_that_ends_beside_litestream_loses_nothing(folder: Path) -> None:
    with replicating(folder):
        with serving(folder, NAME) as server, Wire(server.url) as wire:
            assert wire.ask("PUT", f"{RUNS}/first", RUN).status == 201
            replicated(folder, "first")
            assert wire.ask("PUT", f"{RUNS}/last", RUN).status == 201
            server.process.terminate()
            code, stderr = ended(server.process)
        assert (code, stderr.count("\n")) == (0, 1)
        assert "another program reads" in stderr
        replicated(folder, "last")


def test_prune_and_vacuum_beside_litestream_are_replicated(folder: Path) -> None:
    (folder / "runs.ndjson").write_text(
        "".join(f'{{"id":"r{n}","flowId":"f","flowType":"automation"}}\n' for n in range(2000))
    )
    output(folder, "import", "-d", NAME, "runs.ndjson")
    with replicating(folder):
        replicated(folder, "r0")
        for command in (["prune", "--older-than", "0s"], ["vacuum"]):
            output(folder, *command, "-d", NAME)
        with serving(folder, NAME) as server, Wire(server.url) as wire:
            assert wire.ask("PUT", f"{RUNS}/after", RUN).status == 201
            replicated(folder, "after")
    assert restored(folder) == ["after"]


def test_replica_is_restored_as_of_a_time(folder: Path) -> None:
    with replicating(folder), serving(folder, NAME) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/early", RUN).status == 201
        replicated(folder, "early")
        between = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        assert wire.ask("PUT", f"{RUNS}/late", RUN).status == 201
        replicated(folder, "late")
    assert restored(folder, "-timestamp", between) == ["early"]
    assert restored(folder) == ["early", "late"]


def test_restored_file_is_served_and_replicated_on(folder: Path) -> None:
    with replicating(folder) as process, serving(folder, NAME) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/before", RUN).status == 201
        replicated(folder, "before")
        kill(server.process, process)
    litestream(folder, "restore", "-config", CONFIG, "-force", str(folder / NAME))
    with replicating(folder), serving(folder, NAME) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/after", RUN).status == 201
        replicated(folder, "after")
    assert restored(folder) == ["before", "after"]


def test_commands_of_the_page_do_what_it_says(folder: Path) -> None:
    around, check, put_back, follow, copy = blocks("copies", "sh")
    (cron,) = blocks("copies", "crontab")
    env = environment() | {"PATH": os.pathsep.join([str(Path(program()).parent), installed(folder)["PATH"]])}

    def command(text: str) -> list[str]:
        return ["sh", "-euc", text.replace("/srv/flowruns", str(folder))]

    def last(text: str) -> str:
        """*text* whose last command takes the place of the shell, to get its signals."""
        return re.sub(r"^(?=litestream)", "exec ", text, flags=re.MULTILINE)

    def run(text: str) -> str:
        done = subprocess.run(command(text), cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(text: str) -> Iterator[subprocess.Popen[str]]:
        """The last command of *text*, which is stopped after the block, even if that fails."""
        served = env | {"FLOWRUNS_PORT": "0"}
        with subprocess.Popen(
            command(last(text)), cwd=folder, env=served, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.communicate()
        assert process.returncode == 0

    with running(around.text) as process:
        assert process.stderr
        url = next(re.findall(r"http://\S+:\d+", line)[0] for line in process.stderr if "http://" in line)
        with Wire(url) as wire:
            assert wire.ask("PUT", f"{RUNS}/a", RUN).status == 201
            run(re.sub(r"^(\S+ ){5}", "", cron.text).replace(r"\%", "%"))
            run(copy.text.replace("http://localhost:8000", url))
    assert len(list(folder.glob("backup-??.db"))) == 1
    for name in ("copy.db", next(folder.glob("backup-??.db")).name):
        assert f"{name} is ok: 1 run" in output(folder, "check", "-d", name)
    (folder / "copy.db").unlink()

    assert run(check.text) == "restored.db is ok: 1 run, 0 deleted, schema 3\n"
    assert (folder / "restored.db").stat().st_mode & 0o777 == 0o600
    run(put_back.text)
    with running(follow.text):
        eventually(lambda: (folder / "copy.db-txid").exists())
        assert "copy.db is ok: 1 run" in output(folder, "check", "-d", "copy.db")
        with replicating(folder), serving(folder, NAME) as server, Wire(server.url) as wire:
            assert wire.ask("PUT", f"{RUNS}/b", RUN).status == 201
            eventually(lambda: " is ok: 2 runs" in output(folder, "check", "-d", "copy.db"))
    assert restored(folder) == ["a", "b"]
