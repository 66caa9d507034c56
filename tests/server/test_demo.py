"""The demonstration: recent runs, and some that progress live."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.json import decode

from flowruns.model.runs import RunPut, encode
from flowruns.server import demo
from flowruns.server.demo import demonstration, progress, recent, sample
from flowruns.store.store import Store
from tests.conftest import REAL_RUNS

NOW = datetime(2026, 1, 20, 18, 53, 3, 558000, UTC)


def test_sample_is_of_the_real_runs_and_small() -> None:
    lines = set(REAL_RUNS.read_bytes().splitlines())
    packaged = (Path(__file__).parents[2] / "flowruns" / "server" / "demo.ndjson").read_bytes()
    assert set(packaged.splitlines()) <= lines
    assert 60 <= len(sample()) <= 100
    assert len(packaged) < 300_000
    assert len({run.phase for run in sample()}) >= 7
    assert len({run.flow_type for run in sample()}) == 4


def test_sample_is_moved_to_the_last_days_in_order_and_ends_before_now() -> None:
    runs = recent(sample(), NOW)
    created = [run.created_at for run in runs if run.created_at]
    assert created == sorted(created)
    assert len(created) == len(runs)
    assert sum(datetime.fromisoformat(time) > NOW - timedelta(minutes=10) for time in created) >= 5
    assert datetime.fromisoformat(created[0]) > NOW - timedelta(days=11)
    for run in runs:
        times = [run.start_time, run.end_time, *(log.timestamp for log in run.logs or [])]
        times += [time for action in run.actions or [] for time in (action.start_time, action.end_time)]
        assert all(datetime.fromisoformat(time) < NOW for time in times if time)
        assert run.created_at
        assert run.updated_at
        assert run.updated_at >= run.created_at


@pytest.mark.parametrize("template", [run for run in sample() if run.actions], ids=lambda run: str(run.id))
def test_progress_goes_from_pending_to_the_end_and_each_state_is_a_body_of_put(template: RunPut) -> None:
    bodies = list(progress(template))
    assert [decode(encode(body), type=RunPut) == body for body in bodies]
    assert bodies[0].phase == "pending"
    assert all(body.phase == "running" for body in bodies[1:-1])
    assert bodies[-1].phase == template.phase
    assert bodies[-1].end_time
    logs = [len(body.logs or []) for body in bodies]
    assert logs == sorted(logs)
    for body in bodies:
        assert [action.id for action in body.actions or []] == [action.id for action in template.actions or []]
    assert all(action.end_time for action in bodies[-1].actions or [])


async def test_demo_goes_on_while_it_is_watched_and_ends_with_its_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_PAUSE_SECONDS", "_STEP_SECONDS"):
        monkeypatch.setattr(demo, name, (0.0, 0.01))
    async with Store.open(path) as store, demonstration(store):
        begun = await store.position()
        assert begun >= len(sample())
        phases = set()
        async for change in store.follow(begun):
            assert change.run
            phases.add(change.run.phase)
            if {"pending", "running"} <= phases:
                break
        assert await store.count() > len(sample())
