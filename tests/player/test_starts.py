"""Runs that a script starts: of the past, at the beginning, and later."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.json import decode

from flowruns.model.lines import RunLine
from flowruns.model.runs import RunPut, encode
from flowruns.player.progress import last, state
from flowruns.player.script import Script
from flowruns.player.steps import UNFINISHED

NOW = datetime(2026, 1, 20, 18, 53, 3, 558000, UTC)
DEMO = Script.load(Path(__file__).parents[2] / "flowruns" / "scripts" / "demo.toml")


def first(text: str, seed: int = 0) -> list[RunLine]:
    return Script.parse(text).series(seed).first(NOW)


def times(run: RunPut) -> list[str]:
    found = [run.start_time, run.end_time, *(log.timestamp for log in run.logs or [])]
    found += [time for action in run.actions or [] for time in (action.start_time, action.end_time)]
    return [time for time in found if time]


def ids(lines: Sequence[RunLine]) -> list[str]:
    return [str(line.id) for line in lines]


def test_each_run_has_one_of_the_values_and_its_placeholders_are_filled_in() -> None:
    runs = first("""
[[start]]
flowId = ["deploy-a", "deploy-b"]
flowType = ["automation", "reference"]
args = [{ ref = "refs/pull/{n}", big = 7 }, { ref = "main", on = 2026-01-20T18:53:03Z }]
tags = [{ ref = "{args.ref}", of = "{run.flowId}" }, { other = "{args.none}" }]
createdBy = [4, 5]
count = 200
""")
    for run in runs:
        number = str(run.id).rpartition("-")[2]
        args = decode(run.args)
        assert args in ({"ref": f"refs/pull/{number}", "big": 7}, {"ref": "main", "on": "2026-01-20T18:53:03.000Z"})
        tags = {tag.key: tag.value for tag in run.tags or []}
        assert tags in ({"ref": args["ref"], "of": run.flow_id}, {"other": "{args.none}"})
        assert (run.phase, run.created_at) == ("pending", None)
    for values in (
        Counter(run.flow_id for run in runs), Counter(run.flow_type for run in runs),
        Counter(run.created_by for run in runs), Counter(b"big" in bytes(run.args) for run in runs),
    ):  # fmt: skip
        assert len(values) == 2
    assert len(set(ids(runs))) == 200


def test_runs_of_a_flow_are_numbered_over_all_tables_from_the_oldest_on() -> None:
    table = '[[start]]\nflowId = "a"\npast = 2\nage = "1h"\ncount = 1\n'
    runs = first(table + table.replace("past = 2", "past = 3"))
    assert ids(runs) == [f"a-{number}" for number in range(1, 8)]
    created = [run.created_at for run in runs[:5] if run.created_at]
    assert created == sorted(created)
    assert len(created) == 5


def test_runs_of_the_past_are_as_old_as_is_said_and_the_recent_ones_are_the_most() -> None:
    runs = first('[[start]]\nflowId = "a"\npast = 100\nage = "1m..10d"\n')
    ages = [(NOW - datetime.fromisoformat(run.created_at or "")).total_seconds() for run in runs]
    assert ages == sorted(ages, reverse=True)
    assert 60 <= ages[-1] < 90
    assert 7 * 86400 < ages[0] <= 10 * 86400 + 0.001
    assert sum(age < 86400 for age in ages) > 60


def test_runs_of_the_past_have_been_played_until_now() -> None:
    rule = '[[rule]]\nsteps = [{ wait = "10s" }, { log = "{n}", for = "101s", lines = 100 }, { end = "succeeded" }]\n'
    script = Script.parse(rule + '[[start]]\nflowId = "a"\npast = 60\nage = "1s..10m"\n')
    runs = script.series(0).first(NOW)
    assert {run.phase for run in runs} == {"pending", "running", "succeeded"}
    for run in runs:
        created = datetime.fromisoformat(run.created_at or "")
        age = (NOW - created).total_seconds()
        assert len(run.logs or []) == min(100, max(0, int(age - 10)))
        assert all(created <= datetime.fromisoformat(time) <= NOW for time in times(run))
        assert run.updated_at == max([run.created_at or "", *times(run)])
        if run.phase == "running":  # a player goes on with it
            part = script.rest(str(run.id), run, 0)
            assert part
            assert state(last(run, part.moves))[0] == "succeeded"


def test_runs_of_the_past_without_a_rule_are_pending() -> None:
    (run,) = first('[[start]]\nflowId = "a"\npast = 1\nage = "2h..2h"\n')
    assert (run.phase, run.created_at) == ("pending", run.updated_at)


def test_later_runs_go_on_with_the_numbers_and_have_pauses_within_their_range() -> None:
    series = Script.parse('[[start]]\nflowId = "a"\ncount = 2\nevery = "1s..3s"\nkeep = 7\n').series(0)
    series.first(NOW)
    ((runs, kept),) = series.later()
    new = [next(runs) for _ in range(50)]
    assert kept == 7
    assert ids([run.line for run in new]) == [f"a-{number}" for number in range(3, 53)]
    assert all(1 <= run.delay <= 3 for run in new)
    assert len({run.delay for run in new}) == 50


def test_same_seed_starts_the_same_runs() -> None:
    def started(seed: int) -> list[bytes]:
        series = DEMO.series(seed)
        return [encode(line) for line in series.first(NOW)] + [encode(next(runs).line) for runs, _ in series.later()]

    assert started(1) == started(1) != started(2)


# The demonstration


def test_demo_has_runs_of_the_last_days_of_every_kind() -> None:
    runs = DEMO.series(0).first(NOW)
    past = [run for run in runs if run.created_at]
    assert 90 <= len(past) <= 150
    assert [run.created_at for run in past] == sorted(run.created_at or "" for run in past)
    created = [datetime.fromisoformat(run.created_at or "") for run in past]
    assert created[0] > NOW - timedelta(days=11)
    assert sum(time > NOW - timedelta(minutes=10) for time in created) >= 5
    assert len({run.phase for run in runs}) >= 7
    assert len({run.flow_type for run in runs}) == 4
    assert len({run.flow_id for run in runs}) >= 7
    assert sum(run.phase in UNFINISHED for run in past) >= 3
    assert sum(len(encode(run)) for run in runs) < 600_000


@pytest.mark.parametrize("seed", range(8))
def test_demo_fills_in_each_placeholder(seed: int) -> None:
    for run in DEMO.series(seed).first(NOW):
        assert not re.search(rb"\{(args|tags|run|n)\b", encode(run))


def test_demo_leaves_runs_of_other_flows_alone() -> None:
    for flow in ("web", "deploy", "a"):
        assert DEMO.part("a", decode(f'{{"flowId": "{flow}", "flowType": "automation"}}', type=RunPut), 0) is None
