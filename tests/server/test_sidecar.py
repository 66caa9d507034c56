"""flowruns beside another program: real processes that start it, find it, share it, are killed, and end it."""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flowruns.server import sidecar
from flowruns.server.starting import running
from flowruns.settings import Settings
from flowruns.sqlite.lockfile import LockInfo, lock_info, locked
from tests.conftest import RUNS
from tests.faults.sidecars import READY, SIDECAR, Sidecar, at_once, orphaned
from tests.processes import COMMAND, command_with, ended, started
from tests.sqlite.files import unwritable
from tests.waits import HANG
from tests.wire import RUN, Wire, request

# Waits for other servers as long as it takes. For one that is not a flowruns, it keeps `_PORT_SECONDS`.
PATIENT = command_with("flowruns.server.sidecar", _HEALTH_SECONDS=HANG, _REUSE_SECONDS=HANG, _STOP_SECONDS=HANG)
KEYS = ["event", "url", "port", "uds", "pid", "token", "database", "read_only", "version", "api", "instance", "reused"]


@contextmanager
def sidecars(cwd: Path, *args: str, env: Mapping[str, str] | None = None) -> Iterator[Sidecar]:
    with started(cwd, *args, env=env, command=PATIENT) as process:
        yield Sidecar(process)


# The ready line


@pytest.mark.parametrize("stdin", ["/dev/null", "a file", "closed"])
def test_start_that_gets_no_pipe_fails_in_one_line_with_the_cure(tmp_path: Path, stdin: str) -> None:
    (tmp_path / "a file").write_text("text")
    redirection = "<&-" if stdin == "closed" else f"<{shlex.quote(stdin)}"
    command = f"{shlex.join([*COMMAND, 'runs.db', *SIDECAR])} {redirection}"
    process = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=HANG)
    failed = json.loads(process.stdout)
    assert (process.returncode, failed["event"], failed["code"]) == (2, "failed", 2)
    assert failed["message"].startswith("--exit-with-stdin needs a pipe as standard input")
    assert process.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["a file"]


def test_ready_line_is_all_on_stdout_and_true(tmp_path: Path) -> None:
    with sidecars(tmp_path, "a b.db", *SIDECAR) as one:
        line = one.line
        assert list(line) == KEYS
        assert line["url"] == f"http://127.0.0.1:{line['port']}"
        assert line["pid"] == one.process.pid
        assert line["database"] == str(tmp_path / "a b.db")
        assert (line["event"], line["api"], line["reused"]) == ("ready", 1, False)
        assert len(line["token"]) >= 22  # 128 bits
        with Wire(line["url"]) as wire:
            assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 401
            assert wire.ask("PUT", f"{RUNS}/a1", RUN, one.token).json["createdBy"] == 0
            assert wire.ask("GET", "/health", None, one.token).json["instance"] == line["instance"]
        assert one.end() == (0, "")
    assert os.listdir(tmp_path) == ["a b.db"]


def test_ready_line_of_a_server_without_tokens_on_every_address_can_be_used(tmp_path: Path) -> None:
    with sidecars(tmp_path, ":memory:", *READY, "--host", "0.0.0.0", "--anonymous") as one:
        assert one.line["token"] is None
        assert one.line["database"] == ":memory:"
        with Wire(one.line["url"]) as wire:
            wire.send(request("GET", "/health", host=one.line["url"].removeprefix("http://")))
            assert wire.reply().status == 200
        one.process.terminate()
        assert ended(one.process) == (0, "")


def test_made_token_may_name_its_user(tmp_path: Path) -> None:
    with sidecars(tmp_path, ":memory:", *READY, "--token", "auto=7", "--token", "other=8") as one:
        with Wire(one.line["url"]) as wire:
            assert wire.ask("PUT", f"{RUNS}/a1", RUN, one.token).json["createdBy"] == 7
            assert wire.ask("PUT", f"{RUNS}/a1", RUN, "Authorization: Bearer other").json["updatedBy"] == 8
        one.process.terminate()
        assert ended(one.process) == (0, "")


def test_many_at_once_have_ports_and_tokens_of_their_own_and_true_lines(tmp_path: Path) -> None:
    at_once(tmp_path, 4)


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        (("runs.db", "--ready", "json", "--host", "192.0.2.1", "--token", "auto"), 3, "192.0.2.1"),
        ((".", "--ready=json", "--port", "0"), 5, "not a file"),
        (("runs.db", "--ready", "json", "--port", "x"), 2, "--port"),
        (("runs.db", "--reddy", "json", "--ready", "json"), 2, "--ready"),
    ],
)
def test_failed_start_is_a_line_and_the_exit_code(tmp_path: Path, args: tuple[str, ...], code: int, named: str) -> None:
    with started(tmp_path, *args, "--log", "json") as process:
        line = Sidecar(process).line
        found, said = ended(process)
    assert (line["event"], line["code"], found) == ("failed", code, code)
    assert named in line["message"]
    (logged,) = map(json.loads, said.splitlines())
    assert (logged["level"], logged["message"], logged["code"]) == ("error", line["message"], code)


def test_forms_may_come_from_the_environment(tmp_path: Path) -> None:
    env = {"FLOWRUNS_READY": "json", "FLOWRUNS_LOG": "json", "FLOWRUNS_LOG_LEVEL": "info", "FLOWRUNS_REUSE": "1"}
    with sidecars(tmp_path, "--port", "0", env=env) as one:
        with Wire(one.line["url"]) as wire:
            wire.ask("GET", f"{RUNS}?phase=%00")
        with sidecars(tmp_path, "--port", "0", env=env) as other:
            assert other.line == one.line | {"reused": True}
            code, said = ended(other.process)
        (warning,) = map(json.loads, said.splitlines())
        assert (code, warning["level"]) == (0, "warning")
        assert warning["message"].endswith("ignored here: --log-level, --log")
        one.process.terminate()
        code, said = ended(one.process)
    first = json.loads(said.splitlines()[0])
    assert code == 0
    assert first.pop("time").endswith("Z")
    assert first.pop("ms") > 0
    assert first.pop("message").startswith(f"GET {RUNS} 422 ")
    assert first == {"level": "info", "method": "GET", "path": RUNS, "status": 422}
    with sidecars(tmp_path, "--port", "x", env=env) as one:
        assert one.line["code"] == 2


def test_json_log_names_the_url(tmp_path: Path) -> None:
    with started(tmp_path, "runs.db", "--port", "0", "--log", "json") as process:
        assert process.stderr
        line = json.loads(process.stderr.readline())
        assert line["message"] == f"serving runs.db at {line['url']}"
        with Wire(line["url"]) as wire:
            assert wire.ask("GET", RUNS).status == 200
        process.terminate()
        assert ended(process) == (0, "")


# One server for each file


def test_second_start_reuses_the_first_or_ends_with_4(tmp_path: Path) -> None:
    with sidecars(tmp_path, "runs.db", *SIDECAR) as first:
        (tmp_path / "other.db").symlink_to("runs.db")
        for name in ("runs.db", "other.db"):
            with sidecars(tmp_path, name, *SIDECAR) as second:
                assert second.line == first.line | {"reused": True}
                assert ended(second.process) == (0, "")
        with sidecars(tmp_path, "runs.db", *READY) as third:
            assert (third.line["event"], third.line["code"]) == ("failed", 4)
            code, said = ended(third.process)
        assert code == 4
        assert first.line["url"] in said
        assert first.line["token"] not in said
        assert first.end() == (0, "")


def test_options_that_a_reused_server_does_not_heed_are_named(tmp_path: Path) -> None:
    args = ("--token", "secret=7", "--log-level", "info", "--port", "8123")
    with sidecars(tmp_path, "runs.db", *READY, "--token", "auto") as first:
        with sidecars(tmp_path, "runs.db", "--ready", "json", "--reuse", *args) as second:
            code, said = ended(second.process)
        assert (code, second.line) == (0, first.line | {"reused": True})
        cause = "flowruns: --reuse: the server that is running keeps its options"
        assert said == f"{cause}; ignored here: --port, --token, --log-level\n"
        with sidecars(tmp_path, "runs.db", *SIDECAR, env={"FLOWRUNS_TOKENS": "auto"}) as third:
            assert ended(third.process) == (0, "")
    with sidecars(tmp_path, "runs.db", *READY) as first, sidecars(tmp_path, "runs.db", *SIDECAR) as second:
        assert second.line["token"] is None
        assert ended(second.process)[1].endswith("ignored here: --token\n")


def test_of_many_that_start_at_once_one_serves_and_all_have_its_line(tmp_path: Path) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(started(tmp_path, "runs.db", *SIDECAR, command=PATIENT)) for _ in range(5)]
        with ThreadPoolExecutor(5) as pool:
            lines = [one.line for one in pool.map(Sidecar, processes)]
        serving = next(line for line in lines if not line["reused"])
        assert [line | {"reused": False} for line in lines] == [serving] * 5
        assert [line["reused"] for line in lines].count(False) == 1


def test_reuse_on_a_port_of_another_program_fails(tmp_path: Path) -> None:
    with running(Settings(database=":memory:", port=0)) as stranger:
        port = stranger.url.rpartition(":")[2]
        with sidecars(tmp_path, "runs.db", *READY, "--reuse", "--port", port) as one:
            assert (one.line["event"], one.line["code"]) == ("failed", 3)


def test_looking_at_a_lock_does_not_keep_anybody_from_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    (tmp_path / "runs.db.lock").write_text("left by a killed one")
    look = (
        "from flowruns.sqlite.lockfile import lock_info; from pathlib import Path\n"
        f"while True: lock_info(Path({str(path)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", look]) as looking:
        try:
            for number in range(200):
                me = LockInfo(number, "http://here", "x")
                with locked(path, me.text()):
                    assert lock_info(path) == me
                (tmp_path / "runs.db.lock").touch()
        finally:
            looking.kill()


# Its end


@pytest.mark.parametrize("busy", ["idle", "body", "stream", "starting"])
def test_killed_parent_leaves_no_orphan(tmp_path: Path, busy: str) -> None:
    orphaned(tmp_path, "runs.db", busy, random.Random(7))
    assert os.listdir(tmp_path) in ([], ["runs.db"])


# Found and ended by others


def test_status_and_stop(tmp_path: Path) -> None:
    assert _output(tmp_path, "status", "runs.db") == (1, "no server is running for runs.db\n", "")
    assert _output(tmp_path, "stop", "runs.db") == (1, "no server is running for runs.db\n", "")
    with sidecars(tmp_path, "runs.db", *SIDECAR) as one:
        url, pid = one.line["url"], one.line["pid"]
        assert _output(tmp_path, "status", "runs.db") == (0, f"runs.db is served at {url} (pid {pid}, 0 runs)\n", "")
        code, said, _ = _output(tmp_path, "status", "runs.db", "--json")
        assert code == 0
        assert json.loads(said) == {
            "served": True, "database": str(tmp_path / "runs.db"), "read_only": False, "url": url, "pid": pid,
            "version": one.line["version"], "runs": 0, "instance": one.line["instance"], "answers": True,
        }  # fmt: skip
        assert _output(tmp_path, "stop", "runs.db") == (0, f"stopped {url} (pid {pid})\n", "")
        assert one.process.wait() == 0
    assert os.listdir(tmp_path) == ["runs.db"]
    assert json.loads(_output(tmp_path, "status", "runs.db", "--json")[1]) == {"served": False}


def test_ready_line_and_status_name_a_read_only_file(tmp_path: Path) -> None:
    with sidecars(tmp_path, "runs.db", *SIDECAR) as one:
        assert (one.line["read_only"], one.end()) == (False, (0, ""))
    with unwritable(tmp_path / "runs.db"), sidecars(tmp_path, "runs.db", *SIDECAR) as one:
        assert one.line["read_only"] is True
        with sidecars(tmp_path, "runs.db", *SIDECAR) as other:
            assert other.line == one.line | {"reused": True}
        url, pid = one.line["url"], one.line["pid"]
        said = f"runs.db is served at {url} (pid {pid}, 0 runs, read-only)\n"
        assert _output(tmp_path, "status", "runs.db") == (0, said, "")
        assert json.loads(_output(tmp_path, "status", "runs.db", "--json")[1])["read_only"] is True


def test_new_file_in_a_folder_that_cannot_be_written_is_refused_with_the_cure(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with unwritable(folder), sidecars(folder, "runs.db", *READY) as one:
        assert (one.line["event"], one.line["code"]) == ("failed", 5)
        said = f"{folder / 'runs.db'} cannot be used: no file can be created in the folder {folder} \\(.*\\); make"
        assert re.match(said, one.line["message"])
        assert ".lock" not in one.line["message"]


def test_status_of_a_server_with_another_token_reports_a_response(tmp_path: Path) -> None:
    with sidecars(tmp_path, "runs.db", *READY, "--token", "secret=7") as one:
        code, said, _ = _output(tmp_path, "status", "runs.db")
        assert (code, said) == (0, f"runs.db is served at {one.line['url']} (pid {one.line['pid']})\n")


def test_stop_ends_no_process_that_a_stranger_names(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with sidecars(tmp_path, "other.db", *SIDECAR) as other:
        path = tmp_path / "runs.db"
        info = LockInfo(bystander.pid, other.line["url"], "x", "wrong key")
        with locked(path, info.text()), pytest.raises(sidecar.CannotStop, match="is not the server of pid"):
            sidecar.stop(str(path))
        silent = LockInfo(bystander.pid, "http://127.0.0.1:9", "x")
        with locked(path, silent.text()), pytest.raises(sidecar.CannotStop, match="does not respond"):
            sidecar.stop(str(path))
        assert other.process.poll() is None
        assert _output(tmp_path, "stop", "other.db")[0] == 0
    assert bystander.poll() is None
    bystander.communicate(b"\n")


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic x"])
def test_shutdown_is_an_unknown_path_without_the_key(tmp_path: Path, authorization: str | None) -> None:
    with sidecars(tmp_path, "runs.db", *READY) as one, Wire(one.line["url"]) as wire:
        headers = [f"Authorization: {authorization}"] if authorization else []
        assert wire.ask("POST", "/_flowruns/shutdown", b"", *headers).status == 404
        assert wire.ask("GET", "/health").status == 200


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="only POSIX can stop a process for a while")
def test_status_of_a_server_that_does_not_respond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar, "_HEALTH_SECONDS", 0.1)
    monkeypatch.setattr(sidecar, "_STOP_SECONDS", 0.2)
    with sidecars(tmp_path, "runs.db", *READY) as one:
        one.process.send_signal(signal.SIGSTOP)
        found = sidecar.status(str(tmp_path / "runs.db"))
        assert found is not None
        assert found["answers"] is False
        with pytest.raises(sidecar.CannotStop, match=rf"\(pid {one.process.pid}\) does not respond"):
            sidecar.stop(str(tmp_path / "runs.db"))
        one.process.send_signal(signal.SIGCONT)
        assert one.process.wait() == 0


def _output(cwd: Path, *args: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command."""
    done = subprocess.run([*PATIENT, *args], cwd=cwd, capture_output=True, text=True, timeout=HANG)
    return done.returncode, done.stdout, done.stderr


def test_line_of_a_reused_server_has_the_version_of_that_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    info = LockInfo(1, "http://127.0.0.1:9", "x", version="0.0.9")
    monkeypatch.setattr(sidecar, "responds", lambda info: True)
    with locked(tmp_path / "runs.db", info.text()):
        sidecar.start_or_reuse(lambda: None, lines.append, str(tmp_path / "runs.db"))
    assert (json.loads(lines[0])["version"], json.loads(lines[0])["reused"]) == ("0.0.9", True)
