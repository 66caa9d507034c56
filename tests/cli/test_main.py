"""The command line: what it starts, its messages, and how it ends."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flowruns import __version__
from flowruns.cli.main import main
from flowruns.model.runs import RunPost
from flowruns.server import starting
from flowruns.server.signals import termination_signals
from flowruns.server.starting import running
from flowruns.settings import DEFAULTS, Settings
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.faults.crashes import ended_by
from tests.processes import COMMAND, Served, command_with, ended, ran, serving, started
from tests.wire import RUN, Wire, ping, request

LIST = request("GET", RUNS)


@contextmanager
def listening() -> Iterator[int]:
    """A port that is taken."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def files(folder: Path) -> dict[str, bytes]:
    """Everything below *folder*: what a start that fails must not change."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_line(err: str) -> str:
    """*err*, if it is one message of flowruns."""
    assert err.startswith("flowruns: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


def ends_well(server: Served, number: int = signal.SIGTERM) -> None:
    server.process.send_signal(number)
    assert ended(server.process) == (0, "")


# What is served


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ([], "flowruns.db"), (["serve"], "flowruns.db"), (["runs.db"], "runs.db"), (["serve", "runs.db"], "runs.db"),
        (["--log-level", "error", "runs.db"], "runs.db"), (["--", "serve"], "serve"),
        (["my runs, äöü 🙂.db"], "my runs, äöü 🙂.db"), (["serve", "file:x?mode=memory"], "file:x?mode=memory"),
        (["100%25 #1?.db"], "100%25 #1?.db"),
    ],
)  # fmt: skip
def test_database_is_the_file_that_is_named(tmp_path: Path, args: list[str], name: str) -> None:
    with serving(tmp_path, *args, env={"FLOWRUNS_PORT": "0"}) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
        assert f"{name} (0 runs)" in server.banner[-1]
        ends_well(server)
    assert os.listdir(tmp_path) == [name]


def test_memory_leaves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, ":memory:") as server, Wire(server.url) as wire:
        assert "memory, gone at the end" in server.banner[-1]
        assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
        ends_well(server)
    assert os.listdir(tmp_path) == []


def test_address_page_data_and_count_are_printed_on_stderr(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db") as server:
        api, page, data = (line.split() for line in server.banner)
        assert api == ["flowruns", __version__, "API", f"{server.url}{RUNS}"]
        assert page == ["page", f"{server.url}/ui/"]
        assert data[:4] == ["data", "runs.db", "(0", "runs)"]
        assert int(server.url.rpartition(":")[2]) > 0
        ends_well(server)


# What is refused


def test_taken_port_is_exit_3(tmp_path: Path) -> None:
    with listening() as port:
        code, err = ran(tmp_path, "runs.db", "--port", str(port))
    assert code == 3
    assert f"127.0.0.1:{port}" in one_line(err)
    assert "--port 0" in err
    assert os.listdir(tmp_path) == []


def test_second_start_in_a_folder_names_the_server_that_is_running(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db") as server:
        port = server.url.rpartition(":")[2]
        code, err = ran(tmp_path, "runs.db", "--port", port)
        assert (code, err) == (
            3,
            f"flowruns: cannot listen on 127.0.0.1:{port}: Address already in use; flowruns is already running for"
            f" runs.db at {server.url}\n",
        )
        ends_well(server)


def test_unknown_host_is_exit_3(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([":memory:", "--host", "nowhere.invalid", "--port", "0", "--token", "secret=7"]) == 3
    assert "nowhere.invalid" in one_line(capfd.readouterr().err)


def test_database_in_use_is_exit_4_and_names_who_has_it(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db") as first:
        (tmp_path / "other.db").symlink_to("runs.db")
        for name in ("runs.db", "./runs.db", "other.db"):
            code, err = ran(tmp_path, name, "--port", "0")
            assert code == 4
            assert f"pid {first.process.pid}, {first.url}" in one_line(err)
        with Wire(first.url) as wire:
            assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
        ends_well(first)
    assert sorted(os.listdir(tmp_path)) == ["other.db", "runs.db"]


def _served(path: Path) -> None:
    with running(Settings(database=str(path), port=0)) as server, Wire(server.url) as wire:
        for number in range(100):
            assert wire.ask("PUT", f"{RUNS}/{number}", RUN).status == 201


def sql(path: Path, statements: str) -> None:
    """Executes the *statements*, as another program does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)


def _newer(path: Path) -> None:
    _served(path)
    sql(path, "pragma user_version = 99")


def _truncated(path: Path) -> None:
    _served(path)
    os.truncate(path, path.stat().st_size // 2)


UNUSABLE: list[tuple[Callable[[Path], object], str]] = [  # what is there, and how the line describes it
    (Path.mkdir, "is not a file"),
    (os.mkfifo, "is not a file"),
    (lambda path: path.write_text("not a database\n" * 100), "is not a SQLite database"),
    (lambda path: path.write_bytes(b"SQLite format 3\0"), "is not a SQLite database"),
    (lambda path: sql(path, "create table run (id text)"), "is a database of another program"),
    (_newer, "with schema 99 instead of"),
    (_truncated, "is truncated"),
    (lambda path: path.symlink_to(path), "cannot be used: "),
]


@pytest.mark.parametrize(("make", "message"), UNUSABLE)
def test_unusable_database_is_exit_5_and_not_touched(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "runs.db")
    before = files(tmp_path)
    assert main([str(tmp_path / "runs.db"), "--port", "0"]) == 5
    out, err = capfd.readouterr()
    assert out == ""
    assert re.search(f"runs.db .*{message}", one_line(err))
    assert files(tmp_path) == before
    assert os.listdir(tmp_path) == ["runs.db"]


@pytest.mark.parametrize("name", ["missing/runs.db", "file/runs.db", "x" * 300, "~nobody-of-this-name/runs.db", ""])
def test_name_that_cannot_be_a_file_is_exit_5(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--port", "0", "--", name]) == 5
    assert name in one_line(capfd.readouterr().err)
    assert files(tmp_path) == {"file": b""}


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--nonsense"], "--nonsense"), (["serve", "--nonsense"], "--nonsense"), (["a.db", "b.db"], "b.db"),
        (["--port"], "--port"), (["--port", "x"], "--port"), (["--port", "-1"], "--port"),
        (["--port", "65536"], "--port"), (["--max-body", "8 apples"], "--max-body"),
        (["--max-body", "-1"], "--max-body"), (["--max-body", "٣"], "--max-body"),
        (["--lock-timeout", "x"], "--lock-timeout"),
        (["--lock-timeout", "-1"], "--lock-timeout"), (["--lock-timeout", "nan"], "--lock-timeout"),
        (["--log-level", "loud"], "--log-level"), (["--cors-origin", "*"], "--cors-origin"),
        (["--cors-origin", "portal.example"], "--cors-origin"), (["--cors-origin", "null"], "--cors-origin"),
        (["--cors-origin", "https://portal.example/\n"], "--cors-origin"), (["--frame-ancestors", "*"], "--frame-an"),
        (["--forwarded-allow-ips", "proxy"], "--forwarded-allow-ips"), (["--root-path", "portal"], "--root-path"),
        (["--uds", "f.sock", "--port", "0"], "--uds"),  (["--port", "abc"], "not a valid number"),
        (["--allow-host", "a,b"], "--allow-host"), (["b\udcff.db"], "argument 1 is not UTF-8"),
        (["get", "b\udcff"], "set PYTHONUTF8=1"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_2_and_one_line_that_names_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], args: list[str], named: str
) -> None:
    assert main(args) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert named in one_line(err)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_no_address_beyond_loopback_is_listened_on_without_a_token(
    capfd: pytest.CaptureFixture[str], host: str
) -> None:
    with listening() as port:  # so that even a wrong start ends
        assert main([":memory:", "--host", host, "--port", str(port)]) == 2
    assert "--token" in one_line(capfd.readouterr().err)


@pytest.mark.parametrize(
    "args",
    [
        ["--host", "0.0.0.0", "--token", "secret=7"], ["--host", "0.0.0.0", "--anonymous"], ["--host", "127.0.0.1"],
        ["--host", "LocalHost"],
    ],
)  # fmt: skip
def test_address_is_listened_on_with_a_token_or_with_anonymous_or_on_loopback(
    capfd: pytest.CaptureFixture[str], args: list[str]
) -> None:
    with listening() as port:
        assert main([":memory:", *args, "--port", str(port)]) == 3  # it has come as far as that
    assert str(port) in one_line(capfd.readouterr().err)


@pytest.mark.skipif(not socket.has_ipv6, reason="the address is of IPv6")
def test_address_of_ipv6_may_have_its_brackets(tmp_path: Path) -> None:
    with serving(tmp_path, ":memory:", "--host", "[::1]") as server:
        assert server.url.startswith("http://[::1]:")


# Version and help


def test_version_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr() == (f"flowruns {__version__}\n", "")


def test_help_shows_an_example_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    lines = [line.strip() for line in capfd.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith("flowruns ")] == [
        "flowruns                      serve flowruns.db at http://127.0.0.1:8000",
        "flowruns --demo               serve sample runs, and keep nothing",
        "flowruns runs.db --port 0     serve another file at a free port",
        "flowruns :memory:             keep nothing",
    ]


def test_options_are_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Settings] = []
    monkeypatch.setattr(starting, "serve", lambda settings, ready, **more: served.append(settings))
    assert main([]) == 0
    monkeypatch.setenv("FLOWRUNS_HOST", "::1")  # beside --uds they are an error on the command line
    monkeypatch.setenv("FLOWRUNS_PORT", "9")
    args = "runs.db --uds f.sock --token secret=7 --max-body 1KiB --lock-timeout 0.5 --synchronous normal"
    args += (
        " --max-connections 3 --max-streams 2 --max-head 2KiB --head-timeout 4 --body-timeout 5 --idle-timeout 6"
        " --allow-host a --cors-origin http://b --anonymous --frame-ancestors http://c --forwarded-allow-ips 10.0.0.1"
        " --root-path /d"
    )
    assert main(args.split()) == 0
    assert served == [
        Settings(),
        Settings(
            database="runs.db", host="::1", port=9, tokens={"secret": 7}, anonymous=True, max_body=1024,
            lock_timeout=0.5, synchronous="normal", max_connections=3, max_streams=2, max_head=2048, head_timeout=4.0,
            body_timeout=5.0, idle_timeout=6.0, allow_hosts=frozenset({"a"}), cors_origins=frozenset({"http://b"}),
            frame_ancestors=frozenset({"http://c"}), forwarded_allow_ips=frozenset({"10.0.0.1"}), root_path="/d",
            uds="f.sock",
        ),
    ]  # fmt: skip
    for field in DEFAULTS.__struct_fields__:  # each has an option
        assert getattr(served[1], field) != getattr(DEFAULTS, field)


# The environment


def test_every_option_may_come_from_the_environment(tmp_path: Path) -> None:
    env = {
        "FLOWRUNS_DATABASE": "from env.db",
        "FLOWRUNS_HOST": "localhost",
        "FLOWRUNS_PORT": "0",
        "FLOWRUNS_TOKENS": "secret=7, other = 8",
        "FLOWRUNS_MAX_BODY": "1KiB",
        "FLOWRUNS_LOCK_TIMEOUT": "0.1",
        "FLOWRUNS_ALLOW_HOST": "one.example two.example",
        "FLOWRUNS_CORS_ORIGIN": "https://one.example https://two.example",
        "FLOWRUNS_FRAME_ANCESTORS": "self, https://one.example",
        "FLOWRUNS_FORWARDED_ALLOW_IPS": "127.0.0.1, ::1",
        "FLOWRUNS_ROOT_PATH": "/portal",
        "FLOWRUNS_LOG_LEVEL": "info",
        "FLOWRUNS_SYNCHRONOUS": "normal",
        "FLOWRUNS_MAX_CONNECTIONS": "2",
        "FLOWRUNS_MAX_HEAD": "1KiB",
        "FLOWRUNS_HEAD_TIMEOUT": "100",
        "FLOWRUNS_BODY_TIMEOUT": "100",
        "FLOWRUNS_IDLE_TIMEOUT": "100",
        "FLOWRUNS_EXIT_WITH_STDIN": "1",
    }
    with serving(tmp_path, env=env) as server, Wire(server.url) as wire:
        assert server.url.startswith("http://127.0.0.1:")  # and ::1
        assert "from env.db" in server.banner[-1]
        assert wire.ask("GET", RUNS).status == 401
        token = "Authorization: Bearer other"
        created = wire.ask(
            "PUT", f"{RUNS}/a1", RUN, token, "X-Forwarded-Host: two.example", "Origin: http://two.example"
        )
        assert (created.json["createdBy"], created.header(b"location")) == (8, f"/portal{RUNS}/a1".encode())
        policy = wire.ask("GET", "/ui/").header(b"content-security-policy") or b""
        assert policy.endswith(b"frame-ancestors 'self' https://one.example")
        assert wire.ask("PUT", f"{RUNS}/a1", b" " * 1025, token).status == 413
        for name in ("one", "two"):
            wire.send(request("GET", RUNS, None, token, f"Origin: https://{name}.example", host=f"{name}.example"))
            assert wire.reply().header(b"access-control-allow-origin") == f"https://{name}.example".encode()
        with _locked(tmp_path / "from env.db"):
            assert wire.ask("PUT", f"{RUNS}/a1", RUN, token).status == 503
        with Wire(server.url) as second, Wire(server.url) as third:
            assert third.ask("GET", RUNS, None, "X: " + "x" * 1024).status == 431
            assert [wire.rest(), second.ask("GET", RUNS).status] == [b"", 401]
        server.process.stdin.close()
        code, err = ended(server.process)
    assert code == 0
    assert len(err.splitlines()) == 8
    assert "secret" not in err
    assert "other" not in err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLOWRUNS_PORT", "x"), ("FLOWRUNS_TOKENS", "secret"), ("FLOWRUNS_MAX_BODY", "x"),
        ("FLOWRUNS_LOCK_TIMEOUT", "x"), ("FLOWRUNS_CORS_ORIGIN", "x"), ("FLOWRUNS_LOG_LEVEL", "x"),
        ("FLOWRUNS_SYNCHRONOUS", "off"), ("FLOWRUNS_MAX_CONNECTIONS", "0"), ("FLOWRUNS_MAX_HEAD", "-1"),
        ("FLOWRUNS_HEAD_TIMEOUT", "nan"), ("FLOWRUNS_BODY_TIMEOUT", "-1"),
        ("FLOWRUNS_IDLE_TIMEOUT", "no"), ("FLOWRUNS_EXIT_WITH_STDIN", "x"),
    ],
)  # fmt: skip
def test_wrong_variable_is_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert main([str(tmp_path)]) == 2
    one_line(capfd.readouterr().err)


def test_option_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLOWRUNS_PORT", "nonsense")
    monkeypatch.setenv("FLOWRUNS_DATABASE", "nonsense")
    assert main([str(tmp_path), "--port", "0"]) == 5
    assert str(tmp_path) in one_line(capfd.readouterr().err)


# Tokens


@pytest.mark.parametrize(
    ("args", "env", "stdin"),
    [
        (["--token", "secret=7"], {}, None),
        (["--token", " secret = 7 "], {}, None),
        (["--token", "geheimé=1", "--token", "secret=7"], {}, None),
        (["--token", "x=1", "--token", "secret=7"], {}, None),
        (["--token", "secret=7", "--token", "secret=07"], {}, None),
        ([], {"FLOWRUNS_TOKENS": "x=1,secret=7,"}, None),
        (["--token", "x=1"], {"FLOWRUNS_TOKENS": "secret=7"}, None),
        (["--token", "@tokens"], {}, None),
        (["--token", "-"], {}, "x=1\n\nsecret=7\n"),
        ([], {"FLOWRUNS_TOKENS": "y=2, @tokens"}, None),
    ],
)
def test_token_is_taken_from(tmp_path: Path, args: list[str], env: dict[str, str], stdin: str | None) -> None:
    (tmp_path / "tokens").write_text("x=1\r\n\r\nsecret=7\r\n")
    with serving(tmp_path, ":memory:", *args, env=env, stdin=stdin) as server, Wire(server.url) as wire:
        assert wire.ask("GET", RUNS).status == 401
        reply = wire.ask("PUT", f"{RUNS}/a1", RUN, "Authorization: Bearer secret")
        assert reply.json["createdBy"] == 7
        ends_well(server)


def test_token_may_hold_an_equals_sign(tmp_path: Path) -> None:
    with serving(tmp_path, ":memory:", "--token", "c2VjcmV0==7") as server, Wire(server.url) as wire:
        assert wire.ask("GET", RUNS, None, "Authorization: Bearer c2VjcmV0=").status == 200


@pytest.mark.parametrize(
    "token",
    [
        "", " ", "S3CRET", "S3CRET=", "S3CRET=x", "S3CRET=1.5", "S3CRET=-1", "S3CRET=٣", "S3CRET=99999999999999999999",
        "=1", "S3CRET S3CRET=1", "@S3CRET=1", "S3CRET\udcff=1", "@missing", "@empty", "@binary", "@wrong", "@.",
    ],
)  # fmt: skip
def test_wrong_token_is_exit_2_without_its_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], token: str
) -> None:
    for name, content in (("empty", b"\n\n"), ("binary", b"\xff\xfe=1"), ("wrong", b"S3CRET=1\nS3CRET\n")):
        (tmp_path / name).write_bytes(content)
    assert main(["--token", token]) == 2
    err = one_line(capfd.readouterr().err)
    assert "token" in err or "not UTF-8" in err
    assert "S3CRET" not in err


def test_token_of_two_users_is_exit_2_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for args in (["--token", "S3CRET=1", "--token", "S3CRET=2"], ["--token", "S3CRET=2"]):
        assert main(args) == 2
        err = one_line(capfd.readouterr().err)
        assert "two users" in err
        assert "S3CRET" not in err
        monkeypatch.setenv("FLOWRUNS_TOKENS", "S3CRET=1")


@pytest.mark.parametrize("stdin", ["", "\n", "S3CRET"])
def test_stdin_without_a_token_is_exit_2(tmp_path: Path, stdin: str) -> None:
    code, err = ran(tmp_path, "--token", "-", stdin=stdin)
    assert code == 2
    assert "S3CRET" not in one_line(err)


def test_hosts_and_origins_come_from_the_environment_as_tokens_do(tmp_path: Path) -> None:
    env = {"FLOWRUNS_ALLOW_HOST": "a.example, b.example", "FLOWRUNS_CORS_ORIGIN": "https://a.example,https://b.example"}
    with serving(tmp_path, ":memory:", env=env) as server:
        for name in ("a", "b"):
            with Wire(server.url) as wire:
                wire.send(request("GET", RUNS, None, f"Origin: https://{name}.example", host=f"{name}.example"))
                assert wire.reply().status == 200


# Signals


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """While entered, another program holds the lock of the database."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("begin immediate")
        yield
    finally:
        connection.close()


@pytest.mark.parametrize("number", [one for one in termination_signals() if os.name != "nt"])
def test_signal_lets_requests_in_flight_finish(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "runs.db") as server, Wire(server.url) as idle, Wire(server.url) as wire:
        with _locked(tmp_path / "runs.db"):
            wire.send(request("PUT", f"{RUNS}/a1", RUN))
            ping(server.url)
            server.process.send_signal(number)
            assert idle.rest() == b""  # it has begun to stop
            with pytest.raises(ConnectionRefusedError):
                Wire(server.url)
        assert wire.reply().status == 201
        assert wire.rest() == b""
        assert ended(server.process) == (0, "")
    assert os.listdir(tmp_path) == ["runs.db"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_only_shortens_the_wait(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "runs.db") as server, Wire(server.url) as idle, Wire(server.url) as wire:
        with _locked(tmp_path / "runs.db"):
            wire.send(request("PUT", f"{RUNS}/a1", RUN))
            ping(server.url)
            server.process.send_signal(number)
            assert idle.rest() == b""
            server.process.send_signal(number)
        acknowledged = wire.rest().startswith(b"HTTP/1.1 201 ")
        code, err = ended(server.process)
    assert (code, "Traceback" in err) == (0, False), err
    assert os.listdir(tmp_path) == ["runs.db"]
    if acknowledged:
        with serving(tmp_path, "runs.db") as server:
            assert "(1 run)" in server.banner[-1]


IMPATIENT = command_with("flowruns.server.server", _STOP_SECONDS=0.2)
STALLED = {
    "no request": b"",
    "within headers": LIST[:20],
    "within a body": request("PUT", f"{RUNS}/a1", RUN)[:-1],
    "idle": LIST,
}


def test_stalled_clients_are_cut_at_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db", command=IMPATIENT) as server:
        wires = {name: Wire(server.url) for name in STALLED}
        try:
            for name, wire in wires.items():
                wire.send(STALLED[name])
            ping(server.url)
            ended_by(server.process, signal.SIGTERM)
            answers = {name: wire.rest()[:13] for name, wire in wires.items()}
        finally:
            for wire in wires.values():
                wire.socket.close()
    assert answers == {
        "no request": b"", "within headers": b"", "within a body": b"HTTP/1.1 503 ", "idle": b"HTTP/1.1 200 ",
    }  # fmt: skip
    assert os.listdir(tmp_path) == ["runs.db"]


def test_client_that_does_not_read_its_answers_does_not_hold_up_the_end(tmp_path: Path) -> None:
    large = b'{"flowId":"deploy","flowType":"automation","args":{"x":"%b"}}' % (b"x" * 4_000_000)
    with serving(tmp_path, "runs.db", command=IMPATIENT) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/a1", large).status == 201
        wire.send(request("GET", f"{RUNS}/a1") * 10)
        ping(server.url)
        ended_by(server.process, signal.SIGTERM)
    assert os.listdir(tmp_path) == ["runs.db"]


def test_server_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    """The parent is killed, which closes the pipe that its child has for standard input."""
    parent = [sys.executable, "-c", PARENT, *COMMAND]
    with started(tmp_path, "runs.db", "--port", "0", "--exit-with-stdin", command=parent) as process:
        url = re.search(r"http://[^/]+", process.stderr.readline())
        assert url
        with Wire(url[0]) as wire:
            assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
            process.kill()
            assert wire.rest() == b""
        assert process.stdout.read() == ""  # until the child, too, has closed it
    assert os.listdir(tmp_path) == ["runs.db"]


PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()"


def test_standard_input_is_wanted_but_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--exit-with-stdin", "--token", "-"]) == 2
    assert "--token -" in one_line(capfd.readouterr().err)


def test_end_of_standard_input_means_nothing_unless_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db", stdin="") as server, Wire(server.url) as wire:
        ping(server.url)
        assert wire.ask("GET", RUNS).status == 200
        ends_well(server)


def test_killed_server_starts_again_with_every_acknowledged_run(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db") as server, Wire(server.url) as wire:
        for number in range(50):
            assert wire.ask("PUT", f"{RUNS}/run-{number}", RUN).status == 201
        wire.send(b"".join(request("PUT", f"{RUNS}/last-{number}", RUN) for number in range(50)))
        server.process.kill()
        answers = wire.rest().count(b"HTTP/1.1 201 ")
        server.process.wait()
    with serving(tmp_path, "runs.db") as server, Wire(server.url) as wire:
        for number in range(50):
            assert wire.ask("GET", f"{RUNS}/run-{number}").status == 200
        for number in range(answers):
            assert wire.ask("GET", f"{RUNS}/last-{number}").status == 200
        ends_well(server)
    assert os.listdir(tmp_path) == ["runs.db"]


# Logs


def test_info_logs_a_line_a_request_that_no_request_can_forge(tmp_path: Path) -> None:
    targets = {
        "/health?token=secret": "GET /health 200 ",
        "/%0AERROR%20forged": r"GET /\nERROR forged 404 ",
        "/%0D%1B%5B31mred": r"GET /\r\x1b[31mred 404 ",
        "/%C2%9B%E2%80%AE%00": r"GET /\x9b\u202e\x00 404 ",
        "/%FF%F0%9F%99%82": "GET /\ufffd🙂 404 ",
    }
    with serving(tmp_path, ":memory:", "--log-level", "info") as server, Wire(server.url) as wire:
        for target in targets:
            wire.ask("GET", target)
        wire.ask("PUT", f"{RUNS}/a1", RUN, "Authorization: Bearer secret")
        _, err = ended_by(server.process, signal.SIGTERM)
    lines = err.removesuffix("\n").split("\n")
    assert len(lines) == len(targets) + 1
    for line, logged in zip(lines, [*targets.values(), f"PUT {RUNS}/a1 201 "], strict=True):
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d\d\d INFO {re.escape(logged)}\d+\.\d ms", line)
    assert "secret" not in err
    assert "deploy" not in err


def _ask_much(wire: Wire) -> None:
    """3,200 requests, whose lines in the log take some 900 KB."""
    for _ in range(64):
        wire.send(request("GET", "/" + "x" * 200) * 50)
        assert [wire.reply().status for _ in range(50)] == [404] * 50


@pytest.mark.parametrize("closed", [False, True])
def test_stderr_that_nobody_reads_or_that_is_closed_never_holds_up_the_server(tmp_path: Path, closed: bool) -> None:
    with serving(tmp_path, "runs.db", "--log-level", "info") as server, Wire(server.url) as wire:
        if closed:
            server.process.stderr.close()
        _ask_much(wire)
        server.process.terminate()
        assert server.process.wait() == 0
    assert os.listdir(tmp_path) == ["runs.db"]


def test_nothing_is_logged_by_default(tmp_path: Path) -> None:
    with serving(tmp_path, ":memory:") as server, Wire(server.url) as wire:
        for method, target, status in (("GET", RUNS, 200), ("GET", "/nothing", 404), ("PATCH", RUNS, 405)):
            assert wire.ask(method, target).status == status
        ends_well(server)


@pytest.mark.parametrize(("text", "size"), [("1000", 1000), ("1000B", 1000), ("1K", 1024), ("1 kib", 1024)])
def test_size_may_have_a_unit(tmp_path: Path, text: str, size: int) -> None:
    with serving(tmp_path, ":memory:", "--max-body", text) as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/a1", RUN.ljust(size)).status == 201
        assert wire.ask("PUT", f"{RUNS}/a1", RUN.ljust(size + 1)).status == 413


def test_start_on_damaged_pages_is_one_line_and_exit_5(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    asyncio.run(filled(database))
    content = bytearray(database.read_bytes())
    with closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute("select rootpage from sqlite_schema where name = 'run'").fetchone()
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    database.write_bytes(content)
    code, err = ran(tmp_path, "runs.db", "--port", "0", "--demo")
    assert (code, err.count("\n"), "Traceback" in err) == (5, 1, False)
    assert "damaged" in err or "malformed" in err
    assert database.read_bytes() == content


async def filled(path: Path) -> None:
    async with Store.open(path) as store:
        for number in range(300):
            await store.create(RunPost(flow_id=f"f{number}"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names of any bytes")
def test_folder_whose_name_is_not_utf_8_has_a_ready_line(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff")
    os.mkdir(folder)
    with started(Path(folder), "runs.db", "--port", "0", "--ready", "json", "--log", "json") as process:
        line = json.loads(process.stdout.readline())
        assert (line["event"], line["database"].rpartition("/")[0][-6:]) == ("ready", "\\udcff")
        with started(Path(folder), "runs.db", "--port", "0", "--ready", "json", "--log", "json") as second:
            out, err = second.communicate()
            assert (json.loads(out)["code"], second.returncode, json.loads(err)["code"]) == (4, 4, 4)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
