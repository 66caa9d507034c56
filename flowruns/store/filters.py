"""The table of query parameters that choose runs, and the SQL that they make (contract, "Pages")."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from flowruns.errors import Fault
from flowruns.models import FlowType, Instant, Slug, Tag, Word, encode, instant
from flowruns.paging import MOST
from flowruns.validation import Loc, text_faults

TagPair = Annotated[str, Meta(pattern=r"\A[^:]*:")]  # the key ends at the first colon

MOST_VALUES = 100  # of one parameter; SQLite refuses expressions deeper than 1,000
_INT64 = range(-(2**63), 2**63)
_REACH = 10_000  # numbers that one read of changes looks at: a long way back holds up no page for long


class Filter(NamedTuple):
    """One query parameter: *sql* holds for a run that one value of *type* fits."""

    name: str
    type: Any
    sql: str
    several: str  # " or ": any of the values; " and ": all of them
    meaning: str
    tallied: bool = False  # `tally` has the column, so that totals need no count
    of_change: str | None = None  # in place of *sql* where a deleted run may fit too, and no index is walked


# In order of how few runs one value leaves: the first that a query names chooses the index that its pages walk.
FILTERS = (
    Filter("flowId", Slug, "run.flow_id = ?", " or ", "runs of this flow", tallied=True),
    Filter("createdBy", int, "run.created_by = ?", " or ", "runs that this user id created"),
    Filter(
        "tag",
        TagPair,
        "exists (select 1 from tag where tag.created_seq = run.created_seq and tag.key = ? and tag.value = ?)",
        " and ",
        "runs with this tag; the key ends at the first colon",
        # A deleted run has no rows in `tag`. What `encode` writes of a tag stands in no JSON string: its quotes would
        # be escaped there.
        of_change="instr(run.tags, ?)",
    ),
    Filter("phase", Word, "run.phase = ?", " or ", "runs in this phase", tallied=True),
    Filter("flowType", FlowType, "run.flow_type = ?", " or ", "runs of this type", tallied=True),
    # Times follow the walk's own order but roughly (a clock may go back), so their index only bounds the walk.
    Filter(
        "createdAfter",
        Instant,
        "(+run.created_at > ? and run.created_seq >= (select min(created_seq) from run as timed indexed by run_by_time"
        " where created_seq > 0 and created_at > ?))",
        " and ",
        "runs created later than this",
        of_change="run.created_at > ?",
    ),
    Filter(
        "createdBefore",
        Instant,
        "(+run.created_at < ? and run.created_seq <= (select max(created_seq) from run as timed indexed by run_by_time"
        " where created_seq > 0 and created_at < ?))",
        " and ",
        "runs created earlier than this",
        of_change="run.created_at < ?",
    ),
)


class Where(NamedTuple):
    """The runs that a query chooses: `from {source} where {clause}`, walked by the column *place*."""

    source: str = "run"
    place: str = "run.created_seq"
    clause: str = "true"
    args: tuple[Any, ...] = ()
    tally: str | None = None  # the same of `tally`, with the same *args*; None: it cannot tell
    counted: str | None = None  # in place of *source* where nothing but their number is asked for
    fingerprint: bytes = b""  # the same for the same filters in any order
    changed: str = "true"  # in place of *clause* for changes: what deleted runs fitted last, they fit still
    changed_args: tuple[Any, ...] = ()
    reach: int = _REACH


ALL = Where()


def one(id: str) -> Where:
    """The run with this *id*, which an index finds wherever its number is."""
    return Where(clause="run.id = ?", args=(id,), changed="run.id = ?", changed_args=(id,), reach=MOST)


def where(query: Iterable[tuple[str, str]], faults: list[Fault]) -> Where:
    """What the parameters in *query* choose; other parameters are passed over. Appends to *faults*."""
    sent: dict[str, list[str]] = {}
    for name, text in query:
        sent.setdefault(name, []).append(text)
    chosen = []
    for filter in FILTERS:
        texts, loc = sent.get(filter.name, []), ("query", filter.name)
        wrong = [fault for text in texts[:MOST_VALUES] for fault in _faults(text, filter.type, loc)]
        if len(texts) > MOST_VALUES:
            wrong.append(Fault(loc, f"Input should have at most {MOST_VALUES} values", "too_long"))
        faults += wrong
        if texts and not wrong:
            # Each value once: said twice it means the same.
            chosen.append((filter, list(dict.fromkeys(_arguments(text, filter) for text in texts))))
    return _where(chosen)


def integer(text: str, loc: Loc) -> int | Fault:
    """The number that *text* is, in ASCII digits; else the fault."""
    if re.fullmatch(r"[+-]?\d{1,1000}", text, re.ASCII):
        return int(text)
    return Fault(loc, "Input should be a valid integer, unable to parse string as an integer", "int_parsing")


def _faults(text: str, type: Any, loc: Loc) -> list[Fault]:
    if type is int:
        number = integer(text, loc)
        return [number] if isinstance(number, Fault) else []
    faults = text_faults(_unescaped(text) if type is Instant else text, type, loc)
    return [fault._replace(msg="Input should be key:value") for fault in faults] if type is TagPair else faults


def _arguments(text: str, filter: Filter) -> tuple[Any, ...]:
    """The values for the question marks of *filter*."""
    if filter.type is int:
        number = int(text)
        return (number if number in _INT64 else _INT64[0],)  # SQLite knows 64 bits; the least is nobody's id
    if filter.type is TagPair:
        return tuple(text.split(":", 1))
    if filter.type is Instant:
        return (instant(_unescaped(text)),) * 2
    return (text,)


def _of_change(filter: Filter, value: tuple[Any, ...]) -> tuple[Any, ...]:
    """What *value* is for the question mark of `of_change`."""
    if filter.type is TagPair:
        key, text = value
        return (encode(Tag(key=key, value=text)).decode(),)
    return value[:1]


def _unescaped(text: str) -> str:
    """*text* with the `+` of an offset that arrived as a space, since the client did not escape it."""
    return re.sub(r" (\d\d:\d\d)\Z", r"+\1", text)


def _where(chosen: list[tuple[Filter, list[tuple[Any, ...]]]]) -> Where:
    if not chosen:
        return ALL
    leader, values = chosen[0]
    where = Where(
        # "+" keeps SQLite from walking another index than the leader's.
        clause=" and ".join(_clause(one, values, "" if one is leader else "+") for one, values in chosen),
        args=tuple(arg for _, values in chosen for value in values for arg in value),
        tally=" and ".join(_clause(one, values).replace("run.", "tally.") for one, values in chosen)
        if all(one.tallied for one, _ in chosen)
        else None,
        fingerprint=repr([(one.name, sorted(values)) for one, values in chosen]).encode(),
        changed=" and ".join(_clause(one._replace(sql=one.of_change or one.sql), values) for one, values in chosen),
        changed_args=tuple(arg for one, values in chosen for value in values for arg in _of_change(one, value)),
    )
    if leader.type is TagPair:  # the first tag's index gives the order, the runs are looked up
        rest = [(leader, values[1:]), *chosen[1:]]
        return where._replace(
            source="tag as lead cross join run on run.created_seq = lead.created_seq",
            place="lead.created_seq",
            counted=None if any(values for _, values in rest) else "tag as lead",
            clause=" and ".join(
                ["lead.key = ? and lead.value = ?", *(_clause(one, values, "+") for one, values in rest if values)]
            ),
        )
    return where


def _clause(filter: Filter, values: list[tuple[Any, ...]], prefix: str = "") -> str:
    return f"({filter.several.join([prefix + filter.sql] * len(values))})"
