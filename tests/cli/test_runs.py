"""The commands about runs, as processes and in a terminal."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowruns.cli.main import main
from flowruns.terminal.text import local_time
from flowruns.testing import server
from flowruns.testing.server import Flowruns
from tests.cli.terminals import in_terminal, posix, shown
from tests.cli.test_main import files, one_line
from tests.conftest import RUNS
from tests.processes import Process, serving, started
from tests.wire import Wire


@pytest.fixture
def runs(path: Path) -> Iterator[Flowruns]:
    """A server of `flowruns.db`, which commands in its folder use by default."""
    with server.serve(path) as runs:
        yield runs


class Result:
    """The output and the exit code of a command."""

    def __init__(self, capfd: pytest.CaptureFixture[str], *args: str) -> None:
        self.code = main(list(args))
        self.out, self.err = capfd.readouterr()
        self.lines = self.out.splitlines()


# ls


def test_runs_are_listed_newest_first(runs: Flowruns, capfd: pytest.CaptureFixture[str]) -> None:
    runs.run("a1", phase="failed")
    runs.run("b1", flowId="other")
    result = Result(capfd, "ls")
    assert [line.split()[0] for line in result.lines] == ["PHASE", "pending", "failed"]
    assert [line.split()[-1] for line in result.lines] == ["ID", "b1", "a1"]
    assert (result.code, result.err) == (0, "")
    assert [line.split()[-1] for line in Result(capfd, "ls", "--order", "asc").lines] == ["ID", "a1", "b1"]


def test_json_is_the_documents_as_they_are_stored(runs: Flowruns, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a1", "b1"):
        runs.run(name, logs=3, args={"é": ["\x1b", "🙂"]})
    stored = [runs.client.get(f"{RUNS}/{name}").text for name in ("b1", "a1")]
    assert Result(capfd, "ls", "--json").lines == stored
    assert Result(capfd, "get", "a1", "--json").lines == stored[1:]


@pytest.mark.parametrize("served", [True, False])
def test_table_needs_only_the_fields_that_it_shows(
    path: Path, capfd: pytest.CaptureFixture[str], *, served: bool
) -> None:
    with server.serve(path) as runs:
        runs.run("a1", phase="failed", args={"text": "x"}, startTime="2025-01-20T18:53:03Z")
        if served:
            lines = Result(capfd, "ls").lines
            (request,) = runs.requests
            assert request.query["fields"] == ["id,flowId,phase,startTime,endTime"]
            assert Result(capfd, "ls", "--json").code == 0
            assert "fields" not in runs.requests[-1].query
    if not served:
        lines = Result(capfd, "ls").lines
    assert re.fullmatch(r"failed  deploy-web  2025-01-20 \d\d:53(Z|[+-]\d\d:\d\d)  .*  a1", lines[-1])


def test_limit_is_reported(runs: Flowruns, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(120):
        runs.run(f"run-{number}")
    result = Result(capfd, "ls", "--json")
    assert (len(result.lines), one_line(result.err)) == (50, "flowruns: 50 of 120 runs; --limit 0 shows all\n")
    result = Result(capfd, "ls", "--limit", "0", "--json")
    assert (len(result.lines), result.err) == (120, "")


FILTERS = [
    (["--phase", "failed"], {"a"}), (["--phase", "failed", "--phase", "running"], {"a", "b"}),
    (["--flow-id", "other"], {"c"}), (["--flowId", "other"], {"c"}), (["--flowId=other"], {"c"}),
    (["--flow-type", "scorecard"], {"b"}), (["--flowType", "scorecard"], {"b"}), (["--tag", "env:x:y"], {"c"}),
    (["--created-by", "7"], {"a"}), (["--createdAfter", "2025-01-20T19:00:01+01:00"], {"c"}),
    (["--created-before", "2025-01-20T18:00:01Z"], {"a"}),
    (["--created-after", "2025-01-20"], {"a", "b", "c"}), (["--created-after", "2025-01-21"], set()),
    (["--created-before", "2025-01-20"], set()), (["--createdBefore=2025-01-21"], {"a", "b", "c"}),
    (["--phase", "failed", "--flow-id", "other"], set()),
]  # fmt: skip


@pytest.mark.parametrize("served", [True, False])
def test_filters_of_the_api_are_options(path: Path, capfd: pytest.CaptureFixture[str], served: bool) -> None:
    with server.serve(path) as runs:
        runs.freeze("2025-01-20T18:00:00Z", step_ms=1000)
        runs.run("a", phase="failed", by=7)
        runs.run("b", phase="running", flowType="scorecard")
        runs.run("c", flowId="other", tags={"env": "x:y"})
        if served:
            _check_filters(capfd)
    _check_filters(capfd)


def _check_filters(capfd: pytest.CaptureFixture[str]) -> None:
    for args, chosen in FILTERS:
        result = Result(capfd, "ls", "--json", *args)
        assert {json.loads(line)["id"] for line in result.lines} == chosen, args
        assert result.code == (0 if chosen else 1)
        assert result.err == ("" if chosen else "flowruns: no run matches\n")


def test_no_runs_are_exit_1(runs: Flowruns, capfd: pytest.CaptureFixture[str]) -> None:
    result = Result(capfd, "ls")
    assert (result.code, result.out, result.err) == (1, "", f"flowruns: there are no runs in {runs.url}\n")


def test_file_without_a_server_is_listed_and_left_as_it_is(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with server.serve(path) as runs:
        runs.run("a1")
    before = files(path.parent)
    assert Result(capfd, "ls").lines[1].endswith(" a1")
    assert Result(capfd, "get", "a1").lines[0] == "a1"
    assert files(path.parent) == before


# get and rm


def test_run_is_shown_whole(runs: Flowruns, capfd: pytest.CaptureFixture[str]) -> None:
    run = runs.run("a1", phase="failed", actions=2, logs=2)
    result = Result(capfd, "get", "a1")
    assert (result.code, result.err, result.lines[0]) == (0, "", "a1")
    assert [line.split()[0] for line in result.lines if line][1:] == [
        "phase", "flow", "started", "ended", "took", "created", "updated", "tags", "args", "outputs", "ACTION",
        *(action.id for action in run.actions or []), *(local_time(log.timestamp)[:10] for log in run.logs or []),
    ]  # fmt: skip


@pytest.mark.parametrize("served", [True, False])
def test_runs_are_deleted_and_those_that_are_not_there_are_named(
    path: Path, capfd: pytest.CaptureFixture[str], served: bool
) -> None:
    with server.serve(path) as runs:
        for name in ("a1", "b1", "c1"):
            runs.run(name)
        if served:
            result = Result(capfd, "rm", "a1", "nothing", "b1")
    if not served:
        result = Result(capfd, "rm", "a1", "nothing", "b1")
    assert (result.code, result.lines) == (1, ["deleted a1", "deleted b1"])
    assert "'nothing'" in one_line(result.err)
    result = Result(capfd, "get", "a1")
    assert (result.code, result.out) == (1, "")
    assert "'a1'" in one_line(result.err)
    assert Result(capfd, "rm", "c1").code == 0
    assert os.listdir(path.parent) == [path.name]


# Sources


def test_source_is_an_address_or_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with server.serve(tmp_path / "one.db") as one, server.serve(tokens={"secret": 7}) as two:
        one.run("one")
        two.run("two")
        for args, env, found in (
            (["-d", "one.db"], {}, "one"), ([], {"FLOWRUNS_DATABASE": "one.db"}, "one"),
            (["--url", two.url, "--token", "secret"], {}, "two"),
            (["--url", f"{two.url}{RUNS}"], {"FLOWRUNS_TOKEN": "secret"}, "two"),
            ([], {"FLOWRUNS_URL": two.url, "FLOWRUNS_TOKEN": "secret"}, "two"),
            (["-d", "one.db"], {"FLOWRUNS_URL": two.url}, "one"),
            (["--url", two.url, "--token", "secret"], {"FLOWRUNS_DATABASE": "one.db"}, "two"),
        ):  # fmt: skip
            with pytest.MonkeyPatch.context() as patch:
                for name, value in env.items():
                    patch.setenv(name, value)
                assert [json.loads(line)["id"] for line in Result(capfd, "ls", "--json", *args).lines] == [found]


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        (["ls", "--url", "http://127.0.0.1:1"], 3, "http://127.0.0.1:1 cannot be reached"),
        (["tail", "--url", "http://127.0.0.1:1"], 3, "http://127.0.0.1:1 cannot be reached"),
        (["ls", "-d", "missing.db"], 5, "missing.db"), (["rm", "a1", "-d", "missing.db"], 5, "missing.db"),
        (["tail", "-d", "missing.db"], 5, "missing.db"), (["ls", "-d", ":memory:"], 5, "--url"),
        (["ls", "-d", "x", "--url", "http://x"], 2, "--database"), (["ls", "--url", "x"], 2, "http://"),
        (["ls", "--url", "http://x:99999"], 2, "--url"), (["ls", "--token", "S3CRET x"], 2, "--token"),
        (["ls", "--limit", "-1"], 2, "--limit"), (["get"], 2, "ID"), (["rm"], 2, "ID"),
        (["tail", "a1", "--phase", "x"], 2, "filter"), (["ls", "--flow-id", "X"], 2, "'--flow-id'"),
        (["ls", "--created-by", "x"], 2, "'--created-by'"), (["ls", "--tag", "x"], 2, "key:value"),
        (["ls", "--created-after", "2025"], 2, "RFC 3339"),
        (["ls", "--created-after", "2025-02-30"], 2, "'--created-after'"),
        (["export", "--created-before", "2025-1-2"], 2, "RFC 3339"),
        (["ls", "--fase", "x"], 2, "--phase"),
        (["ls", "--flow-type", "Scorcard"], 2, "did you mean 'scorecard'?"),
        (["ls", "--flow-type", "x"], 2, "'automation'"),
        (["ls", "x.db"], 2, "x.db"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_an_exit_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], args: list[str], code: int, named: str
) -> None:
    result = Result(capfd, *args)
    assert (result.code, result.out) == (code, "")
    assert named in one_line(result.err)
    assert "S3CRET" not in result.err
    assert os.listdir(tmp_path) == []


def test_server_that_refuses_is_exit_7(capfd: pytest.CaptureFixture[str]) -> None:
    with server.serve(tokens={"secret": 7}) as runs:
        result = Result(capfd, "ls", "--url", runs.url)
        assert result.code == 7
        assert "--token or FLOWRUNS_TOKEN" in one_line(result.err)
        runs.fail_next(503)
        assert Result(capfd, "ls", "--url", runs.url, "--token", "secret").code == 7


def test_token_is_read_from_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("# of user 7\nsecret\n")
    with server.serve(tokens={"secret": 7}) as runs:
        run = runs.run(by=7)
        assert run.id in Result(capfd, "ls", "--url", runs.url, "--token", f"@{tmp_path / 'token'}").out
    result = Result(capfd, "ls", "--url", runs.url, "--token", f"@{tmp_path / 'none'}")
    assert (result.code, result.out) == (2, "")
    assert "cannot read the file" in one_line(result.err)


# Output


def test_narrow_encoding_escapes_what_it_lacks(runs: Flowruns, tmp_path: Path) -> None:
    runs.run("a1", phase="running", startTime="2025-01-20T18:53:03Z", tags={"é": "日本"})
    for args, escaped in ((["ls"], "~  a1"), (["get", "a1"], r"\xe9:\u65e5\u672c")):
        with started(tmp_path, *args, env={"PYTHONIOENCODING": "ascii"}) as process:
            out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        assert escaped in out
    with started(tmp_path, "ls", "--json", env={"PYTHONIOENCODING": "ascii"}) as process:
        assert json.loads(process.communicate()[0])["tags"] == [{"key": "é", "value": "日本"}]


@posix
@pytest.mark.parametrize(
    "args", [["ls", "--limit", "0"], ["ls", "--limit", "0", "--json"], ["get", "run-0"], ["export"]]
)
def test_closed_pipe_ends_it_quietly(runs: Flowruns, tmp_path: Path, args: list[str]) -> None:
    for number in range(150):
        runs.run(f"run-{number}", logs=200)
    reading, writing = os.pipe()
    with started(tmp_path, *args, stdout=writing) as process:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        assert (process.stderr.read(), process.wait()) == ("", 0)


@posix
def test_terminal_has_colours_and_a_width(runs: Flowruns, tmp_path: Path) -> None:
    runs.run("0" * 36, phase="failed", flowId="flow" * 20)
    for width, flow in ((140, "flow" * 10), (80, "flowflo")):
        with in_terminal(tmp_path, "ls", width=width) as (_, screen):
            text = shown(screen)
        lines = re.sub(r"\x1b\[\d+m", "", text).splitlines()
        assert "\x1b[31mfailed\x1b[0m" in text
        assert max(map(len, lines)) <= width
        assert flow in lines[1]
        assert lines[1].endswith("0" * 36)


@posix
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_refused(runs: Flowruns, tmp_path: Path, env: dict[str, str]) -> None:
    runs.run("a1", phase="failed")
    with in_terminal(tmp_path, "ls", env=env) as (_, screen):
        assert "\x1b" not in shown(screen)


# tail


def line(process: Process) -> str:
    return process.stdout.readline()


def note(process: Process) -> str:
    return process.stderr.readline()


def interrupted(process: Process) -> tuple[int, str, str]:
    """Exit code and the rest of its output, of a command that Ctrl+C ends."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    return process.returncode, out, err


def put(url: str, id: str, **fields: object) -> None:
    with Wire(url) as wire:
        body = json.dumps({"flowId": "deploy-web", "flowType": "automation", **fields}).encode()
        assert wire.ask("PUT", f"{RUNS}/{id}", body).status in (200, 201)


def test_changes_are_followed_over_a_restart_until_ctrl_c(tmp_path: Path) -> None:
    first, second = ({"message": text, "level": "error", "action": "build"} for text in ("one\x1b[31m", "two\n"))
    with serving(tmp_path, "runs.db") as server, started(tmp_path, "tail", "-d", "runs.db", env={"TZ": "UTC"}) as tail:
        assert note(tail) == f"flowruns: following {server.url}\n"
        put(server.url, "a1", phase="running", logs=[first])
        assert line(tail).endswith("  a1  run      deploy-web running\n")
        assert line(tail).endswith("  a1  error    build: one\\x1b[31m\n")
        server.process.terminate()
        assert note(tail) == "flowruns: no server responds; waiting for one\n"
        server.process.wait()
        with serving(tmp_path, "runs.db") as server:  # at another port
            put(server.url, "a1", phase="running", logs=[first, second], endTime="2025-01-20T18:53:03Z")
            assert note(tail) == f"flowruns: following {server.url} again\n"
            assert line(tail).endswith("  a1  error    build: two\\n\n")
            with Wire(server.url) as wire:
                assert wire.ask("DELETE", f"{RUNS}/a1").status == 204
            assert line(tail).endswith("  a1  deleted\n")
            assert interrupted(tail) == (130, "", "\n")  # which ends the line with ^C


def test_one_run_is_followed_from_its_present_state(runs: Flowruns, tmp_path: Path) -> None:
    runs.run("a1", logs=[{"message": f"line {number}"} for number in range(5)])
    runs.run("b1")
    with started(tmp_path, "tail", "a1", "-n", "2") as tail:
        assert [line(tail)[-8:-1] for _ in range(3)] == ["pending", " line 3", " line 4"]
        runs.advance("b1", "running")
        runs.advance("a1", "succeeded")
        assert re.fullmatch(r"(\S+ )?\S+  run      deploy-web succeeded( \(.*\))?\n", line(tail))
        assert interrupted(tail)[:2] == (130, "")


def test_only_the_fields_that_are_shown_are_followed(runs: Flowruns, tmp_path: Path) -> None:
    runs.run("a1", args={"text": "x"}, logs=[{"message": "begun"}], actions=[{"id": "build"}])
    for args in (["a1"], ["--flow-id", "deploy-web"]):
        with started(tmp_path, "tail", *args) as tail:
            if not args[0].startswith("-"):
                assert [line(tail).split()[1] for _ in range(3)] == ["run", "action", "info"]
            note(tail)
            assert runs.requests[-1].query["fields"] == ["id,flowId,phase,startTime,endTime,actions,logs,updatedAt"]
            assert interrupted(tail)[:2] == (130, "")


def test_documents_are_followed_by_programs(runs: Flowruns, tmp_path: Path) -> None:
    with started(tmp_path, "tail", "--json", "--phase", "failed") as tail:
        note(tail)
        runs.run("a1", phase="running")
        runs.run("b1", phase="failed")
        assert line(tail) == runs.client.get(f"{RUNS}/b1").text + "\n"
        runs.client.delete(f"{RUNS}/b1")
        assert json.loads(line(tail)) == {"id": "b1", "deleted": True}
        runs.run("c1", phase="failed")
        assert json.loads(line(tail))["id"] == "c1"
        runs.advance("c1", "running")
        assert json.loads(line(tail)) == {"id": "c1", "left": True}
        assert interrupted(tail)[:2] == (130, "")


def test_run_that_no_longer_matches_is_followed_to_its_end(runs: Flowruns, tmp_path: Path) -> None:
    with started(tmp_path, "tail", "--phase", "running") as tail:
        note(tail)
        runs.run("a1", phase="running")
        assert line(tail).endswith("  a1  run      deploy-web running\n")
        runs.advance("a1", "succeeded")
        assert line(tail).endswith("  a1  left     no longer matches\n")
        assert interrupted(tail)[:2] == (130, "")


def test_file_without_a_server_is_followed_until_one_starts(tmp_path: Path) -> None:
    with server.serve(tmp_path / "flowruns.db") as runs:
        runs.run("a1")
    with started(tmp_path, "tail", "a1") as tail:
        assert line(tail).endswith("run      deploy-web pending\n")
        assert [note(tail), note(tail)] == [
            f"flowruns: following {tmp_path / 'flowruns.db'}\n", "flowruns: no server responds; waiting for one\n",
        ]  # fmt: skip
        with server.serve(tmp_path / "flowruns.db") as runs:
            runs.advance("a1", "running")
            assert line(tail).endswith("run      deploy-web running\n")
            assert interrupted(tail)[:2] == (130, "")
    assert os.listdir(tmp_path) == ["flowruns.db"]


def test_run_that_is_not_there_is_not_followed(runs: Flowruns, capfd: pytest.CaptureFixture[str]) -> None:
    result = Result(capfd, "tail", "nothing")
    assert (result.code, result.out) == (1, "")
    assert "'nothing'" in one_line(result.err)


@posix
def test_levels_and_phases_have_colours_in_a_terminal(runs: Flowruns, tmp_path: Path) -> None:
    runs.run("a1", phase="failed", logs=[{"message": "no", "level": "error"}])
    with in_terminal(tmp_path, "tail", "a1") as (tail, screen):
        text = b""
        while b"  no\r\n" not in text:
            text += os.read(screen, 65536)
        assert interrupted(tail)[0] == 130
    assert b"deploy-web \x1b[31mfailed\x1b[0m" in text
    assert b"\x1b[31merror  \x1b[0m  no" in text
