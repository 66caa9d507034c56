"""One run as text for a terminal."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Raw, field
from msgspec.json import decode
from msgspec.json import format as indented

from flowruns.errors import one_line
from flowruns.model.runs import Model, Tag
from flowruns.terminal.text import NOTHING, Style, columns, local_time, padded, time_taken

_SHORT_JSON = 60  # characters of JSON that stay on one line


class Action(Model, kw_only=True):
    """The fields of an action that are shown."""

    id: str
    phase: str | None = None
    start_time: str | None = None
    end_time: str | None = None


class Log(Model, kw_only=True):
    """The fields of a log line that are shown."""

    message: str
    timestamp: str | None = None
    level: str | None = None
    action: str | None = None


class Run(Model, kw_only=True):
    """The fields of a run that are shown. No rule is checked, so that runs of any version can be shown."""

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
    """The run of the document *doc*."""
    return decode(doc, type=Run)


def line_of_json(doc: bytes) -> bytes:
    """*doc* on one line: in JSON, raw line ends are between values only, where a space means the same."""
    return doc.replace(b"\r", b" ").replace(b"\n", b" ")


_ACTION_HEADER = ("ACTION", "PHASE", "STARTED", "TOOK")


def describe_run(run: Run, style: Style, now: datetime) -> Iterator[str]:
    """The lines with all fields of *run*."""
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
        times = [local_time(log.timestamp) for log in run.logs]
        width = max(map(len, times))
        for log, time in zip(run.logs, times, strict=True):
            yield f"  {time:<{width}}  {style.word(log.level, 7)}  {log_text(log)}"


def _fields(run: Run, style: Style, now: datetime) -> Iterator[tuple[str, list[str]]]:
    yield "phase", [style.word(run.phase)]
    yield "flow", [one_line(f"{run.flow_id} ({run.flow_type})")]
    yield "started", [local_time(run.start_time)]
    yield "ended", [local_time(run.end_time)]
    yield "took", [time_taken(run.start_time, run.end_time, now)]
    yield "created", [_by(run.created_at, run.created_by)]
    yield "updated", [_by(run.updated_at, run.updated_by)]
    yield "tags", [one_line(", ".join(f"{tag.key}:{tag.value}" for tag in run.tags or [])) or NOTHING]
    yield "args", _json(run.args)
    yield "outputs", _json(run.outputs)


def _by(moment: str | None, user: int | None) -> str:
    return local_time(moment) + ("" if user is None else f" by {user}")


def _json(value: Raw) -> list[str]:
    text = bytes(value)
    if text == b"null":
        return [NOTHING]
    if len(text) > _SHORT_JSON or b"\n" in text:
        text = indented(text, indent=2)
    return [one_line(line) for line in text.decode(errors="replace").split("\n")]  # U+2028 is no line end


def _actions(actions: Sequence[Action], style: Style, now: datetime) -> Iterator[str]:
    rows = [
        (
            one_line(action.id),
            action.phase,
            local_time(action.start_time),
            time_taken(action.start_time, action.end_time, now),
        )
        for action in actions
    ]
    widths = [max(columns(row[column] or NOTHING) for row in (*rows, _ACTION_HEADER)) for column in range(3)]
    for row in (_ACTION_HEADER, *rows):
        id, phase, start, time = row
        phase_cell = padded(phase, widths[1]) if row is _ACTION_HEADER and phase else style.word(phase, widths[1])
        line = f"  {padded(id, widths[0])}  {phase_cell}  {padded(start, widths[2])}  {time}"
        yield style.paint(line, "bold") if row is _ACTION_HEADER else line


def log_text(log: Log) -> str:
    """The message of *log* on one line, after the name of its action."""
    return one_line(f"{log.action}: {log.message}" if log.action else log.message)
