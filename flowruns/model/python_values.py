"""Runs, bodies and queries as plain Python values instead of JSON."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, Raw, Struct, defstruct
from msgspec.json import decode
from msgspec.structs import asdict, fields

from flowruns.model.aliases import FIELD_ALIASES, PARAMETER_ALIASES, meant
from flowruns.model.datetimes import format_datetime
from flowruns.model.fields import FIELDS, ActionCounts, LogCounts
from flowruns.model.filters import FILTERS
from flowruns.model.runs import FlowRun, Model, RunPost, RunPut


class Run(FlowRun, kw_only=True):
    """A run with *args* and *outputs* as plain values."""

    args: Any
    outputs: Any


# A run with the fields that were requested, and with counts; every other field is `msgspec.UNSET`.
PartialRun: Any = defstruct(
    "PartialRun",
    [(name, Any, UNSET) for name in (*Run.__struct_fields__, "action_counts", "log_counts")],
    bases=(Run,),
    module=__name__,
    kw_only=True,
)


class Stats(Model, kw_only=True):
    """The number of runs, and that of each phase, flow, type and tag; a tag is written `key:value`."""

    total: int
    phase: dict[str, int]
    flow_id: dict[str, int]
    flow_type: dict[str, int]
    tag: dict[str, int]


# The name in Python and the type of each field in JSON.
_TYPES: dict[str, tuple[str, Any]] = {
    **{field.encode_name: (field.name, field.type) for field in fields(FlowRun)},
    "actionCounts": ("action_counts", ActionCounts | None),
    "logCounts": ("log_counts", LogCounts | None),
}


def plain(run: FlowRun) -> Run:
    """*run* with *args* and *outputs* as `json` decodes them: numbers beyond the range of a float become infinity."""
    return Run(**{**asdict(run), "args": parse(run.args), "outputs": parse(run.outputs)})


def partial_run(doc: bytes) -> Run:
    """The `PartialRun` of *doc*, a document with some fields. Raises msgspec.DecodeError."""
    values: dict[str, Any] = {}
    for name, raw in decode(doc, type=dict[str, Raw]).items():
        if name in _TYPES:  # a later server may send more
            attribute, type = _TYPES[name]
            values[attribute] = parse(raw) if attribute in ("args", "outputs") else decode(raw, type=type)
    run: Run = PartialRun(**values)
    return run


def field_names(names: str | Iterable[str]) -> list[str]:
    """The names of fields in the parameter `fields`: of a text, separated by commas, or several. Raises TypeError for
    an unknown one, ValueError for none.
    """
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    _check(listed, list(FIELDS), FIELD_ALIASES, "a run has no field")
    if not listed:
        raise ValueError("fields has no names; leave it out, or pass at least one")
    return listed


def body(type: type[RunPost | RunPut], values: Mapping[str, Any]) -> dict[str, Raw]:
    """The *values* of a body of *type*, by their field names in JSON, each encoded as JSON. *tags* may be a dict, times
    may be datetimes. Raises TypeError for an unknown field or a type that JSON lacks, ValueError for NaN, infinity, a
    lone surrogate, or a datetime without a time zone.
    """
    check_fields(type, values)
    return {name: _json(as_tags(value) if name == "tags" else value) for name, value in values.items()}


def check_fields(type: type[RunPost | RunPut], names: Iterable[str]) -> None:
    """Raises TypeError unless a body of *type* has all fields in *names*."""
    _check(
        names,
        [field.encode_name for field in fields(type)],
        FIELD_ALIASES,
        f"a {type.__name__[3:].upper()} has no field",
    )


def query(filters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The *filters* as query parameters. A value may be one or several; None is left out; *tag* may be a dict. Raises
    TypeError for an unknown filter, ValueError for an empty sequence or a datetime without a time zone.
    """
    _check(filters, [filter.name for filter in FILTERS], PARAMETER_ALIASES, "there is no filter")
    return [(name, text) for name, value in filters.items() if value is not None for text in _texts(name, value)]


def as_tags(value: Any) -> Any:
    """A dict as the list of tags of a body; any other value unchanged."""
    return [{"key": key, "value": text} for key, text in value.items()] if isinstance(value, Mapping) else value


def _texts(name: str, value: Any) -> list[str]:
    if name == "tag" and isinstance(value, Mapping):
        value = [f"{key}:{text}" for key, text in value.items()]
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    texts = [_time(item) if isinstance(item, datetime) else str(item) for item in several]
    if not texts:
        raise ValueError(f"{name} has no values; leave it out, or pass at least one")
    return texts


def _check(names: Iterable[str], known: list[str], aliases: Mapping[str, str], message: str) -> None:
    for name in names:
        if name not in known:
            one = meant(name, known, aliases, cutoff=0.6)
            cure = f"; is it {one!r}?" if one else f", only {', '.join(known)}"
            raise TypeError(f"{message} {name!r}{cure}")


def parse(text: bytes | Raw, parse_float: Callable[[str], Any] = float) -> Any:
    """The JSON *text* as plain values; a Decimal for an integer of over 4,300 digits. Raises ValueError."""
    # By json, as msgspec raises for numbers beyond the range of a float.
    return json.loads(bytes(text), parse_int=_integer, parse_float=parse_float)


def _integer(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:  # more digits than sys.get_int_max_str_digits()
        return Decimal(digits)


def _json(value: Any) -> Raw:
    # By json, as msgspec encodes infinity as null.
    return Raw(json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, Struct):
        return {field.encode_name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"JSON has no {type(value).__name__}")


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"a datetime needs a time zone, as in datetime.now(UTC): {moment!r}")
    return format_datetime(moment)
