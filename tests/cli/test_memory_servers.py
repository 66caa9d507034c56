"""Commands and servers in memory: what is found without a name, and what is asked to be named."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

import flowruns
from flowruns.server.registry import memory_servers
from flowruns.testing import server
from tests.conftest import RUNS
from tests.processes import done, ended, serving
from tests.wire import RUN, Wire


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of servers in memory, of this test only."""
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return tmp_path / "runtime" / "flowruns"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder in which commands run."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def put(url: str, id: str) -> None:
    with Wire(url) as wire:
        assert wire.ask("PUT", f"{RUNS}/{id}", RUN).status == 201


def test_commands_find_the_demo(here: Path, registry: Path) -> None:
    with serving(here, "--demo") as demo:
        note = f"flowruns: using the server in memory at {demo.url}\n"
        listed = done(here, "ls", "--json", "--limit", "0")
        assert (listed.code, listed.stderr) == (0, note)
        assert len(listed.stdout.splitlines()) >= 90
        id = json.loads(listed.stdout.splitlines()[0])["id"]
        assert done(here, "get", id).stdout.splitlines()[0] == id
        assert done(here, "rm", id) == (0, f"deleted {id}\n", note)
        exported = done(here, "export", "--flow-type", "scorecard")
        assert exported.stderr == note
        assert {json.loads(line)["flowType"] for line in exported.stdout.splitlines()} == {"scorecard"}
        assert re.fullmatch(r"a\.ndjson: \d+ runs\n", done(here, "export", "-o", "a.ndjson").stdout)
        assert done(here, "import", "a.ndjson", "-d", "b.db").code == 0
        status = done(here, "status")
        assert re.fullmatch(
            rf":memory: is served at {demo.url} \(pid {demo.process.pid}, \d+ runs\)\n", status.stdout
        ), status
        shown = json.loads(done(here, "status", "--json").stdout)
        assert (shown["served"], shown["database"], shown["url"]) == (True, ":memory:", demo.url)
        assert done(here, "stop") == (0, f"stopped {demo.url} (pid {demo.process.pid})\n", note)
        assert ended(demo.process) == (0, "")
    assert not registry.exists()
    assert sorted(os.listdir(here)) == ["a.ndjson", "b.db"]


def test_made_token_of_a_server_in_memory_is_found(here: Path) -> None:
    with serving(here, ":memory:", "--token", "auto=7", "--seed", "-", stdin="") as memory:
        listed = done(here, "ls")
        assert (listed.code, f"there are no runs in {memory.url}" in listed.stderr) == (1, True)


def test_server_in_memory_comes_before_a_file_without_a_server_but_for_exports(here: Path) -> None:
    with server.serve(here / "flowruns.db") as runs:
        runs.run("a1")
    with serving(here, ":memory:") as memory:
        note = f"flowruns: using the server in memory at {memory.url}; for the file, add -d flowruns.db\n"
        put(memory.url, "b1")
        listed = done(here, "ls", "--json")
        assert (json.loads(listed.stdout)["id"], listed.stderr) == ("b1", note)
        assert json.loads(done(here, "ls", "--json", "-d", "flowruns.db").stdout)["id"] == "a1"
        named = f":memory: is served at {memory.url} (pid {memory.process.pid}, 1 run)\n"
        assert done(here, "status") == (0, named, note)
        assert done(here, "status", "--url", memory.url) == (0, named, "")
        exported = done(here, "export")
        note = f"flowruns: using the file flowruns.db; for a server in memory, add --url {memory.url}\n"
        assert (json.loads(exported.stdout)["id"], exported.stderr) == ("a1", note)
        with serving(here, ":memory:") as other:
            listed = done(here, "ls", "--json")
            assert json.loads(listed.stdout)["id"] == "a1"
            assert all(f"--url {server.url}" in listed.stderr for server in (memory, other))


def test_server_of_the_file_in_the_folder_is_used_without_a_word(here: Path) -> None:
    with serving(here, ":memory:"), serving(here) as served:
        put(served.url, "a1")
        assert json.loads(done(here, "ls", "--json").stdout)["id"] == "a1"
        assert done(here, "ls").stderr == ""
        assert done(here, "stop") == (0, f"stopped {served.url} (pid {served.process.pid})\n", "")
        assert ended(served.process) == (0, "")


def test_several_servers_in_memory_are_named(here: Path) -> None:
    with serving(here, ":memory:") as one, serving(here, ":memory:") as two:
        put(one.url, "a1")
        for args in (["ls"], ["get", "a1"], ["rm", "a1"], ["tail"], ["export"], ["status"], ["stop"]):
            run = done(here, *args)
            assert (run.code, run.stdout, run.stderr.count("\n")) == (2, "", 1)
            assert all(f"--url {server.url}" in run.stderr for server in (one, two))
        for args in (["ls", "--json"], ["export"]):
            assert json.loads(done(here, *args, "--url", one.url).stdout)["id"] == "a1"
        assert done(here, "export", "-d", "x.db", "--url", one.url).code == 2
        assert done(here, "stop", "--url", f"{one.url}/").stdout == f"stopped {one.url} (pid {one.process.pid})\n"
        assert [memory.info.url for memory in memory_servers()] == [two.url]
        assert done(here, "stop", "--url", one.url).code == 1
        assert done(here, "stop", "x.db", "--url", one.url).code == 2


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (["-d", "other.db"], {}), (["-d", "flowruns.db"], {}), ([], {"FLOWRUNS_DATABASE": "flowruns.db"}),
        (["--url", "http://127.0.0.1:1"], {}), ([], {"FLOWRUNS_URL": "http://127.0.0.1:1"}),
    ],
)  # fmt: skip
def test_source_that_is_named_is_not_replaced_by_a_server_in_memory(
    here: Path, args: list[str], env: dict[str, str]
) -> None:
    with serving(here, ":memory:") as memory:
        put(memory.url, "a1")
        for command in (["ls"], ["get", "a1"], ["rm", "a1"]):
            run = done(here, *command, *args, env=env)
            assert (run.code, run.stdout) == (3 if "1:1" in f"{args}{env}" else 5, "")
            assert memory.url not in run.stderr
        with Wire(memory.url) as wire:
            assert wire.ask("GET", f"{RUNS}/a1").status == 200


def test_memory_can_be_named(here: Path) -> None:
    run = done(here, "ls", "-d", ":memory:")
    assert (run.code, "no server of yours is running in memory" in run.stderr) == (5, True)
    assert done(here, "status", ":memory:") == (1, "no server is running for :memory:\n", "")
    with server.serve(here / "flowruns.db"), serving(here, ":memory:") as memory:
        put(memory.url, "a1")
        for args, env in ((["-d", ":memory:"], {}), ([], {"FLOWRUNS_DATABASE": ":memory:"})):
            run = done(here, "ls", "--json", *args, env=env)
            assert (json.loads(run.stdout)["id"], run.stderr) == ("a1", "")
        assert done(here, "stop", ":memory:").code == 0


def test_killed_server_in_memory_is_forgotten(here: Path, registry: Path) -> None:
    with serving(here, ":memory:") as memory:
        assert len(os.listdir(registry)) == 1
        memory.process.send_signal(signal.SIGKILL)
        memory.process.wait()
        assert len(os.listdir(registry)) == 1
        run = done(here, "ls")
        assert (run.code, "there is no database" in run.stderr) == (5, True)
        assert not registry.exists()
    assert os.listdir(here) == []


def test_server_in_memory_without_a_private_folder_serves_unregistered(here: Path, registry: Path) -> None:
    registry.write_text("")
    with serving(here, ":memory:") as memory:
        put(memory.url, "a1")
        assert done(here, "ls").code == 5
        memory.process.terminate()
        assert ended(memory.process) == (0, "")


def test_only_the_command_registers(here: Path, registry: Path) -> None:
    with server.serve(), flowruns.serve(":memory:"):
        assert memory_servers() == []
    with serving(here, "runs.db"):
        assert memory_servers() == []
    assert not registry.exists()
