"""A demonstration: a sample of real runs as if of the last days, and a few that go on while somebody watches."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import resources

from msgspec import Raw
from msgspec.json import decode
from msgspec.structs import replace

from flowruns.errors import FlowrunsError
from flowruns.model.datetimes import format_datetime, parse_datetime
from flowruns.model.ids import Uuid7
from flowruns.model.lines import RunLine
from flowruns.model.preconditions import Precondition
from flowruns.model.runs import Action, Log, RunPut, encode
from flowruns.store.store import Store
from flowruns.store.transfer import Line, import_lines

_OLDEST = timedelta(days=10)

_NEWEST = timedelta(seconds=40)

_PLAYERS = 3  # runs that go on at once: enough to see, few enough to follow

_STEP_SECONDS = 0.5, 2.5  # between two steps of one

_REST_SECONDS = 0.5, 6.0  # until the next one begins

_MOST_PLAYED = 60  # the oldest goes then, so that a demonstration that runs for weeks stays small

_LOGS_A_STEP = 8

_UNFINISHED = ("pending", "running", "waiting", "paused")


def sample() -> list[RunPut]:
    """Real runs of seven CI systems, as they were."""
    text = (resources.files("flowruns.server") / "demo.ndjson").read_bytes()
    return [decode(line, type=RunPut) for line in text.splitlines()]


def shifted(runs: list[RunPut], now: datetime) -> list[RunLine]:
    """The *runs* as if they had been created in the days before *now*, oldest first: the younger, the more of them, and
    those that go on still the youngest.
    """
    spans = {id(run): _span(run) for run in runs}
    youngest = sorted(runs, key=lambda run: (run.phase not in _UNFINISHED, spans[id(run)][1] - spans[id(run)][0]))
    growth = (_OLDEST / _NEWEST) ** (1 / len(runs))
    aged = []
    for number, run in enumerate(youngest):
        first, last = spans[id(run)]
        age = max(_NEWEST * growth**number, last - first + _NEWEST)  # it has not ended in the future
        aged.append((now - age, first, run))
    aged.sort(key=lambda one: one[0])
    return [_moved(run, created, created - first) for created, first, run in aged]


@asynccontextmanager
async def playing(store: Store) -> AsyncIterator[None]:
    """While entered, *store* has the sample, and a few runs of it happen again."""
    given = [Line("demo", number, encode(run)) for number, run in enumerate(shifted(sample(), datetime.now(UTC)), 1)]
    await store.run_on_writer(lambda connection: import_lines(connection, given))
    scenes = [run for run in sample() if len(run.actions or []) > 1 and run.phase not in _UNFINISHED]
    played: deque[str] = deque()
    players = [asyncio.create_task(_play(store, scenes, played)) for _ in range(_PLAYERS)]
    try:
        yield
    finally:
        for player in players:
            player.cancel()
        await asyncio.wait(players)


async def _play(store: Store, scenes: list[RunPut], played: deque[str]) -> None:
    """Lets one run after the other happen."""
    chance, new_id = random.Random(), Uuid7()
    while True:
        await asyncio.sleep(chance.uniform(*_REST_SECONDS))
        id = new_id(datetime.now(UTC))
        by = chance.randint(1, 5)
        expected = Precondition(if_none_match="*")
        with suppress(FlowrunsError):  # somebody else has written it or deleted it: it is theirs
            for body in steps(chance.choice(scenes)):
                stored, _ = await store.put(id, body, by=by, when=expected)
                expected = Precondition(if_match=frozenset({stored.etag}))
                await asyncio.sleep(chance.uniform(*_STEP_SECONDS))
        played.append(id)
        if len(played) > _MOST_PLAYED:
            with suppress(FlowrunsError):
                await store.delete(played.popleft())


def steps(scene: RunPut) -> Iterator[RunPut]:
    """What *scene* was in each moment of its life, if it lives now: each is asked for when it is its time."""
    todo = scene.actions or []
    logs = iter(scene.logs or [])
    actions = [Action(id=action.id, phase="pending") for action in todo]
    lines: list[Log] = []
    body = replace(scene, id=None, phase="pending", start_time=None, end_time=None, outputs=Raw(b"null"), logs=None)
    yield replace(body, actions=list(actions))
    body.start_time = _now()
    for number, action in enumerate(todo):
        actions[number] = Action(id=action.id, phase="running", start_time=_now())
        lines.append(Log(message=f"{action.id}: started", timestamp=_now(), level="info", action=action.id))
        yield replace(body, phase="running", actions=list(actions), logs=list(lines))
        for line, _ in zip(logs, range(_LOGS_A_STEP), strict=False):
            lines.append(Log(message=line.message, timestamp=_now(), level=line.level or "info", action=action.id))
            yield replace(body, phase="running", actions=list(actions), logs=list(lines))
        phase = action.phase if action.phase and action.phase not in _UNFINISHED else "succeeded"
        actions[number] = Action(id=action.id, phase=phase, start_time=actions[number].start_time, end_time=_now())
        level = "error" if phase == "failed" else "info"
        lines.append(Log(message=f"{action.id}: {phase}", timestamp=_now(), level=level, action=action.id))
    yield replace(
        body, phase=scene.phase, end_time=_now(), actions=list(actions), logs=list(lines), outputs=scene.outputs
    )


def _now() -> str:
    return format_datetime(datetime.now(UTC))


def _span(run: RunPut) -> tuple[datetime, datetime]:
    """The first and the last time that *run* tells."""
    times = [run.start_time, run.end_time, *(log.timestamp for log in run.logs or [])]
    times += [time for action in run.actions or [] for time in (action.start_time, action.end_time)]
    known = [datetime.fromisoformat(time) for time in times if time] or [datetime.now(UTC)]
    return min(known), max(known)


def _moved(run: RunPut, created: datetime, by: timedelta) -> RunLine:
    """*run* as if it had been *created* then, all its times moved *by* so much."""

    def moved(time: str | None) -> str | None:
        return time and parse_datetime(format_datetime(datetime.fromisoformat(time) + by))

    fields = {name: getattr(run, name) for name in run.__struct_fields__}
    fields["start_time"], fields["end_time"] = moved(run.start_time), moved(run.end_time)
    fields["actions"] = run.actions and [
        replace(one, start_time=moved(one.start_time), end_time=moved(one.end_time)) for one in run.actions
    ]
    fields["logs"] = run.logs and [
        replace(log, timestamp=moved(log.timestamp) or format_datetime(created)) for log in run.logs
    ]
    updated = max(format_datetime(created), fields["end_time"] or "")
    return RunLine(**fields, created_at=format_datetime(created), updated_at=updated)
