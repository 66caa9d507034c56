"""The README and the pages of `flowruns docs` are true: their blocks run as shown, and nothing is left out."""

import inspect
import json
import os
import posixpath
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import zipapp
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import flowruns
from flowruns import AsyncClient, Client, __version__
from flowruns.cli.docs import page, title, topics
from flowruns.cli.main import EXIT_CODES, LAZY_COMMANDS, cli
from flowruns.http.openapi import document as openapi
from flowruns.http.responses import STATUS
from flowruns.model.filters import FILTERS
from flowruns.player import parsing
from flowruns.testing.server import Flowruns
from tests.processes import COMMAND, serving, started
from tests.waits import HANG, eventually

ROOT = Path(__file__).parents[1]
PACKAGE = Path(flowruns.__file__).parent
IS_CHECKOUT = (ROOT / ".git").exists()  # else the tests run on an installed wheel, beside the README
README = "README"
DOCUMENTS = {
    README: (ROOT / "README.md").read_text(encoding="utf-8"),
    **{topic: page(topic) for topic in topics()},
}


class Block(NamedTuple):
    document: str
    language: str
    text: str

    @property
    def command(self) -> str:
        """The command of a console block, which may be on several lines."""
        return re.sub(r"\\\n\s*", "", self.text.removeprefix("$ ")).partition("\n")[0]

    @property
    def output(self) -> str:
        """What the command prints."""
        return re.sub(r"\\\n\s*", "", self.text).partition("\n")[2]


BLOCKS = [
    Block(name, language, text)
    for name, document in DOCUMENTS.items()
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
]


def blocks(document: str, language: str, beginning: str = "") -> list[Block]:
    """The blocks of *document* in *language* whose text matches *beginning*."""
    return [
        block
        for block in BLOCKS
        if (block.document, block.language) == (document, language) and re.match(beginning, block.text)
    ]


# Every block, by the test that runs it.
DEMO = blocks(README, "console", r"\$ flowruns --demo") + blocks("configuration", "console")
QUICK_START = blocks(README, "console", r"\$ curl -s (?!-o)")
PLAY = blocks(README, "console", r"\$ curl -s -o")
SCRIPTS = blocks(README, "toml") + blocks("scripts", "toml")
EXAMPLES = blocks("api", "console")
STREAMS = blocks("events", "console")
DATA = blocks("data", "console")
COMMANDS = blocks("cli", "console")
PUT = blocks("cli", "sh", "curl ")
TESTS = blocks(README, "python", "from flowruns import Client") + blocks("testing", "python")
TESTS += blocks("scripts", "python", "import flowruns as api")
TOOLS = blocks(README, "python", "import json\nimport shutil") + blocks("sidecar", "python")
NODE = blocks("sidecar", "js")
PYTHON = blocks(README, "python", "import flowruns") + blocks("python", "python") + blocks("embedding", "python")
PYTHON += blocks("scripts", "python", "import asyncio")
SIDECAR = blocks("sidecar", "sh")
READY = blocks("sidecar", "json")
SQL = blocks("data", "sh", "sqlite3 ")
COMPLETION = blocks("cli", "sh", "eval ")
PROXIED = blocks("proxies", "sh")
PROXIES = [block for language in ("nginx", "caddy", "haproxy", "apache") for block in blocks("proxies", language)]
OWN_PAGE = blocks("pages", "sh")
OWN_PAGES = blocks("pages", "html") + blocks("pages", "js")  # by tests/browser/test_pages.py
BENCHMARKS = blocks("performance", "sh")
LITESTREAM = blocks("copies", "yaml")  # by tests/test_litestream.py
COPIES = blocks("copies", "sh") + blocks("copies", "crontab")
BY_CI = [block for block in BLOCKS if block.text.startswith("python3 -m venv ")]  # they need a package index
TESTED = [
    DEMO, QUICK_START, PLAY, SCRIPTS, EXAMPLES, STREAMS, DATA, COMMANDS, PUT, TESTS, TOOLS, NODE, PYTHON, SIDECAR,
    READY, SQL, COMPLETION, BENCHMARKS, LITESTREAM, COPIES, BY_CI, PROXIED, OWN_PAGE, OWN_PAGES,
    PROXIES,  # run by tests/proxies
]  # fmt: skip
# What differs each time: generated ids, the time now, change numbers, cursors.
VARYING = [
    (r'"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"', '"ID"'),
    (r'("(?:created|updated)At"):"[^"]*"', r'\1:"NOW"'),
    (r"^(  (?:created|updated)  ) \S+ \S+$", r"\1 NOW"),
    (r"^id: [1-9][0-9]*$", "id: NUMBER"),
    (r'("(?:current|next|previous)_page\w*"):"[^"]*"', r'\1:"CURSOR"'),
]
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
needs_posix = pytest.mark.skipif(os.name == "nt", reason="the commands are for a POSIX shell")


def masked(text: str) -> str:
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text


def environment(path: Path, **commands: str) -> dict[str, str]:
    """The environment of a program that finds in *path* only the *commands*, each a script for a shell."""
    path.mkdir()
    for name, script in commands.items():
        (path / name).write_text(f"#!/bin/sh\n{script}\n")
        (path / name).chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWRUNS_")}
    return clean | {"PATH": str(path)}


def installed(path: Path) -> dict[str, str]:
    """The environment of a program that finds the command `flowruns`."""
    env = environment(path / "bin", flowruns=f'exec "{sys.executable}" -m flowruns "$@"')
    return env | {"PATH": f"{env['PATH']}{os.pathsep}{os.environ['PATH']}"}


# Blocks


def test_every_block_is_run_by_one_test() -> None:
    assert sorted(block for some in TESTED for block in some) == sorted(BLOCKS)
    fences = sum(document.count("\n```") for document in DOCUMENTS.values())
    assert fences == 2 * len(BLOCKS)  # each names its language


@needs_curl
def test_quick_start(tmp_path: Path) -> None:
    number = re.compile(r"\d+ runs, demo")  # more runs, the later the server counts them
    with serving(tmp_path, "--demo") as server:
        banner = "".join(server.banner).replace(server.url, "http://127.0.0.1:8000")
        assert [block.command for block in DEMO] == ["flowruns --demo"] * 2
        for block in DEMO:
            assert number.sub("RUNS", banner) == number.sub("RUNS", block.output)
        assert len(QUICK_START) == 3
        for block in QUICK_START:
            words = shlex.split(block.command.replace("localhost:8000", server.url.removeprefix("http://")))
            run = subprocess.run(words, capture_output=True, text=True, check=True, timeout=HANG)
            shown = re.escape(block.output.removesuffix("\n")).replace("…", ".*")  # the README shortens responses
            assert re.fullmatch(shown, run.stdout), block.command


@pytest.mark.parametrize("block", SCRIPTS)
def test_scripts_have_no_mistakes(block: Block) -> None:
    assert flowruns.Script.parse(block.text).rules


@needs_curl
def test_runs_are_played_as_shown(tmp_path: Path) -> None:
    (block,), (script, *_) = PLAY, SCRIPTS
    (tmp_path / "deploy.toml").write_text(script.text)
    with serving(tmp_path, *shlex.split(DEMO[0].command)[1:]) as server:
        address = server.url.removeprefix("http://")
        text = re.sub(r"(localhost|127\.0\.0\.1):8000", address, re.sub(r"\\\n\s*", "", block.text))
        (create, _), (play, played), (tail, shown) = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE)
        subprocess.run(shlex.split(create), cwd=tmp_path, check=True, timeout=HANG)
        with started(tmp_path, *shlex.split(tail)[1:], env={"TZ": "UTC"}) as follower:
            notes = re.findall(r"^flowruns: .*\n", shown, re.MULTILINE)
            assert [follower.stderr.readline() for _ in notes] == notes
            found = [follower.stdout.readline()]
            wait_until_the_demo_plays(server.url)
            with started(tmp_path, *shlex.split(play)[1:]) as player:
                out, err = player.communicate()
            assert err + out == played
            for line in follower.stdout:  # until the watchdog of `started`, if the last line is missing
                found.append(line)
                if "run      deploy-web succeeded" in line:
                    break
    varying = re.compile(r"^[\d: -]+Z?(?=  \w)|\([\d.]+ m?s\)", re.MULTILINE)
    printed = varying.sub("", "".join(found)).splitlines()
    lines = varying.sub("", shown.removeprefix("".join(notes))).splitlines()
    passing = {line for line in lines[1:] if "running" in line}  # `tail` may get a later state of the run instead
    assert printed == [line for line in lines if line not in passing or line in printed]


def wait_until_the_demo_plays(url: str) -> None:
    """Returns once the demo has begun all runs that it plays: it begins each within 2 s, and the second action of one
    that is created now is later.
    """
    with Client(url) as runs:
        id = runs.create(flowId="deploy-shop").id
        eventually(lambda: len(runs.get(id).actions or []) > 1)


@needs_curl
def test_requests_get_the_responses_that_are_shown(tmp_path: Path, server: str) -> None:
    assert len(EXAMPLES) >= 5
    for block in EXAMPLES:
        words = shlex.split(block.command.replace("localhost:8000", server.removeprefix("http://")))
        run = subprocess.run(words, capture_output=True, text=True, check=True, timeout=HANG)
        assert masked(run.stdout) == masked(block.output.removesuffix("\n")), block.command
    assert STREAMS
    for block in STREAMS:
        words = shlex.split(block.command.replace("localhost:8000", server.removeprefix("http://")))
        with started(tmp_path, *words, "--max-time", str(HANG), command=()) as curl:
            received = "".join(curl.stdout.readline() for _ in block.output.splitlines())
        assert masked(received) == masked(block.output), block.command


@needs_posix
def test_commands_on_data_print_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "runs.ndjson").write_text(
        '{"id": "a", "flowId": "f", "flowType": "automation", "phase": "failed"}\n'
        '{"flowType": "automation", "tags": [{"key": "env"}]}\n'
        '{"id": "b", "flowId": "f", "flowType": "automation"}\n{"id": "c", "f"}\n'
    )
    (block,) = DATA
    env = installed(tmp_path)
    output = ""
    for command in re.findall(r"^\$ (.*)$", block.text, re.MULTILINE):
        run = subprocess.run(
            f"({command}) 2>&1" if "2>" not in command else command,
            shell=True, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, timeout=HANG,
        )  # fmt: skip
        output += f"$ {command}\n{run.stdout}\n"
    assert output == block.text


@needs_curl
def test_commands_on_runs_print_what_is_shown(tmp_path: Path) -> None:
    puts = [block.command for block in EXAMPLES if " -X PUT " in block.command] + [block.text for block in PUT]
    assert [block.command.split()[1] for block in COMMANDS] == ["ls", "ls", "get", "tail", "rm"]
    with serving(tmp_path) as server:
        address = server.url.removeprefix("http://")
        for command in puts:
            words = shlex.split(command.replace("localhost:8000", address))
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=HANG)
        for block in COMMANDS:
            shown = block.output.replace("127.0.0.1:8000", address)
            with started(tmp_path, *shlex.split(block.command)[1:], env={"TZ": "UTC"}) as process:
                output = process.stderr.readline() if "tail" in block.command else ""
                output += "".join(process.stdout.readline() for _ in shown.splitlines()[output.count("\n") :])
            assert masked(output) == masked(shown), block.command


@pytest.mark.parametrize(
    ("document", "output"),
    [
        (README, "https://web.example\n['deploy-web']\n"),
        ("python", "https://web.example\n['deploy-web']\nNUMBER run pending\nNUMBER run pending\n"),
        ("embedding", "0\npending 1\n"),
        ("scripts", "200 succeeded\n"),
    ],
)
def test_python_examples_run(tmp_path: Path, document: str, output: str) -> None:
    printed = ""
    for block in PYTHON:
        if block.document == document:
            command = [sys.executable, "-W", "error", "-c", block.text]
            run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANG)
            assert run.returncode == 0, run.stderr
            printed += run.stdout
    assert re.sub("^[0-9]+ run", "NUMBER run", printed, flags=re.MULTILINE) == output


@pytest.mark.parametrize(("block", "count"), list(zip(TESTS, (1, 4, 1, 2), strict=True)))
def test_examples_of_tests_pass(tmp_path: Path, block: Block, count: int) -> None:
    (tmp_path / "test_deploy.py").write_text(block.text)
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "flowruns", "-p", "anyio", "--rootdir=."]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=HANG)
    assert run.stdout.splitlines()[-1].startswith(f"{count} passed"), run.stdout


def tool(path: Path, block: Block, env: dict[str, str], **replaced: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of the tool in *block*, run in *path*, with the words of *replaced*."""
    interpreter = sys.executable if block.language == "python" else shutil.which("node")
    if interpreter is None:
        pytest.skip("the example is for Node.js")
    text = block.text
    for word, other in replaced.items():
        assert word in text
        text = text.replace(word, other)
    (path / "tool.mjs").write_text(text)
    run = subprocess.run([interpreter, "tool.mjs"], cwd=path, env=env, capture_output=True, text=True, timeout=HANG)
    return run.returncode, run.stdout, run.stderr


each_tool = pytest.mark.parametrize("block", TOOLS + NODE, ids=lambda block: f"{block.document}-{block.language}")


@needs_posix
@pytest.mark.parametrize("is_installed", [True, False], ids=["installed", "not on PATH"])
@each_tool
def test_tool_starts_its_sidecar_and_reuses_one_that_is_running(
    tmp_path: Path, block: Block, is_installed: bool
) -> None:
    env = (
        installed(tmp_path) if is_installed else environment(tmp_path / "bin", python3=f'exec "{sys.executable}" "$@"')
    )
    assert tool(tmp_path, block, env) == (0, "201 pending started\nexit code 0\n", "")
    with serving(tmp_path, "tool.db", "--token", "auto"):
        assert tool(tmp_path, block, env) == (0, "201 pending reused\nexit code 0\n", "")
    assert tool(tmp_path, block, env) == (0, "201 pending started\nexit code 0\n", "")


def test_the_tool_in_python_is_the_same_in_both_documents() -> None:
    assert len({block.text for block in TOOLS}) == 1


@needs_posix
@each_tool
def test_tool_starts_the_archive_that_is_beside_it(tmp_path: Path, block: Block) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "__main__.py").write_text("from flowruns.cli.main import main\nraise SystemExit(main())\n")
    zipapp.create_archive(tmp_path / "source", tmp_path / "flowruns.pyz")
    env = environment(tmp_path / "bin", flowruns="exit 1", python3=f'exec "{sys.executable}" "$@"')
    assert tool(tmp_path, block, env) == (0, "201 pending started\nexit code 0\n", "")


@needs_posix
@pytest.mark.parametrize("block", NODE)
def test_tool_in_node_starts_the_folder_that_is_beside_it(tmp_path: Path, block: Block) -> None:
    environment(tmp_path / "flowruns", flowruns=f'exec "{sys.executable}" -m flowruns "$@"')
    env = environment(tmp_path / "bin", flowruns="exit 1", python3="exit 1")
    assert tool(tmp_path, block, env) == (0, "201 pending started\nexit code 0\n", "")


@needs_posix
@each_tool
def test_tool_reports_a_start_that_fails_or_ends_without_a_line(tmp_path: Path, block: Block) -> None:
    env = environment(tmp_path / "bin", flowruns='[ "$1" = --version ]')  # else it ends with 1, and writes nothing
    assert tool(tmp_path, block, env) == (1, "", "flowruns did not start\n")
    for folder in ("tool.db", "other"):
        (tmp_path / folder).mkdir()
    code, output, errors = tool(tmp_path, block, installed(tmp_path / "other"))
    assert (code, output) == (1, "")
    message = min(errors.splitlines(), key=len)  # of the tool; that of the server is before or after it
    assert sorted(errors.splitlines()) == sorted([message, f"flowruns: {message}"])
    assert "is not a file" in errors


@needs_posix
@pytest.mark.parametrize("block", NODE)
def test_tool_in_node_reports_a_program_that_is_missing(tmp_path: Path, block: Block) -> None:
    assert tool(tmp_path, block, environment(tmp_path / "bin")) == (1, "", "flowruns did not start\n")


@needs_posix
@each_tool
def test_tool_prints_the_body_of_an_error_and_leaves_no_server(tmp_path: Path, block: Block) -> None:
    code, output, errors = tool(tmp_path, block, installed(tmp_path), **{"deploy-web": "Deploy Web"})
    assert (code, output) == (1, "")
    status, _, body = errors.partition(" ")
    assert (status, json.loads(body)["detail"][0]["loc"]) == ("422", ["body", "flowId"])
    eventually(lambda: not (tmp_path / "tool.db.lock").exists())


@needs_posix
@each_tool
def test_tool_starts_its_own_server_if_the_one_that_it_reuses_ends_before_the_request(
    tmp_path: Path, block: Block
) -> None:
    real = f'"{sys.executable}" -m flowruns'
    once = f'[ -e stopped ] || {{ line=$({real} "$@") && {real} stop tool.db >stopped && echo "$line"; exit; }}'
    script = f'[ "$1" = --version ] || {once}\nexec {real} "$@"'
    path = os.environ["PATH"]
    env = environment(tmp_path / "bin", flowruns=script)
    env["PATH"] += f"{os.pathsep}{path}"
    with serving(tmp_path, "tool.db", "--token", "auto") as owner:
        assert tool(tmp_path, block, env) == (0, "201 pending started\nexit code 0\n", "")
        assert (tmp_path / "stopped").read_text().startswith(f"stopped {owner.url}")


@needs_posix
def test_ready_line_of_a_sidecar_is_as_shown(tmp_path: Path) -> None:
    (block,), (shown,) = SIDECAR, READY
    env = installed(tmp_path)
    run = subprocess.run(
        block.text, shell=True, cwd=tmp_path, env=env, input="", capture_output=True, text=True, timeout=HANG
    )
    line, example = json.loads(run.stdout), json.loads(shown.text)
    assert [(key, type(value)) for key, value in line.items()] == [(key, type(value)) for key, value in example.items()]
    assert (line["event"], line["version"], line["api"], run.returncode) == ("ready", __version__, 1, 0)
    assert set(example) == set(re.findall(r"`(\w+)`", first_column(DOCUMENTS["sidecar"])))


@needs_posix
def test_sql_query_runs_while_the_file_is_served(tmp_path: Path) -> None:
    (block,) = SQL
    name, file, query = shlex.split(block.text)
    with serving(tmp_path, file), sqlite3.connect(tmp_path / file) as connection:
        assert connection.execute(query).fetchall() == []
    connection.close()
    assert name == "sqlite3"


@pytest.mark.skipif(shutil.which("bash") is None, reason="the line is for bash")
def test_completion_is_set_up_as_shown(tmp_path: Path) -> None:
    (block,) = COMPLETION
    command = ["bash", "-euc", block.text + "complete -p flowruns"]
    run = subprocess.run(command, env=installed(tmp_path), capture_output=True, text=True, timeout=HANG)
    assert (run.returncode, run.stderr) == (0, "")
    assert "flowruns" in run.stdout


@needs_posix
@needs_curl
def test_servers_behind_proxies_start_as_shown(tmp_path: Path) -> None:
    behind, at_socket = PROXIED
    (tmp_path / "tokens.txt").write_text("secret=7\n")
    with serving(tmp_path, *shlex.split(behind.text)[1:]):
        pass
    command, curl = at_socket.text.splitlines()
    with started(tmp_path, *shlex.split(command)[1:], "--ready", "json") as server:
        assert json.loads(server.stdout.readline())["event"] == "ready"
        run = subprocess.run(shlex.split(curl), cwd=tmp_path, capture_output=True, text=True, timeout=HANG)
        assert json.loads(run.stdout)["total"] == 0


def test_server_of_a_page_starts_as_shown(tmp_path: Path) -> None:
    (block,), (script, *_) = OWN_PAGE, SCRIPTS
    (tmp_path / "deploy.toml").write_text(script.text)
    with serving(tmp_path, *shlex.split(block.text)[1:]):
        pass


def test_benchmarks_have_the_options_that_are_named() -> None:
    for block in BENCHMARKS:
        command, _, named = block.text.partition("#")
        words = [sys.executable, *shlex.split(command)[1:], "--help"]
        run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=HANG)
        assert run.returncode == 0, run.stderr
        assert [option for option in re.findall(r"--\w+", named) if option not in run.stdout] == []


def test_contributing_shows_the_test_command_of_the_readme() -> None:
    (block,) = blocks("contributing", "sh")
    assert block.text in [block.text for block in blocks(README, "sh")]


# Form


def test_readme_is_short() -> None:
    lines = DOCUMENTS[README].splitlines()
    assert len(lines) <= 250
    assert [line for line in lines if len(line) > 160] == []


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "changes"])
def test_documents_name_this_version_alone(name: str) -> None:
    named = re.findall(r"""(?:flowruns[ -]|"version":")(\d+\.\d+\.\d+)""", DOCUMENTS[name])
    assert set(named) == ({__version__} if name in (README, "configuration", "sidecar") else set())


def test_changes_begin_with_this_version() -> None:
    (heading, *_) = re.findall("^## (.+)$", DOCUMENTS["changes"], re.MULTILINE)
    assert re.fullmatch(rf"{re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)", heading)


def test_readme_command_and_folder_have_the_same_pages() -> None:
    index = dict(re.findall(r"^\| \[(\w+)\]\(flowruns/docs/\1\.md\) \| (.+) \|$", DOCUMENTS[README], re.MULTILINE))
    run = subprocess.run([*COMMAND, "docs"], capture_output=True, text=True, timeout=HANG)
    assert dict(re.split(r"  +", line) for line in run.stdout.splitlines()) == index
    assert sorted(index) == sorted(file.stem for file in (PACKAGE / "docs").iterdir()) == topics()
    assert index == {topic: title(topic) for topic in topics()}


def headings(document: str) -> set[str]:
    """The anchors of *document*."""
    lines = re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL).splitlines()
    return {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in lines if line[:1] == "#"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_resolve(name: str) -> None:
    folder, file = ("", "README.md") if name == README else ("flowruns/docs", f"{name}.md")
    check_links(DOCUMENTS[name], folder, file)


@pytest.mark.skipif(not IS_CHECKOUT, reason="the folder is in a checkout")
def test_links_of_the_github_folder_resolve() -> None:
    files = list((ROOT / ".github").glob("*.md"))
    assert files
    for file in files:
        check_links(file.read_text(encoding="utf-8"), ".github", file.name)


def check_links(text: str, folder: str, file: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(folder, path or file))
        linked = re.fullmatch(r"flowruns/docs/(\w+)\.md|(README)\.md", target)
        if linked:
            document = DOCUMENTS[linked[1] or linked[2]]
            assert not anchor or anchor in headings(document), link
        elif IS_CHECKOUT:
            assert (ROOT / target).is_file(), link
            assert not anchor, link


@pytest.mark.skipif(not IS_CHECKOUT, reason="some files are in a checkout only")
@pytest.mark.parametrize("name", DOCUMENTS)
def test_named_files_exist(name: str) -> None:
    named = re.findall(r"`((?:\.?[a-z_]+/)+[a-z_]+\.(?:py|sql|js|md))`", DOCUMENTS[name])
    folders = (ROOT, PACKAGE, *(path for path in PACKAGE.iterdir() if path.is_dir()))  # architecture: within a section
    assert [file for file in named if not any((folder / file).exists() for folder in folders)] == []


# Completeness


def first_column(text: str) -> str:
    """The first cells of all rows of tables in *text*."""
    return "\n".join(re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE))


def table(document: str, header: str) -> str:
    """The table in *document* whose first column has this *header*."""
    _, found, rest = DOCUMENTS[document].partition(f"\n| {header} |")
    assert found, header
    return rest.partition("\n\n")[0]


@pytest.mark.parametrize(
    ("of", "name"),
    [("rule", name) for name in (*parsing.CONDITIONS, "steps")] + [("start", name) for name in parsing.START_KEYS],
)
def test_every_key_of_scripts_is_in_its_table(of: str, name: str) -> None:
    assert f"`{name}`" in first_column(table("scripts", f"key of a `[[{of}]]`"))


@pytest.mark.parametrize("kind", parsing._KINDS)
def test_every_step_of_scripts_is_in_its_table_with_its_keys(kind: str) -> None:
    (row,) = re.findall(rf"^\| `{{ {kind} = .*", table("scripts", "step"), re.MULTILINE)
    keys, _ = parsing._KINDS[kind]
    code = " ".join(re.findall(r"`([^`]+)`", row))
    assert [key for key in keys if not re.search(rf"\b{key}\b", code)] == []


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_method_of_the_clients_is_in_their_table(kind: type) -> None:
    closing = {"close", "aclose", "abort"}
    assert {name for name in vars(kind) if not name.startswith("_")} - closing == set(
        re.findall(r"`(\w+)\(", table("python", "of a client"))
    ) - {"Client"}


@pytest.mark.parametrize("name", [name for name in dir(Flowruns) if not name.startswith("_")] + ["url", "store"])
def test_every_part_of_the_test_server_is_in_its_table(name: str) -> None:
    assert re.search(rf"^\|[^|]*`{name}[`(]", table("testing", "of `flowruns`"), re.MULTILINE)


@pytest.mark.parametrize("name", ["fail_next", "drop_connection", "delay", "recover", "assert_called"])
def test_the_signatures_of_faults_are_those_of_the_code(name: str) -> None:
    (shown,) = re.findall(rf"^\|? ?`{name}\(([^…`]*)\)`", DOCUMENTS["testing"], re.MULTILINE)
    selectors = {"method", "path", "id"} if name in ("fail_next", "drop_connection", "delay") else set()
    parameters = inspect.signature(getattr(Flowruns, name)).parameters.values()
    left = [item.replace(annotation=item.empty) for item in parameters if item.name not in {"self", *selectors}]
    assert f"({shown})" == str(inspect.Signature(left)).replace("'", '"')


@pytest.mark.parametrize("option", cli.commands["serve"].params, ids=lambda option: str(option.name))
def test_every_option_is_in_the_configuration_table(option: click.Parameter) -> None:
    name = next((opt for opt in option.opts if opt.startswith("--")), option.opts[0].upper())
    row = next(line for line in DOCUMENTS["configuration"].splitlines() if line.startswith(f"| `{name}"))
    assert f"`{option.envvar or 'FLOWRUNS_TOKENS'}`" in row
    if isinstance(option.default, str | int | float) and option.default not in (False, ""):  # none, or a flag
        assert f"`{option.default}`" in row


@pytest.mark.parametrize("name", LAZY_COMMANDS)
def test_every_command_and_its_options_are_described(name: str) -> None:
    pages = DOCUMENTS["cli"] + DOCUMENTS["data"]
    assert f"`flowruns {name}" in pages
    assert re.search(rf"`(flowruns )?{name}\b", table(README, "command"))
    command = cli.get_command(click.Context(cli), name)
    assert command
    serve = {option.name for option in cli.commands["serve"].params}
    for option in command.params:
        if option.opts[0].startswith("-") and option.name not in serve:
            assert re.search(rf"`{max(option.opts, key=len)}\b", pages), option.opts
            assert option.envvar is None or f"`{option.envvar}`" in pages


@pytest.mark.parametrize("name", [filter.name for filter in FILTERS])
def test_every_filter_is_in_the_table_of_parameters(name: str) -> None:
    assert re.search(rf"^\| .*`{name}`.* \| runs", DOCUMENTS["api"], re.MULTILINE)


@pytest.mark.parametrize(
    "operation",
    [f"{method.upper()} {path}" for path, item in json.loads(openapi.document())["paths"].items() for method in item]
    + ["GET /ui/", "GET /docs"],
)
def test_every_operation_is_in_the_table_of_resources(operation: str) -> None:
    assert f"\n| `{operation}` | " in DOCUMENTS["api"]


@pytest.mark.parametrize("status", sorted(set(STATUS.values()) | {500}))
def test_every_status_is_in_the_table_of_errors(status: int) -> None:
    assert re.search(rf"^\|[ \d,]*\b{status}\b[ \d,]*\|", DOCUMENTS["api"], re.MULTILINE)


@pytest.mark.parametrize("code", [0, 1, 2, *EXIT_CODES.values(), 130])
def test_every_exit_code_is_in_its_table(code: int) -> None:
    assert f"\n| {code} | " in DOCUMENTS["configuration"]


def test_every_folder_and_module_is_in_the_architecture() -> None:
    sections = dict(re.findall(r"^##+ ([^\n]*)\n(.*?)(?=^##|\Z)", DOCUMENTS["architecture"], re.MULTILINE | re.DOTALL))
    overview = DOCUMENTS["architecture"].partition("\n## ")[0]
    folders = {path.name: path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    for name, path in {"Modules of the package": PACKAGE, **folders}.items():
        found = path.iterdir() if path == PACKAGE else path.rglob("*")
        files = {file.relative_to(path).as_posix() for file in found if file.is_file() and file.suffix != ".pyc"}
        if name not in ("ui", "docs", "scripts"):
            files = {file for file in files if file.endswith(".py")}
            files -= set() if path == PACKAGE else {file for file in files if file.endswith("__init__.py")}
        if name != "docs":
            assert set(re.findall(r"`([^`]+)`", first_column(sections[name]))) == files, name
        assert path == PACKAGE or f"`{name}/`" in overview, name


@pytest.mark.skipif(not IS_CHECKOUT, reason="the wheel has no .ci")
def test_ci_runs_the_commands_of_the_readme() -> None:
    lines = re.findall(r"below '(.+)'", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert len(lines) == 2
    for line in lines:
        assert re.search(rf"{re.escape(line)}\n\n```sh\npython3 -m venv ", DOCUMENTS[README])
