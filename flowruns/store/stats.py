"""The SQL of statistics: the number of runs with each phase, flow, type and tag.

The tables `run_counts` and `tag_counts` have these numbers for all runs, and `run_counts` has all but those of tags for
filters by flow, type and phase. Otherwise one scan counts runs, and equal rows are counted before anything else is done
with them.
"""

import sqlite3
from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

from msgspec.json import encode

from flowruns.model.fields import Fields
from flowruns.sqlite.result_codes import time_limit
from flowruns.store.filters import Where
from flowruns.store.pages import MAX_COUNT_SECONDS, from_where

STATS_FIELDS: Fields = ("total", "phase", "flowId", "flowType", "tag")

# These are sent only if they are named, as they are always counted.
COUNTED_FIELDS: Fields = ("hour", "day", "duration")

MAX_VALUES = 1000  # of each field: the most frequent ones; the latest hours and days

_MAX_SLOTS = 10 * MAX_VALUES  # pairs of an hour or a day and a phase

_TIME_LENGTHS = {"hour": len("2025-01-20T18"), "day": len("2025-01-20")}

# Percentiles by nearest rank: how many durations are below each.
_RANKS = {"median": "(count(*) - 1) / 2", "p95": "(count(*) * 95 + 99) / 100 - 1"}

_COLUMNS = {"phase": "phase", "flowId": "flow_id", "flowType": "flow_type"}  # of `kinds` below

_TOO_SLOW = f"The query takes over {MAX_COUNT_SECONDS:g} s; narrow it, for example with createdAfter"

_NOT_COUNTED = "fields=total,phase,flowId,flowType"  # if a table has the total


class Stats(NamedTuple):
    """Statistics, read in one snapshot. *doc* is their JSON, *seq* the number of the last write."""

    doc: bytes
    seq: int

    @property
    def etag(self) -> str:
        """The entity tag, without quotes: that of the pages of the same snapshot."""
        return str(self.seq)


def must_count(where: Where) -> bool:
    """Whether statistics of *where*, with the fields that it has of `STATS_FIELDS` and `COUNTED_FIELDS`, count runs."""
    fields = _fields(where)
    counts_tags = "tag" in fields and not where.selects_all
    return where.must_count or counts_tags or any(name in fields for name in COUNTED_FIELDS)


def stats(connection: sqlite3.Connection, where: Where) -> Stats:
    """The statistics of the runs of *where*, with its fields. Raises Unavailable if counting takes too long."""
    if not must_count(where):
        return _read(connection, where)
    message = _TOO_SLOW if where.must_count else f"{_TOO_SLOW}, or request only {_NOT_COUNTED}"
    with time_limit(connection, MAX_COUNT_SECONDS, message):
        return _read(connection, where)


def _read(connection: sqlite3.Connection, where: Where) -> Stats:
    counts: dict[str, dict[str, Any]] = {name: {} for name in ("seq", *_fields(where))}
    for field, value, runs in connection.execute(*stats_query(where)):
        counts[field][value] = runs
    seq = counts.pop("seq")[""]
    return Stats(encode({name: _SHAPES.get(name, dict)(numbers) for name, numbers in counts.items()}), seq)


def _by_time(numbers: dict[str, int]) -> dict[str, dict[str, Any]]:
    """The *numbers* of pairs of a time and a phase, the latest first, as the number and the phases of each time, the
    earliest first.
    """
    times: dict[str, dict[str, Any]] = {}
    for slot, runs in numbers.items():
        time, _, phase = slot.partition(" ")
        entry = times.setdefault(time, {"total": 0, "phase": {}})
        entry["total"] += runs
        if phase:
            entry["phase"][phase] = runs
    if len(numbers) == _MAX_SLOTS:
        times.popitem()  # some phases of the earliest one may be missing
    return dict(reversed(list(times.items())[:MAX_VALUES]))


def _in_seconds(numbers: dict[str, int | None]) -> dict[str, float | None]:
    seconds = {name: None if (ms := numbers[name]) is None else ms / 1000 for name in _RANKS}
    return {"total": numbers["total"], **seconds}


# What makes the value of a field of its numbers.
_SHAPES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "total": itemgetter(""),
    "hour": _by_time,
    "day": _by_time,
    "duration": _in_seconds,
}


def stats_query(where: Where) -> tuple[str, tuple[object, ...]]:
    """The statement that reads statistics, and its arguments. Its rows are a field, a value, and a number of runs."""
    fields, args = _fields(where), where.args
    counts_tags = "tag" in fields and not where.selects_all
    tables = [_kinds(where, "run.tags" if counts_tags else "null")]
    if counts_tags:
        tables.append(_tag_sets(where))
        args += () if where.must_count else where.args
    if "duration" in fields:
        tables.append(_durations(where))
        args += where.args
    args += sum((where.args for name in fields if name in _TIME_LENGTHS), ())
    selects = ["select 'seq', '', seq from sequence", *(_select(name, where) for name in fields)]
    return f"with {', '.join(tables)} {' union all '.join(selects)}", args


def _kinds(where: Where, tags: str) -> str:
    """The table `kinds`: the number of runs of each flow, type, phase and, if they must be counted, *tags*."""
    if not where.must_count:
        return f"kinds as materialized (select * from run_counts where {where.run_counts_clause or 'true'})"
    return (
        "kinds(flow_id, flow_type, phase, tags, runs) as materialized (select run.flow_id, run.flow_type,"
        f" ifnull(run.phase, ''), {tags}, count(*) {from_where(where, '> 0')} group by 1, 2, 3, 4)"
    )


def _tag_sets(where: Where) -> str:
    """The table `tag_sets`: the number of runs with each JSON list of tags."""
    runs, source = ("sum(runs)", "from kinds where") if where.must_count else (
        "count(*)", f"{from_where(where, '> 0')} and"
    )  # fmt: skip
    sets = f"select tags, {runs} as runs {source} tags is not null group by tags"
    return f"tag_sets as materialized (select row_number() over () as id, tags, runs from ({sets}))"


def _durations(where: Where) -> str:
    """The table `durations`: the milliseconds of each run that has ended, unless it ended before it started."""
    times = "json_extract(doc, '$.startTime') as start, json_extract(doc, '$.endTime') as finish"
    ms = "cast(round((julianday(finish) - julianday(start)) * 86400000) as integer)"
    runs = f"select {times} {from_where(where, '> 0')}"
    return f"durations as materialized (select {ms} as ms from ({runs}) where start <= finish)"


def _select(field: str, where: Where) -> str:
    if field == "total":
        return "select 'total', '', ifnull(sum(runs), 0) from kinds"
    if field in _TIME_LENGTHS:
        slot = f"substr(run.created_at, 1, {_TIME_LENGTHS[field]}) || ' ' || ifnull(run.phase, '')"
        numbers = f"select '{field}', {slot}, count(*) {from_where(where, '> 0')} group by 2 order by 2 desc"
        return f"select * from ({numbers} limit {_MAX_SLOTS})"
    if field == "duration":
        rows = ["select 'duration', 'total', count(*) from durations"]
        for name, rank in _RANKS.items():
            at_rank = f"select ms from durations order by ms limit 1 offset (select {rank} from durations)"
            rows.append(f"select 'duration', '{name}', ({at_rank})")
        return " union all ".join(rows)
    if field != "tag":
        column = _COLUMNS[field]
        return _most_frequent(field, column, f"from kinds where {column} <> '' group by 1, 2")
    # A filter cannot select a tag whose key has a colon, and SQLite's json_extract ends a text at a NUL.
    if where.selects_all:
        plain = "instr(key, ':') = 0 and instr(key || value, char(0)) = 0"
        return _most_frequent(field, "key || ':' || value", f"from tag_counts where {plain} group by 1, 2")
    tags = (  # each tag of a list once
        "select max(runs) as runs, json_extract(one.value, '$.key') as k, json_extract(one.value, '$.value') as v"
        r" from tag_sets, json_each(tag_sets.tags) as one"
        r" where instr(one.value, '\u0000') = 0 group by tag_sets.id, 2, 3"
    )
    return _most_frequent(field, "k || ':' || v", f"from ({tags}) where instr(k, ':') = 0 group by 1, 2")


def _most_frequent(field: str, value: str, source: str) -> str:
    rows = f"select '{field}', {value}, sum(runs) {source} order by 3 desc, 2 limit {MAX_VALUES}"
    return f"select * from ({rows})"


def _fields(where: Where) -> Fields:
    return where.fields or STATS_FIELDS
