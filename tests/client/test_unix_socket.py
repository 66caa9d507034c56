"""Clients and commands reach a server at a Unix socket by its URL."""

import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest

from flowruns import AsyncClient, Client
from flowruns.addresses import unix_url
from flowruns.cli.main import main
from flowruns.errors import Unreachable
from flowruns.server.registry import registered
from flowruns.server.starting import RunningServer, running
from flowruns.settings import Settings
from tests.client.sockets import needs_proc, sockets

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory(prefix="flow runs-") as folder:  # with a space; pytest's are too long for a socket
        yield Path(folder) / "f.sock"


@pytest.fixture
def at_socket(path: Path) -> Iterator[RunningServer]:
    with running(Settings(database=str(path.with_name("runs.db")), uds=str(path))) as server:
        yield server


@pytest.mark.parametrize("form", [unix_url, lambda path: "http+unix://" + quote(path, safe="")])
def test_a_client_uses_the_socket_in_its_url(at_socket: RunningServer, path: Path, form: object) -> None:
    assert callable(form)
    with Client(form(str(path))) as client:
        assert client.create(id="a1", flowId="a").id == "a1"
        client.update("a1", phase="running")
        assert [run.phase for run in client.runs()] == ["running"]
        assert next(client.watch("a1")).id == "a1"
        assert at_socket.url in repr(client)


async def test_an_asynchronous_client_uses_the_socket_in_its_url(at_socket: RunningServer) -> None:
    async with AsyncClient(at_socket.url) as client:
        await client.create(id="a1", flowId="a")
        changes = client.watch(after=0)
        assert (await anext(changes)).id == "a1"
        await changes.aclose()


def test_commands_find_the_socket_of_a_file_and_of_a_url(
    at_socket: RunningServer, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Client(at_socket.url) as client:
        client.create(id="a1", flowId="a")
    for source in (["--url", at_socket.url], ["-d", str(path.with_name("runs.db"))]):
        assert main(["get", "a1", *source, "--json"]) == 0
        assert '"id":"a1"' in capfd.readouterr().out


def test_commands_choose_a_server_in_memory_by_its_socket(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with running(Settings(database=":memory:", uds=str(path))) as server, registered(server.lock_info):
        assert main(["status", "--url", server.url]) == 0
        assert server.url in capfd.readouterr().out


def test_a_socket_without_a_server_is_one_line(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url = unix_url(str(path))
    with Client(url) as client, pytest.raises(Unreachable, match=url):
        client.get("a1")
    assert main(["ls", "--url", url]) == 3
    assert capfd.readouterr().err.count("\n") == 1


@needs_proc
async def test_a_socket_that_cannot_connect_is_closed(path: Path) -> None:
    before = sockets()
    with Client(unix_url(str(path))) as client, pytest.raises(Unreachable) as error:
        client.get("a1")
    async with AsyncClient(unix_url(str(path))) as async_client:
        with pytest.raises(Unreachable) as async_error:
            await async_client.get("a1")
    assert sockets() == before, (error, async_error)  # whose frames would keep a socket open


@pytest.mark.parametrize("url", ["unix://", "unix://relative.sock", "unix:/"])
def test_an_incomplete_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="unix:///"):
        Client(url)
