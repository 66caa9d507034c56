"""Statistics are the numbers that one gets by counting the runs, whichever tables they are read from."""

import itertools
import math
import random
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import decode, encode

from flowruns.errors import Unavailable
from flowruns.model.cursors import PageRequest
from flowruns.model.runs import FlowRun, FlowType, RunPut, Tag
from flowruns.store import stats
from flowruns.store.filters import ALL, Where, where
from flowruns.store.stats import STATS_FIELDS, must_count
from flowruns.store.store import Store
from tests.store.test_slow_queries import endless

TAGS = [
    None, [], [Tag(key="env", value="prod")], [Tag(key="env", value="test"), Tag(key="team", value="é\"\\'\n")],
    [Tag(key="env", value="prod")] * 2, [Tag(key="a:b", value="c"), Tag(key="a", value="b:c")], [Tag(key="", value="")],
    [Tag(key="nu\x00l", value="a\x00b")],
]  # fmt: skip
FILTERS = [
    ("flowId", "web"), ("flowId", "api"), ("flowId", "nothing"), ("phase", "failed"), ("phase", "succeeded"),
    ("flowType", "automation"), ("tag", "env:prod"), ("tag", "a:b:c"), ("tag", ":"), ("createdBy", "7"),
    ("createdAfter", "2020-01-01T00:00:00Z"), ("createdBefore", "2020-01-01T00:00:00Z"),
]  # fmt: skip


def counted(runs: Iterable[FlowRun]) -> dict[str, Any]:
    """The statistics of *runs*, counted one by one."""
    runs = list(runs)
    tags = Counter(
        text
        for run in runs
        for text in {f"{tag.key}:{tag.value}" for tag in run.tags or () if ":" not in tag.key}
        if "\0" not in text
    )
    return {
        "total": len(runs),
        "phase": dict(Counter(run.phase for run in runs if run.phase)),
        "flowId": dict(Counter(run.flow_id for run in runs)),
        "flowType": dict(Counter(run.flow_type.value for run in runs)),
        "tag": dict(tags),
    }


async def read(store: Store, where: Where = ALL) -> Any:
    return decode((await store.stats(where)).doc)


async def fill(store: Store, count: int, chance: random.Random) -> None:
    """Creates, replaces and deletes runs at random."""
    for _ in range(count):
        id = f"r{chance.randrange(60)}"
        if chance.random() < 0.1:
            with_run = await store.put(id, RunPut(flow_id="web", flow_type=FlowType.REFERENCE))
            assert with_run
            await store.delete(id)
            continue
        body = RunPut(
            flow_id=chance.choice(["web", "api", "job"]),
            flow_type=chance.choice([FlowType.AUTOMATION, FlowType.REFERENCE]),
            phase=chance.choice([None, "failed", "succeeded", "running"]),
            tags=chance.choice(TAGS),
        )
        await store.put(id, body, by=chance.choice([None, 7, 8]))


async def test_statistics_are_those_of_the_runs_that_match(store: Store, chance: random.Random) -> None:
    await fill(store, 300, chance)
    for filters in itertools.chain([()], itertools.combinations(FILTERS, 1), itertools.combinations(FILTERS, 2)):
        query = where(filters, [])
        page = await store.page(query, PageRequest(size=100))
        assert page.total == len(page.runs)
        found = await read(store, query)
        assert found == counted(page.runs), filters
        assert list(found) == list(STATS_FIELDS)
        assert all(list(found[field].values()) == sorted(found[field].values(), reverse=True) for field in found
                   if field != "total")  # fmt: skip


async def test_each_field_alone_has_the_same_numbers(store: Store, chance: random.Random) -> None:
    await fill(store, 60, chance)
    for filters in [(), *itertools.combinations(FILTERS, 1)]:
        whole = await read(store, where(filters, []))
        for field in STATS_FIELDS:
            assert await read(store, where(filters, [])._replace(fields=(field,))) == {field: whole[field]}


async def test_a_store_without_runs_has_zero_and_no_names(store: Store) -> None:
    nothing = {"total": 0, "phase": {}, "flowId": {}, "flowType": {}, "tag": {}}
    assert await read(store) == await read(store, where([("tag", "a:b")], [])) == nothing
    await store.put("a", RunPut(flow_id="web", flow_type=FlowType.AUTOMATION, tags=TAGS[2]))
    await store.delete("a")
    assert await read(store) == nothing


async def test_each_field_has_its_most_frequent_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MAX_VALUES", 2)
    for name, count in (("a", 1), ("b", 3), ("c", 2), ("d", 2)):
        for number in range(count):
            tags = [Tag(key="k", value=name)]
            await store.put(f"{name}{number}", RunPut(flow_id=name, flow_type=FlowType.AUTOMATION, tags=tags))
    for query in (ALL, where([("createdAfter", "2020-01-01T00:00:00Z")], [])):
        found = await read(store, query)
        assert list(found["flowId"].items()) == [("b", 3), ("c", 2)]
        assert list(found["tag"].items()) == [("k:b", 3), ("k:c", 2)]
        assert found["total"] == 8


@pytest.mark.parametrize(
    ("filters", "fields", "counts"),
    [
        ([], (), False),
        ([("phase", "failed"), ("flowId", "web"), ("flowType", "automation")], ("total", "phase"), False),
        ([("phase", "failed")], (), True),
        ([("phase", "failed")], ("tag",), True),
        ([("tag", "a:b")], ("total",), True),
    ],
)
async def test_runs_are_counted_only_where_no_table_has_their_number(
    store: Store, path: Path, filters: list[tuple[str, str]], fields: tuple[str, ...], counts: bool
) -> None:
    query = where(filters, [])._replace(fields=fields)
    assert must_count(query) is counts
    with closing(sqlite3.connect(path)) as connection:
        sql, args = stats.stats_query(query)
        plan = [row[3] for row in connection.execute(f"explain query plan {sql}", args)]
        assert any(table in step.split() for step in plan for table in ("run", "lead")) is counts


async def test_counting_that_takes_too_long_is_unavailable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MAX_COUNT_SECONDS", 0.01)
    monkeypatch.setattr(stats, "_read", lambda connection, where: endless(connection))
    with pytest.raises(Unavailable, match="narrow it, .* request only fields=total,phase,flowId,flowType"):
        await store.stats(where([("phase", "failed")], []))
    with pytest.raises(Unavailable, match="createdAfter$"):
        await store.stats(where([("tag", "a:b")], []))
    monkeypatch.undo()
    assert (await read(store))["total"] == 0


async def test_a_run_of_many_tags_is_counted_in_time(store: Store) -> None:
    tags = [Tag(key="k", value=str(number)) for number in range(50_000)]
    await store.put("a", RunPut(flow_id="web", flow_type=FlowType.AUTOMATION, tags=tags))
    found = await read(store, where([("flowId", "web")], []))
    assert len(found["tag"]) == stats.MAX_VALUES
    assert len(encode(found)) < 100_000


MOMENTS = ["2025-01-19T23:59:59.999Z", "2025-01-20T00:00:00Z", "2025-01-20T00:30:00Z", "2025-01-20T18:53:03.558Z"]


async def fill_over_time(path: Path) -> None:
    """Creates a run at each of `MOMENTS`, and a failed one at the last."""
    times = iter([*map(datetime.fromisoformat, MOMENTS), datetime.fromisoformat(MOMENTS[-1])])
    async with Store.open(path, clock=lambda: next(times)) as store:
        for number in range(len(MOMENTS)):
            await store.put(f"r{number}", RunPut(flow_id="web", flow_type=FlowType.AUTOMATION, phase=None))
        await store.put("failed", RunPut(flow_id="api", flow_type=FlowType.AUTOMATION, phase="failed"))


async def test_hours_and_days_are_those_of_creation(path: Path) -> None:
    await fill_over_time(path)
    async with Store.open(path) as store:
        found = await read(store, ALL._replace(fields=("hour", "day")))
        assert list(found["hour"].items()) == [
            ("2025-01-19T23", {"total": 1, "phase": {}}),
            ("2025-01-20T00", {"total": 2, "phase": {}}),
            ("2025-01-20T18", {"total": 2, "phase": {"failed": 1}}),
        ]
        assert list(found["day"].items()) == [
            ("2025-01-19", {"total": 1, "phase": {}}), ("2025-01-20", {"total": 4, "phase": {"failed": 1}}),
        ]  # fmt: skip
        for filters in ([("flowId", "web")], [("createdAfter", MOMENTS[0])], [("phase", "failed")], [("tag", "a:b")]):
            query = where(filters, [])._replace(fields=("total", "tag", "hour", "day"))
            numbers = await read(store, query)
            for field in ("hour", "day"):
                assert sum(time["total"] for time in numbers[field].values()) == numbers["total"]


async def test_the_latest_times_are_sent_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill_over_time(path)
    monkeypatch.setattr(stats, "MAX_VALUES", 2)
    for max_slots, hours in ((100, ["2025-01-20T00", "2025-01-20T18"]), (1, []), (3, ["2025-01-20T18"])):
        monkeypatch.setattr(stats, "_MAX_SLOTS", max_slots)  # the last hour has two
        async with Store.open(path) as store:
            assert list((await read(store, ALL._replace(fields=("hour",))))["hour"]) == hours


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20, 21, 100])
async def test_durations_are_nearest_ranks_of_runs_that_have_ended(store: Store, count: int) -> None:
    start = datetime(2025, 1, 20, 23, 59, tzinfo=UTC)
    seconds = [number * 10 + 0.123 for number in range(count)]
    random.Random(count).shuffle(seconds)
    spans = [(start, start + timedelta(seconds=duration)) for duration in seconds]
    for number, (began, ended) in enumerate([*spans, (start, start - timedelta(1)), (start, None), (None, start)]):
        times = {"start_time": began and began.isoformat(), "end_time": ended and ended.isoformat()}
        await store.put(f"r{number}", RunPut(flow_id="web", flow_type=FlowType.AUTOMATION, **times))
    found = await read(store, where([("flowId", "web")], [])._replace(fields=("duration",)))
    ranked = sorted(seconds)
    assert found["duration"] == {
        "total": count,
        "median": ranked[math.ceil(count * 0.5) - 1] if count else None,
        "p95": ranked[math.ceil(count * 95 / 100) - 1] if count else None,
    }
    assert must_count(ALL._replace(fields=("duration",)))
