"""The player: with a store, with a server, and as a process that is killed."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Raw
from msgspec.structs import replace

from flowruns import AsyncClient, Client, play, play_async
from flowruns.errors import NotFound, Refused, Unreachable
from flowruns.model.cursors import PageRequest
from flowruns.model.runs import FlowRun, FlowType, RunPost, RunPut
from flowruns.player.player import Player
from flowruns.player.script import Script
from flowruns.server.play import StoreRuns
from flowruns.store.filters import ALL
from flowruns.store.store import Store
from flowruns.testing import serve
from flowruns.testing.server import Flowruns
from tests.client.test_client import needs_trio
from tests.processes import serving, started
from tests.waits import HANG, eventually

STEPS = (
    '{ action = "build", for = "1s..3s", log = "line {n}", lines = 7 }, { outputs = { n = 1 } }, { end = "succeeded" }'
)
LINES = [f"line {n}" for n in range(1, 8)]
SCRIPT = f'[[rule]]\nflowId = "deploy-*"\nsteps = [{STEPS}]\n'


class Pauses:
    """A sleep that lasts until the test ends it, but for the first ones, which are *free*."""

    def __init__(self, free: int = 0) -> None:
        self._free = free
        self._begun, self._over = asyncio.Event(), asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self._free -= 1
        if self._free < 0:
            self._begun.set()
            await self._over.wait()

    async def begun(self) -> None:
        async with asyncio.timeout(HANG):
            await self._begun.wait()

    def end(self) -> None:
        self._over.set()


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)  # others have their turn


class LateWrites(StoreRuns):
    """Each write times out, and lands when it is repeated, before the repetition."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._late: tuple[str, bytes, str] | None = None

    async def put(self, id: str, body: bytes, etag: str) -> str:
        if self._late is None:
            self._late = id, body, etag
            raise Unreachable("the response took too long")
        late, self._late = self._late, None
        await super().put(*late)
        return await super().put(id, body, etag)


class SmallBodies(StoreRuns):
    """Refuses bodies with the line LARGE, as a server does beyond `--max-body`."""

    async def put(self, id: str, body: bytes, etag: str) -> str:
        if b"LARGE" in body:
            raise Refused("too large", 413)
        return await super().put(id, body, etag)


class Reports:
    """What a player reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._new = asyncio.Event()

    def __call__(self, id: str, line: str) -> None:
        self.lines.append(f"{id}: {line}")
        self._new.set()

    async def until(self, line: str) -> None:
        async with asyncio.timeout(HANG):
            while line not in self.lines:
                self._new.clear()
                await self._new.wait()


@asynccontextmanager
async def playing(store: Store, script: Script, **options: Any) -> AsyncIterator[Reports]:
    """What a player of *script* reports while it plays."""
    lines = Reports()
    task = asyncio.create_task(Player(script, StoreRuns(store), report=lines, **options).play())
    try:
        yield lines
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def when(store: Store, holds: Callable[[FlowRun], bool]) -> FlowRun:
    """The first run, now or later, that *holds*."""
    async with asyncio.timeout(HANG):
        async for change in store.follow():
            if change.run and holds(change.run):
                return change.run
    raise AssertionError


def post(id: str, flow: str = "deploy-web") -> RunPost:
    return RunPost(flow_id=flow, id=id)


def body(run: FlowRun) -> RunPut:
    return RunPut(**{name: getattr(run, name) for name in RunPut.__struct_fields__})


async def test_runs_that_are_there_and_new_ones_are_played_to_their_end(store: Store) -> None:
    await store.create(post("old"))
    async with playing(store, Script.parse(SCRIPT), sleep=no_pause) as lines:
        await lines.until("old: deploy-web succeeded")
        await store.create(post("other", "test"))
        await store.create(post("new"))
        await lines.until("new: deploy-web succeeded")
    run = (await store.get("new")).run
    assert (run.phase, [(action.id, action.phase) for action in run.actions or []]) == (
        "succeeded", [("build", "succeeded")],
    )  # fmt: skip
    assert [log.message for log in run.logs or []] == LINES
    assert (await store.get("other")).run.phase == "pending"
    assert lines.lines == [
        ": follows this server",
        *(
            f"{id}: deploy-web {text}"
            for id in ("old", "new")
            for text in ("pending, played by the rule for deploy-*", "running", "succeeded")
        ),
    ]


async def test_run_that_somebody_changes_is_let_go_unchanged(store: Store) -> None:
    pauses = Pauses()
    await store.create(post("a"))
    async with playing(store, Script.parse(SCRIPT), sleep=pauses) as lines:
        await pauses.begun()
        run = (await store.get("a")).run
        changed, _ = await store.put("a", replace(body(run), phase="cancelled"))
        pauses.end()
        await lines.until("a: let go: somebody else has changed it")
        assert (await store.get("a")).doc == changed.doc


async def test_run_whose_next_write_is_refused_is_let_go_once(store: Store) -> None:
    steps = '[{ log = "small" }, { wait = "10ms" }, { log = "LARGE" }, { end = "succeeded" }]'
    script = Script.parse(f'[[rule]]\nflowId = "*"\nphase = "running"\nsteps = {steps}\n')
    lines = Reports()
    player = asyncio.create_task(Player(script, SmallBodies(store), report=lines, sleep=no_pause).play())
    for id in ("first", "second", "third"):
        await store.put(id, RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, phase="running"))
        await lines.until(f"{id}: let go: too large")
    player.cancel()
    await asyncio.wait([player])
    assert sum("let go" in line for line in lines.lines) == 3
    for id in ("first", "second", "third"):
        assert [log.message for log in (await store.get(id)).run.logs or []] == ["small"]


async def test_run_that_somebody_deletes_is_let_go(store: Store) -> None:
    pauses = Pauses()
    await store.create(post("a"))
    async with playing(store, Script.parse(SCRIPT), sleep=pauses) as lines:
        await pauses.begun()
        await store.delete("a")
        pauses.end()
        await lines.until("a: let go: it was deleted")
        with pytest.raises(NotFound):
            await store.get("a")


async def test_next_rule_plays_once_somebody_sets_its_phase(store: Store) -> None:
    script = Script.parse(
        '[[rule]]\nsteps = [{ log = "plan" }, { phase = "waiting" }]\n'
        '[[rule]]\nphase = "approved"\nsteps = [{ log = "apply" }, { end = "succeeded" }]\n'
    )
    await store.create(post("a"))
    async with playing(store, script, sleep=no_pause):
        run = await when(store, lambda run: run.phase == "waiting")
        await store.put("a", replace(body(run), phase="approved"))
        run = await when(store, lambda run: run.end_time is not None)
    assert [log.message for log in run.logs or []] == ["plan", "apply"]


async def test_rule_is_not_begun_by_what_a_script_writes_itself(store: Store) -> None:
    script = Script.parse('[[rule]]\nsteps = [{ log = "a" }, { phase = "pending" }]\n')
    await store.create(post("a"))
    await store.create(post("b"))
    async with playing(store, script, sleep=no_pause):
        for id in ("a", "b"):
            await when(store, lambda run, id=id: run.id == id and run.phase == "pending" and bool(run.logs))
        await store.create(post("c"))
        await when(store, lambda run: run.id == "c" and run.phase == "pending" and bool(run.logs))
    assert [len((await store.get(id)).run.logs or []) for id in "ab"] == [1, 1]


async def test_player_that_is_stopped_goes_on_where_it_was(store: Store) -> None:
    script = Script.parse(SCRIPT)
    for stops in range(1, 9):
        id = f"run-{stops}"
        await store.create(post(id))
        pauses = Pauses(free=stops)
        async with playing(store, script, sleep=pauses):
            await pauses.begun()
        async with playing(store, script, sleep=no_pause):
            run = await when(store, lambda run, id=id: run.id == id and run.end_time is not None)
        assert [log.message for log in run.logs or []] == LINES


# Runs that the script starts

STARTS = SCRIPT + (
    '[[start]]\nflowId = "deploy-web"\ncreatedBy = 7\npast = 2\nage = "1h..1h"\ncount = 1\nevery = "1s..2s"\nkeep = 3\n'
)


async def ids(store: Store) -> set[str]:
    return {run.id for run in (await store.page(ALL, PageRequest(size=100))).runs}


async def test_runs_are_started_and_played_and_only_the_last_are_kept(store: Store) -> None:
    async with playing(store, Script.parse(STARTS), sleep=no_pause) as lines:
        await lines.until("deploy-web-10: deploy-web started")
        left = await ids(store)
        first = [(await store.get(f"deploy-web-{number}")).run for number in (1, 2, 3)]
    assert lines.lines[:2] == [": follows this server", ": has started 3 runs"]
    assert {"deploy-web-1", "deploy-web-2", "deploy-web-3"} <= left
    assert not {"deploy-web-4", "deploy-web-5", "deploy-web-6"} & left
    assert [(run.created_by, run.phase) for run in first[:2]] == [(7, "succeeded")] * 2
    assert [run.created_at < run.updated_at < first[2].created_at for run in first[:2]] == [True, True]


async def test_player_that_is_started_again_starts_no_run_twice(store: Store) -> None:
    script = Script.parse(STARTS.replace("keep = 3\n", ""))
    async with playing(store, script, sleep=no_pause) as lines:
        await lines.until("deploy-web-6: deploy-web started")
    before = await ids(store)
    kept = (await store.get("deploy-web-1")).doc
    async with playing(store, script, sleep=no_pause) as lines:
        await lines.until(f"deploy-web-{len(before) + 1}: deploy-web started")
    assert lines.lines[1] == ": has started 0 runs; 3 existed before"
    assert (await store.get("deploy-web-1")).doc == kept


async def test_run_of_the_past_that_has_not_ended_is_played_on(store: Store) -> None:
    script = Script.parse(
        '[[rule]]\nsteps = [{ log = "a" }, { wait = "2h" }, { log = "b" }, { end = "succeeded" }]\n'
        '[[start]]\nflowId = "web"\npast = 1\nage = "1h..1h"\n'
    )
    async with playing(store, script, sleep=no_pause):
        run = await when(store, lambda run: run.end_time is not None)
    assert [log.message for log in run.logs or []] == ["a", "b"]
    assert run.logs
    assert run.logs[0].timestamp < run.logs[1].timestamp


async def test_run_with_deeply_nested_args_is_played(store: Store) -> None:
    script = Script.of("deploy-web", {"outputs": {"a": {"b": "{args.x}"}}}, {"end": "succeeded"})
    await store.create(RunPost(flow_id="deploy-web", id="a", args=Raw(b'{"x": %b}' % (b"[" * 511 + b"]" * 511))))
    await Player(script, StoreRuns(store)).play(once=True)
    assert bytes((await store.get("a")).run.outputs) == b'{"a":{"b": "{args.x}"}}'


async def test_error_of_the_report_ends_the_player(store: Store) -> None:
    def broken(id: str, line: str) -> None:
        if id:
            raise BrokenPipeError

    await store.create(post("a"))
    with pytest.raises(BrokenPipeError):
        await Player(Script.parse(SCRIPT), StoreRuns(store), report=broken).play()


# With a server


async def test_once_starts_none_after_the_beginning(server: str) -> None:
    async with AsyncClient(server) as runs:
        await play_async(Script.parse(STARTS), runs, once=True, speed=1000)
        found = [run async for run in runs.runs(order="asc")]
    assert [(run.id, run.phase) for run in found] == [(f"deploy-web-{n}", "succeeded") for n in (1, 2, 3)]
    assert found[0].end_time
    assert found[0].end_time < found[0].created_at  # the API sets only the latter


@needs_trio
def test_asynchronous_client_plays_under_trio(server: str) -> None:
    import trio

    async def played() -> list[str | None]:
        async with AsyncClient(server) as runs:
            for id in ("a", "b"):
                await runs.create(flowId="deploy-web", id=id)
            await play_async(Script.parse(SCRIPT), runs, once=True, speed=1000)
            return [run.phase async for run in runs.runs()]

    assert trio.run(played) == ["succeeded"] * 2


async def test_client_that_is_closed_ends_its_player(server: str) -> None:
    reports = Reports()
    async with AsyncClient(server) as runs:
        await runs.create(flowId="deploy-web", id="a")
        task = asyncio.create_task(play_async(Script.parse(SCRIPT), runs, report=reports, speed=1000))
        await reports.until("a: deploy-web succeeded")
    with pytest.raises(Unreachable, match="the client was closed"):
        async with asyncio.timeout(HANG):
            await task


def test_client_plays_with_its_token() -> None:
    with serve(tokens={"secret": 4}) as server, Client(server.url, "secret") as runs:
        run = runs.create(flowId="deploy-web")
        play(Script.parse(SCRIPT), runs, once=True, speed=1000)
        run = runs.get(run.id)
        with Client(server.url) as stranger, pytest.raises(Refused, match="token"):
            play(Script.parse(SCRIPT), stranger, once=True)
    assert (run.phase, run.updated_by) == ("succeeded", 4)


@pytest.mark.parametrize("client", ["http://127.0.0.1:9", AsyncClient("http://127.0.0.1:9")])
def test_play_of_something_else_than_a_client_is_an_error(client: Any) -> None:
    with pytest.raises(TypeError, match="play needs a Client"):
        play(Script.parse(SCRIPT), client)


async def test_play_async_of_something_else_than_its_client_is_an_error() -> None:
    with pytest.raises(TypeError, match="play_async needs an AsyncClient"):
        await play_async(Script.parse(SCRIPT), Client("http://127.0.0.1:9"))  # type: ignore[arg-type]  # the mistake


def test_client_with_connections_of_its_own_cannot_play() -> None:
    with httpx.Client() as http, pytest.raises(TypeError, match="use AsyncClient and play_async"):
        play(Script.parse(SCRIPT), Client("http://127.0.0.1:9", http=http))


async def test_once_ends_when_no_run_is_left(server: str) -> None:
    async with AsyncClient(server) as runs:
        for id in ("a", "b"):
            await runs.create(flowId="deploy-web", id=id)
        await play_async(Script.parse(SCRIPT), runs, once=True, speed=1000)
        assert [run.phase async for run in runs.runs()] == ["succeeded"] * 2


async def test_no_server_at_first_is_an_error() -> None:
    with pytest.raises(Unreachable):
        await play_async(Script.parse(SCRIPT), AsyncClient("http://127.0.0.1:9"))


async def test_many_runs_are_played_beside_writers_and_no_change_is_lost(server: str) -> None:
    script = Script.parse(SCRIPT)
    ids = [f"run-{number}" for number in range(40)]
    taken: dict[str, str] = {}
    async with AsyncClient(server) as runs:
        task = asyncio.create_task(play_async(script, runs, speed=20))
        try:
            for id in ids:
                await runs.create(flowId="deploy-web", id=id)

            async def write(writer: int) -> None:
                for number in range(writer, len(ids), 8):  # each second run is taken away from the player
                    if number % 2:
                        taken[ids[number]] = (await runs.update(ids[number], phase="taken")).updated_at
                    else:
                        await runs.put(f"other-{number}", flowId="other", flowType="automation")

            await asyncio.gather(*(write(number) for number in range(8)))
            for id in ids[::2]:
                await runs.wait(id, timeout=HANG)
        finally:
            task.cancel()
            await asyncio.wait([task])
        for id in ids:
            run = await runs.get(id)
            assert run.updated_at == taken[id] if id in taken else run.phase == "succeeded"
            messages = [log.message for log in run.logs or []]
            assert messages == LINES[: len(messages)]


def test_write_whose_response_is_lost_is_not_applied_twice(flowruns: Flowruns) -> None:
    with Client(flowruns.url) as runs:
        runs.create(flowId="deploy-web", id="web-1")
        flowruns.drop_connection(times=3, method="PUT", done=True)
        play(Script.parse(SCRIPT), runs, once=True, speed=1000)
        flowruns.assert_called("PUT", id="web-1", times=11 + 3)
        run = runs.get("web-1")
    assert (run.phase, [log.message for log in run.logs or []]) == ("succeeded", LINES)


def test_start_whose_response_is_lost_counts_as_started(flowruns: Flowruns) -> None:
    script = Script.parse('[[start]]\nflowId = "web"\nargs = { ref = "a" }\ntags = { env = "b" }\ncount = 2\n')
    lines: list[str] = []
    with Client(flowruns.url) as runs:
        runs.create(flowId="web", id="web-2", args={"ref": "another"})
        flowruns.drop_connection(times=3, method="PUT", id="web-1", done=True)
        flowruns.drop_connection(times=3, method="PUT", id="web-2")
        play(script, runs, once=True, report=lambda id, line: lines.append(line))
    assert lines[1] == "has started 1 run; 1 existed before"


async def test_write_that_lands_after_its_response_took_too_long_is_our_own(store: Store) -> None:
    script = Script.parse('[[rule]]\nsteps = [{ log = "a" }, { end = "succeeded" }]\n')
    await store.create(post("a"))
    reports = Reports()
    await Player(script, LateWrites(store), report=reports).play(once=True)
    run = (await store.get("a")).run
    assert (run.phase, [log.message for log in run.logs or []]) == ("succeeded", ["a"])
    assert reports.lines[-1] == "a: deploy-web succeeded"


def test_request_that_fails_for_a_while_is_repeated(flowruns: Flowruns) -> None:
    with Client(flowruns.url) as runs:
        runs.create(flowId="deploy-web", id="web-1")
        flowruns.fail_next(503, times=2, method="PUT")
        flowruns.drop_connection(times=2, method="GET", id="web-1")
        play(Script.parse(SCRIPT), runs, once=True, speed=1000)
        run = runs.get("web-1")
    assert (run.phase, [log.message for log in run.logs or []]) == ("succeeded", LINES)


def test_server_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SCRIPT)
    with serving(tmp_path, "a.db") as server:
        port = server.url.rpartition(":")[2]
        with started(tmp_path, "play", "a.toml", "--url", server.url, "--speed", "2") as player:
            assert player.stdout
            assert player.stderr
            assert player.stderr.readline() == f"flowruns: follows {server.url}\n"
            with Client(server.url) as runs:
                runs.create(flowId="deploy-web", id="web-1")
                runs.wait("web-1", phase="running", timeout=HANG)
            server.process.kill()
            server.process.wait()
            assert player.stderr.readline() == "flowruns: no server responds; waits for one\n"
            with serving(tmp_path, "a.db", env={"FLOWRUNS_PORT": port}), Client(server.url) as runs:
                run = runs.wait("web-1", timeout=HANG)
                assert [log.message for log in run.logs or []] == LINES


# As a process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl+C"])
def test_player_that_is_killed_and_started_again_repeats_no_line(server: str, tmp_path: Path, number: int) -> None:
    (tmp_path / "a.toml").write_text(SCRIPT)
    command = ["play", "a.toml", "--url", server, "--speed", "4"]
    ids = [f"web-{number}" for number in range(12)]
    with Client(server) as runs:
        for id in ids:
            runs.create(flowId="deploy-web", id=id)
        for kills in range(1, 3):
            with started(tmp_path, *command) as player:
                eventually(lambda kills=kills: sum(len(run.logs or []) for run in runs.runs()) > kills * 12)
                player.send_signal(number)
                assert player.wait() in (-signal.SIGKILL, 130)
        with started(tmp_path, *command, "--once") as player:
            player.communicate()
            assert player.returncode == 0
        for id in ids:
            run = runs.get(id)
            assert [log.message for log in run.logs or []] == LINES
            assert run.phase == "succeeded"
