"""Plausible runs for tests."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flowruns.errors import Invalid
from flowruns.model.plain import as_tags
from flowruns.model.runs import RunPut, encode
from flowruns.model.validation import decode
from flowruns.store.reads import StoredRun

Json = dict[str, Any]

_LEVELS = ("info", "info", "info", "warning", "error")  # of made log lines, in turn


def put_body(body: bytes | Json, place: str = "") -> RunPut:
    """The PUT that *body* says. Raises Invalid, whose message tells the *place* and the field."""
    try:
        return decode(body if isinstance(body, bytes) else encode(body), RunPut)
    except Invalid as error:
        details = [one._replace(msg=f"{place}{'.'.join(map(str, one.loc))}: {one.msg}") for one in error.details]
        raise Invalid(*details) from None


def bodies(source: "str | os.PathLike[str] | Iterable[Mapping[str, Any]]") -> Iterator[tuple[str, bytes | Json]]:
    """The bodies of *source*, each after its place."""
    if isinstance(source, str | os.PathLike):
        for number, line in enumerate(Path(source).read_bytes().split(b"\n"), 1):
            if line.strip():
                yield f"{source}, line {number}, ", line
    elif isinstance(source, Mapping):
        raise TypeError("seed takes a list of bodies, not one")
    else:
        for number, body in enumerate(source, 1):
            yield f"run {number}, ", dict(body)


def plausible(fields: Json, now: str) -> Json:
    """A PUT body with *fields*, and with what belongs to its phase; actions, logs and tags written out."""
    body = _timed({"flowId": "deploy-web", "flowType": "selfServiceAction", "phase": "pending", **fields}, now)
    if isinstance(body.get("actions"), int):
        body["actions"] = _actions(body["actions"], body["phase"], now)
    if isinstance(body.get("logs"), int):
        body["logs"] = [
            {"message": f"line {number}", "level": _LEVELS[number % len(_LEVELS)]} for number in range(body["logs"])
        ]
    return {**body, "tags": as_tags(body.get("tags"))}


def advanced(stored: StoredRun, phase: str, fields: Json, now: str) -> Json:
    """A PUT body that brings the run to its next *phase*, with *fields*."""
    run = stored.run
    before = _set(json.loads(stored.doc))
    before |= {"args": run.args, "outputs": run.outputs, "phase": phase}  # the first two as they are, byte for byte
    if run.actions:
        before["actions"] = [
            _timed({**_set(action), "phase": phase}, now) if action["phase"] == run.phase else action
            for action in before["actions"]
        ]
    return plausible({**before, **fields}, now)


def _actions(number: int, phase: str | None, now: str) -> list[Json]:
    """So many actions of a run in *phase*: all are pending, or all but the last have succeeded."""
    phases = ["pending" if phase == "pending" else "succeeded"] * (number - 1) + [phase] * (number > 0)
    return [_timed({"id": f"step-{step}", "phase": phase}, now) for step, phase in enumerate(phases, 1)]


def _timed(span: Json, now: str) -> Json:
    """A run or an action with the times that belong to its phase, if it has none."""
    times = {}
    if span["phase"] != "pending":
        times["startTime"] = now
    if span["phase"] not in ("pending", "running", None):
        times["endTime"] = now
    return {**times, **span}


def _set(values: Json) -> Json:
    """*values* less those that are null."""
    return {key: value for key, value in values.items() if value is not None}
