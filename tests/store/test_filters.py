"""Query parameters to SQL: errors, arguments and fingerprints. `tests/http/test_page_walks.py` runs the SQL."""

import itertools

import pytest

from flowruns.errors import ErrorDetail
from flowruns.model.filters import FILTERS, MAX_VALUES
from flowruns.store.filters import ALL, SQL, Where, where

TIME = "2025-01-20T18:53:03.558Z"
VALUES = {
    "flowId": ("a.b-c_1", "b"),
    "createdBy": ("5", "-7"),
    "tag": ("k:v", "k:"),
    "phase": ("running", "p-1"),
    "flowType": ("automation", "selfServiceAction"),
    "createdAfter": (TIME, "2020-01-01T00:00:00Z"),
    "createdBefore": (TIME, "2020-01-01T00:00:00Z"),
}


def chosen(*query: tuple[str, str]) -> Where:
    details: list[ErrorDetail] = []
    found = where(query, details)
    assert details == []
    return found


def kinds(*query: tuple[str, str]) -> list[tuple[tuple[str | int, ...], str]]:
    details: list[ErrorDetail] = []
    where(query, details)
    return [(detail.loc, detail.type) for detail in details]


def test_every_filter_has_sql_and_rows_here() -> None:
    assert VALUES.keys() == SQL.keys() == {filter.name for filter in FILTERS}


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("flowId", "", "string_pattern_mismatch"),
        ("flowId", "A", "string_pattern_mismatch"),
        ("flowId", "a\n", "string_pattern_mismatch"),
        ("flowId", "a\x00", "string_pattern_mismatch"),
        ("phase", "", "string_pattern_mismatch"),
        ("phase", "1", "string_pattern_mismatch"),
        ("phase", "a\n", "string_pattern_mismatch"),
        ("phase", "a" * 65, "string_pattern_mismatch"),
        ("flowType", "", "enum"),
        ("flowType", "Automation", "enum"),
        ("flowType", "automation\n", "enum"),
        ("createdBy", "", "int_parsing"),
        ("createdBy", "x", "int_parsing"),
        ("createdBy", "1.0", "int_parsing"),
        ("createdBy", "1_000", "int_parsing"),
        ("createdBy", "5\n", "int_parsing"),
        ("createdBy", "٣", "int_parsing"),
        ("createdBy", "9" * 10_000, "int_parsing"),
        ("tag", "", "string_pattern_mismatch"),
        ("tag", "key", "string_pattern_mismatch"),
        ("createdAfter", "", "datetime_parsing"),
        ("createdAfter", "1737399183", "datetime_parsing"),
        ("createdAfter", "2025-02-30T00:00:00Z", "datetime_parsing"),
        ("createdAfter", "2025-01-20T18:53:03Z\n", "datetime_parsing"),
        ("createdAfter", "2025-01-20 18:53", "datetime_parsing"),
        ("createdBefore", "0001-01-01T00:00:00+14:00", "datetime_parsing"),
        ("createdBefore", "2025-01-20T18:53:03", "timezone_aware"),
    ],
)
def test_value_that_breaks_its_type_is_an_error(name: str, text: str, kind: str) -> None:
    assert kinds((name, text)) == [(("query", name), kind)]


def test_every_broken_value_is_named() -> None:
    query = [("phase", "1"), ("phase", "ok"), ("phase", ""), ("createdBy", "x"), ("tag", "x"), ("tag", "a:b")]
    assert sorted(loc for loc, _ in kinds(*query)) == [
        ("query", name) for name in ("createdBy", "phase", "phase", "tag")
    ]


def test_other_parameters_are_ignored() -> None:
    query = [("cursor", "x"), ("size", "x"), ("", ""), ("Phase", "1"), ("phase[]", "1"), ("flowid", "A")]
    assert chosen(*query) is ALL
    assert chosen() is ALL


@pytest.mark.parametrize(
    ("name", "text", "args"),
    [
        ("flowId", "a.b-c_1", ("a.b-c_1",)),
        ("phase", "a" * 64, ("a" * 64,)),
        ("createdBy", "+5", (5,)),
        ("createdBy", "-0", (0,)),
        ("createdBy", "007", (7,)),
        ("createdBy", str(2**63 - 1), (2**63 - 1,)),
        ("createdBy", str(2**63), (-(2**63),)),  # beyond SQLite's integers: no user
        ("createdBy", "9" * 400, (-(2**63),)),
        ("tag", "a:b", ("a", "b")),
        ("tag", "a:b:c", ("a", "b:c")),
        ("tag", ":", ("", "")),
        ("tag", "a:b\nc", ("a", "b\nc")),
        ("tag", "a\nb:c", ("a\nb", "c")),
        ("createdAfter", "2025-01-20T20:53:03.5589+02:00", (TIME, TIME)),
        ("createdAfter", "2025-01-20T20:53:03.558 02:00", (TIME, TIME)),  # a `+` that was not escaped
        ("createdBefore", "2025-01-20t18:53:03.558z", (TIME, TIME)),
    ],
)
def test_values_become_arguments_never_sql(name: str, text: str, args: tuple[object, ...]) -> None:
    found = chosen((name, text))
    assert found.args == args
    assert found.clause.count("?") == len(args)


@pytest.mark.parametrize("count", range(1, len(FILTERS) + 1))
def test_fingerprint_is_the_same_in_any_order(count: int) -> None:
    for names in itertools.combinations(VALUES, count):
        query = [(name, text) for name in names for text in VALUES[name]]
        prints = {chosen(*order).fingerprint for order in (query, query[::-1], sorted(query), query + query)}
        assert len(prints) == 1, query


def test_fingerprints_of_different_filters_differ() -> None:
    queries: list[tuple[tuple[str, str], ...]] = [()]
    for name, (one, other) in VALUES.items():
        queries += [((name, one),), ((name, other),), ((name, one), (name, other))]
    queries += [
        (("phase", "a"), ("flowId", "b")),
        (("phase", "b"), ("flowId", "a")),
        (("tag", "a:b:c"),),
        (("tag", "a:b"), ("tag", "b:c")),
        (("tag", "a','b:"),),
        (("createdAfter", TIME), ("createdBefore", TIME)),
    ]
    prints = {chosen(*query).fingerprint for query in queries}
    assert len(prints) == len(queries)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("createdBy", "5"), ("createdBy", "+05")),
        (("createdAfter", "2025-01-20T20:53:03+02:00"), ("createdAfter", "2025-01-20T18:53:03.000Z")),
    ],
)
def test_two_spellings_of_one_value_are_one_filter(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert chosen(one) == chosen(other) == chosen(one, other)


def test_filter_takes_a_hundred_values() -> None:
    query = [("createdBy", str(number)) for number in range(MAX_VALUES)]
    assert len(chosen(*query).args) == MAX_VALUES


def test_too_many_values_are_one_error() -> None:
    query = [("createdBy", str(number)) for number in range(MAX_VALUES + 1)]
    assert kinds(*query) == [(("query", "createdBy"), "too_long")]
    assert kinds(*query, ("createdBy", "999"), ("createdBy", "1")) == [(("query", "createdBy"), "too_long")]
    assert kinds(*query, query[0], query[0]) == [(("query", "createdBy"), "too_long")]


@pytest.mark.parametrize(
    ("names", "in_run_counts"),
    [
        (("flowId",), True),
        (("phase", "flowType"), True),
        (("phase", "createdBy"), False),
        (("tag",), False),
        (("createdAfter",), False),
    ],
)
def test_total_is_in_run_counts_if_every_filter_is(names: tuple[str, ...], in_run_counts: bool) -> None:
    found = chosen(*((name, VALUES[name][0]) for name in names))
    assert (found.run_counts_clause is not None) is in_run_counts
    assert found.must_count is not in_run_counts
    if found.run_counts_clause is not None:
        assert found.run_counts_clause.count("?") == len(found.args)


def test_of_several_times_only_the_strictest_is_queried() -> None:
    later = "2026-01-20T18:53:03.558Z"
    assert chosen(*[("createdAfter", time) for time in (TIME, later, TIME)]).args == (later, later)
    assert chosen(*[("createdBefore", time) for time in (later, TIME, later)]).args == (TIME, TIME)
