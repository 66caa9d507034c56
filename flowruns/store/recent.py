"""What was read lately, for reads that come again before a write changes it: they need no round trip to a thread."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from threading import Lock
from typing import Any, Generic, TypeVar

from flowruns.store.filters import Where
from flowruns.store.newest import Newest
from flowruns.store.pages import PageRows
from flowruns.store.reads import StoredRun
from flowruns.store.rows import Row
from flowruns.store.stats import Stats

K = TypeVar("K", bound=Hashable)

V = TypeVar("V")

Query = tuple[Where, *tuple[Hashable, ...]]

# Of what is kept. It takes a fraction of what the caches of the connections may take.
_RUNS_BYTES, _RESULTS_BYTES = 16 * 1024 * 1024, 4 * 1024 * 1024

_MAX_ENTRIES, _MAX_ENTRY_BYTES = 16 * 1024, 64 * 1024

_QUERY_BYTES = 4 * 1024  # that a query counts for, with the texts of its filters, their SQL and the objects

_MAX_FILTERS = 512  # bytes of the filters of a query whose result is kept

_MAX_ID = 256  # characters of the id of a run that is remembered as changed


class _Kept(Generic[K, V]):
    """Values by key, up to *max_bytes* of *size*. When full, it drops all: what is asked for often is soon back."""

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        self.values: dict[K, V] = {}
        self._max_bytes, self._size = max_bytes, size
        self._bytes = 0

    def keep(self, key: K, value: V) -> None:
        """Keeps *value*, unless it is large."""
        size = self._size(value)
        if size > _MAX_ENTRY_BYTES:
            return
        self.pop(key)
        if self._bytes + size > self._max_bytes or len(self.values) >= _MAX_ENTRIES:
            self.drop()
        self._bytes += size
        self.values[key] = value

    def pop(self, key: K) -> V | None:
        """Drops the value of *key*, and returns it; None if there is none."""
        value = self.values.pop(key, None)
        if value is not None:
            self._bytes -= self._size(value)
        return value

    def drop(self) -> None:
        """Drops everything."""
        self.values.clear()
        self._bytes = 0


class RecentReads:
    """Runs by id, the newest runs, and results by their query, as of the last commit.

    They stay right, as this store alone writes to its file: before its commit, a transaction drops what it changes, and
    what was being read then is not kept. From any thread.
    """

    def __init__(self) -> None:
        self._mutex = Lock()
        self._state = 0  # grows as a transaction begins and as it ends; odd in between
        self._changed: dict[str, int] = {}  # for runs that were written lately, the state since which they are the same
        self._unchanged_since = 0  # for all others
        self._runs: _Kept[str, StoredRun] = _Kept(_RUNS_BYTES, lambda run: len(run.doc))
        self._results: _Kept[Query, PageRows | Stats] = _Kept(
            _RESULTS_BYTES, lambda result: _QUERY_BYTES + len(result[0])
        )
        self._newest: Newest | None = None
        self._written: dict[str, StoredRun] = {}  # by the open transaction, of runs that were kept
        self._newest_written: Newest | None = None  # after the open transaction
        self._process: int | None = os.getpid()

    def run(self, id: str) -> StoredRun | None:
        """The run, if it is kept. A process that was forked since has nothing kept: it learns of no writes."""
        return self._runs.values.get(id) if self._process == os.getpid() else None

    def result(self, query: Query) -> Any | None:
        """The result of *query*, if it is kept; as above after a fork."""
        return self._results.values.get(query) if self._process == os.getpid() else None

    def newest(self) -> Newest | None:
        """The newest runs, if they are kept; as above after a fork."""
        return self._newest if self._process == os.getpid() else None

    @property
    def state(self) -> int:
        """The state of the file, which a read asks for before it begins."""
        return self._state

    def keep_run(self, state: int, id: str, run: StoredRun) -> None:
        """Keeps *run*, if it is still as it was read since *state*."""
        with self._mutex:
            if state >= self._changed.get(id, self._unchanged_since):
                self._runs.keep(id, run)

    def keep_result(self, state: int, query: Query, result: PageRows | Stats) -> None:
        """Keeps the *result* of *query*, unless that is long, until a write, if there was none since *state*."""
        with self._mutex:
            if state == self._state and state % 2 == 0 and len(query[0].fingerprint) <= _MAX_FILTERS:
                self._results.keep(query, result)

    def keep_newest(self, state: int, newest: Newest) -> None:
        """Keeps the *newest* runs, if nothing was written since *state*."""
        with self._mutex:
            if state == self._state and state % 2 == 0:
                self._newest = newest

    def begin(self, rows: Sequence[Row], old_rows: Mapping[str, Row]) -> None:
        """Drops what a transaction changes, before its commit: it writes *rows* in place of *old_rows*, by id."""
        with self._mutex:
            newest = self._newest
            self._begin()
            self._newest_written = newest and newest.after(rows, old_rows)
            if len(self._changed) > _MAX_ENTRIES:
                self._changed.clear()
                self._unchanged_since = self._state + 1
            for row in rows:
                if len(row.id) <= _MAX_ID:
                    self._changed[row.id] = self._state + 1
                else:  # no other run that is being read is kept either
                    self._unchanged_since = self._state + 1
                if self._runs.pop(row.id) and row.doc is not None:
                    self._written[row.id] = StoredRun(row.seq, row.doc)

    def begin_all(self) -> None:
        """Drops everything, before a transaction that may change all of it."""
        with self._mutex:
            self._begin()
            self._runs.drop()
            self._changed.clear()
            self._unchanged_since = self._state + 1

    def end(self, *, committed: bool) -> None:
        """After a transaction, if one has begun. Keeps its runs in place of those that they replace."""
        with self._mutex:
            if committed:
                for id, run in self._written.items():
                    self._runs.keep(id, run)
                self._newest = self._newest_written or self._newest
            self._written.clear()
            self._newest_written = None
            self._state += self._state % 2

    def close(self) -> None:
        """Has nothing kept from now on."""
        self._process = None

    def _begin(self) -> None:
        self._state += 1
        self._newest = None
        self._results.drop()
