"""Runs, bodies and queries as plain values of Python, for those who would rather write no JSON."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import asdict, fields

from flowruns.model.datetimes import format_datetime
from flowruns.model.filters import FILTERS
from flowruns.model.runs import FlowRun, RunPost, RunPut


class Run(FlowRun, kw_only=True):
    """A run, as every response carries it, with *args* and *outputs* as plain values."""

    args: Any
    outputs: Any


def plain(run: FlowRun) -> Run:
    """*run* with plain values: what a float does not hold is what `json` makes of it."""
    return Run(**{**asdict(run), "args": _value(run.args), "outputs": _value(run.outputs)})


def body(type: type[RunPost | RunPut], given: Mapping[str, Any]) -> dict[str, Raw]:
    """The *given* fields of a body of *type*, by their names in JSON, each as JSON. *tags* may be a dict, times may be
    datetimes. Raises TypeError at a field that it does not have, or a value that JSON does not have, and ValueError.
    """
    check_fields(type, given)
    return {name: _json(as_tags(value) if name == "tags" else value) for name, value in given.items()}


def check_fields(type: type[RunPost | RunPut], names: Iterable[str]) -> None:
    """Nothing, if a body of *type* has all of *names*. Raises TypeError."""
    _check(names, [field.encode_name for field in fields(type)], f"a {type.__name__[3:].upper()} has no field")


def query(filters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The *filters*, the query parameters of a page, one value or several each, as a query has them; None is no value,
    and *tag* may be a dict. Raises TypeError at one that there is not, and ValueError.
    """
    _check(filters, [filter.name for filter in FILTERS], "there is no filter")
    return [(name, text) for name, value in filters.items() if value is not None for text in _texts(name, value)]


def as_tags(value: Any) -> Any:
    """The tags of a dict as a body has them; all else as it is."""
    return [{"key": key, "value": text} for key, text in value.items()] if isinstance(value, Mapping) else value


def _texts(name: str, value: Any) -> list[str]:
    if name == "tag" and isinstance(value, Mapping):
        value = [f"{key}:{text}" for key, text in value.items()]
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    texts = [_time(one) if isinstance(one, datetime) else str(one) for one in several]
    if not texts:
        raise ValueError(f"{name} has no values: leave it out, or give one")
    return texts


def _check(names: Iterable[str], known: list[str], complaint: str) -> None:
    for name in names:
        if name not in known:
            near = get_close_matches(name.replace("_", ""), known, 1)
            cure = f"; is it {near[0]!r}?" if near else f", only {', '.join(known)}"
            raise TypeError(f"{complaint} {name!r}{cure}")


def _value(value: Raw) -> Any:
    # By json, as msgspec refuses numbers that a float does not hold.
    return json.loads(bytes(value), parse_int=_integer)


def _integer(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:  # of so many digits Python makes none, as that would take long
        return Decimal(digits)


def _json(value: Any) -> Raw:
    # By json, as msgspec makes null of infinity.
    return Raw(json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, Struct):
        return {field.encode_name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"JSON has no {type(value).__name__}")


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"a time has a zone, as datetime.now(UTC) has: not {moment!r}")
    return format_datetime(moment)
