"""Sockets and threads: what is opened is served, and closed in the end."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flowruns.errors import DatabaseInUse, DatabaseUnusable, PortTaken
from flowruns.server.listener import listen, listen_on_localhost, listening
from flowruns.server.starting import running
from flowruns.settings import Settings
from tests.conftest import RUNS
from tests.waits import HANG
from tests.wire import RUN, Wire, request

MEMORY = Settings(database=":memory:", port=0)


@pytest.fixture(autouse=True)
def _nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    before = threading.enumerate()
    yield
    assert set(threading.enumerate()) <= set(before)  # threads of earlier tests may end meanwhile
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# Listening


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_port_0_takes_a_free_port(host: str, family: socket.AddressFamily) -> None:
    with listen(host, 0) as listener:
        assert listener.family == family
        assert listener.getsockname()[1] > 0
        with socket.create_connection(listener.getsockname()[:2], timeout=HANG):
            pass  # clients may connect before anybody accepts them


def test_listening_socket_names_its_protocol_as_asyncio_needs_for_tcp_nodelay() -> None:
    with listen("localhost", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_taken_port_raises_a_line_that_names_it_and_the_cure() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"^cannot listen on 127\.0\.0\.1:{port}: .*--port 0") as caught:
            listen("127.0.0.1", port)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("nowhere.invalid", "nowhere.invalid:80"), ("2001:db8::1", "[2001:db8::1]:80"), ("192.0.2.1", "192.0.2.1:80")],
)
def test_foreign_host_raises_a_line_that_names_it(host: str, shown: str) -> None:
    with pytest.raises(PortTaken) as caught:
        listen(host, 80)
    assert str(caught.value).startswith(f"cannot listen on {shown}: ")


needs_ipv6 = pytest.mark.skipif(
    not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="this machine has no ::1: enable IPv6"
)


@needs_ipv6
@pytest.mark.parametrize("host", ["localhost", "LocalHost", Settings().host])
def test_localhost_listens_on_both_families_with_one_port(host: str) -> None:
    with listening(Settings(host=host, port=0)) as (sockets, url):
        assert [listener.getsockname()[0] for listener in sockets] == ["127.0.0.1", "::1"]
        (port,) = {listener.getsockname()[1] for listener in sockets}
        assert url == f"http://127.0.0.1:{port}"
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, port), timeout=HANG):
                pass


@needs_ipv6
def test_an_address_listens_there_alone() -> None:
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
        with listening(Settings(host=host, port=0)) as (sockets, url):
            assert [listener.getsockname()[0] for listener in sockets] == [host]
            assert url == f"http://{shown}:{sockets[0].getsockname()[1]}"


@needs_ipv6
def test_localhost_of_another_program_on_the_other_family_is_refused_with_the_cure() -> None:
    with listen("::1", 0) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"^cannot listen on \[::1\]:{port}: .*--host 127\.0\.0\.1") as caught:
            listen_on_localhost(port)
        assert "\n" not in str(caught.value)
        with listen("127.0.0.1", port):  # it was closed again
            pass


@needs_ipv6
def test_both_families_are_served(server: str) -> None:
    port = server.rpartition(":")[2]
    with Wire(f"http://[::1]:{port}") as wire:
        wire.send(request("GET", "/health", host=f"[::1]:{port}"))
        assert wire.reply().status == 200


# Running servers


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1")],
)
def test_running_server_is_at_its_url(host: str, shown: str) -> None:
    settings = Settings(database=":memory:", host=host, port=0, anonymous=True)
    with running(settings) as ready, Wire(ready.url) as wire:
        assert ready.url.startswith(f"http://{shown}:")
        assert wire.ask("GET", RUNS).json["items"] == []


def test_server_that_stopped_leaves_one_file_and_a_free_port(path: Path) -> None:
    with running(Settings(database=str(path), port=0)) as ready, Wire(ready.url) as wire:
        assert ready.runs == 0
        assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(ConnectionRefusedError):
        Wire(ready.url)


def test_port_is_free_again_at_once(path: Path) -> None:
    with running(MEMORY) as ready, Wire(ready.url) as wire:
        wire.ask("GET", RUNS, None, "Connection: close")  # closed by the server, which leaves TIME_WAIT
        assert wire.rest() == b""
    port = int(ready.url.rpartition(":")[2])
    with running(Settings(database=":memory:", port=port)) as again:
        assert again.url == ready.url


def test_stop_may_be_called_early_and_often() -> None:
    with running(MEMORY) as ready, Wire(ready.url) as idle:
        ready.stop()
        assert idle.rest() == b""
        ready.stop()


def test_error_within_the_block_is_raised_and_the_server_stops() -> None:
    with pytest.raises(ZeroDivisionError), running(MEMORY):
        raise ZeroDivisionError


def test_failing_start_raises_and_frees_the_port(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DatabaseUnusable), running(Settings(database=str(tmp_path), port=port)):
        pass
    with listen("127.0.0.1", port):
        pass


def test_taken_port_raises_before_the_database_is_touched(path: Path) -> None:
    with listen("127.0.0.1", 0) as listener:
        taken = Settings(database=str(path), port=listener.getsockname()[1])
        with pytest.raises(PortTaken), running(taken):
            pass
    assert os.listdir(path.parent) == []


def test_second_server_on_a_file_raises_the_pid_and_the_url_of_the_first(path: Path) -> None:
    settings = Settings(database=str(path), port=0)
    with running(settings) as first, Wire(first.url) as wire:
        with pytest.raises(DatabaseInUse) as caught, running(settings):
            pass
        assert f"pid {os.getpid()}, {first.url}" in str(caught.value)
        assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201


def test_twenty_servers_at_once_take_twenty_ports() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(running(MEMORY)) for _ in range(20)]
        assert len({server.url for server in servers}) == 20
        for server in servers:
            assert stack.enter_context(Wire(server.url)).ask("GET", RUNS).status == 200
        for server in servers:
            server.stop()  # all at once
