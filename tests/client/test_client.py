"""The client for programs: most tests run with both `Client` and `AsyncClient`."""

import asyncio
import http.server
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from msgspec import UNSET

from flowruns import AsyncClient, Client
from flowruns.errors import Busy, NotFound, Refused, Unreachable
from flowruns.testing import server
from flowruns.testing.server import Flowruns
from tests.waits import HANG, eventually


class Blocking:
    """An `AsyncClient` in the event loop of another thread, with the blocking methods of a `Client`."""

    def __init__(self, portal: BlockingPortal, client: AsyncClient) -> None:
        self._portal = portal
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            async def start() -> Any:
                result = getattr(self._client, name)(*args, **options)
                return result if isinstance(result, AsyncGenerator) else await result

            result = self._portal.call(start)
            return self._iterate(result) if isinstance(result, AsyncGenerator) else result

        return call

    def _iterate(self, items: AsyncGenerator[Any]) -> Iterator[Any]:
        try:
            while (item := self._portal.call(anext, items, None)) is not None:
                yield item
        finally:
            self._portal.call(items.aclose)


Make = Callable[..., Any]


needs_trio = pytest.mark.skipif(find_spec("trio") is None, reason="trio is not here: pip install -e '.[test]'")


@pytest.fixture(params=["thread", "asyncio", pytest.param("trio", marks=needs_trio)])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Creates a client of a url. Checks that the test leaves no thread behind."""
    before = set(threading.enumerate())
    clients: list[Any] = []
    blocking = request.param == "thread"
    with start_blocking_portal("asyncio" if blocking else request.param) as portal:

        def make(url: str, token: str | None = None) -> Any:
            clients.append(Client(url, token) if blocking else AsyncClient(url, token))
            return clients[-1] if blocking else Blocking(portal, clients[-1])

        yield make
        for client in clients:
            portal.call(client.aclose) if isinstance(client, AsyncClient) else client.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(HANG)
    assert set(threading.enumerate()) <= before


@pytest.fixture
def client(runs: Flowruns, make: Make) -> Any:
    return make(runs.url)


class StubHandler(http.server.BaseHTTPRequestHandler):
    """A handler that sends canned responses in place of a flowruns server."""

    def respond(self, status: int, media_type: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def stub_server(handler: type[StubHandler]) -> Iterator[str]:
    """The address of a server with this *handler*."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def put(client: Any, id: str, **fields: Any) -> Any:
    return client.put(id, **{"flowId": "deploy-web", "flowType": "automation", **fields})


# Runs


def test_get_returns_the_run_that_put_sent(client: Any) -> None:
    now = datetime(2025, 1, 20, 18, 53, 3, 558000, tzinfo=UTC)
    run = put(
        client, "web-42", phase="running", startTime=now, args={"ref": "main", "n": 2**70}, tags={"env": "test"},
        actions=[{"id": "build", "phase": "running", "startTime": now}], logs=[{"message": "begun", "timestamp": now}],
    )  # fmt: skip
    assert client.get("web-42") == run
    assert (run.id, run.flow_id, run.flow_type, run.phase) == ("web-42", "deploy-web", "automation", "running")
    assert (run.start_time, run.end_time) == ("2025-01-20T18:53:03.558Z", None)
    assert (run.args, run.outputs) == ({"ref": "main", "n": 2**70}, None)
    assert [(tag.key, tag.value) for tag in run.tags] == [("env", "test")]
    assert [(log.message, log.level) for log in run.logs] == [("begun", "info")]
    again = put(client, "web-42", actions=run.actions, logs=run.logs, tags=run.tags)
    assert (again.actions, again.logs, again.tags, again.args) == (run.actions, run.logs, run.tags, None)


def test_create_makes_a_pending_self_service_action(client: Any) -> None:
    run = client.create(flowId="deploy-web", args={"ref": "main"})
    assert (run.flow_type, run.phase, run.args) == ("selfServiceAction", "pending", {"ref": "main"})
    with pytest.raises(Refused) as refused:
        client.create(flowId="deploy-web", id=run.id)
    assert refused.value.status == 409


def test_deleted_run_is_not_found(client: Any) -> None:
    put(client, "a1")
    client.delete("a1")
    for method in (client.get, client.delete, client.update, client.wait):
        with pytest.raises(NotFound, match="There is no flow run 'a1'"):
            method("a1")


def test_runs_are_iterated_newest_first_and_filtered(runs: Flowruns, client: Any) -> None:
    names = [f"run-{number}" for number in range(105)]
    for name in names:
        runs.run(name)
    runs.run("a", phase="failed", tags={"env": "a&b=c d"})
    runs.run("b", phase="running", by=7)
    assert [run.id for run in client.runs()] == ["b", "a", *reversed(names)]
    assert [run.id for run in client.runs(order="asc", limit=101)] == names[:101]
    assert [run.id for run in client.runs(phase=["failed", "running"])] == ["b", "a"]
    assert [run.id for run in client.runs(tag="env:a&b=c d", phase=None)] == ["a"]
    assert [run.id for run in client.runs(tag={"env": "a&b=c d"})] == ["a"]
    for wrong in ({"phase": []}, {"limit": 0}):
        with pytest.raises(ValueError, match=r"phase has no values|limit must be 1 or more"):
            list(client.runs(**wrong))
    assert [run.id for run in client.runs(createdBy=7)] == ["b"]
    assert list(client.runs(createdAfter=datetime.now(UTC) + timedelta(hours=1))) == []
    assert [(len(page.runs), page.total) for page in client.pages(limit=1, flowId="deploy-web")] == [(1, 107)]


def test_number_with_too_many_digits_does_not_break_the_list(runs: Flowruns, client: Any) -> None:
    digits = "7" * 5000  # too many for Python's int()
    body = b'{"flowId":"f","flowType":"automation","args":{"n":%b}}' % digits.encode()
    runs.client.put("/api/v1/flow-runs/a1", content=body, headers={"Content-Type": "application/json"})
    assert str(next(iter(client.runs())).args["n"]) == digits


# update


def test_update_leaves_other_fields_unchanged_byte_for_byte(runs: Flowruns, client: Any) -> None:
    args = b'{"b": 1e400, "a": -0, "z": 1E5, "a": "\\u00e4"}'
    body = b'{"flowId":"f","flowType":"automation","phase":null,"args":%b,"tags":[{"key":"k","value":"v"}]}' % args
    runs.client.put("/api/v1/flow-runs/a1", content=body, headers={"Content-Type": "application/json"})
    run = client.update("a1", phase="running", outputs={"url": "https://web.example"})
    assert (run.phase, run.outputs, run.flow_id) == ("running", {"url": "https://web.example"}, "f")
    assert args in runs.client.get("/api/v1/flow-runs/a1").content
    assert client.update("a1", outputs=None).outputs is None


def test_concurrent_updates_do_not_overwrite_each_other(runs: Flowruns, make: Make) -> None:
    put(make(runs.url), "a1")

    def update(name: str) -> None:
        client = make(runs.url)
        for number in range(40):
            client.update("a1", **{name: {"n": number}})

    with ThreadPoolExecutor() as pool:
        list(pool.map(update, ("args", "outputs")))
    run = make(runs.url).get("a1")
    assert (run.args, run.outputs) == ({"n": 39}, {"n": 39})


def test_update_retries_after_a_conflict(runs: Flowruns, client: Any) -> None:
    put(client, "a1")
    runs.fail_next(412, method="PUT")
    assert client.update("a1", phase="running").phase == "running"
    runs.fail_next(412, times=None, method="PUT")
    with pytest.raises(Refused, match="injected by the test"):
        client.update("a1", phase="failed")
    assert [(request.headers.get("if-match"), request.status) for request in runs.requests.of("PUT")] == [
        (None, 201), ('"1"', 412), ('"1"', 200), *[('"2"', 412)] * 100,
    ]  # fmt: skip


# wait and watch


def test_wait_returns_the_run_once_it_is_in_the_phase(runs: Flowruns, client: Any) -> None:
    runs.run("a1", phase="pending")
    assert client.wait("a1", phase="pending").id == "a1"
    for phases, phase in ((("running", "failed"), "running"), (None, "succeeded")):
        later = threading.Thread(target=runs.advance, args=("a1", phase))
        later.start()
        assert client.wait("a1", phases, timeout=HANG).phase == phase
        later.join()
    assert client.wait("a1").end_time  # it has ended already


def test_wait_raises_timeout_error(runs: Flowruns, client: Any) -> None:
    runs.run("a1", phase="running")
    for phases, goal in (("failed", "reach phase failed"), (("x", "failed"), "reach phase failed or x"), (None, "end")):
        for seconds in (0.05, 0):
            with pytest.raises(TimeoutError, match=f"run 'a1' did not {goal} within {seconds} s"):
                client.wait("a1", phases, timeout=seconds)
    assert client.wait("a1", "running", timeout=0).id == "a1"
    with pytest.raises(NotFound):
        client.wait("b1", timeout=0)


def test_wait_for_a_run_that_is_deleted_raises_not_found(runs: Flowruns, client: Any) -> None:
    runs.run("a1")
    deletion = threading.Thread(target=lambda: runs.client.delete("/api/v1/flow-runs/a1"))
    with closing(client.watch("a1")) as changes:
        assert next(changes).id == "a1"
        deletion.start()
        with pytest.raises(NotFound):
            client.wait("a1", "failed", timeout=HANG)
        deletion.join()
        assert next(changes)[::2] == ("deleted", "a1")


def test_wait_continues_after_a_restart(path: Path, make: Make) -> None:
    with server.serve(path) as runs:
        port = int(runs.url.rpartition(":")[2])
        client = make(runs.url)
        runs.run("a1", phase="running")
        results: list[Any] = []
        waiting = threading.Thread(target=lambda: results.append(client.wait("a1", "failed", timeout=HANG)))
        waiting.start()
        eventually(lambda: len(runs.requests.of("GET", id="a1")) == 2)  # it has read the state, and waits for a change
    with server.serve(path, port=port) as runs:
        runs.advance("a1", "failed")
        waiting.join()
    assert [run.phase for run in results] == ["failed"]


def test_wait_sees_the_run_of_another_database_with_the_same_numbers(tmp_path: Path, make: Make) -> None:
    with server.serve(tmp_path / "b.db") as runs:
        runs.run("a1", phase="failed")
    with server.serve(tmp_path / "a.db") as runs:
        port = int(runs.url.rpartition(":")[2])
        runs.run("a1", phase="running")
        results: list[Any] = []
        client = make(runs.url)
        waiting = threading.Thread(target=lambda: results.append(client.wait("a1", "failed", timeout=HANG)))
        waiting.start()
        eventually(lambda: len(runs.requests.of("GET", id="a1")) == 2)
    with server.serve(tmp_path / "b.db", port=port):
        waiting.join()
    assert [run.phase for run in results] == ["failed"]


def test_watch_continues_behind_a_proxy_while_its_server_is_down(runs: Flowruns, make: Make) -> None:
    docs = [runs.client.get(f"/api/v1/flow-runs/{runs.run(name).id}").text for name in ("a1", "b1")]
    streams = [(200, f":\n\nid: {number}\nevent: run\ndata: {doc}\n\n") for number, doc in enumerate(docs)]
    responses = [streams[0], (502, "<html>Bad Gateway</html>"), (503, "away"), streams[1]]

    class Proxy(StubHandler):
        def do_GET(self) -> None:
            status, text = responses.pop(0)
            self.respond(status, "text/event-stream" if status == 200 else "text/html", text)

    with stub_server(Proxy) as url, closing(make(url).watch()) as changes:
        assert [next(changes).id, next(changes).id] == ["a1", "b1"]
    assert responses == []


def test_watch_returns_changes(runs: Flowruns, client: Any) -> None:
    runs.run("before")
    with closing(client.watch(after=0, phase=["failed", "pending"])) as changes:
        assert next(changes)[:3] == ("run", 1, "before")
        runs.run("other", phase="running")
        run = runs.run("a1", phase="failed")
        change = next(changes)
        assert change == ("run", 3, "a1", client.get("a1"))
        assert change.run == run
        client.delete("a1")
        assert next(changes) == ("deleted", 4, "a1", None)
        runs.advance("before", "running")
        assert next(changes) == ("left", 5, "before", None)
    with closing(client.watch(after=1000)) as changes:
        assert next(changes) == ("resync", 5, None, None)


def test_watch_continues_over_a_restart(path: Path, make: Make) -> None:
    with server.serve(path) as runs:
        port = int(runs.url.rpartition(":")[2])
        changes = make(runs.url).watch()
        first = threading.Thread(target=lambda: ids.append(next(changes).id))
        ids: list[str] = []
        first.start()
        eventually(lambda: len(runs.requests) == 1 and runs.requests[0].status == 200)  # the stream is open
        runs.run("a1")
        first.join()
    with server.serve(path, port=port) as runs:
        runs.run("b1")
        assert [*ids, next(changes).id] == ["a1", "b1"]
        runs.run("c1")
        with closing(changes):
            assert next(changes).id == "c1"


def test_watch_ends_at_its_timeout(runs: Flowruns, client: Any) -> None:
    runs.run("a1")
    assert [change.id for change in client.watch("a1", timeout=0.5)] in (["a1"], [])  # [] if the machine is that slow
    assert list(client.watch(timeout=0)) == []


class Silent(StubHandler):
    """Sends the head of a stream and an event, or nothing at all, and then waits for the client to disconnect."""

    event = b""

    def do_GET(self) -> None:
        if self.event and self.headers["Accept"] == "text/event-stream":
            self.respond(200, "text/event-stream", self.event.decode())
        self.rfile.read(1)


class SilentStream(Silent):
    event = b":\nid: 1\n\n"


def test_timeout_holds_where_a_server_is_silent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowruns.client.connections._RESPONSE_TIMEOUT", 10 * HANG)
    monkeypatch.setattr("flowruns.client.connections._STREAM_TIMEOUT", 10 * HANG)
    for handler in (Silent, SilentStream):
        with stub_server(handler) as url:
            client = make(url)
            with pytest.raises(TimeoutError, match="run 'a1' did not end within 0.1 s"):
                client.wait("a1", timeout=0.1)
            assert list(client.watch(timeout=0.2)) == []


def test_timeout_holds_while_a_test_freezes_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with stub_server(SilentStream) as url, Client(url) as client:
        for name in ("time", "monotonic", "perf_counter"):  # as freezegun does
            monkeypatch.setattr(time, name, lambda: 1.0)
        try:
            with pytest.raises(TimeoutError):
                client.wait("a1", timeout=0.1)
            assert list(client.watch(timeout=0.1)) == []
        finally:
            monkeypatch.undo()


# Errors


def test_every_error_detail_has_its_location(client: Any) -> None:
    with pytest.raises(Refused, match=r"flowId: String should .*; tags.0.value: Field required") as refused:
        client.put("a1", flowId="Deploy Web", phase="running", tags=[{"key": "env"}], flowType="automation")
    assert refused.value.status == 422
    assert [detail.loc for detail in refused.value.details] == [("body", "flowId"), ("body", "tags", 0, "value")]
    with pytest.raises(Refused, match="createdBy: Input should be a valid integer"):
        list(client.runs(createdBy="me"))


def test_unknown_names_are_refused_before_any_request(runs: Flowruns, client: Any) -> None:
    for call in (
        lambda: list(client.runs(fase="failed")),
        lambda: next(client.watch(flow_id="f")),
        lambda: next(client.watch("a1", phase="failed")),
        lambda: client.put("a1", flow_id="f"),
        lambda: client.create(phase="running"),
        lambda: client.update("a1", createdBy=7),
    ):
        with pytest.raises(TypeError, match="there is no filter|has no field|an id or filters, not both"):
            call()
    assert list(runs.requests) == []


def test_token_is_sent_and_never_shown(make: Make) -> None:
    with server.serve(tokens={"secret": 7, "sécret🔑": 8}) as runs:
        assert put(make(runs.url, "secret"), "a1").created_by == 7
        assert put(make(runs.url, "sécret🔑"), "a2").created_by == 8
        client = make(runs.url, "wrong")
        with pytest.raises(Refused) as refused:
            client.get("a1")
        assert refused.value.status == 401
        assert "wrong" not in str(refused.value) + repr(client)


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://localhost", "http://localhost:abc", "http://a b"])
def test_invalid_address_or_token_is_refused_at_once(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match="use for example http://127.0.0.1:8000"):
            kind(url)
        with pytest.raises(ValueError, match="the token must not be empty or contain spaces"):
            kind("http://localhost", "a\nb")


def test_busy_and_unreachable_are_different_errors(runs: Flowruns, client: Any) -> None:
    runs.fail_next(503)
    with pytest.raises(Busy):
        client.get("a1")
    runs.drop_connection(times=2)
    with pytest.raises(Unreachable, match=runs.url):
        client.get("a1")


def test_response_of_another_server_is_refused(make: Make) -> None:
    class Stranger(StubHandler):
        def do_GET(self) -> None:
            html = self.path.startswith("/html/")
            self.respond(200, "text/html" if html else "application/json", '{"id": "a1"}\n\n')

        do_DELETE = do_GET

    with stub_server(Stranger) as url:
        client, html = make(url), make(f"{url}/html")
        with pytest.raises(Refused, match="sent an invalid flow run: .* `flowId`"):
            client.get("a1")
        for call in (
            lambda: list(client.runs()), lambda: next(client.watch()), lambda: html.get("a1"),
            lambda: html.delete("a1"), lambda: next(html.watch("a1")),
        ):  # fmt: skip
            with pytest.raises(Refused, match="is not a flowruns server"):
                call()


# Connections


def test_connection_that_the_server_closed_is_not_reused(path: Path, make: Make) -> None:
    with server.serve(path) as runs:
        port = int(runs.url.rpartition(":")[2])
        client = make(runs.url)
        put(client, "a1")
    with server.serve(path, port=port) as runs:
        put(client, "a1", phase="running")  # a PUT is not sent twice
        assert [request.status for request in runs.requests] == [200]


async def test_concurrent_calls_all_succeed(runs: Flowruns) -> None:
    runs.delay(0.1)
    async with AsyncClient(runs.url) as client, asyncio.timeout(HANG):
        await asyncio.gather(*(put(client, f"run-{number}") for number in range(30)))
        assert {run.id async for run in client.runs()} == {f"run-{number}" for number in range(30)}


@pytest.mark.parametrize(
    "call",
    [lambda client: client.get("a1"), lambda client: client.wait("a1", "failed"), lambda client: anext(client.watch())],
)
async def test_cancelled_call_ends_its_request(runs: Flowruns, call: Callable[[Any], Any]) -> None:
    runs.run("a1", phase="running")
    runs.delay(HANG, times=1)
    async with AsyncClient(runs.url) as client:
        waiting = asyncio.ensure_future(call(client))
        while not len(runs.requests):  # noqa: ASYNC110  # no event reports that the server received the request
            await asyncio.sleep(0.01)  # as above
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await client.get("a1")).id == "a1"


async def test_cancelled_iteration_ends_its_stream(runs: Flowruns) -> None:
    runs.run("a1", phase="running")
    async with AsyncClient(runs.url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # whether the stream has opened by then or not
                await client.wait("a1", "failed")
        async with aclosing(client.watch("a1")) as changes:
            assert (await anext(changes)).id == "a1"  # the stream is open
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)  # it waits for the next change
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting


def test_abort_ends_the_stream_of_another_thread(runs: Flowruns) -> None:
    runs.run("a1")
    client = Client(runs.url)
    changes = client.watch("a1")
    assert next(changes).id == "a1"
    errors: list[Exception] = []

    def watch() -> None:
        try:
            next(changes)
        except Unreachable as error:
            errors.append(error)

    watching = threading.Thread(target=watch)
    watching.start()
    client.abort()
    watching.join(HANG)
    assert len(errors) == 1


def test_program_that_never_closes_its_stream_ends(runs: Flowruns) -> None:
    runs.run("a1")
    code = f"""
import asyncio, flowruns
async def main():
    client = flowruns.AsyncClient({runs.url!r})
    changes = client.watch("a1")
    assert (await anext(changes)).id == "a1"
    runs.append(asyncio.ensure_future(anext(changes)))
    await asyncio.sleep(0)  # it waits for the next change
runs = []
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""
    process = subprocess.run([sys.executable, "-c", code], timeout=HANG * 3, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("url", ["http://h/#token=s3cret", "http://me:s3cret@h", "http://s3cret@127.0.0.1:8000"])
def test_secret_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match="no user, password or fragment") as refused:
            kind(url)
        assert "s3cret" not in str(refused.value)


# Fewer fields, and statistics


def test_runs_with_some_fields_have_these_alone(runs: Flowruns, client: Any) -> None:
    whole = put(client, "a", args={"big": 2**70}, actions=[{"id": "build", "phase": "failed"}], tags={"env": "prod"})
    (run,) = client.runs(fields=["args", "id", "actions", "actionCounts"], tag="env:prod")
    assert (run.id, run.args, run.actions) == (whole.id, whole.args, whole.actions)
    assert (run.action_counts.total, run.action_counts.phase) == (1, {"failed": 1})
    assert run.action_counts.first == {"failed": "build"}
    assert run.phase is run.logs is run.log_counts is UNSET
    assert runs.requests[-1].query["fields"] == ["args,id,actions,actionCounts"]


def test_pages_with_some_fields_have_the_same_total(client: Any) -> None:
    for id in "abc":
        put(client, id)
    (page,) = client.pages(limit=2, fields="phase, logCounts")
    assert page.total == 3
    assert [(run.phase, run.log_counts, run.id) for run in page.runs] == [("pending", None, UNSET)] * 2


def test_a_watch_with_some_fields_has_them_and_the_id(client: Any) -> None:
    put(client, "a", args={"x": 1})
    put(client, "b")
    client.delete("b")
    for changes in (client.watch("a", fields="phase"), client.watch(after=0, fields="phase")):
        with closing(changes):
            change = next(changes)
            assert (change.kind, change.id, change.run.id, change.run.phase) == ("run", "a", "a", "pending")
            assert change.run.args is UNSET
    with closing(client.watch(after=0, fields=["phase"])) as changes:
        assert [next(changes).kind for _ in range(2)] == ["run", "deleted"]


def test_statistics_are_numbers_of_runs(client: Any) -> None:
    put(client, "a", phase="failed", tags={"env": "prod"})
    put(client, "b", phase=None, flowId="api")
    stats = client.stats()
    assert (stats.total, stats.phase, stats.tag) == (2, {"failed": 1}, {"env:prod": 1})
    assert (stats.flow_id, stats.flow_type) == ({"api": 1, "deploy-web": 1}, {"automation": 2})
    assert client.stats(phase=["failed", "running"], tag={"env": "prod"}).total == 1
    assert client.stats(createdAfter=datetime.now(UTC) + timedelta(days=1)).phase == {}


@pytest.mark.parametrize("name", ["runs", "pages", "watch"])
@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ("id,logCount", TypeError, "a run has no field 'logCount'; is it 'logCounts'?"),
        (["flow_id"], TypeError, "a run has no field 'flow_id'; is it 'flowId'?"),
        ([], ValueError, "leave it out"),
    ],
)
def test_names_of_fields_are_checked(
    runs: Flowruns, client: Any, name: str, fields: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        next(getattr(client, name)(fields=fields))
    assert not runs.requests


def test_unknown_filters_of_statistics_are_type_errors(client: Any) -> None:
    with pytest.raises(TypeError, match="there is no filter 'status'"):
        client.stats(status="failed")
