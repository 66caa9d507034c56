"""The SQL of pages: their runs, their total, and whether runs exist before and after them."""

import sqlite3
from typing import NamedTuple

from flowruns.model.cursors import PageRequest
from flowruns.model.fields import select_fields
from flowruns.sqlite.result_codes import time_limit
from flowruns.sqlite.transactions import snapshot
from flowruns.store.filters import ALL, Where
from flowruns.store.rows import length_limit, read_doc

# Of a page: a larger one ends early, and its cursors lead to the rest.
MAX_PAGE_BYTES = 16 * 1024 * 1024

# Of what is read between others: a larger run or page is read on a connection of its own.
MAX_QUICK_BYTES = 1024 * 1024

MAX_COUNT_SECONDS = 10.0  # for a page whose total counts rows: 0.6 s with two filters and 1,000,000 runs


class PageRows(NamedTuple):
    """A page, read in one snapshot. *docs* are joined by commas, in the order of the page."""

    docs: bytes
    total: int
    seq: int  # number of the last write; as long as it is the same, every page is
    lowest: int | None
    highest: int | None
    older: bool
    newer: bool


def page(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> PageRows:
    """The page of the runs of *where* that *page_request* describes. Raises Unavailable if counting takes too long."""
    if where.must_count:
        message = f"The query takes over {MAX_COUNT_SECONDS:g} s; narrow it, for example with flowId or createdAfter"
        with time_limit(connection, MAX_COUNT_SECONDS, message):
            rows = _page(connection, where, page_request)
    else:
        rows = _page(connection, where, page_request)
    return _selected(rows, where)


def quick_page(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> PageRows:
    """As `page`, for totals that need no counting. Raises sqlite3.DataError if the page has over `MAX_QUICK_BYTES`."""
    with length_limit(connection, MAX_QUICK_BYTES):
        rows = PageRows(*connection.execute(*page_query(where, page_request)).fetchone())
    return _selected(rows, where)


def _selected(rows: PageRows, where: Where) -> PageRows:
    return rows._replace(docs=select_fields(rows.docs, where.fields)) if where.fields else rows


def _page(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> PageRows:
    """The page with whole documents, whose size bounds it: a page ends at the same run, whatever its fields are."""
    try:
        with length_limit(connection, MAX_PAGE_BYTES):
            return PageRows(*connection.execute(*page_query(where, page_request)).fetchone())
    except sqlite3.DataError:  # string or blob too big
        return _oversized_page(connection, where, page_request)


def page_query(where: Where, page_request: PageRequest) -> tuple[str, tuple[object, ...]]:
    """The statement that reads a page, and its arguments."""
    position, toward_newer = page_request.start
    total, total_args = _total(where)
    # With a total of 0 nothing is scanned: a filter could pass over many runs without a match.
    items = scan_query(where, toward_newer, "doc", "iif((select total from counted), ?, 0)")
    if toward_newer != page_request.ascending:
        items = f"select * from ({items}) order by position {'asc' if page_request.ascending else 'desc'} limit -1"
    # A single row, as each row takes the interpreter's lock again. `page` stands alone in its `from`: in a join, SQLite
    # would copy its documents to a temporary table.
    counted = "(select total from counted)"
    sql = f"""
        with counted(total) as materialized (select {total}),
        page as not materialized (
            select cast(ifnull(group_concat(doc, ','), '') as blob) as docs,
                min(position) as lowest, max(position) as highest
            from ({items})
        )
        select docs, {counted}, (select seq from sequence), lowest, highest,
            iif({counted}, exists (select 1 {from_where(where, "< ifnull(lowest, ?)")}), 0),
            iif({counted}, exists (select 1 {from_where(where, ">= ifnull(highest + 1, ?)")}), 0)
        from page
    """
    args = where.args
    return sql, (*total_args, position, *args, page_request.size, position, *args, position, *args)


def scan_query(where: Where, toward_newer: bool, column: str, limit: str) -> str:
    """The statement that reads *column* of the runs of *where*, starting at a position, which is its first argument."""
    bound, order = (">= ?", "asc") if toward_newer else ("< ?", "desc")
    return (
        f"select {where.position} as position, {column} {from_where(where, bound)}"
        f" order by {where.position} {order} limit {limit}"
    )


def from_where(where: Where, bound: str) -> str:
    """The `from` and `where` of the runs of *where* within *bound*, without deleted ones.

    *bound* comes first, as SQLite starts an index scan at the first of two bounds. "> 0" makes partial indexes usable.
    """
    return f"from {where.source} where {where.position} {bound} and {where.clause} and {where.position} > 0"


def _total(where: Where) -> tuple[str, tuple[object, ...]]:
    """The expression for the number of runs of *where*, which counts rows only if no table has the number."""
    if where.selects_all:
        return "runs from sequence", ()
    if where.run_counts_clause is not None:
        return f"ifnull(sum(runs), 0) from run_counts where {where.run_counts_clause}", where.args
    counted = where._replace(source=where.count_source or where.source)
    return f"count(*) {from_where(counted, '> 0')}", where.args


def _oversized_page(connection: sqlite3.Connection, where: Where, page_request: PageRequest) -> PageRows:
    """The page read row by row up to `MAX_PAGE_BYTES`, with at least one run."""
    position, toward_newer = page_request.start
    total, total_args = _total(where)
    with snapshot(connection):
        docs: dict[int, bytes] = {}
        size = 0
        sql = scan_query(where, toward_newer, "null", "?")
        for number, _ in connection.execute(sql, (position, *where.args, page_request.size)).fetchall():
            doc = read_doc(connection, number)
            size += len(doc)
            if docs and size > MAX_PAGE_BYTES:
                break
            docs[number] = doc
        numbers = sorted(docs, reverse=not page_request.ascending)
        lowest, highest = min(numbers), max(numbers)
        count, seq, older, newer = connection.execute(
            f"select (select {total}), seq, exists (select 1 {from_where(where, '< ?')}),"
            f" exists (select 1 {from_where(where, '> ?')}) from sequence",
            (*total_args, lowest, *where.args, highest, *where.args),
        ).fetchone()
    return PageRows(b",".join(map(docs.__getitem__, numbers)), count, seq, lowest, highest, older, newer)


def count(connection: sqlite3.Connection, where: Where = ALL) -> int:
    """The number of runs of *where*."""
    sql, args = _total(where)
    total: int = connection.execute(f"select (select {sql})", args).fetchone()[0]
    return total
