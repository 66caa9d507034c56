"""The state of a run that is played: what a move makes of it, and which moves have led to it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from msgspec import Raw
from msgspec.json import decode
from msgspec.structs import replace

from flowruns.model.python_values import parse
from flowruns.model.runs import Action, Log, RunPut, encode
from flowruns.player.placeholders import as_json
from flowruns.player.steps import UNFINISHED, Line, Move

_NOT_STARTED = UNFINISHED - {"running", "in_progress"}

_ANY_TIME = "1970-01-01T00:00:00.000Z"  # where times are not compared

State = tuple[object, ...]

Body = TypeVar("Body", bound=RunPut)


def applied(body: Body, move: Move, now: str) -> Body:
    """*body* after *move* at the time *now*. A pending run of which *move* sets no phase is running then."""
    phase = move.phase or ("running" if body.phase == "pending" else body.phase)
    return replace(
        body,
        id=None,
        phase=phase,
        start_time=body.start_time or (None if phase in _NOT_STARTED else now),
        end_time=now if move.ends else body.end_time,
        actions=body.actions if move.action is None else _with_action(body.actions or [], move, now),
        logs=[*(body.logs or []), *(_log(line, now) for line in move.lines)] if move.lines else body.logs,
        outputs=body.outputs if move.outputs is None else _with_outputs(body.outputs, move.outputs),
    )


def state(body: RunPut) -> State:
    """All that moves set in *body*, but for times."""
    return (
        body.phase,
        [(action.id, action.phase) for action in body.actions or []],
        [(log.message, log.level, log.action) for log in body.logs or []],
        parse(body.outputs) or {},
    )


def rest(begin: RunPut, moves: Iterable[Move], body: RunPut) -> Iterator[Move] | None:
    """Those of *moves* that follow the state of *body*; None if *moves*, from *begin* on, do not lead to it."""
    wanted, current, all_moves, found = state(body), begin, list(moves), None
    for number, move in enumerate(all_moves, 1):
        current = applied(current, move, _ANY_TIME)
        if current.phase == body.phase and state(current) == wanted:
            found = number
    return None if found is None else iter(all_moves[found:])


def last(begin: RunPut, moves: Iterable[Move]) -> RunPut:
    """*begin* after all *moves*."""
    for move in moves:
        begin = applied(begin, move, _ANY_TIME)
    return begin


def untouched(body: RunPut) -> RunPut:
    """*body* as a POST would have created it, without its id."""
    return RunPut(flow_id=body.flow_id, flow_type=body.flow_type, args=body.args, tags=body.tags)


def _with_action(actions: list[Action], move: Move, now: str) -> list[Action]:
    before = next((action for action in actions if action.id == move.action), None)
    is_over = move.action_phase not in UNFINISHED
    started = before.start_time if before is not None and (is_over or before.end_time is None) else None
    action = Action(
        id=str(move.action),
        phase=move.action_phase,
        start_time=started or (None if move.action_phase in _NOT_STARTED else now),
        end_time=now if is_over else None,
    )
    if before is None:
        return [*actions, action]
    return [action if other is before else other for other in actions]


def _with_outputs(outputs: Raw, added: Mapping[str, Any]) -> Raw:
    """*outputs*, whose values stay as they are written, with those that are *added*."""
    before = decode(outputs, type=dict[str, Raw] | None) or {}
    return Raw(encode({**before, **{name: as_json(value) for name, value in added.items()}}))


def _log(line: Line, now: str) -> Log:
    return Log(message=line.text, timestamp=now, level=line.level, action=line.action)
