"""The README is true: what it shows is run, and what there is, it shows."""

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest

from flowruns import AsyncClient, Client, __version__
from flowruns.cli.main import EXIT_CODES, LAZY_COMMANDS, cli
from flowruns.http.responses import STATUS
from flowruns.model.filters import FILTERS
from flowruns.testing.server import Flowruns
from tests.processes import serving, started
from tests.waits import HANG

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(language: str, beginning: str = "") -> list[str]:
    """The README's blocks of *language* whose first line matches *beginning*."""
    return [text for name, text in BLOCKS if name == language and re.match(beginning, text)]


# Every block, by who runs it.
STREAMS = blocks("console", r"\$ curl -sN ")
CONVERSATION = [block for block in blocks("console", r"\$ curl ") if block not in STREAMS]
DEMO = blocks("console", r"\$ flowruns --demo")
DATA = blocks("console", r"\$ flowruns import ")
COMMANDS = blocks("console", r"\$ flowruns (ls|get|tail|rm)\b")
PUT = blocks("sh", "curl ")
IN_TESTS = blocks("python", "import httpx")
PYTHON = [block for block in blocks("python") if block not in IN_TESTS]
NODE = blocks("js")
SIDECAR = blocks("sh", "flowruns ")
READY = blocks("json")
SQL = blocks("sh", "sqlite3 ")
COMPLETION = blocks("sh", "eval ")
BENCHMARKS = blocks("sh", r"\.venv/bin/python -m tests\.benchmarks")
BY_CI = blocks("sh", "python3 -m venv ")  # .ci/run runs them, as they need a package index
TESTED = [
    STREAMS, CONVERSATION, DEMO, DATA, COMMANDS, PUT, IN_TESTS, PYTHON, NODE, SIDECAR, READY, SQL, COMPLETION,
    BENCHMARKS, BY_CI,
]  # fmt: skip
# What differs each time: made ids, the time now, cursors.
VARYING = [
    (r'"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"', '"ID"'),
    (r'("(?:created|updated)At"):"[^"]*"', r'\1:"NOW"'),
    (r"^(  (?:created|updated)  ) \S+ \S+$", r"\1 NOW"),
    (r'("(?:current|next|previous)_page\w*"):"[^"]*"', r'\1:"CURSOR"'),
]


def commands(block: str) -> tuple[str, str]:
    """The command of a console block, and what it says."""
    command, _, said = block.removeprefix("$ ").partition("\n")
    return command, said


def test_every_block_is_run_by_one_test() -> None:
    found = sorted(block for some in TESTED for block in some)
    assert found == sorted(text for _, text in BLOCKS)
    assert README.count("\n```") == 2 * len(BLOCKS)  # each names its language


def test_links_lead_to_headings() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
        for line in README.splitlines()
        if line[:1] == "#"
    }
    links = re.findall(r"\]\(#([^)]+)\)", README)
    assert links
    assert [link for link in links if link not in headings] == []


def masked(text: str) -> str:
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text


@pytest.mark.skipif(shutil.which("curl") is None, reason="the conversation is with curl")
def test_the_conversation_goes_as_it_is_shown(server: str) -> None:
    assert len(CONVERSATION) >= 5
    for command, shown in map(commands, CONVERSATION):
        words = shlex.split(command.replace("localhost:8000", server.removeprefix("http://")))
        answer = subprocess.run(words, capture_output=True, text=True, check=True, timeout=HANG)
        assert masked(answer.stdout) == masked(shown.removesuffix("\n")), command
    assert STREAMS
    for command, shown in map(commands, STREAMS):
        words = shlex.split(command.replace("localhost:8000", server.removeprefix("http://")))
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as curl:
            assert curl.stdout
            told = "".join(curl.stdout.readline() for _ in shown.splitlines())
            curl.kill()
        assert masked(told) == masked(shown), command


@pytest.mark.skipif(os.name == "nt", reason="the commands are for a POSIX shell")
def test_the_commands_on_data_go_as_they_are_shown(tmp_path: Path) -> None:
    (tmp_path / "runs.ndjson").write_text(
        '{"id": "a", "flowId": "f", "flowType": "automation", "phase": "failed"}\n'
        '{"flowType": "automation", "tags": [{"key": "env"}]}\n'
        '{"id": "b", "flowId": "f", "flowType": "automation"}\n{"id": "c", "f"}\n'
    )
    (shown,) = DATA
    env = beside("flowruns", tmp_path)
    said = ""
    for command in re.findall(r"^\$ (.*)$", shown, re.MULTILINE):
        run = subprocess.run(
            f"({command}) 2>&1" if "2>" not in command else command,
            shell=True, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, timeout=HANG,
        )  # fmt: skip
        said += f"$ {command}\n{run.stdout}\n"
    assert said == shown


@pytest.mark.skipif(shutil.which("curl") is None, reason="the run is put with curl")
def test_the_commands_say_what_is_shown(tmp_path: Path) -> None:
    puts = [command for command, _ in map(commands, CONVERSATION) if " -X PUT " in command] + PUT
    assert [block.split()[2] for block in COMMANDS] == ["ls", "ls", "get", "tail", "rm"]
    with serving(tmp_path) as server:
        address = server.url.removeprefix("http://")
        for command in puts:
            subprocess.run(
                shlex.split(command.replace("localhost:8000", address)), check=True, stdout=subprocess.DEVNULL
            )
        for command, shown in map(commands, COMMANDS):
            shown = shown.replace("127.0.0.1:8000", address)
            with started(tmp_path, *shlex.split(command)[1:], env={"TZ": "UTC"}) as process:
                assert process.stdout
                assert process.stderr
                said = process.stderr.readline() if "tail" in command else ""
                said += "".join(process.stdout.readline() for _ in shown.splitlines()[said.count("\n") :])
            assert masked(said) == masked(shown), command


def test_the_python_examples_run(tmp_path: Path) -> None:
    said = ""
    for example in PYTHON:
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=HANG
        )
        assert run.returncode == 0, run.stderr
        said += run.stdout
    assert said == (
        "https://web.example\n['deploy-web']\n1 run pending\n2 run pending\n"  # of the clients
        "0\npending 1\n"
    )


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_method_of_the_clients_is_in_their_table(kind: type) -> None:
    table = README.partition("\n| of a client |")[2].partition("\n\n")[0]
    closing = {"close", "aclose", "abort"}
    assert {name for name in vars(kind) if not name.startswith("_")} - closing == set(
        re.findall(r"`(\w+)\(", table)
    ) - {"Client"}


def test_the_example_of_tests_passes_as_it_is_shown(tmp_path: Path) -> None:
    (example,) = IN_TESTS
    (tmp_path / "test_deploy.py").write_text(example)
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "flowruns", "-p", "anyio", "--rootdir=."]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=HANG)
    assert run.stdout.splitlines()[-1].startswith("4 passed"), run.stdout


@pytest.mark.parametrize("name", [name for name in dir(Flowruns) if not name.startswith("_")] + ["url", "store"])
def test_every_part_of_the_handle_is_in_its_table(name: str) -> None:
    table = README.partition("\n| of `flowruns` |")[2].partition("\n\n")[0]
    assert re.search(rf"^\|[^|]*`{name}[`(]", table, re.MULTILINE)


def test_the_demo_begins_as_it_is_shown(tmp_path: Path) -> None:
    _, shown = commands(*DEMO)
    with serving(tmp_path, "--demo") as server:
        told = "".join(server.banner).replace(server.url, "http://127.0.0.1:8000")
    number = re.compile(r"\d+ runs, demo")  # some more, the later it is asked
    assert number.sub("RUNS", told) == number.sub("RUNS", shown)


def beside(command: str, path: Path) -> dict[str, str]:
    """The environment of a program that finds `flowruns` by name, as an installed one."""
    (path / command).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flowruns "$@"\n')
    (path / command).chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWRUNS_")}
    return clean | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.skipif(shutil.which("node") is None, reason="the example is in Node.js")
def test_the_sidecar_of_a_program_in_node_goes_as_it_is_shown(tmp_path: Path) -> None:
    (example,) = NODE
    (tmp_path / "tool.mjs").write_text(example)
    env = beside("flowruns", tmp_path)
    run = subprocess.run(["node", "tool.mjs"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=HANG)
    assert (run.stdout, run.stderr) == ("201 pending\nended with 0\n", "")


@pytest.mark.skipif(os.name == "nt", reason="the example is for a POSIX shell")
def test_the_ready_line_of_the_sidecar_is_as_it_is_shown(tmp_path: Path) -> None:
    (command,), (shown,) = SIDECAR, READY
    env = beside("flowruns", tmp_path)
    run = subprocess.run(
        command, shell=True, cwd=tmp_path, env=env, input="", capture_output=True, text=True, timeout=HANG
    )
    line = json.loads(run.stdout)
    assert {key: type(value) for key, value in line.items()} == {
        key: type(value) for key, value in json.loads(shown).items()
    }
    assert list(line) == list(json.loads(shown))
    assert (line["event"], line["version"], line["api"], run.returncode) == ("ready", __version__, 1, 0)


@pytest.mark.skipif(os.name == "nt", reason="the command is for a POSIX shell")
def test_the_query_of_the_file_goes_as_it_is_shown(tmp_path: Path) -> None:
    (command,) = SQL
    name, file, query = shlex.split(command)
    with serving(tmp_path, file), sqlite3.connect(tmp_path / file) as connection:  # while it is served
        assert connection.execute(query).fetchall() == []
    connection.close()
    assert name == "sqlite3"


@pytest.mark.skipif(shutil.which("bash") is None, reason="the line is for bash")
def test_the_completion_is_set_up_as_it_is_shown(tmp_path: Path) -> None:
    (line,) = COMPLETION
    env = beside("flowruns", tmp_path)
    run = subprocess.run(
        ["bash", "-euc", line + "complete -p flowruns"], env=env, capture_output=True, text=True, timeout=HANG
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "flowruns" in run.stdout


def test_the_benchmarks_have_the_options_that_are_named() -> None:
    for block in BENCHMARKS:
        command, _, named = block.partition("#")
        words = [sys.executable, *shlex.split(command)[1:], "--help"]
        run = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=HANG)
        assert run.returncode == 0, run.stderr
        assert [option for option in re.findall(r"--\w+", named) if option not in run.stdout] == []


@pytest.mark.parametrize("option", cli.commands["serve"].params, ids=lambda option: str(option.name))
def test_every_option_is_in_the_configuration_table(option: click.Parameter) -> None:
    name = option.opts[0] if option.opts[0].startswith("--") else option.opts[0].upper()
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}"))
    assert f"`{option.envvar or 'FLOWRUNS_TOKENS'}`" in row
    if isinstance(option.default, str | int | float) and option.default is not False:  # a flag: not given
        assert f"`{option.default}`" in row


@pytest.mark.parametrize("name", LAZY_COMMANDS)
def test_every_command_and_its_options_are_shown(name: str) -> None:
    assert f"flowruns {name}" in README
    command = cli.get_command(click.Context(cli), name)
    assert command
    serve = {option.name for option in cli.commands["serve"].params}
    for option in command.params:
        if option.opts[0].startswith("-") and option.name not in serve:
            assert f"`{max(option.opts, key=len)}`" in README
            assert option.envvar is None or f"`{option.envvar}`" in README


@pytest.mark.parametrize("name", [filter.name for filter in FILTERS])
def test_every_filter_is_in_the_table_of_parameters(name: str) -> None:
    assert re.search(rf"^\| .*`{name}`.* \| runs", README, re.MULTILINE)


@pytest.mark.parametrize("status", sorted(set(STATUS.values()) | {500}))
def test_every_status_is_in_the_table_of_errors(status: int) -> None:
    assert re.search(rf"^\|[ \d,]*\b{status}\b[ \d,]*\|", README, re.MULTILINE)


@pytest.mark.parametrize("code", [0, 1, 2, *EXIT_CODES.values(), 130])
def test_every_exit_code_is_in_its_table(code: int) -> None:
    assert f"\n| {code} | " in README
