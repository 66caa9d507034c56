"""Runs as lines of JSON, in and out of a database: what `export` writes, `load` reads back to the same bytes."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from flowruns.errors import AlreadyExists, ErrorDetail, InputRefused, Invalid, one_line
from flowruns.model.ids import Uuid7
from flowruns.model.lines import RunLine, line_of
from flowruns.model.validation import decode
from flowruns.sqlite.connection import Failed
from flowruns.store import reads
from flowruns.store.filters import ALL, Where
from flowruns.store.writes import OnConflict, Restore, apply_writes

MAX_REPORTED = 100  # faults: whoever reads them sees by then what is wrong

_MOST_LINE = 1_000_000_000  # bytes: SQLite keeps no longer document, so no export has a longer line

_BATCH, _BATCH_BYTES = 256, 4 * 1024 * 1024  # that are written at once: a statement for more rows is no faster

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line that says a run: number *number* of the input *name*."""

    name: str
    number: int
    text: bytes

    def tells(self, fault: ErrorDetail) -> str:
        """*fault* by its place in the input, in one line."""
        place = f"byte {fault.loc[-1]}" if fault.type == "json_invalid" else ".".join(map(str, fault.loc))
        return one_line(f"{self.name}:{self.number}: {place}: {fault.msg}")


class ImportResult(NamedTuple):
    """What came of an import."""

    created: int = 0
    replaced: int = 0
    left: int = 0  # as they were
    invalid: int = 0  # lines

    def __str__(self) -> str:
        told = [f"{self.created} created", f"{self.replaced} replaced"]
        told += [f"{self.left} left as they were"] * (self.left > 0)
        told += [f"{self.invalid} invalid lines skipped"] * (self.invalid > 0)
        return ", ".join(told)


class ImportRules(NamedTuple):
    """How an import goes: what becomes of runs that there are already, and whether invalid read_lines stop it."""

    on_conflict: OnConflict = "replace"
    skip_invalid: bool = False


class ImportObserver(NamedTuple):
    """Who watches an import: run_each is called now and then, and may raise, which undoes it."""

    fault: Callable[[str], None] = lambda line: None  # one fault of a line
    at: Callable[[int, int], None] = lambda runs, size: None  # so many runs, of so many bytes
    commits: Callable[[], None] = lambda: None  # from here on it is done


DEFAULT_RULES, NO_OBSERVER = ImportRules(), ImportObserver()


class ImportStopped(Exception):
    """It was asked to stop, and has changed nothing."""


def read_lines(inputs: Iterable[tuple[str, BinaryIO]]) -> Iterator[Line]:
    """The lines of the *inputs*, each with its name, that are not blank. Raises InputRefused."""
    for name, file in inputs:
        number = 0
        while text := _line(name, number + 1, file):
            number += 1
            if number == 1:
                text = text.removeprefix(_BYTE_ORDER_MARK)
            if text.strip():
                yield Line(name, number, text.rstrip())


def _line(name: str, number: int, file: BinaryIO) -> bytes:
    try:
        text = file.readline(_MOST_LINE + 1)
    except OSError as error:
        raise InputRefused(f"{name}: line {number} cannot be read: {error.strerror}; nothing was imported") from None
    if len(text) > _MOST_LINE:
        raise InputRefused(f"{name}: line {number} is over {_MOST_LINE} bytes; nothing was imported")
    return text


def import_lines(
    connection: sqlite3.Connection,
    given: Iterable[Line],
    rules: ImportRules = DEFAULT_RULES,
    watch: ImportObserver = NO_OBSERVER,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ids: Callable[[datetime], str] | None = None,
) -> ImportResult:
    """What came of the *given* lines, each written as if it came alone, but all of them or none. Raises InputRefused.

    Memory holds a batch of them; the log beside the file takes the rest until the commit.
    """
    connection.execute("begin immediate")
    try:
        loading = _Loading(connection, rules, watch, clock, ids or Uuid7())
        for line in given:
            loading.take(line)
        loaded = loading.finished()
        watch.commits()
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return loaded


class _Loading:
    """An import in an open transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rules: ImportRules,
        watch: ImportObserver,
        clock: Callable[[], datetime],
        ids: Callable[[datetime], str],
    ) -> None:
        self._connection = connection
        self._rules = rules
        self._watch = watch
        self._clock = clock
        self._ids = ids
        self._batch: list[tuple[Line, Restore]] = []
        self._batch_bytes = 0
        self._bytes = 0
        self._runs = 0
        self._faults = 0
        self._invalid = 0
        self._shapeless = 0  # lines of these that are no object
        self._told = {True: 0, False: 0, None: 0}

    def take(self, line: Line) -> None:
        """Writes the run of *line*, sooner or later."""
        self._runs += 1
        self._batch_bytes += len(line.text) + 1
        try:
            body = decode(line.text, RunLine)
            # Once a line is refused nothing will be kept; only what `fail` looks for is still to be found.
            if not self._refused or self._rules.on_conflict == "fail":
                self._batch.append((line, Restore(body.id, body, self._rules.on_conflict)))
        except Invalid as error:
            self._refuse(line, error.details)
        if len(self._batch) == _BATCH or self._batch_bytes > _BATCH_BYTES:
            self._write()

    def finished(self) -> ImportResult:
        """What came of it, once everything is written. Raises InputRefused."""
        self._write()
        if self._faults > MAX_REPORTED:
            self._watch.fault(f"and {self._faults - MAX_REPORTED} more")
        if self._refused:
            faults = "1 fault" if self._faults == 1 else f"{self._faults} faults"
            lines = "1 line" if self._invalid == 1 else f"{self._invalid} lines"
            cure = "; give one JSON object a line" if self._shapeless == self._runs else ""
            raise InputRefused(f"{faults} in {lines} of {self._runs}; nothing was imported{cure}")
        return ImportResult(self._told[True], self._told[False], self._told[None], self._invalid)

    @property
    def _refused(self) -> bool:
        return self._invalid > 0 and not self._rules.skip_invalid

    def _write(self) -> None:
        writes = [write for _, write in self._batch]
        # One transaction holds them all, so a batch that raises undoes what was before it, too.
        outcomes = apply_writes(self._connection, writes, now=self._clock(), make_id=self._ids) if writes else []
        for (line, _), outcome in zip(self._batch, outcomes, strict=True):
            match outcome:
                case Failed(AlreadyExists() as error):
                    self._refuse(line, error.details)
                case Failed(error):
                    raise error
                case told:
                    self._told[told] += 1
        self._bytes += self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        self._watch.at(self._runs, self._bytes)

    def _refuse(self, line: Line, faults: tuple[ErrorDetail, ...]) -> None:
        self._invalid += 1
        self._shapeless += any(fault.loc == ("body",) or fault.type == "json_invalid" for fault in faults)
        for fault in faults[: max(0, MAX_REPORTED - self._faults)]:
            self._watch.fault(line.tells(fault))
        self._faults += len(faults)


def export(
    connection: sqlite3.Connection,
    write: Callable[[bytes], object],
    where: Where = ALL,
    at: Callable[[int], None] = lambda runs: None,
) -> int:
    """How many runs of *where* were written, oldest first, one a line; *at* is told so meanwhile.

    Each as it is when it is read, less those that are made meanwhile: a read of all at once would keep a server that
    writes from folding in its log.
    """
    till = reads.last_number(connection)
    last = runs = 0
    while found := reads.documents(connection, where, last, till):
        write(b"".join(line_of(doc) + b"\n" for _, doc in found))
        last = found[-1][0]
        runs += len(found)
        at(runs)
    return runs
