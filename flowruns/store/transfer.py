"""Import and export of runs as lines of JSON. Importing an export gives the same bytes."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from flowruns.errors import AlreadyExists, ErrorDetail, InputRefused, Invalid, one_line
from flowruns.model.ids import Uuid7
from flowruns.model.lines import RunLine, line_of
from flowruns.model.validation import decode
from flowruns.sqlite.connection import Failed
from flowruns.sqlite.numbers import last_number
from flowruns.sqlite.transactions import transaction
from flowruns.store import reads
from flowruns.store.filters import ALL, Where
from flowruns.store.import_formats import ArrayFile, LineReader, Unreadable, lines
from flowruns.store.writes import OnConflict, Restore, apply_writes

MAX_REPORTED = 100  # errors of one import

_BATCH, _BATCH_BYTES = 256, 4 * 1024 * 1024  # of one statement: with more rows it is no faster


class Line(NamedTuple):
    """Line *number* of the input *name*."""

    name: str
    number: int
    text: bytes

    def describe(self, detail: ErrorDetail) -> str:
        """*detail* and its place in the input, in one line."""
        loc = f"byte {detail.loc[-1]}" if detail.type == "json_invalid" else ".".join(map(str, detail.loc))
        return one_line(f"{self.name}:{self.number}: {loc}: {detail.msg}")


class ImportResult(NamedTuple):
    """The numbers of runs that an import created, replaced and left unchanged, and of lines that it skipped."""

    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    invalid: int = 0

    def __str__(self) -> str:
        parts = [f"{self.created} created", f"{self.replaced} replaced"]
        parts += [f"{self.unchanged} left unchanged"] * (self.unchanged > 0)
        parts += [f"{self.invalid} invalid lines skipped"] * (self.invalid > 0)
        return ", ".join(parts)


class ImportRules(NamedTuple):
    """How an import treats runs that exist already, and whether it skips invalid lines instead of failing."""

    on_conflict: OnConflict = "replace"
    skip_invalid: bool = False


class ImportObserver(NamedTuple):
    """Callbacks of an import. *on_progress* may raise, which undoes the import."""

    on_error: Callable[[str], None] = lambda line: None  # an error of a line, described in one line
    on_progress: Callable[[int, int], None] = lambda runs, size: None  # the numbers of runs and bytes read
    on_commit: Callable[[], None] = lambda: None  # just before the commit


DEFAULT_RULES, NO_OBSERVER = ImportRules(), ImportObserver()


class ImportStopped(Exception):
    """An import was stopped by its observer, and has changed nothing."""


def read_lines(inputs: Iterable[tuple[str, LineReader | ArrayFile]]) -> Iterator[Line]:
    """The lines of the *inputs*, pairs of a name and a file, that are not blank; the items of an array. Raises
    InputRefused.
    """
    for name, file in inputs:
        number = 0
        try:
            if isinstance(file, ArrayFile):
                for number, text in file.items():
                    yield Line(name, number, text)
            else:
                for number, text in lines(file):
                    if text.strip():
                        yield Line(name, number, text.rstrip())
        except (OSError, Unreadable) as error:
            line = file.line if isinstance(file, ArrayFile) else number + 1
            problem = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise InputRefused(f"{name}: line {line} {problem}; nothing was imported") from None


def import_lines(
    connection: sqlite3.Connection,
    lines: Iterable[Line],
    rules: ImportRules = DEFAULT_RULES,
    observer: ImportObserver = NO_OBSERVER,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ImportResult:
    """Writes the runs of the *lines*, one after the other, in one transaction. Raises InputRefused.

    Memory holds one batch of them, the WAL the rest until the commit.
    """
    with transaction(connection):
        importer = _Importer(connection, rules, observer, clock)
        for line in lines:
            importer.add(line)
        result = importer.finish()
        observer.on_commit()
    return result


class _Importer:
    """An import in an open transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rules: ImportRules,
        observer: ImportObserver,
        clock: Callable[[], datetime],
    ) -> None:
        self._connection = connection
        self._rules = rules
        self._observer = observer
        self._clock = clock
        self._ids = Uuid7()
        self._batch: list[tuple[Line, Restore]] = []
        self._batch_bytes = 0
        self._bytes = 0
        self._runs = 0
        self._errors = 0
        self._invalid = 0  # lines
        self._not_objects = 0  # lines of these that are no JSON object
        self._counts = {True: 0, False: 0, None: 0}  # results of Restore

    def add(self, line: Line) -> None:
        """Adds the run of *line* to the batch, and writes the batch if it is full."""
        self._runs += 1
        self._batch_bytes += len(line.text) + 1
        try:
            body = decode(line.text, RunLine)
            # After an invalid line nothing will be committed; writes are still needed to find conflicts to report.
            if not self._refused or self._rules.on_conflict == "fail":
                self._batch.append((line, Restore(body.id, body, self._rules.on_conflict)))
        except Invalid as error:
            self._report(line, error.details)
        if len(self._batch) == _BATCH or self._batch_bytes > _BATCH_BYTES:
            self._write()

    def finish(self) -> ImportResult:
        """Writes the last batch, and returns the result of the import. Raises InputRefused."""
        self._write()
        if self._errors > MAX_REPORTED:
            self._observer.on_error(f"and {self._errors - MAX_REPORTED} more")
        if self._refused:
            errors = "1 error" if self._errors == 1 else f"{self._errors} errors"
            lines = "1 line" if self._invalid == 1 else f"{self._invalid} lines"
            cure = "; write one JSON object per line" if self._not_objects == self._runs else ""
            raise InputRefused(f"{errors} in {lines} of {self._runs}; nothing was imported{cure}")
        return ImportResult(self._counts[True], self._counts[False], self._counts[None], self._invalid)

    @property
    def _refused(self) -> bool:
        return self._invalid > 0 and not self._rules.skip_invalid

    def _write(self) -> None:
        writes = [write for _, write in self._batch]
        # All batches share a transaction, so one that raises undoes those before it, too.
        outcomes = apply_writes(self._connection, writes, now=self._clock(), make_id=self._ids) if writes else []
        for (line, _), outcome in zip(self._batch, outcomes, strict=True):
            match outcome:
                case Failed(AlreadyExists() as error):
                    self._report(line, error.details)
                case Failed(error):
                    raise error
                case is_new:
                    self._counts[is_new] += 1
        self._bytes += self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        self._observer.on_progress(self._runs, self._bytes)

    def _report(self, line: Line, details: tuple[ErrorDetail, ...]) -> None:
        self._invalid += 1
        self._not_objects += any(detail.loc == ("body",) or detail.type == "json_invalid" for detail in details)
        for detail in details[: max(0, MAX_REPORTED - self._errors)]:
            self._observer.on_error(line.describe(detail))
        self._errors += len(details)


def export(
    connection: sqlite3.Connection,
    write: Callable[[bytes], object],
    where: Where = ALL,
    on_progress: Callable[[int], None] = lambda runs: None,
) -> int:
    """Writes the runs of *where*, one per line, oldest first, and returns their number. *on_progress* is called with
    the number so far.

    Runs created during the export are left out, and replaced ones are exported in their new state: reading all of them
    in one snapshot would keep a server from checkpointing its WAL.
    """
    end = last_number(connection)
    last = runs = 0
    while rows := reads.documents(connection, where, last, end):
        write(b"".join(line_of(doc) + b"\n" for _, doc in rows))
        last = rows[-1][0]
        runs += len(rows)
        on_progress(runs)
    return runs
