"""The placeholders in the texts of a script: `{args.NAME}`, `{run.id}`, `{n}` and the like."""

import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from msgspec import Raw

from flowruns.model.json_items import is_nested_beyond
from flowruns.model.python_values import parse
from flowruns.model.runs import RunPut

RUN_FIELDS = ("run.id", "run.flowId", "run.flowType")

_PLACEHOLDER = re.compile(r"\{((?:args|tags)\.[\w.-]+|run\.(?:id|flowId|flowType)|n)\}")

_MAX_LEVELS = 256  # of `args` with values for placeholders: outputs, which may hold them deeper, have at most 512

Lookup = Callable[[str], Any]  # the value of a placeholder, None if there is none


def lookup_of(id: str, body: RunPut) -> Lookup:
    """The values of a run, but for `n`."""
    fields = dict(zip(RUN_FIELDS, (id, body.flow_id, str(body.flow_type)), strict=True))
    args = {} if is_nested_beyond(body.args, _MAX_LEVELS) else parse(body.args, _number) or {}
    tags = {tag.key: tag.value for tag in body.tags or []}

    def lookup(name: str) -> Any:
        root, _, key = name.partition(".")
        if root == "tags":
            return tags.get(key)
        return value_at(args, key) if root == "args" else fields.get(name)

    return lookup


def filled(value: Any, lookup: Lookup, number: int) -> Any:
    """*value* with the placeholders of its texts replaced, `n` by *number*; one that is a whole text keeps the type of
    its value.
    """
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        found = _value(whole[1], lookup, number) if whole else None
        return filled_text(value, lookup, number) if found is None else found
    if isinstance(value, Mapping):
        return {name: filled(item, lookup, number) for name, item in value.items()}
    return [filled(item, lookup, number) for item in value] if isinstance(value, list) else value


def filled_text(text: str, lookup: Lookup, number: int) -> str:
    """*text* with its placeholders replaced; those without a value stay."""

    def replaced(match: re.Match[str]) -> str:
        value = _value(match[1], lookup, number)
        return match[0] if value is None else str(value)

    return _PLACEHOLDER.sub(replaced, text)


def as_json(value: Any) -> Raw:
    """*value*, filled in, as JSON. An integer of a run with over 4,300 digits is a text there."""
    return Raw(json.dumps(value, default=str, allow_nan=False, ensure_ascii=False).encode())


def value_at(args: Any, key: str) -> Any:
    """The value in *args* at the dotted *key*; None if there is none."""
    if isinstance(args, dict) and key in args:
        return args[key]
    for part in key.split("."):
        args = args.get(part) if isinstance(args, dict) else None
    return args


def _number(text: str) -> float | str:
    """The number *text*, or *text* if it is beyond the range of a float."""
    number = float(text)
    return number if isfinite(number) else text


def _value(name: str, lookup: Lookup, number: int) -> Any:
    return number if name == "n" else lookup(name)
