"""A server at a Unix socket: for its user alone, gone at the end, and never in the place of another."""

import http.client
import os
import signal
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from flowruns.addresses import socket_path, unix_url
from flowruns.errors import PortTaken
from flowruns.server.starting import running
from flowruns.server.unix_socket import listen_at
from flowruns.settings import Settings
from tests.conftest import RUNS
from tests.faults.sidecars import Sidecar
from tests.processes import ended, ran, started
from tests.waits import HANG

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")

READY = ("--ready", "json")


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory(prefix="flowruns-") as folder:  # pytest's are too long for a socket
        yield Path(folder) / "f.sock"


def status(path: Path, method: str, target: str, body: bytes | None = None, **headers: str) -> int:
    """The status of the response to a request at the socket *path*, as curl sends it."""
    with closing(http.client.HTTPConnection("localhost")) as connection:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(HANG)
        connection.sock.connect(str(path))
        connection.request(method, target, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        response.read()
        return response.status


def test_a_server_at_a_socket_serves_and_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with started(tmp_path, "runs.db", "--uds", str(path), *READY) as process:
        line = Sidecar(process).line
        assert (line["uds"], line["url"], line["port"]) == (str(path), unix_url(str(path)), None)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert status(path, "PUT", f"{RUNS}/a1", b'{"flowId":"a","flowType":"automation"}') == 201
        assert status(path, "GET", f"{RUNS}/a1", host="evil.example") == 403
        code, said = ran(tmp_path, "runs.db", "--uds", f"{path}2")
        assert code == 4
        assert unix_url(str(path)) in said
        process.terminate()
        assert ended(process) == (0, "")
    assert os.listdir(path.parent) == []
    assert os.listdir(tmp_path) == ["runs.db"]


def test_stop_and_reuse_find_a_server_at_a_socket(path: Path, tmp_path: Path) -> None:
    with started(tmp_path, "runs.db", "--uds", str(path), *READY) as process:
        line = Sidecar(process).line
        with started(tmp_path, "runs.db", "--uds", str(path), *READY, "--reuse") as other:
            assert Sidecar(other).line == line | {"reused": True}
        with started(tmp_path, "stop", "runs.db") as stop:
            assert stop.stdout
            assert stop.stdout.read() == f"stopped {line['url']} (pid {process.pid})\n"
        assert ended(process) == (0, "")


def test_the_socket_of_a_killed_server_is_replaced(path: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with started(tmp_path, ":memory:", "--uds", str(path), *READY) as process:
            assert Sidecar(process).line["event"] == "ready"
            assert status(path, "GET", "/health") == 200
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert path.is_socket()


def test_a_live_socket_and_other_files_are_refused_and_untouched(path: Path, tmp_path: Path) -> None:
    with running(Settings(database=":memory:", uds=str(path))):
        code, said = ran(tmp_path, ":memory:", "--uds", str(path))
        assert (code, said.count("\n")) == (3, 1)
        assert f"cannot listen on {path}: another server listens there; stop it" in said
        assert status(path, "GET", "/health") == 200
    path.write_text("mine")
    code, said = ran(tmp_path, ":memory:", "--uds", str(path))
    assert (code, said.count("\n")) == (3, 1)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "named"),
    [("no/such/folder.sock", "No such file or directory"), ("x" * 120, "choose a shorter path"), ("", "is no socket")],
)
def test_a_path_that_cannot_be_used_is_one_line(path: Path, name: str, named: str) -> None:
    with pytest.raises(PortTaken, match=named) as caught, listen_at(path.parent / name, 1):
        pass
    assert "\n" not in str(caught.value)
    assert os.listdir(path.parent) == []


def test_of_many_that_start_at_once_at_a_stale_socket_one_listens(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    def attempt(number: int) -> str:
        try:
            listening = listen_at(path, 8)
            opened.append(listening)
            listening.__enter__()
        except PortTaken as error:
            return str(error)
        return "listens"

    opened: list[object] = []
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(8)))
    assert outcomes.count("listens") == 1, outcomes
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_the_socket_of_a_successor_is_not_removed(path: Path) -> None:
    with listen_at(path, 1):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.is_socket()


def test_the_umask_does_not_open_the_socket(path: Path) -> None:
    before = os.umask(0)
    try:
        with listen_at(path, 1):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_an_address_beside_the_socket_is_refused(tmp_path: Path) -> None:
    for option in (("--host", "127.0.0.1"), ("--port", "0")):
        code, said = ran(tmp_path, ":memory:", "--uds", "f.sock", *option)
        assert code == 2
        assert "--uds" in said


def test_a_server_of_python_programs_is_at_its_url(path: Path) -> None:
    with running(Settings(database=":memory:", uds=str(path), host="0.0.0.0")) as server:  # which is not used
        assert socket_path(server.url) == str(path)
        assert status(path, "GET", RUNS) == 200
    assert not path.exists()
