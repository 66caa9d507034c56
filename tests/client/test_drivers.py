"""Both drivers on httpx: cancellation, the end of a client, proxies, and clients and transports of the caller."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from flowruns import AsyncClient, Client, create_app
from flowruns.errors import Busy, NotFound, Refused, Unreachable
from flowruns.testing import server
from flowruns.testing.server import Flowruns
from tests.client.sockets import needs_proc, sockets
from tests.client.test_client import StubHandler, needs_trio, put, stub_server
from tests.waits import HANG, eventually


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=needs_trio)])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def received(runs: Flowruns, count: int) -> None:
    """Returns once the server has received *count* requests."""
    with anyio.fail_after(HANG):
        while len(runs.requests) < count:  # noqa: ASYNC110  # no event reports it
            await anyio.sleep(0.005)  # as above


# Cancellation, and the end of a client


@needs_proc
@pytest.mark.parametrize("seed", range(3))
async def test_100_calls_of_which_half_are_cancelled_leave_nothing_open(runs: Flowruns, seed: int) -> None:
    random_source, before = random.Random(seed), sockets()
    for number in range(10):
        runs.run(f"run-{number}")
    runs.delay(0.05, times=30)
    done: list[str] = []
    scopes = [anyio.CancelScope() for _ in range(100)]
    cancelled = random_source.sample(range(100), 50)
    async with AsyncClient(runs.url) as client:

        async def get(number: int) -> None:
            with scopes[number]:
                await anyio.sleep(random_source.random() / 20)  # at a random moment
                done.append((await client.get(f"run-{number % 10}")).id)

        async def cancel(number: int) -> None:
            await anyio.sleep(random_source.random() / 10)  # at a random moment
            scopes[number].cancel()

        with anyio.fail_after(HANG):
            async with anyio.create_task_group() as group:
                for number in range(100):
                    group.start_soon(get, number)
                for number in cancelled:
                    group.start_soon(cancel, number)
        assert sum(scope.cancelled_caught for scope in scopes) == 100 - len(done) <= 50
        assert {(await client.get(f"run-{number}")).id for number in range(10)} == {f"run-{n}" for n in range(10)}
    eventually(lambda: runs._injector._in_flight == {} and sockets() <= before, lambda: f"{sockets()} sockets")


@needs_proc
async def test_cancelled_watch_leaves_nothing_open(runs: Flowruns) -> None:
    runs.run("a1")
    before = sockets()
    async with AsyncClient(runs.url) as client:
        with anyio.CancelScope() as scope:
            async with aclosing(client.watch("a1")) as changes:
                async for _ in changes:
                    scope.cancel()
        assert scope.cancelled_caught
        async with aclosing(client.watch("a1")) as changes:  # left while the stream is open
            assert (await anext(changes)).id == "a1"
        eventually(lambda: runs._injector._in_flight == {} and sockets() <= before)


async def test_aclose_ends_watches_and_lets_requests_finish(runs: Flowruns) -> None:
    runs.run("a1")
    client, seen = AsyncClient(runs.url), list[Any]()
    suspended = client.watch("a1")
    seen.append((await anext(suspended)).id)

    async def watch() -> None:
        async for change in client.watch("a1"):
            seen.append(change.id)  # as soon as it is there

    async def wait() -> None:
        with pytest.raises(Unreachable, match="the client was closed"):
            await client.wait("a1", "failed")
        seen.append("waited")

    async def get() -> None:
        seen.append((await client.get("b1")).phase)

    runs.run("b1", phase="running")
    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        group.start_soon(wait)
        await received(runs, 4)  # two of them of `wait`
        with anyio.fail_after(HANG):
            while len(seen) < 2:  # noqa: ASYNC110  # until the watch has its first change, which no event reports
                await anyio.sleep(0.005)  # as above
        runs.delay(0.1, id="b1")
        group.start_soon(get)
        await received(runs, 5)
        await client.aclose()
    assert [change async for change in suspended] == []
    assert sorted(seen) == ["a1", "a1", "running", "waited"]
    assert (await client.get("a1")).id == "a1"  # on a new connection
    await client.aclose()


def test_close_ends_the_watch_of_another_thread(runs: Flowruns) -> None:
    runs.run("a1")
    client, seen = Client(runs.url), list[Any]()
    suspended = client.watch("a1")
    seen.append(next(suspended).id)
    watching = threading.Thread(target=lambda: seen.extend(change.id for change in client.watch("a1")))
    watching.start()
    eventually(lambda: len(runs.requests) == 2)
    client.close()
    watching.join()
    assert list(suspended) == []
    assert set(seen) == {"a1"}
    with client:
        assert client.get("a1").id == "a1"  # on a new connection


def test_threads_that_share_a_client_get_their_own_runs(runs: Flowruns) -> None:
    for name in ("a1", "b1"):
        runs.run(name)
    with Client(runs.url) as client, ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda name: {client.get(name).id for _ in range(100)}, ("a1", "b1") * 2)) == [
            {"a1"}, {"b1"}, {"a1"}, {"b1"},
        ]  # fmt: skip


# Errors


def test_errors_have_the_error_of_httpx_as_their_cause(runs: Flowruns) -> None:
    with Client(runs.url) as client:
        for kind, call in (
            (NotFound, lambda: client.get("nothing")),
            (Refused, lambda: client.create(flowId="NO")),
            (NotFound, lambda: next(client.watch("nothing"))),
        ):
            with pytest.raises(kind) as refused:
                call()
            assert isinstance(refused.value.__cause__, httpx.HTTPStatusError)
        runs.fail_next(503)
        with pytest.raises(Busy) as busy:
            client.delete("a1")
        assert isinstance(busy.value.__cause__, httpx.HTTPStatusError)
        runs.drop_connection()
        with pytest.raises(Unreachable) as dropped:
            client.delete("a1")
        assert isinstance(dropped.value.__cause__, httpx.RemoteProtocolError)


async def test_refused_connection_is_named(runs: Flowruns) -> None:
    with server.serve() as stopped:
        url = stopped.url
    async with AsyncClient(url) as client:
        with pytest.raises(Unreachable, match=f"{url} cannot be reached: Connection refused") as refused:
            await client.get("a1")
    assert isinstance(refused.value.__cause__, httpx.ConnectError)
    with Client(url) as blocking, pytest.raises(Unreachable, match=f"{url} cannot be reached: Connection refused"):
        blocking.get("a1")


def test_request_that_is_too_long_is_refused(runs: Flowruns) -> None:
    with Client(runs.url) as client:
        for call in (lambda: client.get("a" * 70_000), lambda: list(client.runs(flowId=["f" * 100] * 1000))):
            with pytest.raises(Refused) as refused:
                call()
            assert refused.value.status == 431


@pytest.mark.parametrize("url", ["http://999.1.1.1", "http://[::g]"])
def test_address_that_is_no_ip_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is not a server address"):
        Client(url)


# Runs


def test_ids_of_dots_are_ids_and_no_paths(runs: Flowruns) -> None:
    with Client(runs.url) as client:
        for id in (".", "..", "..."):
            assert put(client, id).id == client.get(id).id == id
            client.delete(id)


def test_put_with_a_condition_is_refused_where_it_does_not_hold(runs: Flowruns) -> None:
    fields = {"flowId": "f", "flowType": "automation"}
    with Client(runs.url) as client:
        client.put("a1", if_none_match="*", **fields)
        run, etag = client.tagged("a1")
        assert run == client.get("a1")
        assert client.put("a1", if_match=etag, **fields, phase="running").phase == "running"
        for conditions in ({"if_match": etag}, {"if_none_match": "*"}):
            with pytest.raises(Refused) as refused:
                client.put("a1", **conditions, **fields)
            assert refused.value.status == 412


async def test_large_event_arrives_whole(runs: Flowruns) -> None:
    text = "\u2028\U0001f511 " * 400_000  # 3.2 MB
    async with AsyncClient(runs.url) as client:
        await put(client, "a1", args={"text": text})
        async with aclosing(client.watch("a1")) as changes:
            change = await anext(changes)
    assert change.run.args == {"text": text}


# Clients and transports of the caller


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # that of the application
async def test_application_is_used_without_a_socket(path: Path) -> None:
    application = create_app(path)
    async with AsyncClient("http://localhost", transport=httpx.ASGITransport(application)) as client:
        assert (await put(client, "a1", phase="failed")).id == "a1"
        assert [run.id async for run in client.runs()] == ["a1"]
        assert (await client.wait("a1", "failed")).id == "a1"
        for call in (lambda: client.wait("a1", "running"), lambda: anext(client.watch())):
            with pytest.raises(TypeError, match="collects whole responses"):
                await call()
    await application.aclose()


async def test_client_of_the_caller_is_used_and_stays_open(runs: Flowruns) -> None:
    runs.run("a1")
    requests: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        requests.append(request)

    async with httpx.AsyncClient(event_hooks={"request": [note]}, headers={"X-Team": "web"}) as http:
        async with AsyncClient(runs.url, http=http) as client:
            assert (await client.get("a1")).id == "a1"
            changes = client.watch("a1")
            assert (await anext(changes)).id == "a1"
        assert [change async for change in changes] == []
        assert [request.headers["X-Team"] for request in requests] == ["web"] * 2
        assert (await http.get(f"{runs.url}/health")).status_code == 200
    with httpx.Client() as http, Client(runs.url, http=http) as client:
        assert client.get("a1").id == "a1"
        with closing(client.watch("a1")) as changes:
            assert next(changes).id == "a1"
            client.close()
            assert list(changes) == []
        assert http.get(f"{runs.url}/health").status_code == 200
    with pytest.raises(TypeError, match="not both"):
        Client(runs.url, transport=httpx.HTTPTransport(), http=httpx.Client())


def test_timeout_of_the_caller_is_heeded(runs: Flowruns) -> None:
    runs.run("a1")
    runs.delay(10 * HANG)
    for options in ({"timeout": 0.05}, {"http": httpx.Client(timeout=0.05)}, {"timeout": httpx.Timeout(0.05)}):
        with Client(runs.url, **options) as client, pytest.raises(Unreachable) as late:
            client.get("a1")
        assert isinstance(late.value.__cause__, httpx.ReadTimeout)


# Proxies


class Proxy(StubHandler):
    targets: list[str] = []

    def do_GET(self) -> None:
        self.targets.append(self.path)
        self.respond(404, "application/json", '{"detail": [{"loc": ["path", "id_"], "msg": "", "type": "not_found"}]}')


def test_proxy_of_the_environment_is_for_other_machines(runs: Flowruns, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.run("a1")
    port = runs.url.rpartition(":")[2]
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with stub_server(Proxy) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        for host in ("127.0.0.1", "localhost", "runs.localhost", "0.0.0.0"):
            # The system may not resolve a subdomain of localhost, and the server may refuse the host.
            with suppress(Unreachable, Refused), Client(f"http://{host}:{port}") as client:
                assert client.get("a1").id == "a1"
        assert Proxy.targets == []
        with Client("http://runs.example") as client, pytest.raises(NotFound):
            client.get("a1")
        assert Proxy.targets == ["http://runs.example/api/v1/flow-runs/a1"]


def test_invalid_proxy_of_the_environment_is_reported_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://me:s3cret@proxy.example")
    with pytest.raises(Unreachable, match="check HTTP_PROXY") as invalid:
        Client("http://runs.example").get("a1")
    assert "s3cret" not in str(invalid.value)
