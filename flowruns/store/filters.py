"""The SQL of each filter, and the `from` and `where` of a query with filters."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from flowruns.errors import ErrorDetail, Invalid
from flowruns.model.cursors import MAX_POSITION
from flowruns.model.fields import ALL_FIELDS, Fields, parse_fields
from flowruns.model.filters import FilterValues, Value, parse_filters
from flowruns.model.runs import Tag, encode

_INT64 = range(-(2**63), 2**63)
_SCAN_LIMIT = 10_000  # numbers that one read of changes scans, so that it does not delay pages for long


class FilterSql(NamedTuple):
    """The condition of a filter for one value."""

    sql: str
    in_run_counts: bool = False  # `run_counts` has the column, so totals need not count runs
    strictest: Callable[[Iterable[Any]], Any] | None = None  # selects the one value that implies all others
    change_sql: str | None = None  # replaces *sql* for changes, which include deleted runs and scan no other index
    fixed: bool = False  # no PUT changes the column


# Times are only roughly in the order of numbers (a clock may go back), so their index just limits the scan's range.
SQL = {
    "flowId": FilterSql("run.flow_id = ?", in_run_counts=True),
    "createdBy": FilterSql("run.created_by = ?", fixed=True),
    "tag": FilterSql(
        "exists (select 1 from tag where tag.created_seq = run.created_seq and tag.key = ? and tag.value = ?)",
        # A deleted run has no rows in `tag`. The JSON of a tag cannot occur inside a string, where quotes are escaped.
        change_sql="instr(run.tags, ?)",
    ),
    "phase": FilterSql("run.phase = ?", in_run_counts=True),
    "flowType": FilterSql("run.flow_type = ?", in_run_counts=True),
    "createdAfter": FilterSql(
        "(+run.created_at > ? and run.created_seq >= (select min(created_seq) from run as timed indexed by run_by_time"
        " where created_seq > 0 and created_at > ?))",
        strictest=max,
        change_sql="run.created_at > ?",
        fixed=True,
    ),
    "createdBefore": FilterSql(
        "(+run.created_at < ? and run.created_seq <= (select max(created_seq) from run as timed indexed by run_by_time"
        " where created_seq > 0 and created_at < ?))",
        strictest=min,
        change_sql="run.created_at < ?",
        fixed=True,
    ),
}


class Where(NamedTuple):
    """The runs that a query selects: `from {source} where {clause}`, in the order of the column *position*; and the
    *fields* of their documents.
    """

    source: str = "run"
    position: str = "run.created_seq"
    clause: str = "true"
    args: tuple[Any, ...] = ()
    run_counts_clause: str | None = None  # the same condition on `run_counts`, with the same *args*; None: impossible
    count_source: str | None = None  # replaces *source* if only the number of runs is needed
    fingerprint: bytes = b""  # the same for the same filters in any order
    change_clause: str = "true"  # replaces *clause* for changes; a deleted run matches as it did before its deletion
    change_args: tuple[Any, ...] = ()
    fixed_clause: str = "true"  # the part of *change_clause* whose result no PUT changes
    fixed_args: tuple[Any, ...] = ()
    change_scope: str = "true"  # the rows to look at for changes; the others never match
    scope_args: tuple[Any, ...] = ()
    scan_limit: int = _SCAN_LIMIT
    departures: bool = False  # whether changes include runs that a client may hold, and that no longer match
    fields: Fields = ALL_FIELDS  # of their documents; the number and the order of runs do not depend on it

    @property
    def selects_all(self) -> bool:
        """Whether there is no filter."""
        return self.clause == ALL.clause

    @property
    def must_count(self) -> bool:
        """Whether a total counts rows, as neither `sequence` nor `run_counts` has it."""
        return not self.selects_all and self.run_counts_clause is None

    @property
    def can_be_left(self) -> bool:
        """Whether a run may match now, and no longer after its next change."""
        return self.change_clause != "true"


ALL = Where()


def by_id(id: str) -> Where:
    """The run with this *id*, found by an index, so without a scan limit."""
    clause, args = "run.id = ?", (id,)
    return Where(clause=clause, args=args, change_scope=clause, scope_args=args, scan_limit=MAX_POSITION)


def where(query: Iterable[tuple[str, str]], details: list[ErrorDetail]) -> Where:
    """The runs that the valid filters in *query* select; appends to *details* as `parse_filters` does."""
    return _where(parse_filters(query, details))


def where_of(query: Sequence[tuple[str, str]]) -> Where:
    """The runs and the fields that the parameters of a list in *query* select. Raises Invalid."""
    details: list[ErrorDetail] = []
    condition, fields = where(query, details), parse_fields(query, details)
    if details:
        raise Invalid(*details)
    return condition._replace(fields=fields)


class _Condition(NamedTuple):
    """A filter with the arguments of each of its distinct values."""

    name: str
    operator: str  # " or ", " and "
    sql: FilterSql
    sent: list[tuple[Any, ...]]
    args: list[tuple[Any, ...]]  # of *sent*, without those that others imply

    def clause(self, prefix: str = "", *, of_changes: bool = False) -> str:
        sql = (self.sql.change_sql if of_changes else None) or self.sql.sql
        return f"({self.operator.join([prefix + sql] * len(self.args))})"

    def change_args(self) -> Iterator[Any]:
        """The arguments of the clause of changes."""
        return (arg for args in self.args for arg in _change_args(self.name, args))


def _condition(filter_values: FilterValues) -> _Condition:
    filter, values = filter_values
    sql = SQL[filter.name]
    sent = list(dict.fromkeys(_args(value, sql.sql.count("?")) for value in values))
    args = [sql.strictest(sent)] if sql.strictest else sent  # each one costs an index scan
    return _Condition(filter.name, " or " if filter.several == "any" else " and ", sql, sent, args)


def _args(value: Value, count: int) -> tuple[Any, ...]:
    """The arguments for the *count* question marks of a condition."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, int):
        return (value if value in _INT64 else _INT64[0],)  # SQLite has 64 bits; no user has the lowest id
    return (value,) * count


def _change_args(name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The argument for the one question mark of `change_sql`."""
    if name == "tag":
        key, value = args
        return (encode(Tag(key=key, value=value)).decode(),)
    return args[:1]


def _where(selected: Sequence[FilterValues]) -> Where:
    if not selected:
        return ALL
    conditions = [_condition(filter_values) for filter_values in selected]
    leader = conditions[0]
    fixed = [condition for condition in conditions if condition.sql.fixed]
    where = Where(
        # "+" keeps SQLite from scanning another index than that of the leader.
        clause=" and ".join(condition.clause("" if condition is leader else "+") for condition in conditions),
        args=tuple(arg for condition in conditions for args in condition.args for arg in args),
        run_counts_clause=_run_counts_clause(conditions),
        fingerprint=repr([(condition.name, sorted(condition.sent)) for condition in conditions]).encode(),
        change_clause=" and ".join(condition.clause(of_changes=True) for condition in conditions),
        change_args=tuple(arg for condition in conditions for arg in condition.change_args()),
        fixed_clause=" and ".join(condition.clause(of_changes=True) for condition in fixed) or "true",
        fixed_args=tuple(arg for condition in fixed for arg in condition.change_args()),
    )
    return _led_by_tag(where, conditions) if leader.name == "tag" else where


def _run_counts_clause(conditions: Sequence[_Condition]) -> str | None:
    if not all(condition.sql.in_run_counts for condition in conditions):
        return None
    return " and ".join(condition.clause().replace("run.", "run_counts.") for condition in conditions)


def _led_by_tag(where: Where, conditions: Sequence[_Condition]) -> Where:
    """*where* as a scan of the index of the first tag, which looks up the runs."""
    leader = conditions[0]
    others = [leader._replace(args=leader.args[1:]), *conditions[1:]]
    clauses = [condition.clause("+") for condition in others if condition.args]
    return where._replace(
        source="tag as lead cross join run on run.created_seq = lead.created_seq",
        position="lead.created_seq",
        count_source=None if clauses else "tag as lead",
        clause=" and ".join(["lead.key = ? and lead.value = ?", *clauses]),
    )
