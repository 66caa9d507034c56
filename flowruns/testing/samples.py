"""Request bodies of plausible runs."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flowruns.errors import ErrorDetail, Invalid
from flowruns.model.python_values import as_tags, parse
from flowruns.model.runs import RunPut, encode
from flowruns.model.validation import decode
from flowruns.player.steps import UNFINISHED
from flowruns.store.reads import StoredRun
from flowruns.testing.arguments import check_number

__tracebackhide__ = True  # pytest shows the line of the test instead

Json = dict[str, Any]

_LEVELS = ("info", "info", "info", "warning", "error")  # of generated log lines, in turn


def put_body(body: bytes | Json, prefix: str = "") -> RunPut:
    """The parsed *body* of a PUT. Raises Invalid; each message names the field, after *prefix*."""
    try:
        return decode(body if isinstance(body, bytes) else encode(body), RunPut)
    except Invalid as error:
        details = [
            detail._replace(msg=f"{prefix}{'.'.join(map(str, detail.loc))}: {detail.msg}") for detail in error.details
        ]
        raise Invalid(*details) from None


def bodies(source: "str | os.PathLike[str] | Iterable[Mapping[str, Any]]") -> Iterator[tuple[str, bytes | Json]]:
    """The bodies in *source*, each with the prefix of its error messages: the file and line, or the number."""
    if isinstance(source, str | os.PathLike):
        for number, line in enumerate(Path(source).read_bytes().split(b"\n"), 1):
            if number == 1 and line.lstrip().startswith(b"["):
                message = f"{source} is a JSON array; write each body on a line of its own"
                raise Invalid(ErrorDetail(("body",), message, "value_error"))
            if line.strip():
                yield f"{source}, line {number}, ", line
    elif isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise TypeError(f"seed takes a list of bodies, the path of a file or a whole number, not {source!r}")
    else:
        for number, body in enumerate(source, 1):
            yield f"run {number}, ", dict(body)


def put_bodies(source: "str | os.PathLike[str] | Iterable[Mapping[str, Any]]") -> list[RunPut]:
    """The parsed bodies in *source*. Raises Invalid for the first invalid one, or an id that is there twice."""
    parsed: list[RunPut] = []
    places: dict[str, str] = {}
    for prefix, body in bodies(source):
        run = put_body(body, prefix)
        place = prefix.removesuffix(", ")
        if run.id is not None and (first := places.setdefault(run.id, place)) != place:
            msg = f"{prefix}id: {run.id!r} is the id of {first} too; each run needs its own"
            raise Invalid(ErrorDetail(("body", "id"), msg, "value_error"))
        parsed.append(run)
    return parsed


def plausible(fields: Json, now: str) -> Json:
    """A PUT body with *fields*, defaults, and the times of its phase. Numbers of actions and logs become lists."""
    body = _with_times({"flowId": "deploy-web", "flowType": "selfServiceAction", "phase": "pending", **fields}, now)
    for name in ("actions", "logs"):
        if isinstance(body.get(name), int):
            check_number(name, body[name], 0, whole=True)
    if isinstance(body.get("actions"), int):
        body["actions"] = _actions(body["actions"], body["phase"], now)
    if isinstance(body.get("logs"), int):
        body["logs"] = [
            {"message": f"line {number}", "level": _LEVELS[number % len(_LEVELS)]} for number in range(body["logs"])
        ]
    return {**body, "tags": as_tags(body.get("tags"))}


def advanced(stored: StoredRun, phase: str, fields: Json, now: str) -> Json:
    """A PUT body that moves the *stored* run to *phase*, with its actions of the old phase, and sets *fields*."""
    run = stored.run
    body = _without_nulls(parse(stored.doc))
    body |= {"args": run.args, "outputs": run.outputs, "phase": phase}  # args and outputs stay raw, byte for byte
    if run.actions:
        body["actions"] = [
            _with_times({**_without_nulls(action), "phase": phase}, now) if action["phase"] == run.phase else action
            for action in body["actions"]
        ]
    return plausible({**body, **fields}, now)


def _actions(number: int, phase: str | None, now: str) -> list[Json]:
    """The actions of a run in *phase*: all are pending, or the last is in *phase* and the others have succeeded."""
    phases = ["pending" if phase == "pending" else "succeeded"] * (number - 1) + [phase] * (number > 0)
    return [_with_times({"id": f"step-{step}", "phase": phase}, now) for step, phase in enumerate(phases, 1)]


def _with_times(item: Json, now: str) -> Json:
    """A run or an action with the times of its phase, unless it has its own."""
    times = {}
    if item["phase"] != "pending":
        times["startTime"] = now
    if item["phase"] not in {*UNFINISHED, None}:
        times["endTime"] = now
    return {**times, **item}


def _without_nulls(values: Json) -> Json:
    return {key: value for key, value in values.items() if value is not None}
