"""Scripts on the clock of a test."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flowruns import Client, Script
from flowruns.errors import Busy, NotFound
from flowruns.player.script import ScriptInvalid
from flowruns.testing import serve
from flowruns.testing.server import Flowruns
from tests.processes import done

TIME = "2026-01-20T18:53:03.000Z"
DEPLOY = Path(__file__).parents[2] / "flowruns" / "scripts" / "deploy.toml"


def test_tick_moves_a_run_at_the_times_of_its_script(flowruns: Flowruns) -> None:
    flowruns.freeze(TIME)
    flowruns.play(
        "deploy-*",
        {"wait": "2s"},
        {"action": "build", "for": "4s", "log": "line {n}", "lines": 3},
        {"end": "failed", "error": "no room"},
    )
    with Client(flowruns.url) as runs:
        runs.create(flowId="deploy-web", id="web-1")
        flowruns.tick(1)
        assert runs.get("web-1").phase == "pending"
        flowruns.tick(1)
        assert runs.get("web-1").phase == "running"
        flowruns.tick(2)
        assert [log.timestamp for log in runs.get("web-1").logs or []] == [
            "2026-01-20T18:53:06.000Z",
            "2026-01-20T18:53:07.000Z",
        ]
        flowruns.tick(3600)
        run = runs.get("web-1")
    assert (run.phase, run.end_time, run.updated_at) == ("failed", "2026-01-20T18:53:09.000Z", run.end_time)
    assert [log.message for log in run.logs or []] == ["line 1", "line 2", "line 3", "no room"]


def test_same_seed_gives_the_same_export(tmp_path: Path) -> None:
    def exported(name: str, seed: int) -> str:
        with serve(tmp_path / name) as flowruns, Client(flowruns.url) as runs:
            flowruns.freeze(TIME)
            flowruns.play(DEPLOY, seed=seed)
            for _ in range(10):
                runs.create(flowId="deploy-web", args={"ref": "main"})
                flowruns.tick(2.5)
            flowruns.tick(60)
        return done(tmp_path, "export", "-d", name).stdout

    first = exported("a.db", 1)
    assert first == exported("b.db", 1) != exported("c.db", 2)
    assert first.count('"endTime":"2026') >= 10


def test_demo_gives_the_same_export(tmp_path: Path) -> None:
    for name in ("a.db", "b.db"):
        with serve(tmp_path / name) as flowruns:
            flowruns.freeze(TIME)
            flowruns.play(DEPLOY.with_name("demo.toml"))
            flowruns.tick(90)
    first, second = (done(tmp_path, "export", "-d", name).stdout for name in ("a.db", "b.db"))
    assert first == second
    assert first.count("\n") > 100


def test_script_starts_runs_on_the_clock_of_the_test(flowruns: Flowruns, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        '[[start]]\nflowId = "web"\npast = 1\nage = "10s..10s"\ncount = 1\nevery = "4s"\nkeep = 2\ncreatedBy = 7\n'
        '[[rule]]\nsteps = [{ wait = "11s" }, { end = "succeeded" }]\n'
    )
    flowruns.freeze(TIME)
    flowruns.play(tmp_path / "a.toml")

    def shown() -> list[tuple[str, str, str | None, int]]:
        return [(run["id"], run["createdAt"][14:19], run["endTime"], run["createdBy"]) for run in flowruns.dump()]

    assert shown() == [("web-1", "52:53", None, 7), ("web-2", "53:03", None, 7)]
    flowruns.tick(14)
    assert [id for id, *_ in shown()] == ["web-1", "web-2", "web-4", "web-5"]  # the last two of those that came later
    assert [flowruns.get(id).end_time for id in ("web-1", "web-2")] == ["2026-01-20T18:53:14.000Z"] * 2
    flowruns.tick(8)
    assert [(id, time, end) for id, time, end, _ in shown()][2:] == [
        ("web-6", "53:19", None),
        ("web-7", "53:23", None),
    ]


def test_run_that_the_test_changes_or_deletes_is_let_go(flowruns: Flowruns) -> None:
    flowruns.play("web", {"wait": "1s"}, {"phase": "running"}, {"wait": "1s"}, {"end": "succeeded"})
    for id in ("changed", "deleted", "played"):
        flowruns.run(id, flowId="web", phase="pending")
    flowruns.tick(1)
    flowruns.advance("changed", "cancelled")
    with Client(flowruns.url) as runs:
        runs.delete("deleted")
    flowruns.tick(10)
    assert [flowruns.get(id).phase for id in ("changed", "played")] == ["cancelled", "succeeded"]
    with pytest.raises(NotFound):
        flowruns.get("deleted")


def test_rule_for_another_phase_plays_when_the_test_sets_it(flowruns: Flowruns) -> None:
    flowruns.play(Script.load(DEPLOY.with_name("terraform.toml")))
    flowruns.run("net", flowId="terraform-net", phase="pending", actions=0, logs=0)
    flowruns.tick(600)
    assert flowruns.get("net").phase == "waiting"
    with Client(flowruns.url) as runs:
        runs.update("net", phase="approved")
    flowruns.tick(600)
    assert flowruns.get("net").phase == "succeeded"


def test_moves_that_fail_are_played_by_the_next_tick(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with serve(file, lock_timeout=0.01) as flowruns, closing(sqlite3.connect(file)) as other:
        flowruns.freeze(TIME)
        flowruns.play("web", {"wait": "1s"}, {"phase": "running"}, {"wait": "1s"}, {"end": "succeeded"})
        flowruns.run("a", flowId="web", phase="pending")
        flowruns.tick(1)
        other.execute("begin immediate")
        with pytest.raises(Busy):
            flowruns.tick(10)
        other.rollback()
        flowruns.tick(0)
        assert flowruns.get("a").end_time == "2026-01-20T18:53:05.000Z"


def test_scripts_are_gone_after_reset(flowruns: Flowruns) -> None:
    flowruns.play("web", {"end": "succeeded"})
    flowruns.reset(time=TIME)
    flowruns.run("a", flowId="web", phase="pending")
    flowruns.tick(1)
    assert flowruns.get("a").phase == "pending"


def test_mistakes_are_raised_in_the_test(flowruns: Flowruns) -> None:
    with pytest.raises(ScriptInvalid, match=r"steps\.0\.wait: 'wait' is no duration"):
        flowruns.play("web", {"wait": 1})
    with pytest.raises(FileNotFoundError):
        flowruns.play("missing.toml")


def test_tick_needs_a_frozen_clock_with_a_script_too(flowruns: Flowruns) -> None:
    flowruns.play("web", {"end": "succeeded"})
    flowruns.unfreeze()
    with pytest.raises(RuntimeError, match="freeze"):
        flowruns.tick(1)
