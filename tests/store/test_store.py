"""The store without HTTP: the order of writes, the fields that they preserve, and the tables of the file."""

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flowruns.errors import AlreadyExists, NotFound, PreconditionFailed
from flowruns.model.cursors import PageRequest
from flowruns.model.ids import Uuid7
from flowruns.model.preconditions import parse_precondition
from flowruns.model.runs import Action, FlowType, RunPost, RunPut, Tag
from flowruns.settings import Synchronous
from flowruns.sqlite.numbers import count_on
from flowruns.store.filters import where
from flowruns.store.store import Store
from tests.sqlite.jobs import Gate
from tests.store.test_changes import any_run
from tests.store.test_maintenance import checked
from tests.waits import HANG

PUT = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION)
NOON = datetime(2025, 1, 20, 12, tzinfo=UTC)


@contextmanager
def other_tool(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as another program sees it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        yield connection


async def test_what_is_written_is_read(store: Store) -> None:
    written, created = await store.put("x", PUT, by=7)
    assert created
    assert await store.get("x") == written
    assert (written.run.id, written.run.created_by, written.run.phase) == ("x", 7, "pending")
    id, posted = await store.create(RunPost(flow_id="b"))
    assert [run.id for run in (await store.page()).runs] == [id, "x"]
    assert posted.run.flow_type == FlowType.SELF_SERVICE_ACTION


async def test_errors_are_ours(store: Store) -> None:
    await store.put("x", PUT)
    with pytest.raises(NotFound, match="'y'"):
        await store.get("y")
    with pytest.raises(NotFound):
        await store.delete("y")
    with pytest.raises(AlreadyExists):
        await store.create(RunPost(flow_id="b", id="x"))
    with pytest.raises(PreconditionFailed):
        await store.put("x", PUT, when=parse_precondition(None, "*"))


async def test_runs_survive_a_restart(path: Path) -> None:
    async with Store.open(path) as store:
        written, _ = await store.put("x", PUT)
    async with Store.open(path) as store:
        assert await store.get("x") == written
        later, created = await store.put("x", PUT)
        assert not created
        assert later.seq > written.seq


async def test_any_sqlite_tool_reads_the_documents_while_it_is_served(store: Store, path: Path) -> None:
    await store.put("x", RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, phase="failed"))
    with other_tool(path) as connection:
        rows = connection.execute("select id, doc, json_extract(doc, '$.phase'), typeof(doc) from run").fetchall()
    assert [(id, json.loads(doc)["flowId"], phase, kind) for id, doc, phase, kind in rows] == [
        ("x", "a", "failed", "text")
    ]


async def test_a_put_preserves_who_created_and_reviewed_the_run(store: Store, path: Path) -> None:
    first, _ = await store.put("x", PUT, by=7)
    with closing(sqlite3.connect(path)) as connection, connection:  # as an import does
        connection.execute("update run set seq = seq + 1, reviewed_by = 9, reviewed_at = '2025-01-01T00:00:00.000Z'")
    run = (await store.put("x", PUT, by=8))[0].run
    assert (run.created_at, run.created_by, run.updated_by) == (first.run.created_at, 7, 8)
    assert (run.reviewed_by, run.reviewed_at) == (9, "2025-01-01T00:00:00.000Z")


async def test_order_and_etags_never_follow_a_clock_that_goes_back(path: Path) -> None:
    times = iter([NOON, NOON - timedelta(hours=1), NOON - timedelta(days=1), NOON - timedelta(days=2)])
    async with Store.open(path, clock=lambda: next(times)) as store:
        first, _ = await store.put("x", PUT)
        made, _ = await store.create(RunPost(flow_id="a"))
        again, _ = await store.put("x", PUT)
        last, _ = await store.create(RunPost(flow_id="a"))
        assert again.run.updated_at >= again.run.created_at
        assert again.seq > first.seq
        assert made < last
        assert [run.id for run in (await store.page()).runs] == [last, made, "x"]


async def test_a_generated_id_skips_one_that_is_taken(path: Path) -> None:
    async with Store.open(path, clock=lambda: NOON) as store:
        store._ids._random = bytes  # the same bits each time
        first, _ = await store.create(RunPost(flow_id="a"))
        store._ids._millisecond = 0  # and the same start again
        second, _ = await store.create(RunPost(flow_id="a"))
        assert second > first


async def test_a_generated_id_that_is_taken_changes_no_run(path: Path) -> None:
    async with Store.open(path, clock=lambda: NOON) as store:
        store._ids._random = bytes  # the same bits each time, so that ids can be predicted
        taken = [Uuid7(bytes)] * 3
        ids = [make(NOON) for make in taken]
        for id in ids:
            await store.put(id, PUT)
        made, _ = await store.create(RunPost(flow_id="b"))
        assert made not in ids
        assert [(await store.get(id)).run.flow_id for id in ids] == ["a"] * 3
        assert await store.count() == 4


async def test_a_failing_write_fails_alone_in_its_batch(store: Store) -> None:
    await store.put("x", PUT)
    results = await asyncio.gather(
        *(store.put(f"n{number}", PUT) for number in range(20)),
        store.create(RunPost(flow_id="a", id="x")),
        store.delete("nothing"),
        store.put("x", PUT, when=parse_precondition('"0"', None)),
        *(store.put(f"m{number}", PUT) for number in range(20)),
        return_exceptions=True,
    )
    assert [type(result) for result in results if isinstance(result, Exception)] == [
        AlreadyExists, NotFound, PreconditionFailed
    ]  # fmt: skip
    assert (await store.page()).total == 41


async def test_of_many_that_create_the_same_run_one_succeeds(store: Store) -> None:
    puts = [store.put("x", PUT, when=parse_precondition(None, "*")) for _ in range(30)]
    results = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(not isinstance(result, PreconditionFailed) for result in results) == 1


async def test_no_update_is_lost_between_writers_that_use_if_match(store: Store) -> None:
    await store.put("x", RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, actions=[]))

    async def append(name: str) -> None:
        while True:
            old = await store.get("x")
            actions = [*(old.run.actions or []), Action(id=name)]
            body = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, actions=actions)
            try:
                await store.put("x", body, when=parse_precondition(f'"{old.etag}"', None))
            except PreconditionFailed:
                continue
            return

    await asyncio.gather(*(append(str(number)) for number in range(20)))
    actions = (await store.get("x")).run.actions
    assert actions is not None
    assert sorted(int(action.id) for action in actions) == list(range(20))


async def test_a_cancelled_write_is_whole_or_not_there(store: Store) -> None:
    body = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, tags=[Tag(key="k", value="v")])
    for round in range(30):
        tasks = [asyncio.create_task(store.put(f"x{round}-{number}", body)) for number in range(10)]
        for _ in range(round % 4):
            await asyncio.sleep(0)  # one turn of the loop more each time
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.put("after", PUT)  # no transaction was left open
    tagged = await store.page(where([("tag", "k:v")], []))
    assert tagged.total == (await store.page()).total - 1


async def test_writes_that_wait_together_see_each_other_in_order(path: Path, chance: random.Random) -> None:
    model: dict[str, RunPut] = {}
    async with Store.open(path) as store:
        for _ in range(60):
            expected: list[str] = []
            calls: list[Coroutine[Any, Any, Any]] = []
            for _ in range(chance.randint(1, 40)):
                id, body = f"x{chance.randrange(6)}", any_run(chance)
                match chance.choice(["put", "put", "create only", "post", "delete"]):
                    case "put":
                        calls.append(store.put(id, body))
                        expected.append("replaced" if id in model else "created")
                        model[id] = body
                    case "create only":
                        calls.append(store.put(id, body, when=parse_precondition(None, "*")))
                        expected.append("PreconditionFailed" if id in model else "created")
                        model.setdefault(id, body)
                    case "post":
                        calls.append(store.create(RunPost(flow_id="a", id=id)))
                        expected.append("AlreadyExists" if id in model else "posted")
                        model.setdefault(id, RunPut(flow_id="a", flow_type=FlowType.SELF_SERVICE_ACTION))
                    case _:
                        calls.append(store.delete(id))
                        expected.append("deleted" if model.pop(id, None) else "NotFound")
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [_description(outcome) for outcome in outcomes] == expected
            there = {run.id: run for run in (await store.page(page_request=PageRequest(size=100))).runs}
            assert {id: (run.flow_id, run.phase, run.tags) for id, run in there.items()} == {
                id: (run.flow_id, run.phase, run.tags) for id, run in model.items()
            }
    found = checked(path)
    assert (found.runs, found.findings) == (len(model), [])


def _description(outcome: Any) -> str:
    match outcome:
        case Exception():
            return type(outcome).__name__
        case None:
            return "deleted"
        case (str(), _):
            return "posted"
        case (_, created):
            return "created" if created else "replaced"
    raise AssertionError(outcome)


@pytest.mark.parametrize("synchronous", ["full", "normal"])
async def test_a_flush_reaches_the_drive_as_asked(path: Path, synchronous: Synchronous) -> None:
    async with Store.open(path, synchronous=synchronous) as store:
        writing = store._writer._queue._connection
        drive = await writing.call(lambda connection: connection.execute("pragma fullfsync").fetchone())
        assert drive == (synchronous == "full",)  # where it means something: on macOS


# Event loops


def test_one_event_loop_may_open_it_others_use_it_and_another_close_it(path: Path) -> None:
    store = asyncio.run(Store.connect(path))
    for number in range(3):
        asyncio.run(store.put(f"a{number}", PUT))
    assert asyncio.run(store.count()) == 3
    asyncio.run(store.aclose())
    assert os.listdir(path.parent) == [path.name]


def test_several_event_loops_use_it_at_once() -> None:
    async def put_some(name: str) -> None:
        await asyncio.gather(*(store.put(f"{name}-{number}", PUT) for number in range(50)))
        assert len((await store.page(page_request=PageRequest(size=100))).runs) >= 50

    store = asyncio.run(Store.connect(":memory:"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(asyncio.run, [put_some(name) for name in "abcd"]))
    assert asyncio.run(store.count()) == 200
    asyncio.run(store.aclose())


def test_it_outlives_an_event_loop_that_is_closed_while_a_write_is_under_way() -> None:
    store = asyncio.run(Store.connect(":memory:"))
    gate = Gate()

    async def leave() -> None:
        task = asyncio.create_task(store._database.writing.call(gate))
        late = asyncio.create_task(store.put("a1", PUT))
        await gate.reached()
        task.cancel()
        late.cancel()

    asyncio.run(leave())
    gate.open()
    assert asyncio.run(store.count()) in (0, 1)
    asyncio.run(store.put("a2", PUT))
    asyncio.run(store.aclose())


def test_program_that_forgets_to_close_it_ends_and_has_what_was_acknowledged(path: Path) -> None:
    program = f"""
import asyncio, warnings
from flowruns import RunPost, Store
warnings.simplefilter("ignore")
store = asyncio.run(Store.connect({str(path)!r}))
asyncio.run(store.create(RunPost(flow_id="deploy", id="a1")))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=HANG)
    store = asyncio.run(Store.connect(path))
    assert asyncio.run(store.get("a1")).run.flow_id == "deploy"
    asyncio.run(store.aclose())


async def test_a_cleared_store_is_like_a_new_one(path: Path) -> None:
    async with Store.open(path, start_after=count_on) as store:
        for _ in range(2):
            stored, created = await store.put("a1", PUT)
            assert (stored.seq, created, await store.count()) == (1, True, 1)
            await store.delete("a1")
            await store.clear()
            page = await store.page()
            assert (page.runs, page.total, page.etag) == ([], 0, "0")
