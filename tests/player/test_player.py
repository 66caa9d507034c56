"""The player: with a store, with a server, and as a process that is killed."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from flowruns import AsyncClient, Client, play, play_async
from flowruns.errors import NotFound, Unreachable
from flowruns.model.runs import FlowRun, RunPost, RunPut
from flowruns.player.player import Player
from flowruns.player.script import Script
from flowruns.server.play import StoreRuns
from flowruns.store.store import Store
from flowruns.testing.server import Flowruns
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
    await asyncio.sleep(0)


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
    player = Player(script, StoreRuns(store), report=lines, **options)
    task = asyncio.create_task(player.play())
    try:
        yield lines
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert player.playing == 0


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
        await when(store, lambda run: run.id == "old" and run.end_time is not None)
        await store.create(post("other", "test"))
        await store.create(post("new"))
        run = await when(store, lambda run: run.id == "new" and run.end_time is not None)
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


# With a server


async def test_once_ends_when_no_run_is_left(server: str) -> None:
    async with AsyncClient(server) as runs:
        for id in ("a", "b"):
            await runs.create(flowId="deploy-web", id=id)
        await play_async(Script.parse(SCRIPT), server, once=True, speed=1000)
        assert [run.phase async for run in runs.runs()] == ["succeeded"] * 2


async def test_no_server_at_first_is_an_error() -> None:
    with pytest.raises(Unreachable):
        await play_async(Script.parse(SCRIPT), "http://127.0.0.1:9")


async def test_many_runs_are_played_beside_writers_and_no_change_is_lost(server: str) -> None:
    script = Script.parse(SCRIPT)
    ids = [f"run-{number}" for number in range(40)]
    taken: dict[str, str] = {}
    async with AsyncClient(server) as runs:
        task = asyncio.create_task(play_async(script, server, speed=20))
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


def test_write_whose_response_is_lost_is_not_repeated(flowruns: Flowruns) -> None:
    with Client(flowruns.url) as runs:
        runs.create(flowId="deploy-web", id="web-1")
        flowruns.drop_connection(times=3, method="PUT", done=True)
        play(Script.parse(SCRIPT), flowruns.url, once=True, speed=1000)
        flowruns.assert_called("PUT", id="web-1", times=11)
        run = runs.get("web-1")
    assert (run.phase, [log.message for log in run.logs or []]) == ("succeeded", LINES)


def test_request_that_fails_for_a_while_is_repeated(flowruns: Flowruns) -> None:
    with Client(flowruns.url) as runs:
        runs.create(flowId="deploy-web", id="web-1")
        flowruns.fail_next(503, times=2, method="PUT")
        flowruns.drop_connection(times=2, method="GET", id="web-1")
        play(Script.parse(SCRIPT), flowruns.url, once=True, speed=1000)
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
