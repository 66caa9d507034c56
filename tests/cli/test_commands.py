"""All commands: how they are found, helped with, completed, and what `config` says."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from flowruns.cli.main import LAZY_COMMANDS, cli, main
from tests.cli.test_main import VARIABLES, files, one_line
from tests.processes import COMMAND
from tests.waits import HANG

COMMANDS = ["serve", *LAZY_COMMANDS]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*VARIABLES, "FLOWRUNS_URL", "FLOWRUNS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


# Help


@pytest.mark.parametrize("name", LAZY_COMMANDS)
def test_help_of_a_command_has_an_example(capfd: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert f"\n  flowruns {name}" in out.partition("\n")[2]


def test_help_lists_every_command_in_a_line_that_is_not_cut(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    commands = capfd.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in commands] == COMMANDS
    assert [line for line in commands if line.endswith("...")] == []


# Words that are nearly right


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lss", "ls"), ("tial", "tail"), ("stauts", "status"), ("confg", "config"), ("sotp", "stop"), ("LS", "ls"),
        ("list", "ls"), ("show", "get"), ("delete", "rm"), ("follow", "tail"), ("start", "serve"), ("help", "--help"),
        ("version", "--version"), ("serv", "serve"),
    ],
)  # fmt: skip
def test_word_near_a_command_is_no_database(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], word: str, meant: str
) -> None:
    assert main([word, "--port", "x"]) == 2
    assert f"is it `flowruns {meant}`?" in one_line(capfd.readouterr().err)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("word", ["runs", "test", "flowruns", "lss.db", "./lss", "lss2", "my runs", "-"])
def test_other_words_are_databases(capfd: pytest.CaptureFixture[str], word: str) -> None:
    assert main([word, "--port", "x"]) == 2
    assert "--port" in one_line(capfd.readouterr().err)


def test_file_that_is_there_is_a_database_whatever_its_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lss").write_text("not a database\n" * 10)
    assert main(["lss", "--port", "0"]) == 5
    one_line(capfd.readouterr().err)


def test_misspelt_option_names_the_nearest_and_where_help_is(capfd: pytest.CaptureFixture[str]) -> None:
    for args, near, path in ((["--prot", "1"], "--port", "serve"), (["ls", "--limt", "1"], "--limit", "ls")):
        assert main(args) == 2
        said = one_line(capfd.readouterr().err)
        assert f"{near}" in said.partition(args[-2])[2]
        assert f"(see `flowruns {path} --help`)" in said


# Completion


def completed(tmp_path: Path, *words: str) -> set[tuple[str, str]]:
    """What bash is told to complete the last of *words* with: kind and text."""
    env = {"_FLOWRUNS_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["flowruns", *words])}
    env["COMP_CWORD"] = str(len(words))
    run = subprocess.run(COMMAND, cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=HANG)
    assert run.stderr == ""
    return {(kind, text) for kind, _, text in (line.partition(",") for line in run.stdout.splitlines())}


@pytest.mark.parametrize("name", ["--port", "--log-level"])
def test_options_of_the_usual_command_are_completed(tmp_path: Path, name: str) -> None:
    for words in ([name[:-1]], ["serve", name[:-1]], ["runs.db", name[:-1]], ["--anonymous", name[:-1]]):
        assert ("plain", name) in completed(tmp_path, *words), words


def test_commands_and_files_are_completed(tmp_path: Path) -> None:
    assert completed(tmp_path, "") == {*(("plain", name) for name in COMMANDS), ("file", "")}
    assert completed(tmp_path, "st") == {("plain", "status"), ("plain", "stop"), ("file", "st")}
    assert completed(tmp_path, "status", "ru") == {("file", "ru")}
    assert completed(tmp_path, "ls", "--database", "ru") == {("file", "ru")}


def test_options_and_their_words_are_completed(tmp_path: Path) -> None:
    assert completed(tmp_path, "ls", "--ph") == {("plain", "--phase")}
    assert completed(tmp_path, "ls", "--flow-type", "self") == {("plain", "selfServiceAction")}
    assert completed(tmp_path, "runs.db", "--log-level", "w") == {("plain", "warning")}
    assert ("plain", "--version") in completed(tmp_path, "--v")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(tmp_path: Path, shell: str) -> None:
    env = {"_FLOWRUNS_COMPLETE": f"{shell}_source", "PATH": "/usr/bin:/bin"}
    run = subprocess.run(COMMAND, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=HANG, check=True)
    assert "_FLOWRUNS_COMPLETE" in run.stdout
    assert files(tmp_path) == {}


# config


def values(capfd: pytest.CaptureFixture[str], *args: str) -> dict[str, tuple[object, str]]:
    assert main(["config", "--json", *args]) == 0
    said: dict[str, dict[str, object]] = json.loads(capfd.readouterr().out)
    return {name: (one["value"], str(one["from"])) for name, one in said.items()}


def test_config_has_every_value_of_serve(capfd: pytest.CaptureFixture[str]) -> None:
    found = values(capfd)
    serve = cli.commands["serve"]
    assert list(found) == [max(param.opts, key=len).removeprefix("--") for param in serve.params]
    assert {origin for _, origin in found.values()} == {"default"}
    assert (found["database"], found["port"], found["max-body"]) == (
        ("flowruns.db", "default"), (8000, "default"), (8 * 1024 * 1024, "default"),
    )  # fmt: skip


def test_config_says_where_values_come_from(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FLOWRUNS_PORT", "9")
    monkeypatch.setenv("FLOWRUNS_HOST", "::1")
    monkeypatch.setenv("FLOWRUNS_ALLOW_HOST", "a b")
    found = values(capfd, "runs.db", "--port", "7", "--reuse")
    assert found["database"] == ("runs.db", "command line")
    assert found["port"] == (7, "command line")
    assert found["reuse"] == (True, "command line")
    assert found["host"] == ("::1", "FLOWRUNS_HOST")
    assert found["allow-host"] == (["a", "b"], "FLOWRUNS_ALLOW_HOST")


def test_config_masks_tokens(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FLOWRUNS_TOKENS", "S3CRET=8, S3CRET")
    given = ["S3CRET=7", "S3CRET==7", "S3CRET=S3CRET", "@file", "-", "auto", "auto=9"]
    args = [word for token in given for word in ("--token", token)]
    shown = ["***=7", "***=7", "***", "@file", "-", "auto", "auto=9", "***=8", "***"]
    assert values(capfd, *args)["token"] == (shown, "command line, FLOWRUNS_TOKENS")
    assert main(["config", *args]) == 0
    out, err = capfd.readouterr()
    assert "S3CRET" not in out + err


def test_config_is_aligned(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[:2] == ["database         flowruns.db  default", "host             127.0.0.1    default"]
    assert {line.index("default") for line in lines} == {30}


@pytest.mark.parametrize(("args", "named"), [(["--port", "x"], "--port"), (["--nonsense"], "--nonsense")])
def test_config_refuses_what_serve_does(capfd: pytest.CaptureFixture[str], args: list[str], named: str) -> None:
    assert main(["config", *args]) == 2
    assert named in one_line(capfd.readouterr().err)


# What is not imported


def test_a_start_imports_no_other_command() -> None:
    code = "import sys, flowruns.cli.main; print(*(name for name in sys.modules if name.startswith('flowruns.')))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG)
    loaded = {name.removeprefix("flowruns.") for name in run.stdout.split()}
    assert {
        name for name in loaded if name.partition(".")[0] in ("client", "http", "server", "store", "sqlite")
    } == set()
    assert loaded & {f"cli.{module}" for module in (*LAZY_COMMANDS.values(), "sources")} == set()


@pytest.mark.parametrize("name", ["ls", "get", "tail", "rm", "config"])
def test_commands_about_runs_import_no_server(name: str) -> None:
    code = (
        "import sys; from flowruns.cli.main import main; main([sys.argv[1], '--help'])\n"
        "assert 'uvicorn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, name, "--help"], capture_output=True, check=True, timeout=HANG)


def test_every_command_is_one(capfd: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert isinstance(cli.get_command(click.Context(cli), name), click.Command)
