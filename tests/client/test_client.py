"""The client for programs: each test asks it from a thread, and from an event loop."""

import asyncio
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from flowruns import AsyncClient, Client
from flowruns.errors import Busy, NotFound, Refused, Unreachable
from flowruns.testing import server
from flowruns.testing.server import Flowruns
from tests.waits import HANG, eventually


class Blocking:
    """An `AsyncClient` in an event loop of another thread, asked as a `Client` is."""

    def __init__(self, portal: BlockingPortal, client: AsyncClient) -> None:
        self._portal = portal
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*args: Any, **options: Any) -> Any:
            async def asked() -> Any:
                told = getattr(self._client, name)(*args, **options)
                return told if isinstance(told, AsyncGenerator) else await told

            told = self._portal.call(asked)
            return self._each(told) if isinstance(told, AsyncGenerator) else told

        return ask

    def _each(self, told: AsyncGenerator[Any]) -> Iterator[Any]:
        try:
            while (one := self._portal.call(anext, told, None)) is not None:
                yield one
        finally:
            self._portal.call(told.aclose)


@pytest.fixture(scope="module")
def shared() -> Iterator[Flowruns]:
    with server.serve() as runs:
        yield runs


@pytest.fixture
def runs(shared: Flowruns) -> Flowruns:
    shared.reset()
    return shared


Make = Callable[..., Any]


@pytest.fixture(params=["thread", "loop"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes clients of a url; each test leaves nothing open."""
    before = set(threading.enumerate())
    made: list[Any] = []
    with start_blocking_portal() as portal:

        def make(url: str, token: str | None = None) -> Any:
            made.append(Client(url, token) if request.param == "thread" else AsyncClient(url, token))
            return made[-1] if request.param == "thread" else Blocking(portal, made[-1])

        yield make
        for client in made:
            portal.call(client.aclose) if isinstance(client, AsyncClient) else client.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(HANG)
    assert set(threading.enumerate()) <= before


@pytest.fixture
def client(runs: Flowruns, make: Make) -> Any:
    return make(runs.url)


class Answering(http.server.BaseHTTPRequestHandler):
    """What answers in the place of a flowruns."""

    def answer(self, status: int, media_type: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def answering(kind: type[Answering]) -> Iterator[str]:
    """The address of a server of that *kind*."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
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


def test_run_comes_back_as_it_was_put(client: Any) -> None:
    now = datetime(2025, 1, 20, 18, 53, 3, 558000, tzinfo=UTC)
    made = put(
        client, "web-42", phase="running", startTime=now, args={"ref": "main", "n": 2**70}, tags={"env": "test"},
        actions=[{"id": "build", "phase": "running", "startTime": now}], logs=[{"message": "begun", "timestamp": now}],
    )  # fmt: skip
    assert client.get("web-42") == made
    assert (made.id, made.flow_id, made.flow_type, made.phase) == ("web-42", "deploy-web", "automation", "running")
    assert (made.start_time, made.end_time) == ("2025-01-20T18:53:03.558Z", None)
    assert (made.args, made.outputs) == ({"ref": "main", "n": 2**70}, None)
    assert [(tag.key, tag.value) for tag in made.tags] == [("env", "test")]
    assert [(log.message, log.level) for log in made.logs] == [("begun", "info")]
    again = put(client, "web-42", actions=made.actions, logs=made.logs, tags=made.tags)
    assert (again.actions, again.logs, again.tags, again.args) == (made.actions, made.logs, made.tags, None)


def test_created_run_is_an_action_that_somebody_starts(client: Any) -> None:
    run = client.create(flowId="deploy-web", args={"ref": "main"})
    assert (run.flow_type, run.phase, run.args) == ("selfServiceAction", "pending", {"ref": "main"})
    with pytest.raises(Refused) as refused:
        client.create(flowId="deploy-web", id=run.id)
    assert refused.value.status == 409


def test_deleted_run_is_not_there(client: Any) -> None:
    put(client, "a1")
    client.delete("a1")
    for ask in (client.get, client.delete, client.update, client.wait):
        with pytest.raises(NotFound, match="There is no flow run 'a1'"):
            ask("a1")


def test_runs_are_walked_newest_first_and_filtered(runs: Flowruns, client: Any) -> None:
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
        with pytest.raises(ValueError, match=r"phase has no values|limit is 1 or more"):
            list(client.runs(**wrong))
    assert [run.id for run in client.runs(createdBy=7)] == ["b"]
    assert list(client.runs(createdAfter=datetime.now(UTC) + timedelta(hours=1))) == []
    assert [(len(page.runs), page.total) for page in client.pages(limit=1, flowId="deploy-web")] == [(1, 107)]


def test_number_of_many_digits_hides_no_run(runs: Flowruns, client: Any) -> None:
    digits = "7" * 5000  # of which Python makes no int
    body = b'{"flowId":"f","flowType":"automation","args":{"n":%b}}' % digits.encode()
    runs.client.put("/api/v1/flow-runs/a1", content=body, headers={"Content-Type": "application/json"})
    assert str(next(iter(client.runs())).args["n"]) == digits


# update


def test_update_leaves_the_rest_as_it_is_byte_for_byte(runs: Flowruns, client: Any) -> None:
    args = b'{"b": 1e400, "a": -0, "z": 1E5, "a": "\\u00e4"}'
    body = b'{"flowId":"f","flowType":"automation","phase":null,"args":%b,"tags":[{"key":"k","value":"v"}]}' % args
    runs.client.put("/api/v1/flow-runs/a1", content=body, headers={"Content-Type": "application/json"})
    run = client.update("a1", phase="running", outputs={"url": "https://web.example"})
    assert (run.phase, run.outputs, run.flow_id) == ("running", {"url": "https://web.example"}, "f")
    assert args in runs.client.get("/api/v1/flow-runs/a1").content
    assert client.update("a1", outputs=None).outputs is None


def test_updates_that_meet_keep_each_other(runs: Flowruns, make: Make) -> None:
    put(make(runs.url), "a1")

    def update(name: str) -> None:
        client = make(runs.url)
        for number in range(40):
            client.update("a1", **{name: {"n": number}})

    threads = [threading.Thread(target=update, args=(name,)) for name in ("args", "outputs")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = make(runs.url).get("a1")
    assert (run.args, run.outputs) == ({"n": 39}, {"n": 39})


def test_update_that_somebody_was_before_is_made_again(runs: Flowruns, client: Any) -> None:
    put(client, "a1")
    runs.fail_next(412, method="PUT")
    assert client.update("a1", phase="running").phase == "running"
    runs.fail_next(412, times=None, method="PUT")
    with pytest.raises(Refused, match="The test asked for this answer"):
        client.update("a1", phase="failed")
    assert [(one.headers.get("if-match"), one.status) for one in runs.requests.of("PUT")] == [
        (None, 201), ('"1"', 412), ('"1"', 200), *[('"2"', 412)] * 100,
    ]  # fmt: skip


# wait and watch


def test_wait_gives_the_run_once_it_is_so(runs: Flowruns, client: Any) -> None:
    runs.run("a1", phase="pending")
    assert client.wait("a1", phase="pending").id == "a1"
    for phases, phase in ((("running", "failed"), "running"), (None, "succeeded")):
        later = threading.Thread(target=runs.advance, args=("a1", phase))
        later.start()
        assert client.wait("a1", phases, timeout=HANG).phase == phase
        later.join()
    assert client.wait("a1").end_time  # it has ended already


def test_wait_ends_with_its_time(runs: Flowruns, client: Any) -> None:
    runs.run("a1", phase="running")
    for phases, said in (("failed", "is not failed"), (("x", "failed"), "is not failed or x"), (None, "has not ended")):
        for seconds in (0.05, 0):
            with pytest.raises(TimeoutError, match=f"the run 'a1' {said} within {seconds} s"):
                client.wait("a1", phases, timeout=seconds)
    assert client.wait("a1", "running", timeout=0).id == "a1"
    with pytest.raises(NotFound):
        client.wait("b1", timeout=0)


def test_wait_for_a_run_that_goes_says_so(runs: Flowruns, client: Any) -> None:
    runs.run("a1")
    gone = threading.Thread(target=lambda: runs.client.delete("/api/v1/flow-runs/a1"))
    with closing(client.watch("a1")) as changes:
        assert next(changes).id == "a1"
        gone.start()
        with pytest.raises(NotFound):
            client.wait("a1", "failed", timeout=HANG)
        gone.join()
        assert next(changes)[::2] == ("deleted", "a1")


def test_wait_goes_on_over_a_restart(path: Path, make: Make) -> None:
    with server.serve(path) as runs:
        port = int(runs.url.rpartition(":")[2])
        client = make(runs.url)
        runs.run("a1", phase="running")
        found: list[Any] = []
        waiting = threading.Thread(target=lambda: found.append(client.wait("a1", "failed", timeout=HANG)))
        waiting.start()
        eventually(lambda: len(runs.requests.of("GET", id="a1")) == 2)  # it has the state, and waits for the next
    with server.serve(path, port=port) as runs:
        runs.advance("a1", "failed")
        waiting.join()
    assert [run.phase for run in found] == ["failed"]


def test_wait_sees_the_run_of_another_database_with_the_same_numbers(tmp_path: Path, make: Make) -> None:
    with server.serve(tmp_path / "b.db") as runs:
        runs.run("a1", phase="failed")
    with server.serve(tmp_path / "a.db") as runs:
        port = int(runs.url.rpartition(":")[2])
        runs.run("a1", phase="running")
        found: list[Any] = []
        client = make(runs.url)
        waiting = threading.Thread(target=lambda: found.append(client.wait("a1", "failed", timeout=HANG)))
        waiting.start()
        eventually(lambda: len(runs.requests.of("GET", id="a1")) == 2)
    with server.serve(tmp_path / "b.db", port=port):
        waiting.join()
    assert [run.phase for run in found] == ["failed"]


def test_watch_goes_on_behind_a_proxy_whose_server_is_away(runs: Flowruns, make: Make) -> None:
    docs = [runs.client.get(f"/api/v1/flow-runs/{runs.run(name).id}").text for name in ("a1", "b1")]
    streams = [(200, f":\n\nid: {number}\nevent: run\ndata: {doc}\n\n") for number, doc in enumerate(docs)]
    answers = [streams[0], (502, "<html>Bad Gateway</html>"), (503, "away"), streams[1]]

    class Proxy(Answering):
        def do_GET(self) -> None:
            status, text = answers.pop(0)
            self.answer(status, "text/event-stream" if status == 200 else "text/html", text)

    with answering(Proxy) as url, closing(make(url).watch()) as changes:
        assert [next(changes).id, next(changes).id] == ["a1", "b1"]
    assert answers == []


def test_watch_tells_what_changes(runs: Flowruns, client: Any) -> None:
    runs.run("before")
    with closing(client.watch(after=0, phase=["failed", "pending"])) as changes:
        assert next(changes)[:3] == ("run", 1, "before")
        runs.run("other", phase="running")
        made = runs.run("a1", phase="failed")
        change = next(changes)
        assert change == ("run", 3, "a1", client.get("a1"))
        assert change.run == made
        client.delete("a1")
        assert next(changes) == ("deleted", 4, "a1", None)
    with closing(client.watch(after=1000)) as changes:
        assert next(changes) == ("resync", 4, None, None)


def test_watch_ends_with_its_time(runs: Flowruns, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + skipped, sleep=time.sleep)
    monkeypatch.setattr("flowruns.client.streams.time", clock)
    runs.run("a1")
    with closing(client.watch("a1", timeout=HANG)) as changes:
        assert next(changes).id == "a1"
        skipped = HANG - 0.05
        assert list(changes) == []
    assert list(client.watch(timeout=0)) == []


# What goes wrong


def test_every_fault_comes_with_its_place(client: Any) -> None:
    with pytest.raises(Refused, match=r"flowId: String should .*; tags.0.value: Field required") as refused:
        client.put("a1", flowId="Deploy Web", phase="running", tags=[{"key": "env"}], flowType="automation")
    assert refused.value.status == 422
    assert [fault.loc for fault in refused.value.details] == [("body", "flowId"), ("body", "tags", 0, "value")]
    with pytest.raises(Refused, match="createdBy: Input should be a valid integer"):
        list(client.runs(createdBy="me"))


def test_wrong_names_are_found_before_anything_is_asked(runs: Flowruns, client: Any) -> None:
    for ask in (
        lambda: list(client.runs(fase="failed")),
        lambda: next(client.watch(flow_id="f")),
        lambda: next(client.watch("a1", phase="failed")),
        lambda: client.put("a1", flow_id="f"),
        lambda: client.create(phase="running"),
        lambda: client.update("a1", createdBy=7),
    ):
        with pytest.raises(TypeError, match="there is no filter|has no field|chooses among all"):
            ask()
    assert list(runs.requests) == []


def test_token_is_sent_and_never_said(make: Make) -> None:
    with server.serve(tokens={"secret": 7, "sécret🔑": 8}) as runs:
        assert put(make(runs.url, "secret"), "a1").created_by == 7
        assert put(make(runs.url, "sécret🔑"), "a2").created_by == 8
        client = make(runs.url, "wrong")
        with pytest.raises(Refused) as refused:
            client.get("a1")
        assert refused.value.status == 401
        assert "wrong" not in str(refused.value) + repr(client)


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://localhost", "http://localhost:abc", "http://a b"])
def test_address_that_is_none_is_refused_at_once(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match="give for example http://127.0.0.1:8000"):
            kind(url)
        with pytest.raises(ValueError, match="a token has no spaces"):
            kind("http://localhost", "a\nb")


def test_busy_server_is_told_from_one_that_is_not_there(runs: Flowruns, client: Any) -> None:
    runs.fail_next(503)
    with pytest.raises(Busy):
        client.get("a1")
    runs.drop_connection(times=2)
    with pytest.raises(Unreachable, match=runs.url):
        client.get("a1")


def test_what_is_no_run_is_refused(make: Make) -> None:
    class Stranger(Answering):
        def do_GET(self) -> None:
            html = self.path.startswith("/html/")
            self.answer(200, "text/html" if html else "application/json", '{"id": "a1"}\n\n')

        do_DELETE = do_GET

    with answering(Stranger) as url:
        client, html = make(url), make(f"{url}/html")
        with pytest.raises(Refused, match="sends what is no flow run: .* `flowId`"):
            client.get("a1")
        for ask in (
            lambda: list(client.runs()), lambda: next(client.watch()), lambda: html.get("a1"),
            lambda: html.delete("a1"), lambda: next(html.watch("a1")),
        ):  # fmt: skip
            with pytest.raises(Refused, match="is not a flowruns"):
                ask()


# Connections


def test_connection_that_the_server_has_closed_since_is_not_used_again(path: Path, make: Make) -> None:
    with server.serve(path) as runs:
        port = int(runs.url.rpartition(":")[2])
        client = make(runs.url)
        put(client, "a1")
    with server.serve(path, port=port) as runs:
        put(client, "a1", phase="running")  # which is not sent twice where that fails
        assert [one.status for one in runs.requests] == [200]


async def test_many_questions_at_once_are_answered(runs: Flowruns) -> None:
    runs.delay(0.1)
    async with AsyncClient(runs.url) as client, asyncio.timeout(HANG):
        await asyncio.gather(*(put(client, f"run-{number}") for number in range(30)))
        assert {run.id async for run in client.runs()} == {f"run-{number}" for number in range(30)}


def end_of_threads() -> None:
    """Returns once no thread of a client is left."""
    for thread in threading.enumerate():
        if thread.name == "flowruns-client":
            thread.join(HANG / 2)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    "ask",
    [lambda client: client.get("a1"), lambda client: client.wait("a1", "failed"), lambda client: anext(client.watch())],
)
async def test_who_is_cancelled_ends_its_thread_and_its_connection(runs: Flowruns, ask: Callable[[Any], Any]) -> None:
    runs.run("a1", phase="running")
    runs.delay(HANG, times=1)
    async with AsyncClient(runs.url) as client:
        waiting = asyncio.ensure_future(ask(client))
        while not len(runs.requests):  # noqa: ASYNC110  # nothing tells us that the thread has asked
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        end_of_threads()
        assert (await client.get("a1")).id == "a1"


async def test_who_is_cancelled_in_the_middle_of_a_stream_ends_it(runs: Flowruns) -> None:
    runs.run("a1", phase="running")
    async with AsyncClient(runs.url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # in which it begins, or not: both end
                await client.wait("a1", "failed")
        end_of_threads()
        async with aclosing(client.watch("a1")) as changes:
            assert (await anext(changes)).id == "a1"  # so it has begun
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)  # now the thread has its question, too
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        end_of_threads()


async def test_question_that_outlives_the_client_leaves_nothing_open(runs: Flowruns) -> None:
    runs.run("a1")
    runs.delay(0.1)
    client = AsyncClient(runs.url)
    asked = asyncio.ensure_future(client.get("a1"))
    while not len(runs.requests):  # noqa: ASYNC110  # nothing tells us that the thread has asked
        await asyncio.sleep(0.01)
    await client.aclose()
    assert (await asked).id == "a1"
    end_of_threads()


def test_abort_ends_what_another_thread_watches(runs: Flowruns) -> None:
    runs.run("a1")
    client = Client(runs.url)
    changes = client.watch("a1")
    assert next(changes).id == "a1"
    ended: list[Exception] = []

    def watch() -> None:
        try:
            next(changes)
        except Unreachable as error:
            ended.append(error)

    watching = threading.Thread(target=watch)
    watching.start()
    client.abort()
    watching.join(HANG)
    assert len(ended) == 1


async def test_who_stops_iterating_leaves_nothing_open(runs: Flowruns) -> None:
    runs.run("a1")
    async with AsyncClient(runs.url) as client:
        async with aclosing(client.watch("a1")) as changes:
            assert (await anext(changes)).id == "a1"
        end_of_threads()
        async with aclosing(client.runs()) as found:
            assert (await anext(found)).id == "a1"
        end_of_threads()


def test_program_that_forgets_what_it_follows_ends(runs: Flowruns) -> None:
    runs.run("a1")
    code = f"""
import asyncio, flowruns
async def main():
    client = flowruns.AsyncClient({runs.url!r})
    changes = client.watch("a1")
    assert (await anext(changes)).id == "a1"
    runs.append(asyncio.ensure_future(anext(changes)))
    await asyncio.sleep(0)  # now its thread has the question
runs = []
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""
    ended = subprocess.run([sys.executable, "-c", code], timeout=HANG * 3, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
