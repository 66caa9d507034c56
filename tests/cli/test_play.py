"""The command `play`, and `serve --play`."""

import signal
from pathlib import Path

import pytest

from flowruns import Client
from flowruns.cli.main import main
from flowruns.cli.scripts import EXAMPLES
from tests.cli.test_main import one_line
from tests.conftest import RUNS
from tests.processes import COMMAND, done, ended, ran, serving, started
from tests.waits import HANG
from tests.wire import Wire

SCRIPT = '[[rule]]\nsteps = [{ action = "build", for = "20ms" }, { end = "succeeded" }]\n'
STOPPED = (130, "flowruns: stopped; the runs stay as they are, and the same command goes on with them\n")
PLAYED = ["web-1  web pending, played by the rule for all flows\n", "web-1  web running\n", "web-1  web succeeded\n"]


@pytest.fixture(autouse=True)
def _script(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SCRIPT)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["play"], "name one script: a file, or --example with one of demo, deploy, matrix, terraform"),
        (["play", "a.toml", "--example", "deploy"], "name one script"),
        (["play", "missing.toml"], "missing.toml cannot be read: No such file or directory"),
        (["play", "a.toml", "--speed", "0"], "--speed"),
        (["play", "a.toml", "--speed", "nan"], "'nan' is not a number"),
        (["play", "--example", "nothing"], "--example"),
        (["play", "-", "--token", "-"], "SCRIPT and --token - both read standard input; give the token as @FILE"),
        (["serve", ":memory:", "--port", "0", "--play", "-"], "--play - names no file"),
    ],
)
def test_wrong_usage_is_exit_2(tmp_path: Path, args: list[str], message: str) -> None:
    code, err = ran(tmp_path, *args)
    assert code == 2
    assert message in one_line(err)


def test_script_from_standard_input_that_is_closed_is_exit_2(tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND]
    with started(tmp_path, "play", "-", command=command) as process:
        code, said = ended(process)
    assert code == 2
    assert said.startswith("flowruns: - cannot be read: standard input is closed (")
    assert said.count("\n") == 1


def test_help_of_play_offers_no_file_without_a_server(tmp_path: Path) -> None:
    assert "or the file itself" in done(tmp_path, "ls", "--help").stdout
    assert "or the file itself" not in done(tmp_path, "play", "--help").stdout


@pytest.mark.parametrize("command", [["play", "a.toml"], ["serve", ":memory:", "--port", "0", "--play", "a.toml"]])
def test_mistakes_are_exit_6_and_a_line_each(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "a.toml").write_text("[[rule]]\nflowId = 7\nsteps = [\n  { wait = 2 },\n]\n")
    run = done(tmp_path, *command)
    assert (run.code, run.stdout) == (6, "")
    assert run.stderr.splitlines() == [
        "a.toml:2: 'flowId' must be an id of a-z, 0-9, _, . and -, with * for any text, as in \"deploy-*\"",
        "a.toml:4: 'wait' is no duration; a number needs a unit: \"2s\"",
        "flowruns: 2 mistakes in a.toml; nothing was played",
    ]


def test_no_server_is_exit_3_and_names_the_cure(tmp_path: Path) -> None:
    run = done(tmp_path, "play", "a.toml", "-d", "b.db")
    assert run.code == 3
    assert "no server is running for" in run.stderr
    assert run.stderr.endswith("start one with `flowruns -d b.db`\n")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.toml"]


def test_runs_of_the_server_of_a_file_are_played(tmp_path: Path) -> None:
    tokens = ["--token", "auto", "--token", "secret=7"]  # the player finds the first one in the lock file
    with (
        serving(tmp_path, "a.db", *tokens) as server,
        started(tmp_path, "play", "a.toml", "-d", "a.db") as player,
        Client(server.url, "secret") as runs,
    ):
        assert "follows" in player.stderr.readline()
        runs.create(flowId="web", id="web-1")
        assert [player.stdout.readline() for _ in range(3)] == PLAYED
        assert runs.get("web-1").updated_by == 0
        player.send_signal(signal.SIGINT)
        assert ended(player) == STOPPED


def test_once_prints_what_it_plays(tmp_path: Path, server: str) -> None:
    with Client(server) as runs:
        runs.create(flowId="web", id="web-1")
    run = done(tmp_path, "play", "a.toml", "--url", server, "--once")
    assert (run.code, run.stdout) == (0, "".join(PLAYED))


def test_reader_that_closes_the_pipe_ends_the_player(tmp_path: Path, server: str) -> None:
    (tmp_path / "a.toml").write_text(SCRIPT + '[[start]]\nflowId = "web"\nevery = "20ms"\n')
    with started(tmp_path, "play", "a.toml", "--url", server) as player:
        assert player.stdout.readline() == "web-1  web started\n"
        player.stdout.close()
        assert player.wait(HANG) == 0
        assert player.stderr.read() == f"flowruns: follows {server}\n"


def test_second_interrupt_ends_the_player_as_the_first(tmp_path: Path, server: str) -> None:
    with started(tmp_path, "play", "a.toml", "--url", server) as player:
        assert "follows" in player.stderr.readline()
        player.send_signal(signal.SIGINT)
        player.send_signal(signal.SIGINT)
        assert ended(player) == STOPPED


def test_handler_of_interrupts_is_that_of_before_once_the_player_has_ended(tmp_path: Path, server: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main(["play", str(tmp_path / "a.toml"), "--url", server, "--once"]) == 0
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_that_is_shown_is_a_script(tmp_path: Path, example: str) -> None:
    text = done(tmp_path, "play", "--example", example, "--show").stdout
    assert f"flowruns play --example {example}" in text
    (tmp_path / "a.toml").write_text(text)
    assert done(tmp_path, "play", "a.toml", "--show").stdout == text


def test_server_plays_new_runs_itself(tmp_path: Path) -> None:
    with serving(tmp_path, ":memory:", "--play", "a.toml") as server, Client(server.url) as runs:
        runs.create(flowId="web", id="web-1")
        assert runs.wait("web-1", timeout=HANG).phase == "succeeded"
        with Wire(server.url) as wire:
            assert wire.ask("GET", RUNS).json["total"] == 1
        server.process.terminate()
        assert ended(server.process) == (0, "")
