"""A demonstration: a sample of real runs with dates of the last days, and a few runs that progress live."""

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

_LIVE_RUNS = 3  # at once: enough to see progress, few enough to follow

_STEP_SECONDS = 0.5, 2.5  # between two steps of a run

_PAUSE_SECONDS = 0.5, 6.0  # before the next run

_MAX_LIVE_RUNS = 60  # kept in the database; the oldest is deleted, so that it stays small for weeks

_LOGS_PER_STEP = 8

_UNFINISHED = ("pending", "running", "waiting", "paused")


def sample() -> list[RunPut]:
    """Real runs of seven CI systems, with their original dates."""
    text = (resources.files("flowruns.server") / "demo.ndjson").read_bytes()
    return [decode(line, type=RunPut) for line in text.splitlines()]


def recent(runs: list[RunPut], now: datetime) -> list[RunLine]:
    """The *runs* with dates of the days before *now*, oldest first. Their number grows towards *now*, and unfinished
    runs are the newest.
    """
    spans = {id(run): _span(run) for run in runs}
    newest_first = sorted(runs, key=lambda run: (run.phase not in _UNFINISHED, spans[id(run)][1] - spans[id(run)][0]))
    growth = (_OLDEST / _NEWEST) ** (1 / len(runs))
    dated = []
    for number, run in enumerate(newest_first):
        first, last = spans[id(run)]
        age = max(_NEWEST * growth**number, last - first + _NEWEST)  # no run ends in the future
        dated.append((now - age, first, run))
    dated.sort(key=lambda item: item[0])
    return [_moved(run, created, created - first) for created, first, run in dated]


@asynccontextmanager
async def demonstration(store: Store) -> AsyncIterator[None]:
    """Imports the sample into *store*, and while entered creates runs that progress."""
    lines = [Line("demo", number, encode(run)) for number, run in enumerate(recent(sample(), datetime.now(UTC)), 1)]
    await store.run_on_writer(lambda connection: import_lines(connection, lines))
    templates = [run for run in sample() if len(run.actions or []) > 1 and run.phase not in _UNFINISHED]
    created: deque[str] = deque()
    tasks = [asyncio.create_task(_run_live(store, templates, created)) for _ in range(_LIVE_RUNS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _run_live(store: Store, templates: list[RunPut], created: deque[str]) -> None:
    """Writes one run after another, each step by step."""
    chance, new_id = random.Random(), Uuid7()
    while True:
        await asyncio.sleep(chance.uniform(*_PAUSE_SECONDS))
        id = new_id(datetime.now(UTC))
        by = chance.randint(1, 5)
        precondition = Precondition(if_none_match="*")
        with suppress(FlowrunsError):  # a client has written or deleted the run: leave it alone
            for body in progress(chance.choice(templates)):
                stored, _ = await store.put(id, body, by=by, when=precondition)
                precondition = Precondition(if_match=frozenset({stored.etag}))
                await asyncio.sleep(chance.uniform(*_STEP_SECONDS))
        created.append(id)
        if len(created) > _MAX_LIVE_RUNS:
            with suppress(FlowrunsError):
                await store.delete(created.popleft())


def progress(template: RunPut) -> Iterator[RunPut]:
    """The states of a run from pending to the end of *template*. Each has the time at which it is taken from here."""
    steps = template.actions or []
    logs = iter(template.logs or [])
    actions = [Action(id=action.id, phase="pending") for action in steps]
    lines: list[Log] = []
    body = replace(template, id=None, phase="pending", start_time=None, end_time=None, outputs=Raw(b"null"), logs=None)
    yield replace(body, actions=list(actions))
    body.start_time = _now()
    for number, action in enumerate(steps):
        actions[number] = Action(id=action.id, phase="running", start_time=_now())
        lines.append(Log(message=f"{action.id}: started", timestamp=_now(), level="info", action=action.id))
        yield replace(body, phase="running", actions=list(actions), logs=list(lines))
        for line, _ in zip(logs, range(_LOGS_PER_STEP), strict=False):
            lines.append(Log(message=line.message, timestamp=_now(), level=line.level or "info", action=action.id))
            yield replace(body, phase="running", actions=list(actions), logs=list(lines))
        phase = action.phase if action.phase and action.phase not in _UNFINISHED else "succeeded"
        actions[number] = Action(id=action.id, phase=phase, start_time=actions[number].start_time, end_time=_now())
        level = "error" if phase == "failed" else "info"
        lines.append(Log(message=f"{action.id}: {phase}", timestamp=_now(), level=level, action=action.id))
    yield replace(
        body, phase=template.phase, end_time=_now(), actions=list(actions), logs=list(lines), outputs=template.outputs
    )


def _now() -> str:
    return format_datetime(datetime.now(UTC))


def _span(run: RunPut) -> tuple[datetime, datetime]:
    """The earliest and the latest time in *run*."""
    times = [run.start_time, run.end_time, *(log.timestamp for log in run.logs or [])]
    times += [time for action in run.actions or [] for time in (action.start_time, action.end_time)]
    parsed = [datetime.fromisoformat(time) for time in times if time] or [datetime.now(UTC)]
    return min(parsed), max(parsed)


def _moved(run: RunPut, created: datetime, delta: timedelta) -> RunLine:
    """*run* as *created* at that time, with all its times moved by *delta*."""

    def moved(time: str | None) -> str | None:
        return time and parse_datetime(format_datetime(datetime.fromisoformat(time) + delta))

    fields = {name: getattr(run, name) for name in run.__struct_fields__}
    fields["start_time"], fields["end_time"] = moved(run.start_time), moved(run.end_time)
    fields["actions"] = run.actions and [
        replace(action, start_time=moved(action.start_time), end_time=moved(action.end_time)) for action in run.actions
    ]
    fields["logs"] = run.logs and [
        replace(log, timestamp=moved(log.timestamp) or format_datetime(created)) for log in run.logs
    ]
    updated = max(format_datetime(created), fields["end_time"] or "")
    return RunLine(**fields, created_at=format_datetime(created), updated_at=updated)
