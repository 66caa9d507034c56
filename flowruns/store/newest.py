"""The newest runs in memory, for the first page: clients ask for it most, and nearly every write changes it."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from flowruns.model.cursors import MAX_PAGE_SIZE, PageRequest
from flowruns.sqlite.numbers import last_number
from flowruns.sqlite.transactions import snapshot
from flowruns.store import pages
from flowruns.store.filters import Where
from flowruns.store.pages import PageRows
from flowruns.store.rows import Row, length_limit


class Newest(NamedTuple):
    """The numbers and documents of the newest runs by id, oldest first, of *total* runs as of the write *seq*."""

    runs: dict[str, tuple[int, bytes]]
    total: int
    seq: int

    def page(self, size: int) -> PageRows | None:
        """The first page of *size* runs, as from `pages.page`; None if not all of them are here."""
        if len(self.runs) < min(size, self.total):
            return None
        runs = list(islice(reversed(self.runs.values()), size))
        lowest, highest = (runs[-1][0], runs[0][0]) if runs else (None, None)
        docs = b",".join(doc for _, doc in runs)
        return PageRows(docs, self.total, self.seq, lowest, highest, older=self.total > size, newer=False)

    def after(self, rows: Iterable[Row], old_rows: Mapping[str, Row]) -> "Newest | None":
        """The newest runs after a batch that writes *rows* in place of *old_rows*, by id. None if it has deleted one of
        them, as another one takes its place.
        """
        runs, total, last = dict(self.runs), self.total, self.seq
        for row in sorted(rows, key=attrgetter("created_seq")):
            held, old = runs.get(row.id), old_rows.get(row.id)
            if held is not None and held[0] != row.created_seq:
                return None
            if row.doc is not None and (held is not None or row.created_seq > self.seq):
                runs[row.id] = row.created_seq, row.doc
            total += (row.created_seq > 0) - (old is not None and old.created_seq > 0)
            last = max(last, row.seq)
        size = sum(len(doc) for _, doc in runs.values())
        while len(runs) > MAX_PAGE_SIZE or size > pages.MAX_QUICK_BYTES:
            size -= len(runs.pop(next(iter(runs)))[1])
        return Newest(runs, total, last)


def is_first_page(where: Where, page_request: PageRequest) -> bool:
    """Whether the newest runs are the page."""
    return page_request.cursor is None and not page_request.ascending and where.selects_all and not where.fields


def newest(connection: sqlite3.Connection) -> Newest:
    """The newest runs, up to `pages.MAX_QUICK_BYTES` of them."""
    found: list[tuple[str, tuple[int, bytes]]] = []
    size = 0
    sql = f"""
        select id, created_seq, cast(doc as blob) from run where created_seq > 0
        order by created_seq desc limit {MAX_PAGE_SIZE}
    """
    with snapshot(connection), length_limit(connection, pages.MAX_QUICK_BYTES):
        with suppress(sqlite3.DataError), closing(connection.execute(sql)) as rows:  # string or blob too big
            for id, number, doc in rows:
                size += len(doc)
                if size > pages.MAX_QUICK_BYTES:
                    break
                found.append((id, (number, doc)))
        return Newest(dict(reversed(found)), pages.count(connection), last_number(connection))
