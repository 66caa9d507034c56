"""The server for tests: its runs, its clock, `wait`, and `reset`."""

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from flowruns.errors import AlreadyExists, Invalid, NotFound
from flowruns.player.steps import UNFINISHED
from flowruns.testing.clock import Clock, Ids
from flowruns.testing.server import Flowruns, serve
from tests.conftest import REAL_RUNS, RUNS
from tests.waits import HANG, eventually
from tests.wire import RUN, Wire, ping, request

TIME = "2025-01-20T18:53:03.558Z"


# The clock and the ids


def test_clock_runs_until_it_is_frozen() -> None:
    clock = Clock()
    assert datetime.now(UTC) - clock() < timedelta(seconds=5)
    clock.freeze(TIME)
    assert clock() == clock() == datetime(2025, 1, 20, 18, 53, 3, 558000, UTC)
    clock.tick(1.5)
    assert clock.now == datetime(2025, 1, 20, 18, 53, 5, 58000, UTC)
    clock.freeze(None)
    assert clock().year > 2025


def test_clock_advances_by_its_step_at_each_call() -> None:
    clock = Clock()
    clock.freeze(TIME, step_ms=250)
    assert [clock().microsecond // 1000 for _ in range(3)] == [558, 808, 58]
    assert clock.now == clock.now


def test_invalid_times_are_refused() -> None:
    clock = Clock()
    with pytest.raises(RuntimeError, match=r"call freeze\(time\) first"):
        clock.tick(1)
    with pytest.raises(ValueError, match="needs a time zone"):
        clock.freeze(datetime(2025, 1, 1))
    with pytest.raises(ValueError, match="RFC 3339"):
        clock.freeze("yesterday")


def test_ids_depend_on_their_seed_and_sort_by_time() -> None:
    ids, again, other = Ids(), Ids(), Ids()
    other.seed(1)
    now = datetime(2025, 1, 1, tzinfo=UTC)
    times = [now, now, now + timedelta(seconds=1), now]
    first = [ids(time) for time in times]
    assert first == [again(time) for time in times] == sorted(set(first))
    assert first[0] != other(now)


# Runs


def test_run_is_plausible_in_each_phase(runs: Flowruns) -> None:
    runs.freeze(TIME)
    by_phase = {phase: runs.run(phase=phase, actions=3) for phase in ("pending", "running", "failed")}
    times = {phase: (run.start_time, run.end_time) for phase, run in by_phase.items()}
    assert times == {"pending": (None, None), "running": (TIME, None), "failed": (TIME, TIME)}
    actions = {
        phase: [(action.phase, action.start_time, action.end_time) for action in run.actions or []]
        for phase, run in by_phase.items()
    }
    assert actions == {
        "pending": [("pending", None, None)] * 3,
        "running": [("succeeded", TIME, TIME)] * 2 + [("running", TIME, None)],
        "failed": [("succeeded", TIME, TIME)] * 2 + [("failed", TIME, TIME)],
    }
    assert runs.run().phase == "pending"
    assert runs.run(phase=None, actions=0).actions == []


def test_run_has_the_given_fields(runs: Flowruns) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    run = runs.run("a1", by=7, flowId="web", args={"n": 2**80}, tags={"env": "test"}, logs=2, startTime=start)
    assert (run.id, run.flow_id, run.created_by, run.args["n"]) == ("a1", "web", 7, 2**80)
    assert run.start_time == "2025-01-01T00:00:00.000Z"
    assert [(tag.key, tag.value) for tag in run.tags or []] == [("env", "test")]
    assert [log.message for log in run.logs or []] == ["line 0", "line 1"]
    assert runs.get("a1") == run
    with pytest.raises(AlreadyExists):
        runs.run("a1")
    with pytest.raises(NotFound):
        runs.get("a2")


def test_run_names_the_wrong_field(runs: Flowruns) -> None:
    with pytest.raises(TypeError, match="no field 'flow_id'; is it 'flowId'"):
        runs.run(flow_id="web")
    with pytest.raises(Invalid, match=r"body\.flowId: String should match"):
        runs.run(flowId="Deploy Web")
    with pytest.raises(Invalid, match=r"body\.id: String should match"):
        runs.run("A 1")
    assert runs.dump() == []


def test_advance_updates_times_and_actions(runs: Flowruns) -> None:
    runs.freeze(TIME)
    runs.run("a1", by=1, phase="running", actions=2, args={"ref": "main"})
    runs.tick(2)
    run = runs.advance("a1", "failed", by=2, outputs={"url": "x"})
    later = "2025-01-20T18:53:05.558Z"
    assert (run.start_time, run.end_time, run.args, run.outputs) == (TIME, later, {"ref": "main"}, {"url": "x"})
    assert [(action.phase, action.end_time) for action in run.actions or []] == [("succeeded", TIME), ("failed", later)]
    assert (run.created_by, run.updated_by) == (1, 2)
    with pytest.raises(NotFound):
        runs.advance("a2", "failed")
    with pytest.raises(TypeError, match="no field 'createdAt'"):
        runs.advance("a1", "failed", createdAt=TIME)


@pytest.mark.parametrize(
    ("phase", "has_ended"),
    [*((phase, False) for phase in sorted(UNFINISHED)), (None, False), ("failed", True), ("approved", True)],
)
def test_runs_and_actions_end_unless_their_phase_is_one_of_unfinished_runs(
    runs: Flowruns, phase: str | None, has_ended: bool
) -> None:
    runs.run("advanced", phase="running", actions=1)
    created = runs.run("created", phase=phase, actions=1)
    for run in [created] if phase is None else [created, runs.advance("advanced", phase)]:
        assert [run.end_time is not None, *(action.end_time is not None for action in run.actions or [])] == [
            has_ended
        ] * 2


def test_advance_keeps_args_byte_for_byte(runs: Flowruns) -> None:
    odd = b'{"flowId":"a","flowType":"automation","args":{"n":-0, "m":1e400}}'
    with Wire(runs.url) as wire:
        wire.ask("PUT", f"{RUNS}/a1", odd)
        assert runs.advance("a1", "running").args == {"n": 0, "m": float("inf")}
        assert b'"args":{"n":-0, "m":1e400}' in wire.ask("GET", f"{RUNS}/a1").body


def test_seed_takes_files_and_bodies(runs: Flowruns) -> None:
    seeded = runs.seed(REAL_RUNS)
    assert [run.id for run in seeded] == [run["id"] for run in runs.dump()]
    assert len(seeded) == 346
    assert [run.flow_id for run in runs.seed([{"flowId": "a", "flowType": "automation"}])] == ["a"]


def test_seed_refuses_an_id_that_is_there_twice(runs: Flowruns, tmp_path: Path) -> None:
    body = {"id": "a1", "flowId": "web", "flowType": "automation"}
    with pytest.raises(Invalid, match="^run 3, id: 'a1' is the id of run 1 too; each run needs its own$"):
        runs.seed([body, {**body, "id": None}, body])
    file = tmp_path / "runs.ndjson"
    file.write_text(f"{json.dumps(body)}\n\n{json.dumps(body)}\n")
    with pytest.raises(Invalid, match=r"runs\.ndjson, line 3, id: 'a1' is the id of .*runs\.ndjson, line 1 too"):
        runs.seed(file)
    assert runs.dump() == []


def test_seed_names_the_line_that_is_wrong_and_writes_nothing(runs: Flowruns, tmp_path: Path) -> None:
    file = tmp_path / "runs.ndjson"
    file.write_bytes(RUN + b'\r\n\n{"flowId":"A"}\n')
    with pytest.raises(Invalid, match=r"runs\.ndjson, line 3, body\.flowId: String should match .*; .*flowType"):
        runs.seed(file)
    file.write_bytes(RUN + b"\n{")
    with pytest.raises(Invalid, match="line 2, body.1: JSON decode error"):
        runs.seed(str(file))
    with pytest.raises(Invalid, match="run 1, body.flowType: Field required"):
        runs.seed([{"flowId": "a"}])
    file.write_bytes(b"[\n" + RUN + b"\n]\n")
    with pytest.raises(Invalid, match=r"runs\.ndjson is a JSON array; write each body on a line of its own"):
        runs.seed(file)
    with pytest.raises(TypeError, match="a list of bodies, the path of a file or a whole number, not {'flowId': 'a'}"):
        runs.seed({"flowId": "a"})  # type: ignore[arg-type]  # on purpose
    assert runs.dump() == []


def reproducible(runs: Flowruns) -> tuple[list[dict[str, Any]], bytes]:
    """Runs and a page that are the same on each server."""
    runs.freeze(TIME, step_ms=10)
    runs.seed(7)
    runs.run(phase="succeeded", logs=2)
    with Wire(runs.url) as wire:
        wire.ask("POST", RUNS, b'{"flowId":"web"}')
        return runs.dump(), wire.ask("GET", f"{RUNS}?size=1").body


def test_same_seed_and_time_give_the_same_runs_and_pages(runs: Flowruns) -> None:
    first = reproducible(runs)
    assert first[0][0]["id"] < first[0][1]["id"]
    assert [run["createdAt"] for run in first[0]] == [TIME, "2025-01-20T18:53:03.568Z"]
    runs.reset()
    assert reproducible(runs) == first
    with serve() as other:
        assert reproducible(other) == first


def test_dump_is_every_run_in_order_of_creation(runs: Flowruns) -> None:
    ids = [runs.run(f"r{number % 7}-{number}").id for number in range(1003)]
    runs.advance(ids[0], "running")
    assert [run["id"] for run in runs.dump()] == ids


def test_integers_that_python_does_not_parse_are_kept(runs: Flowruns) -> None:
    digits = "9" * 5000
    body = b'{"flowId":"a","flowType":"automation","args":{"n":%b}}' % digits.encode()
    with Wire(runs.url) as wire:
        assert wire.ask("PUT", f"{RUNS}/a1", body).status == 201
    runs.advance("a1", "running")
    assert str(runs.dump()[0]["args"]["n"]) == digits
    runs.assert_called("PUT", json={"flowId": "a"})


# wait


def test_wait_finds_existing_and_later_runs(runs: Flowruns) -> None:
    runs.run("a1", flowId="web", phase="running")
    assert runs.wait(flowId="web").id == "a1"
    assert runs.wait(flowId=["api", "web"], timeout=0).id == "a1"
    later = threading.Thread(target=runs.advance, args=("a1", "succeeded"))
    later.start()
    assert runs.wait(id="a1", phase="succeeded").end_time
    later.join()


def test_timeout_of_wait_shows_the_runs_in_the_store(runs: Flowruns) -> None:
    with pytest.raises(AssertionError, match="^no run within 0 s; the store is empty: does the code"):
        runs.wait(timeout=0)
    for number in range(25):
        runs.run(f"r{number}")
    message = (
        r"^no run with id='x' phase='failed' within 0 s; the store has:\n  \(5 before\)\n  r5: deploy-web, pending\n"
    )
    with pytest.raises(AssertionError, match=message):
        runs.wait(id="x", phase="failed", timeout=0)
    with pytest.raises(TypeError, match="no filter 'fase'; is it 'phase'"):
        runs.wait(fase="failed")
    with pytest.raises(Invalid):
        runs.wait(createdAfter="yesterday")


# reset


def test_reset_leaves_nothing(runs: Flowruns) -> None:
    runs.freeze(TIME)
    runs.run("a1")
    runs.fail_next(500)
    runs.delay(60)
    old = runs.client
    old.headers["x"] = "y"
    runs.reset()
    assert "x" not in runs.client.headers
    assert runs.client.get(RUNS).json()["total"] == 0
    assert [request.path for request in runs.requests] == [RUNS]
    assert runs.run().updated_at > "2026"
    assert runs.client.get(f"{RUNS}?size=1").headers["etag"] == '"1"'


def test_reset_sets_tokens_and_restores_those_of_the_start(runs: Flowruns) -> None:
    runs.reset(tokens={"t": 7})
    assert runs.client.get(RUNS).status_code == 401
    response = runs.client.put(f"{RUNS}/a1", json=json.loads(RUN), headers={"Authorization": "Bearer t"})
    assert response.json()["createdBy"] == 7
    runs.reset()
    assert runs.client.get(RUNS).status_code == 200
    with pytest.raises(TypeError, match="tokens must be a dict"):
        runs.reset(tokens=["t"])  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_delayed_request_does_not_reach_the_next_test(runs: Flowruns, method: str) -> None:
    runs.delay(60, path=f"{RUNS}*")
    with Wire(runs.url) as wire:
        wire.send(request(method, f"{RUNS}/a1", RUN))
        ping(runs.url)
        runs.reset()
        assert wire.rest() == b""
    assert runs.dump() == []
    assert len(runs.requests) == 0


def test_stream_ends_with_the_test(runs: Flowruns) -> None:
    with Wire(runs.url) as wire:
        wire.send(request("GET", RUNS, None, "Accept: text/event-stream"))
        assert wire.head().status == 200
        runs.reset()
        assert b"event: run" not in wire.rest()


def test_requests_in_flight_do_not_reach_the_next_test(runs: Flowruns) -> None:
    started, errors = threading.Event(), []

    def write() -> None:
        with httpx.Client(base_url=runs.url) as client:
            started.set()
            try:
                while True:
                    client.post(RUNS, json={"flowId": "web"}).raise_for_status()
            except httpx.TransportError as error:
                errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    assert started.wait(HANG)

    def all_ended() -> bool:
        runs.reset()
        return not any(writer.is_alive() for writer in writers)

    eventually(all_ended)
    runs.reset()
    assert len(errors) == 4
    assert runs.dump() == []


# Servers


def test_server_stops_at_once_with_requests_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowruns.server.server._STOP_SECONDS", 10 * HANG)
    with serve(tmp_path / "a.db") as runs, Wire(runs.url) as wire:
        runs.delay(10 * HANG, path=RUNS)
        wire.send(request("GET", RUNS))
        ping(runs.url)
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


def test_only_client_imports_httpx() -> None:
    program = (
        "import sys\n"
        "from flowruns.testing import serve\n"
        "with serve() as runs:\n"
        "    print(runs.run('a1').id, 'httpx' in sys.modules)\n"
        "    print(runs.client.get('/health').json()['runs'], 'httpx' in sys.modules)\n"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=HANG
    )
    assert (process.stdout, process.stderr) == ("a1 False\n1 True\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_process_gets_an_error_and_may_use_the_url() -> None:
    program = f"""
import os, urllib.request
from flowruns.testing import serve
with serve() as runs:
    runs.run("a1")
    child = os.fork()
    if not child:
        print(urllib.request.urlopen(runs.url + "{RUNS}").status)
        for call in (runs.dump, runs.reset, runs.fail_next, lambda: runs.wait(timeout=0)):
            try: call()
            except RuntimeError as error: print(error, flush=True)
    else:
        assert os.waitpid(child, 0)[1] == 0
"""
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", program]
    process = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    message = "a forked process cannot control this server: use its url, or start one with serve()"
    assert (process.stdout.splitlines(), process.stderr) == (["200", *[message] * 4], "")


def test_calls_after_the_server_has_stopped_are_refused() -> None:
    with serve() as runs:
        pass
    for call in (runs.dump, runs.reset, runs.recover, lambda: runs.run("a1")):
        with pytest.raises(RuntimeError, match="this server has stopped: use it inside"):
            call()


def test_program_that_never_leaves_ends() -> None:
    program = "from flowruns.testing import serve\nentered = serve()\nruns = entered.__enter__()\nruns.run()"
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], timeout=HANG).returncode == 0
