"""The SQL of each filter, and the `where` of a query."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flowruns.errors import ErrorDetail
from flowruns.model.cursors import MAX_POSITION
from flowruns.model.filters import FilterValues, Value, parse_filters
from flowruns.model.runs import Tag, encode

_INT64 = range(-(2**63), 2**63)
_REACH = 10_000  # numbers that one read of changes looks at: a long way back holds up no page for long


class FilterSql(NamedTuple):
    """The condition that holds for a run with one value of a filter."""

    sql: str
    tallied: bool = False  # `tally` has the column, so that totals need no count
    of_change: str | None = None  # in place of *sql* where a deleted run may fit too, and no index is walked


# Times follow the walk's own order but roughly (a clock may go back), so their index only bounds the walk.
SQL = {
    "flowId": FilterSql("run.flow_id = ?", tallied=True),
    "createdBy": FilterSql("run.created_by = ?"),
    "tag": FilterSql(
        "exists (select 1 from tag where tag.created_seq = run.created_seq and tag.key = ? and tag.value = ?)",
        # A deleted run has no rows in `tag`. The JSON of a tag occurs in no JSON string, where its quotes are escaped.
        of_change="instr(run.tags, ?)",
    ),
    "phase": FilterSql("run.phase = ?", tallied=True),
    "flowType": FilterSql("run.flow_type = ?", tallied=True),
    "createdAfter": FilterSql(
        "(+run.created_at > ? and run.created_seq >= (select min(created_seq) from run as timed indexed by run_by_time"
        " where created_seq > 0 and created_at > ?))",
        of_change="run.created_at > ?",
    ),
    "createdBefore": FilterSql(
        "(+run.created_at < ? and run.created_seq <= (select max(created_seq) from run as timed indexed by run_by_time"
        " where created_seq > 0 and created_at < ?))",
        of_change="run.created_at < ?",
    ),
}


class Where(NamedTuple):
    """The runs that a query selects: `from {source} where {clause}`, walked by the column *place*."""

    source: str = "run"
    place: str = "run.created_seq"
    clause: str = "true"
    args: tuple[Any, ...] = ()
    tally: str | None = None  # the same condition on `tally`, with the same *args*; None: it cannot count these
    counted: str | None = None  # in place of *source* where only the number of runs is wanted
    fingerprint: bytes = b""  # the same for the same filters in any order
    changed: str = "true"  # in place of *clause* for changes: a deleted run fits what it fitted last
    changed_args: tuple[Any, ...] = ()
    scan_limit: int = _REACH


ALL = Where()


def by_id(id: str) -> Where:
    """The run with this *id*, which an index finds wherever its number is."""
    return Where(clause="run.id = ?", args=(id,), changed="run.id = ?", changed_args=(id,), scan_limit=MAX_POSITION)


def where(query: Iterable[tuple[str, str]], details: list[ErrorDetail]) -> Where:
    """The runs that the filters in *query* select; other parameters are ignored. Appends to *details*."""
    return _where(parse_filters(query, details))


class _Condition(NamedTuple):
    """One filter with the arguments of each of its values, each value once."""

    name: str
    joined: str  # " or ", " and "
    sql: FilterSql
    args: list[tuple[Any, ...]]

    def clause(self, prefix: str = "", *, changed: bool = False) -> str:
        sql = (self.sql.of_change if changed else None) or self.sql.sql
        return f"({self.joined.join([prefix + sql] * len(self.args))})"


def _condition(filter_values: FilterValues) -> _Condition:
    filter, values = filter_values
    sql = SQL[filter.name]
    args = list(dict.fromkeys(_args(value, sql.sql.count("?")) for value in values))
    return _Condition(filter.name, " or " if filter.several == "any" else " and ", sql, args)


def _args(value: Value, count: int) -> tuple[Any, ...]:
    """The arguments for the *count* question marks of a condition."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, int):
        return (value if value in _INT64 else _INT64[0],)  # SQLite has 64 bits; the lowest is nobody's id
    return (value,) * count


def _changed_args(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The argument for the one question mark of `of_change`."""
    if name == "tag":
        key, value = args
        return (encode(Tag(key=key, value=value)).decode(),)
    return args[:1]


def _where(selected: Sequence[FilterValues]) -> Where:
    if not selected:
        return ALL
    conditions = [_condition(one) for one in selected]
    leader = conditions[0]
    where = Where(
        # "+" keeps SQLite from walking another index than the leader's.
        clause=" and ".join(one.clause("" if one is leader else "+") for one in conditions),
        args=tuple(arg for one in conditions for args in one.args for arg in args),
        tally=" and ".join(one.clause().replace("run.", "tally.") for one in conditions)
        if all(one.sql.tallied for one in conditions)
        else None,
        fingerprint=repr([(one.name, sorted(one.args)) for one in conditions]).encode(),
        changed=" and ".join(one.clause(changed=True) for one in conditions),
        changed_args=tuple(arg for one in conditions for args in one.args for arg in _changed_args(one.name, args)),
    )
    if leader.name == "tag":  # the first tag's index gives the order, the runs are looked up
        rest = [leader._replace(args=leader.args[1:]), *conditions[1:]]
        return where._replace(
            source="tag as lead cross join run on run.created_seq = lead.created_seq",
            place="lead.created_seq",
            counted=None if any(one.args for one in rest) else "tag as lead",
            clause=" and ".join(["lead.key = ? and lead.value = ?", *(one.clause("+") for one in rest if one.args)]),
        )
    return where
