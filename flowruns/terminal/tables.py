"""Runs as people read them in a terminal: a table, one whole, and what changes in them."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import Raw, field
from msgspec.json import decode
from msgspec.json import format as indented

from flowruns.errors import one_line
from flowruns.models import Model

NOTHING = "-"
CUT = "…"

_COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "dim": 2, "bold": 1}
# Words of open vocabularies: those that real runs and actions use, and those of the tools that they come from.
_HUES = {
    "green": "succeeded success successful completed passed ok",
    "red": "failed failure error errored timed_out critical fatal",
    "yellow": "running in_progress started warning warn paused",
    "blue": "pending waiting queued created requested",
    "dim": "cancelled canceled skipped neutral debug trace",
}
_HUE = {word: hue for hue, words in _HUES.items() for word in words.split()}

_SHORT_JSON = 60  # characters that stay on one line
_KNOWN_RUNS = 10_000  # whose state is kept, to tell what is new


class Action(Model, kw_only=True):
    """A step, as far as it is shown."""

    id: str
    phase: str | None = None
    start_time: str | None = None
    end_time: str | None = None


class Log(Model, kw_only=True):
    """A line of a log, as far as it is shown."""

    message: str
    timestamp: str | None = None
    level: str | None = None
    action: str | None = None


class Tag(Model, kw_only=True):
    """A tag."""

    key: str
    value: str


class Run(Model, kw_only=True):
    """A run, as far as it is shown: no rule is checked, so that those of any flowruns are."""

    id: str
    flow_id: str = NOTHING
    flow_type: str = NOTHING
    phase: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    args: Raw = field(default_factory=lambda: Raw(b"null"))
    outputs: Raw = field(default_factory=lambda: Raw(b"null"))
    actions: list[Action] | None = None
    logs: list[Log] | None = None
    tags: list[Tag] | None = None
    created_at: str | None = None
    created_by: int | None = None
    updated_at: str | None = None
    updated_by: int | None = None


def run_of(doc: bytes) -> Run:
    """The run of a document."""
    return decode(doc, type=Run)


class Style(NamedTuple):
    """How text is shown: with *colour* or without, at most *width* columns wide (None: as wide as it is)."""

    colour: bool = False
    width: int | None = None

    def paint(self, text: str, hue: str | None) -> str:
        """*text* in a colour."""
        return f"\x1b[{_COLOURS[hue]}m{text}\x1b[0m" if self.colour and hue else text

    def word(self, word: str | None, width: int = 0) -> str:
        """A phase or a level in its colour, *width* columns wide."""
        return self.paint(padded(word or NOTHING, width), _HUE.get((word or "").lower()))


PLAIN = Style()


# Pieces


def when(text: str | None) -> str:
    """The moment *text* in local time, to the second."""
    moment = _moment(text)
    try:
        return moment.astimezone().isoformat(" ", "seconds")[:19] if moment else NOTHING
    except (OverflowError, ValueError, OSError):  # beyond the years 1 to 9999, here
        return str(text)


def clock(text: str | None, now: datetime) -> str:
    """The moment *text* in local time, without the day if that is today's."""
    shown, today = when(text), f"{now.astimezone():%Y-%m-%d} "
    return shown.removeprefix(today)


def took(start: str | None, end: str | None, now: datetime) -> str:
    """How long it took from *start* to *end*, or takes until *now*; nothing where real data makes no sense."""
    began, ended = _moment(start), _moment(end)
    if began is None or (ended or now) < began:
        return NOTHING
    return duration(((ended or now) - began).total_seconds()) + ("" if ended else CUT)


def duration(seconds: float) -> str:
    """*seconds* in the two largest units that say something."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0", "")
    whole = int(seconds)
    for size, unit, part, part_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {part_unit}" if rest else "")
    return f"{whole} s"


def columns(text: str) -> int:
    """How many columns of a terminal *text* takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def padded(text: str, width: int) -> str:
    """*text*, *width* columns wide or wider."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int) -> str:
    """*text*, at most *width* columns wide."""
    if columns(text) <= width:
        return text
    kept, room = "", width - 1
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept += char
    return kept + CUT


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) == "Me":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def line_of_json(doc: bytes) -> bytes:
    """*doc* on one line: a raw line end stands between its values only, where a space means the same."""
    return doc.replace(b"\r", b" ").replace(b"\n", b" ")


# A table


class Column(NamedTuple):
    """A column of the table, and its cell of a run."""

    name: str
    cell: Callable[[Run, datetime], str]


COLUMNS = (
    Column("PHASE", lambda run, now: run.phase or NOTHING),
    Column("FLOW", lambda run, now: run.flow_id),
    Column("STARTED", lambda run, now: when(run.start_time)[:-3] if run.start_time else NOTHING),
    Column("TOOK", lambda run, now: took(run.start_time, run.end_time, now)),
    Column("ID", lambda run, now: run.id),
)
_LEAVING = ("TOOK", "STARTED")  # in this order, where it is narrow
_GAP = 2
_LEAST_FLOW = 8  # columns; in less nothing is known again
_MOST_PHASE = 16
_ACTION_HEAD = ("ACTION", "PHASE", "STARTED", "TOOK")


class Table:
    """Rows as wide as the first few need, and no wider than the terminal where that can be; ids are never cut."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._widths: dict[str, int] = {}

    def lines(self, runs: Sequence[Run], now: datetime) -> Iterator[str]:
        """The lines of *runs*, and before the first ones the head."""
        rows = [{column.name: one_line(column.cell(run, now)) for column in COLUMNS} for run in runs]
        if not self._widths:
            self._fit(rows)
            yield self._style.paint(self._line({column.name: column.name for column in COLUMNS}), "bold")
        for row in rows:
            yield self._line(row, row["PHASE"])

    def _line(self, row: dict[str, str], phase: str | None = None) -> str:
        cells = [self._cell(row[name], width) for name, width in self._widths.items()]
        cells[0] = self._style.paint(cells[0], _HUE.get((phase or "").lower()))
        cells[-1] = row["ID"]
        return (" " * _GAP).join(cells)

    def _cell(self, text: str, width: int) -> str:
        return padded(cut(text, width) if self._style.width else text, width)

    def _fit(self, rows: Sequence[dict[str, str]]) -> None:
        widths = {one.name: max(columns(row[one.name]) for row in (*rows, {one.name: one.name})) for one in COLUMNS}
        if self._style.width:
            widths["PHASE"] = min(widths["PHASE"], _MOST_PHASE)
            least, flow = min(_LEAST_FLOW, widths["FLOW"]), 0
            for name in ("", *_LEAVING):
                widths.pop(name, None)
                spare = self._style.width - sum(widths.values()) - _GAP * (len(widths) - 1)
                flow = widths["FLOW"] + min(spare, 0)
                if flow >= least:
                    break
            widths["FLOW"] = max(flow, least)
        self._widths = widths


# A run


def whole(run: Run, style: Style, now: datetime) -> Iterator[str]:
    """The lines of all that is known of *run*."""
    yield style.paint(one_line(run.id), "bold")
    for name, text in _fields(run, style, now):
        first, *more = text
        yield f"  {name:<9} {first}"
        for line in more:
            yield f"  {'':<9} {line}"
    if run.actions:
        yield ""
        yield from _actions(run.actions, style, now)
    if run.logs:
        yield ""
        for log in run.logs:
            yield f"  {when(log.timestamp):<19}  {style.word(log.level, 7)}  {_message(log)}"


def _fields(run: Run, style: Style, now: datetime) -> Iterator[tuple[str, list[str]]]:
    yield "phase", [style.word(run.phase)]
    yield "flow", [one_line(f"{run.flow_id} ({run.flow_type})")]
    yield "started", [when(run.start_time)]
    yield "ended", [when(run.end_time)]
    yield "took", [took(run.start_time, run.end_time, now)]
    yield "created", [_by(run.created_at, run.created_by)]
    yield "updated", [_by(run.updated_at, run.updated_by)]
    yield "tags", [one_line(", ".join(f"{tag.key}:{tag.value}" for tag in run.tags or [])) or NOTHING]
    yield "args", _json(run.args)
    yield "outputs", _json(run.outputs)


def _by(moment: str | None, user: int | None) -> str:
    return when(moment) + ("" if user is None else f" by {user}")


def _json(value: Raw) -> list[str]:
    text = bytes(value)
    if text == b"null":
        return [NOTHING]
    if len(text) > _SHORT_JSON or b"\n" in text:
        text = indented(text, indent=2)
    return [one_line(line) for line in text.decode(errors="replace").splitlines()]


def _actions(actions: Sequence[Action], style: Style, now: datetime) -> Iterator[str]:
    rows = [
        (one_line(one.id), one.phase, when(one.start_time), took(one.start_time, one.end_time, now)) for one in actions
    ]
    widths = [max(columns(row[at] or NOTHING) for row in (*rows, _ACTION_HEAD)) for at in range(3)]
    for row in (_ACTION_HEAD, *rows):
        id, phase, start, span = row
        phase_cell = padded(phase, widths[1]) if row is _ACTION_HEAD and phase else style.word(phase, widths[1])
        line = f"  {padded(id, widths[0])}  {phase_cell}  {padded(start, widths[2])}  {span}"
        yield style.paint(line, "bold") if row is _ACTION_HEAD else line


def _words(logs: Sequence[Log]) -> list[str]:
    """What tells lines from others: not their time, as a server gives those that come without one the time of each
    write.
    """
    return [f"{log.level} {_message(log)}" for log in logs]


def _message(log: Log) -> str:
    return one_line(f"{log.action}: {log.message}" if log.action else log.message)


# Changes


class _Seen(NamedTuple):
    """What was told of a run."""

    phase: str | None
    actions: dict[str, str | None]
    logs: int
    last: list[str]  # of them: the last, if there is one


class Tail:
    """What is new in states of runs: the phase, those of the actions, and lines of the log.

    Of a run that is seen for the first time, the last few lines of the log are shown.
    """

    def __init__(self, style: Style, *, names: bool, lines: int) -> None:
        """*names*: whether each line says which run it is about; *lines* of the log are the few."""
        self._style = style
        self._names = names
        self._lines = lines
        self._seen: dict[str, _Seen] = {}

    def changed(self, run: Run, now: datetime) -> Iterator[str]:
        """The lines about what is new in *run*."""
        before = self._seen.pop(run.id, None)
        actions, logs = run.actions or [], run.logs or []
        self._seen[run.id] = _Seen(run.phase, {one.id: one.phase for one in actions}, len(logs), _words(logs[-1:]))
        if len(self._seen) > _KNOWN_RUNS:
            del self._seen[next(iter(self._seen))]  # the one that has been still for longest
        ended = before is not None and run.end_time is not None  # then what led to the end comes before it
        phase = []
        if before is None or before.phase != run.phase:
            moment = run.end_time or run.updated_at
            phase = [self._line(run.id, moment, "run", run.phase, run, one_line(run.flow_id), now)]
        if not ended:
            yield from phase
        for one in actions:
            if before is None or before.actions.get(one.id, "") != one.phase:
                moment = one.end_time or one.start_time or run.updated_at
                yield self._line(run.id, moment, "action", one.phase, one, one_line(one.id), now)
        for log in self._new(logs, before):
            yield self._log(run.id, log, now)
        if ended:
            yield from phase

    def deleted(self, id: str, now: datetime) -> Iterator[str]:
        """The line about the end of the run *id*."""
        self._seen.pop(id, None)
        yield f"{self._head(id, now.isoformat(), now)}{self._style.paint('deleted', 'red')}"

    def _new(self, logs: Sequence[Log], before: _Seen | None) -> Sequence[Log]:
        if before is not None and _words(logs[: before.logs][-1:]) == before.last:
            return logs[before.logs :]
        return logs[max(0, len(logs) - self._lines) :]  # a new one, or a log that was written anew

    def _line(
        self, id: str, moment: str | None, what: str, phase: str | None, span: Run | Action, name: str, now: datetime
    ) -> str:
        length = took(span.start_time, span.end_time, now) if span.end_time else NOTHING
        after = f" ({length})" if length != NOTHING else ""
        return f"{self._head(id, moment, now)}{what:<7}  {name} {self._style.word(phase)}{after}"

    def _log(self, id: str, log: Log, now: datetime) -> str:
        return f"{self._head(id, log.timestamp, now)}{self._style.word(log.level, 7)}  {_message(log)}"

    def _head(self, id: str, moment: str | None, now: datetime) -> str:
        name = f"{self._style.paint(one_line(id), 'bold')}  " if self._names else ""
        return f"{self._style.paint(clock(moment, now), 'dim')}  {name}"
