"""flowruns inside another program: mounted, on a thread, in its event loop."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message

import flowruns
from flowruns.embed import Embedded
from flowruns.errors import CannotStart, DatabaseInUse, DatabaseUnusable
from flowruns.sqlite import connection
from tests.conftest import RUNS
from tests.waits import HANG
from tests.wire import RUN, Wire, call, request, scope_of

BODY = {"flowId": "deploy", "flowType": "automation"}


def held() -> tuple[list[threading.Thread], int]:
    """The threads and, on Linux, the number of descriptors of this process."""
    gc.collect()
    return threading.enumerate(), len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


@pytest.fixture(scope="module", autouse=True)
def _started_before() -> None:
    with flowruns.serve():  # libuv has a pipe from its first loop on, for the process
        pass


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = held()
    yield
    assert held() == before


@pytest.fixture
def app() -> Iterator[Embedded]:
    app = flowruns.create_app()
    yield app
    app.close()


def client_of(app: Any, base: str = "http://any.example") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)


async def put(app: Any, path: str, **headers: str) -> httpx.Response:
    async with client_of(app) as client:
        return await client.put(path, json=BODY, headers=headers)


# Servers


def test_server_on_a_thread_is_there_and_gone(tmp_path: Path) -> None:
    with flowruns.serve(tmp_path / "a b.db") as server, Wire(server.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
        assert asyncio.run(_count(server.store)) == 1
        assert server.call(server.store.count()) == 1
    assert os.listdir(tmp_path) == ["a b.db"]
    os.unlink(tmp_path / "a b.db")


async def _count(store: flowruns.Store) -> int:
    return await store.count()


async def test_server_in_the_running_loop_is_there_and_gone(tmp_path: Path) -> None:
    async with flowruns.serve_async(tmp_path / "a.db") as server, httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.put(f"{RUNS}/a1", json=BODY)).status_code == 201
        assert await server.store.count() == 1
    assert os.listdir(tmp_path) == ["a.db"]


async def test_server_in_the_running_loop_raises_why_it_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="is not a file"):
        async with flowruns.serve_async(tmp_path):
            pass


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks can start at once since Python 3.12: `.ci/matrix` has it")
async def test_server_in_a_loop_that_starts_tasks_at_once_responds_as_in_others() -> None:
    stream = f"GET {RUNS} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()

    def ask(url: str) -> None:
        with Wire(url) as wire:
            wire.send(request("PUT", f"{RUNS}/a1", RUN) + request("GET", "/openapi.json") * 3)
            assert [wire.reply().status for _ in range(4)] == [201, 200, 200, 200]
            wire.send(stream)
            head = wire.head()
            assert (head.status, head.header(b"transfer-encoding")) == (200, None)

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    try:
        async with flowruns.serve_async() as server:
            await asyncio.to_thread(ask, server.url)
    finally:
        asyncio.get_running_loop().set_task_factory(None)


async def test_server_in_the_running_loop_leaves_signals_alone(tmp_path: Path) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    async with flowruns.serve_async():
        assert signal.getsignal(signal.SIGINT) is before


def test_two_servers_share_nothing() -> None:
    with flowruns.serve(tokens={"a": 1}) as one, flowruns.serve() as other, Wire(other.url) as wire:
        assert one.url != other.url
        assert wire.ask("PUT", f"{RUNS}/a1", RUN).status == 201
        assert one.call(one.store.count()) == 0


# Applications


async def test_application_needs_no_lifespan(app: Embedded) -> None:
    assert (await put(app, f"{RUNS}/a1")).status_code == 201
    assert (await put(app, f"{RUNS}/a1")).status_code == 200


def test_application_may_be_called_in_one_event_loop_after_the_other(app: Embedded) -> None:
    statuses = [asyncio.run(put(app, f"{RUNS}/a1")).status_code for _ in range(3)]
    assert statuses == [201, 200, 200]


async def test_requests_that_come_first_share_one_opening(tmp_path: Path) -> None:
    app = flowruns.create_app(tmp_path / "a.db")
    responses = await asyncio.gather(*(put(app, f"{RUNS}/a{number}") for number in range(20)))
    assert [response.status_code for response in responses] == [201] * 20
    await app.aclose()
    assert os.listdir(tmp_path) == ["a.db"]


async def test_responses_are_those_of_a_server_byte_for_byte(app: Embedded) -> None:
    requests: list[tuple[str, str, bytes | None]] = [  # but what each signs or times
        ("PUT", f"{RUNS}/A", RUN), ("GET", f"{RUNS}/a1", None), ("DELETE", RUNS, None),
        ("POST", RUNS, b"{"), ("GET", f"{RUNS}?size=0&cursor=x", None), ("GET", "/nothing", None),
    ]  # fmt: skip
    async with (
        flowruns.serve_async() as server,
        client_of(app) as here,
        httpx.AsyncClient(base_url=server.url) as there,
    ):
        for method, target, body in requests:
            headers = {"Content-Type": "application/json"} if body else {}
            responses = [
                await client.request(method, target, content=body, headers=headers) for client in (here, there)
            ]
            assert responses[1].headers.pop("date")  # the server's own
            assert [response.content for response in responses] == [responses[0].content] * 2
            assert [(response.status_code, response.headers) for response in responses] == [
                (responses[0].status_code, responses[0].headers)
            ] * 2


async def test_mounted_below_a_prefix_it_works_and_locates_runs(app: Embedded) -> None:
    host = Starlette(routes=[Mount("/tools/runs", app)])
    created = await put(host, f"/tools/runs{RUNS}/a1")
    assert (created.status_code, created.headers["location"]) == (201, f"/tools/runs{RUNS}/a1")
    async with client_of(host) as client:
        assert (await client.get(created.headers["location"])).json()["id"] == "a1"
        posted = await client.post(f"/tools/runs{RUNS}", json={"flowId": "deploy"})
        assert (await client.get(posted.headers["location"])).json() == posted.json()
        page = (await client.get(f"/tools/runs{RUNS}?size=1")).json()
        rest = await client.get(f"/tools/runs{RUNS}", params={"size": 1, "cursor": page["next_page"]})
        assert [run["id"] for run in rest.json()["items"]] == ["a1"]
        assert (await client.get(RUNS)).status_code == 404
        servers = (await client.get("/tools/runs/openapi.json")).json()["servers"]
        assert servers == [{"url": "/tools/runs"}]


async def test_mounted_it_opens_and_closes_with_its_host(tmp_path: Path) -> None:
    apps = [flowruns.create_app(tmp_path / name) for name in ("a.db", "b.db")]
    host = Starlette(routes=[Mount(f"/{number}", app) for number, app in enumerate(apps)],
                     lifespan=flowruns.lifespan_of(*apps))  # fmt: skip
    async with _living(host):
        assert {"a.db", "b.db"} < set(os.listdir(tmp_path))
        assert (await put(host, f"/1{RUNS}/a1")).status_code == 201
    assert sorted(os.listdir(tmp_path)) == ["a.db", "b.db"]


async def test_by_itself_it_has_a_lifespan(tmp_path: Path) -> None:
    app = flowruns.create_app(tmp_path / "a.db")
    async with _living(app):
        assert (await put(app, f"{RUNS}/a1")).status_code == 201
    assert os.listdir(tmp_path) == ["a.db"]


@pytest.mark.parametrize("name", ["a.db", "."])
async def test_thread_that_opens_the_database_has_ended_before_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class SlowEnd(Future[Any]):
        def set_result(self, result: Any) -> None:
            super().set_result(result)
            threading.Event().wait(0.05)  # between the result and the end of the thread

        def set_exception(self, exception: BaseException | None) -> None:
            super().set_exception(exception)
            threading.Event().wait(0.05)  # as above

    before = threading.enumerate()
    monkeypatch.setattr("flowruns.embed.Future", SlowEnd)
    app = flowruns.create_app(tmp_path / name)
    with suppress(CannotStart):
        await app.open()
    opened = [thread for thread in threading.enumerate() if thread not in before]
    assert not [thread for thread in opened if "_connect)" in thread.name]
    await app.aclose()


async def test_lifespan_fails_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="is not a file"):
        async with _living(flowruns.create_app(tmp_path)):
            pass


@asynccontextmanager
async def _living(app: Any) -> AsyncIterator[None]:
    """While entered, *app* runs as under a server."""
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def received(expected: str) -> None:
        message = await outgoing.get()
        if message["type"] != expected:
            raise RuntimeError(message["message"])

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    async with AsyncExitStack() as stack:
        task = asyncio.create_task(app(scope, incoming.get, outgoing.put))
        stack.push_async_callback(asyncio.wait, [task])
        await incoming.put({"type": "lifespan.startup"})
        await received("lifespan.startup.complete")
        yield
        await incoming.put({"type": "lifespan.shutdown"})
        await received("lifespan.shutdown.complete")


async def test_database_that_cannot_be_opened_is_503_until_it_can(tmp_path: Path) -> None:
    app = flowruns.create_app(tmp_path / "a.db")
    async with flowruns.Store.open(tmp_path / "a.db"):
        refused = await put(app, f"{RUNS}/a1")
        assert refused.status_code == 503
        assert "in use by another flowruns" in refused.json()["detail"][0]["msg"]
        with pytest.raises(DatabaseInUse):
            await app.open()
    assert (await put(app, f"{RUNS}/a1")).status_code == 201
    await app.aclose()


async def test_it_can_be_closed_where_a_loop_is_running_and_opened_again(tmp_path: Path) -> None:
    app = flowruns.create_app(tmp_path / "a.db")
    await put(app, f"{RUNS}/a1")
    app.close()
    app.close()
    assert os.listdir(tmp_path) == ["a.db"]
    assert (await put(app, f"{RUNS}/a1")).status_code == 200
    await app.aclose()


async def test_it_has_tokens_limits_and_hosts_of_its_own() -> None:
    app = flowruns.create_app(tokens={"secret": 7}, max_body=10, allow_hosts=frozenset())
    async with client_of(app, "http://localhost") as client:
        token = {"Authorization": "Bearer secret"}
        assert (await client.put(f"{RUNS}/a1", json=BODY)).status_code == 401
        assert (await client.put(f"{RUNS}/a1", json=BODY, headers=token)).status_code == 413
    assert (await put(app, f"{RUNS}/a1")).status_code == 403
    await app.aclose()


def test_program_that_closes_nothing_leaves_one_file(tmp_path: Path) -> None:
    program = f"""
import asyncio, httpx, flowruns
app = flowruns.create_app("a.db")
async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        assert (await client.put("{RUNS}/a1", json={BODY!r})).status_code == 201
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, check=True, timeout=HANG)
    assert os.listdir(tmp_path) == ["a.db"]


def test_import_of_flowruns_imports_nothing_heavy() -> None:
    program = (
        "import sys, flowruns\n"
        "print([m for m in ('msgspec', 'starlette', 'uvicorn', 'httpx', 'asyncio') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        flowruns.nothing  # noqa: B018  # asked for on purpose


async def test_an_application_that_is_closed_while_it_opens_opens_again(path: Path) -> None:
    app = flowruns.create_app(path)
    opening = asyncio.create_task(app.open())
    await asyncio.sleep(0)  # it has begun now
    await app.aclose()
    await opening
    assert (await call(app, "GET", "/health")).status == 200
    await app.aclose()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_a_request_ends_with_the_timeout_of_its_caller(path: Path) -> None:
    app = flowruns.create_app(path)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = scope_of("PUT", f"{RUNS}/a1", [(b"host", b"localhost"), (b"content-type", b"application/json")])
    await app.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await app(scope, never, discard)
    await app.aclose()


async def discard(message: Message) -> None:
    raise AssertionError(message)


async def test_a_server_that_is_cancelled_while_it_starts_leaves_nothing(path: Path) -> None:
    for steps in range(40):

        async def start() -> None:
            async with flowruns.serve_async(path):
                await asyncio.Event().wait()

        task = asyncio.create_task(start())
        for _ in range(steps):
            await asyncio.sleep(0)  # one turn of the loop more each time
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        async with flowruns.Store.open(path):  # which nobody holds
            pass


# Other event loops, and forks


NO_TRIO = "the test needs trio: pip install -e '.[test]'"


def test_event_loop_of_trio_is_refused_in_one_line_at_each_start(path: Path) -> None:
    trio = pytest.importorskip("trio", reason=NO_TRIO)
    app, sent = flowruns.create_app(path), []

    async def startup() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def refusals() -> list[str]:
        await app({"type": "lifespan"}, startup, send)
        refused = [sent[0]["message"], (await call(app, "GET", "/health")).json["detail"][0]["msg"]]
        for start in (flowruns.lifespan_of(app)(None), flowruns.serve_async(path), flowruns.Store.open(path)):
            with pytest.raises(CannotStart) as caught:
                await start.__aenter__()
            refused.append(str(caught.value))
        return refused

    message = (
        "flowruns needs asyncio, and this is another event loop; run it with asyncio, such as"
        " `hypercorn --worker-class asyncio`"
    )
    assert trio.run(refusals) == [message] * 5
    assert not path.exists()


FORKED = """
import asyncio, os, sys
import flowruns
from tests.wire import call

def in_child(function):
    child = os.fork()
    if not child:
        try: print(function(), flush=True)
        except Exception as error: print(error, flush=True)
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0

async def health():
    reply = await call(app, "GET", "/health")
    return reply.status, reply.json.get("detail")

async def connect():
    return await flowruns.Store.connect("b.db")

with flowruns.serve() as server:
    in_child(lambda: server.call(server.store.count()))
    in_child(server.stop)
app, store = flowruns.create_app("a.db"), asyncio.run(connect())
assert asyncio.run(health()) == (200, None)
run, _ = asyncio.run(store.put("x", flowruns.RunPut(flow_id="a", flow_type="automation")))
assert asyncio.run(store.get("x")) == asyncio.run(store.get("x")) == run
in_child(lambda: asyncio.run(store.get("x")))
in_child(lambda: asyncio.run(health()))
in_child(app.close)
in_child(lambda: asyncio.run(store.count()))
in_child(lambda: asyncio.run(store.aclose()))
assert asyncio.run(health()) == (200, None)
asyncio.run(store.aclose())
app.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_process_gets_errors_and_leaves_what_its_parent_has_open(tmp_path: Path) -> None:
    forking = ["-W", "ignore:This process:DeprecationWarning"]
    process = subprocess.run(
        [sys.executable, "-W", "error", *forking, "-c", FORKED],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True, text=True, timeout=HANG,
    )  # fmt: skip
    assert process.stderr == ""
    detail = [{"loc": ["database"], "msg": connection.FORKED, "type": "unavailable"}]
    assert process.stdout.splitlines() == [
        "a forked process cannot control this server: use its url, or start one with serve()", "None",
        connection.FORKED, str((503, detail)), "None", connection.FORKED, "None",
    ]  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == ["a.db", "b.db"]
