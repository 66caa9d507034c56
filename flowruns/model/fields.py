"""The query parameter `fields`: the parts of a run that a response has (`flowruns/docs/api.md`, "Fewer fields").

A list of runs needs neither logs nor args, which may be megabytes. Their text is skipped, so what remains is byte for
byte as in the whole run.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Raw, Struct, defstruct
from msgspec.json import Decoder, encode

from flowruns.errors import ErrorDetail, one_line
from flowruns.model.error_details import choice_detail
from flowruns.model.runs import FlowRun, Item
from flowruns.model.validation import MAX_DETAILS

Fields = tuple[str, ...]  # names, in the order of `FIELDS`

ALL_FIELDS: Fields = ()  # the whole run, without counts

MAX_GROUPS = 100  # of one count, so that a run with as many levels as log lines has no large summary

_MAX_NAME = 40  # characters of an unknown name in a message


class _Action(Item):
    id: str = ""
    phase: str | None = None

    def __post_init__(self) -> None:
        """As of `Tag`: lets other threads run."""


class _Log(Item):
    level: str | None = None

    def __post_init__(self) -> None:
        """As of `Tag`: lets other threads run."""


_decode_actions, _decode_logs = Decoder(list[_Action] | None).decode, Decoder(list[_Log] | None).decode


class ActionCounts(Struct):
    """The number of actions, and that of each phase; *first* has the id of the first action in each of these phases."""

    total: int
    phase: dict[str, int]
    first: dict[str, str]


class LogCounts(Struct):
    """The number of log lines, and that of each level."""

    total: int
    level: dict[str, int]


def _action_counts(actions: Raw) -> ActionCounts | None:
    items = _decode_actions(actions)
    if items is None:
        return None
    phase = most_frequent(Counter(item.phase for item in items))
    first: dict[str | None, str] = {}
    for item in items:
        first.setdefault(item.phase, item.id)
    return ActionCounts(len(items), phase, {name: first[name] for name in phase})


def _log_counts(logs: Raw) -> LogCounts | None:
    items = _decode_logs(logs)
    return None if items is None else LogCounts(len(items), most_frequent(Counter(item.level for item in items)))


def most_frequent(counts: Mapping[str | None, int]) -> dict[str, int]:
    """The `MAX_GROUPS` most frequent of *counts*, without null; of equally frequent ones, the first by name."""
    known = [(name, count) for name, count in counts.items() if name is not None]
    return dict(sorted(known, key=lambda pair: (-pair[1], pair[0]))[:MAX_GROUPS])


# Each count, and the field that it follows and is of.
COUNTS = {"actionCounts": ("actions", _action_counts), "logCounts": ("logs", _log_counts)}

_COUNT_OF = {field: name for name, (field, _) in COUNTS.items()}

FIELDS: Fields = tuple(
    name for field in FlowRun.__struct_encode_fields__ for name in (field, _COUNT_OF.get(field)) if name
)


def parse_fields(query: Iterable[tuple[str, str]], details: list[ErrorDetail], known: Fields = FIELDS) -> Fields:
    """The names in the parameters `fields` of *query*, which may be repeated and have several names, separated by
    commas. They are in the order of *known*; `ALL_FIELDS` without the parameter. Appends an error detail for
    each unknown name, also for an empty one.
    """
    names = {text.strip() for name, value in query if name == "fields" for text in value.split(",")}
    if not names:
        return ALL_FIELDS
    choice = choice_detail(("query", "fields"), "literal_error", known)
    unknown = sorted(names.difference(known))[: MAX_DETAILS + 1]
    details += [choice._replace(msg=f"{choice.msg}, not '{one_line(name[:_MAX_NAME])}'") for name in unknown]
    return tuple(name for name in known if name in names)


def select_fields(docs: bytes, fields: Fields) -> bytes:
    """The *docs*, documents of runs joined by commas, with these *fields* alone."""
    return docs if fields == ALL_FIELDS else _selector(fields).select(docs)


class _Selector:
    """Selects fields, of which *sources* are those to read from a document."""

    def __init__(self, fields: Fields) -> None:
        sources = dict.fromkeys(COUNTS[name][0] if name in COUNTS else name for name in fields)
        self._counts = any(name in COUNTS for name in fields)
        self._fields = fields
        run: Any = defstruct("Run", [(name, Raw) for name in sources])
        self._decoder = Decoder(list[run])

    def select(self, docs: bytes) -> bytes:
        runs = self._decoder.decode(b"[%b]" % docs)
        return encode([self._with_counts(run) for run in runs] if self._counts else runs)[1:-1]

    def _with_counts(self, run: Any) -> dict[str, Any]:
        return {name: _value(run, name) for name in self._fields}


def _value(run: Any, name: str) -> Any:
    if name not in COUNTS:
        return getattr(run, name)
    source, count = COUNTS[name]
    return count(getattr(run, source))


_selector = lru_cache(maxsize=64)(_Selector)
