"""All commands: how they are found, their help, their completion, and what `config` shows."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from flowruns.cli.main import COMMAND_GROUPS, LAZY_COMMANDS, cli, main
from flowruns.server import starting
from flowruns.settings import Settings
from flowruns.testing import server
from tests.cli.test_main import files, one_line
from tests.processes import COMMAND
from tests.waits import HANG

COMMANDS = ["serve", *LAZY_COMMANDS]


# Help


@pytest.mark.parametrize("name", LAZY_COMMANDS)
def test_help_of_a_command_has_an_example(capfd: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert f"\n  flowruns {name}" in out.partition("\n")[2]


def test_help_lists_every_command_in_a_line_that_is_not_cut(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    sections = dict(re.findall(r"^(\w+):\n((?:  .*\n)+)", capfd.readouterr().out, re.MULTILINE))
    assert list(sections) == [*(title for title, names in COMMAND_GROUPS.items() if names), "Options"]
    lines = {title: text.splitlines() for title, text in sections.items()}
    for title, names in COMMAND_GROUPS.items():
        assert [line.split()[0] for line in lines.get(title, [])] == list(names)
    assert [line for some in lines.values() for line in some if line.endswith("...")] == []


def test_help_ends_with_how_to_see_the_options_of_serve(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capfd.readouterr().out
    assert "--port NUMBER" not in out
    assert "`flowruns serve --help` shows its options." in " ".join(out.partition("Options:\n")[2].split())


@pytest.mark.parametrize("args", [["serve", "--help"], ["serve", "-h"], ["runs.db", "--help"]])
def test_help_of_serve_has_its_options_in_groups_with_their_variables(
    capfd: pytest.CaptureFixture[str], args: list[str]
) -> None:
    assert main(args) == 0
    out, err = capfd.readouterr()
    assert err == ""
    sections = dict(re.findall(r"^(\w[\w ]+):\n((?:  .*\n)+)", out, re.MULTILINE))
    assert list(sections) == ["Listen", "Data", "Limits", "Tokens and access", "Logs and readiness", "Options"]
    for param in cli.commands["serve"].params:
        if isinstance(param, click.Option):
            name = max(param.opts, key=len)
            text = re.search(rf"^  (?:-\w, )?{name} .*\n(?:    .*\n)*", out, re.MULTILINE)
            assert text, name
            assert f"[env var: {param.envvar or 'FLOWRUNS_TOKENS'}" in " ".join(text[0].split())
    assert "  -h, --help" in sections["Options"]


@pytest.mark.parametrize("name", [[], *([name] for name in COMMANDS)])
def test_help_fits_80_columns(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*name, "--help"]) == 0
    assert max(map(len, capfd.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["import", "export", "ls"])
def test_help_names_the_format_of_lines(capfd: pytest.CaptureFixture[str], name: str) -> None:
    assert main([name, "--help"]) == 0
    assert "NDJSON" in capfd.readouterr().out


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
    assert f"did you mean `flowruns {meant}`?" in one_line(capfd.readouterr().err)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("word", ["lss.db", "./lss", "my runs.db", "~/lss", "README.md"])
def test_names_of_files_are_databases(capfd: pytest.CaptureFixture[str], word: str) -> None:
    assert main([word, "--port", "x"]) == 2
    assert "--port" in one_line(capfd.readouterr().err)


@pytest.mark.parametrize("word", ["runs", "init", "flowruns", "lss2", "my runs", "file:x?mode=memory"])
@pytest.mark.parametrize("before", [[], ["--port", "0"], ["--reuse"]])
def test_word_that_is_no_file_makes_no_database_without_a_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], before: list[str], word: str
) -> None:
    assert main([*before, word]) == 2
    err = one_line(capfd.readouterr().err)
    assert f"there is no command and no file {word!r}" in err
    assert f"`flowruns serve {word}`" in err
    assert f"such as {word}.db" in err
    assert files(tmp_path) == {}


@pytest.mark.parametrize("args", [["serve", "runs"], ["-d", "runs"], ["--", "runs"], ["serve", "-d", "runs"]])
def test_word_is_a_database_if_it_is_clearly_meant(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], args: list[str]
) -> None:
    served: list[Settings] = []
    monkeypatch.setattr(starting, "serve", lambda settings, ready, **more: served.append(settings))
    assert main(args) == 0
    assert [settings.database for settings in served] == ["runs"]


def test_file_that_is_no_database_is_not_touched(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("README.md", "notes", "lss"):  # the last one is almost a command
        (tmp_path / name).write_text("# Notes\n" * 20)
        before = files(tmp_path)
        assert main([name, "--port", "0"]) == 5
        assert f"{name} is not a SQLite database; name another file" in one_line(capfd.readouterr().err)
        assert files(tmp_path) == before


def test_misspelt_option_names_the_nearest_and_where_help_is(capfd: pytest.CaptureFixture[str]) -> None:
    for args, near, path in ((["--prot", "1"], "--port", "serve"), (["ls", "--limt", "1"], "--limit", "ls")):
        assert main(args) == 2
        err = one_line(capfd.readouterr().err)
        assert f"{near}" in err.partition(args[-2])[2]
        assert f"(see `flowruns {path} --help`)" in err


@pytest.mark.parametrize(
    ("args", "long"),
    [
        (["-p", "9000"], "--port or --play"), (["-p9000"], "--port or --play"), (["-port", "9000"], "--port or --play"),
        (["serve", "-t", "x"], "--token"),
        (["ls", "-p", "failed"], "--phase"), (["get", "a1", "-j"], "--json"),
        (["ls", "-f", "x"], "--flow-id or --flow-type"),
    ],
)  # fmt: skip
def test_unknown_short_option_names_the_long_one(capfd: pytest.CaptureFixture[str], args: list[str], long: str) -> None:
    assert main(args) == 2
    assert f"Did you mean {long}?" in one_line(capfd.readouterr().err)


def test_unknown_short_option_without_a_long_one_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-z"]) == 2
    err = one_line(capfd.readouterr().err)
    assert "-z" in err
    assert "mean" not in err


# The database


DATABASE_COMMANDS = {
    "serve": "--port 0", "config": "", "status": "", "stop": "", "ls": "", "get": "a1", "tail": "a1", "rm": "a1",
    "import": "x.ndjson", "export": "", "backup": "b.db", "restore": "b.db", "check": "", "prune": "--older-than 1d",
    "vacuum": "", "play": "a.toml",
}  # fmt: skip


def test_every_command_takes_the_database_as_an_option() -> None:
    assert {*DATABASE_COMMANDS, "docs"} == set(COMMANDS)
    for name in DATABASE_COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command
        assert [param.opts for param in command.params if "-d" in param.opts and "--database" in param.opts]


@pytest.mark.parametrize(
    "args", [["-d", "other.db"], ["--database", "other.db"], ["other.db"], ["--database=other.db"]]
)
def test_option_is_the_same_as_the_argument(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], args: list[str]
) -> None:
    monkeypatch.setenv("FLOWRUNS_DATABASE", "env.db")
    assert values(capfd, *args)["database"] == ("other.db", "command line")
    assert values(capfd, "--demo", *args)["database"] == ("other.db", "command line")
    assert main(["status", *args]) == 1
    assert capfd.readouterr().out == "no server is running for other.db\n"
    assert main(["stop", *args]) == 1
    assert capfd.readouterr().out == "no server is running for other.db\n"


def test_database_that_is_named_twice_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("serve", "status", "stop", "config"):
        assert main([name, "a.db", "-d", "b.db"]) == 2
        assert "give DATABASE or -d" in one_line(capfd.readouterr().err)
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    "args",
    [
        "ls runs.db", "get a1 runs.db", "get runs.db a1", "get runs.db", "tail runs.db", "rm runs.db a1",
        "rm a1 runs.db", "export runs.db", "backup runs.db b.db", "backup b.db runs.db", "check runs.db",
        "vacuum runs.db",
        "prune runs.db --older-than 1d",
    ],
)  # fmt: skip
def test_database_in_the_place_of_something_else_names_the_option(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], args: str
) -> None:
    with server.serve(tmp_path / "runs.db") as runs:
        runs.run("a1")
    before = files(tmp_path)
    assert main(args.split()) == 2
    assert "-d runs.db" in one_line(capfd.readouterr().err)
    assert files(tmp_path) == before


def test_id_that_is_also_the_name_of_a_database_is_an_id_if_the_source_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with server.serve(tmp_path / "runs.db") as runs:
        runs.run("runs.db")
    assert main(["get", "runs.db", "-d", "runs.db"]) == 0
    assert capfd.readouterr().out.splitlines()[0] == "runs.db"


# Completion


def completed(tmp_path: Path, *words: str) -> set[tuple[str, str]]:
    """The completions that bash gets for the last of *words* with: kind and text."""
    env = {"_FLOWRUNS_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["flowruns", *words])}
    env["COMP_CWORD"] = str(len(words))
    run = subprocess.run(COMMAND, cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=HANG)
    assert run.stderr == ""
    return {(kind, text) for kind, _, text in (line.partition(",") for line in run.stdout.splitlines())}


@pytest.mark.parametrize("name", ["--port", "--log-level"])
def test_options_of_the_default_command_are_completed(tmp_path: Path, name: str) -> None:
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
    rows: dict[str, dict[str, object]] = json.loads(capfd.readouterr().out)
    return {name: (row["value"], str(row["from"])) for name, row in rows.items()}


def test_config_has_every_value_of_serve(capfd: pytest.CaptureFixture[str]) -> None:
    found = values(capfd)
    serve = cli.commands["serve"]
    assert list(found) == [max(param.opts, key=len).removeprefix("--") for param in serve.params if param.expose_value]
    assert {origin for _, origin in found.values()} == {"default"}
    assert (found["database"], found["port"], found["max-body"]) == (
        ("flowruns.db", "default"), (8000, "default"), (8 * 1024 * 1024, "default"),
    )  # fmt: skip


def test_config_shows_the_origins_of_values(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
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
    assert lines[:2] == ["database             flowruns.db  default", "host                 localhost    default"]
    assert {line.index("default") for line in lines} == {34}
    assert lines[3].split() == ["uds", "-", "default"]


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


def test_commands_that_ask_no_server_import_no_client(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"id": "a", "flowId": "f", "flowType": "automation"}\n')
    commands = [
        "--version", "--help", "import a.ndjson", "ls", "get a", "export", "check", "backup b.db",
        "prune --older-than 1d", "status", "stop", "rm a", "config", "serve --port 0 --ready json --exit-with-stdin",
    ]  # fmt: skip
    code = (
        "import sys; from flowruns.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "sys.exit('it imported httpx' if 'httpx' in sys.modules else code)"
    )
    for command in commands:
        run = subprocess.run(
            [sys.executable, "-c", code, *command.split()], cwd=tmp_path, input="",
            capture_output=True, text=True, timeout=HANG,
        )  # fmt: skip
        assert run.returncode == (1 if command in ("status", "stop") else 0), (command, run.stderr)


def test_level_is_understood_in_any_case(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWRUNS_LOG_LEVEL", "INFO")
    assert values(capfd)["log-level"] == ("info", "FLOWRUNS_LOG_LEVEL")


def test_port_of_a_kubernetes_service_is_ignored(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWRUNS_PORT", "tcp://10.96.0.12:8000")
    assert main(["config", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["port"]["value"] == 8000
    assert err.startswith("flowruns: FLOWRUNS_PORT is that of a Kubernetes service")
