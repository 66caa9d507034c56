"""The shapes of the API: what a body may say, and the run it makes (contract, "FlowRun", "Bodies").

Date-times are text: RFC 3339 in UTC with milliseconds and `Z`, so that they sort and compare as they are.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from msgspec import DecodeError, Meta, Raw, Struct, field
from msgspec.json import Encoder, decode

# \A and \Z, as $ would let a newline pass at the end.
Slug = Annotated[str, Meta(pattern=r"\A([a-z0-9_.-]+)\Z")]
Word = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_-]{0,63}\Z")]

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:[0-5]\d)?", re.ASCII
)  # RFC 3339 5.6; the offset is asked for below, so that its absence has a name of its own; 24:00 is not of it


class RuleBroken(ValueError):
    """A value breaks a rule of its field; *type* is pydantic's name for how."""

    def __init__(self, type: str, msg: str) -> None:
        super().__init__(msg)
        self.type = type


def instant(text: str) -> str:
    """RFC 3339 *text* as UTC with milliseconds; further digits are cut off. Raises RuleBroken."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise RuleBroken("datetime_parsing", "Input should be a valid datetime: RFC 3339, as 2025-01-20T18:53:03.558Z")
    day, time, fraction, offset = match.groups()
    if offset is None:
        raise RuleBroken("timezone_aware", "Input should have timezone info: Z, or an offset as +02:00")
    try:
        parsed = datetime.fromisoformat(f"{day}T{time}{fraction or ''}{offset.upper()}")
        return utc(parsed)
    except (ValueError, OverflowError):  # the 30th of February; years beyond 1 to 9999 once in UTC
        raise RuleBroken(
            "datetime_parsing",
            "Input should be a valid datetime: a day and time that exist, in UTC within the years 1 to 9999",
        ) from None


def utc(moment: datetime) -> str:
    """*moment* (with a time zone) as the API writes it. Raises OverflowError beyond the years 1 to 9999."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def json_object(value: Raw) -> Raw:
    """*value*, if it is an object or null. Raises RuleBroken."""
    if memoryview(value)[0] not in b"{n":
        raise RuleBroken("dict_type", "Input should be a valid dictionary")
    return value


Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, extra={"check": instant})]
UserId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]  # what SQLite keeps
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": ["object", "null"]}, extra={"check": json_object})]

_NULL = Raw(b"null")


class FlowType(StrEnum):
    """What started a run."""

    AUTOMATION = "automation"
    SELF_SERVICE_ACTION = "selfServiceAction"
    SCORECARD = "scorecard"
    REFERENCE = "reference"


class Model(Struct, rename="camel"):
    """camelCase in JSON, snake_case here."""


class Action(Model, kw_only=True):
    """A step of a run."""

    id: str
    phase: Word | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None

    def __post_init__(self) -> None:
        _check_times(self)


class Log(Model, kw_only=True):
    """A line that a run wrote; *action* names an action's id."""

    timestamp: Instant | None = None
    message: str
    level: Word | None = None
    action: str | None = None

    def __post_init__(self) -> None:
        if self.timestamp is not None:
            self.timestamp = instant(self.timestamp)

    def completed(self, now: str) -> "Log":
        """This line, with the time and the level that it leaves out."""
        if self.timestamp and self.level:
            return self
        timestamp, level = self.timestamp or now, self.level or "info"
        return Log(timestamp=timestamp, message=self.message, level=level, action=self.action)


class Tag(Model, kw_only=True):
    """A word that runs are found by."""

    key: str
    value: str


class FlowRun(Model, kw_only=True):
    """A run as every response carries it: every field, in this order (contract, "FlowRun")."""

    id: Slug
    flow_id: Slug
    flow_type: FlowType
    args: JsonObject
    phase: Word | None
    start_time: Instant | None
    end_time: Instant | None
    actions: list[Action] | None
    outputs: JsonObject
    logs: list[Log] | None
    tags: list[Tag] | None
    created_at: Instant
    created_by: int | None
    updated_at: Instant
    updated_by: int | None
    reviewed_by: int | None
    reviewed_at: Instant | None


class Kept(NamedTuple):
    """What a PUT keeps of the run that it replaces."""

    created_at: str
    created_by: int | None
    reviewed_at: str | None
    reviewed_by: int | None


class RunPut(Model, kw_only=True):
    """The body of PUT. What is left out becomes null, but for the phase (contract, "Bodies")."""

    flow_id: Slug
    flow_type: FlowType
    id: Slug | None = None
    args: JsonObject = field(default_factory=lambda: _NULL)  # a plain default has no JSON schema
    phase: Word | None = "pending"
    start_time: Instant | None = None
    end_time: Instant | None = None
    actions: list[Action] | None = None
    outputs: JsonObject = field(default_factory=lambda: _NULL)
    logs: list[Log] | None = None
    tags: list[Tag] | None = None

    def __post_init__(self) -> None:
        _check_times(self)
        json_object(self.args)
        json_object(self.outputs)

    def run(self, id: str, *, now: str, by: int | None, kept: Kept | None) -> FlowRun:
        """The run that this body makes of what *kept* is of (None: a new one), written *now* *by* a user."""
        kept = kept or Kept(created_at=now, created_by=by, reviewed_at=None, reviewed_by=None)
        return FlowRun(
            id=id,
            flow_id=self.flow_id,
            flow_type=self.flow_type,
            args=self.args,
            phase=self.phase,
            start_time=self.start_time,
            end_time=self.end_time,
            actions=self.actions,
            outputs=self.outputs,
            logs=self.logs and [log.completed(now) for log in self.logs],
            tags=self.tags,
            created_at=kept.created_at,
            created_by=kept.created_by,
            updated_at=max(now, kept.created_at),  # also when the clock has gone back
            updated_by=by,
            reviewed_by=kept.reviewed_by,
            reviewed_at=kept.reviewed_at,
        )


class AsSent(Model, kw_only=True):
    """JSON whose line breaks a line of its own cannot hold."""

    args: str | None = None
    outputs: str | None = None


class RunLine(RunPut, kw_only=True):
    """A line of an import: the body of PUT, or, if it has `createdAt`, a whole run as `export` wrote it."""

    created_at: Instant | None = None
    created_by: UserId | None = None
    updated_at: Instant | None = None
    updated_by: UserId | None = None
    reviewed_by: UserId | None = None
    reviewed_at: Instant | None = None
    as_sent: AsSent | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("created_at", "updated_at", "reviewed_at"):
            if text := getattr(self, name):
                setattr(self, name, instant(text))
        if self.created_at and self.updated_at and self.updated_at < self.created_at:
            raise RuleBroken("value_error", "updatedAt should not be before createdAt")
        if self.as_sent:
            self.args = _as_sent(self.args, self.as_sent.args)
            self.outputs = _as_sent(self.outputs, self.as_sent.outputs)

    def run(self, id: str, *, now: str, by: int | None, kept: Kept | None) -> FlowRun:
        """The run of this line: a whole one keeps nothing of another, as a PUT does."""
        if self.created_at is None:
            return super().run(id, now=now, by=by, kept=kept)
        own = Kept(self.created_at, self.created_by, self.reviewed_at, self.reviewed_by)
        return super().run(id, now=self.updated_at or self.created_at, by=self.updated_by, kept=own)


def line_of(doc: bytes) -> bytes:
    """The line of the run *doc*, of which `RunLine` makes the same bytes. Raw line breaks, which stand between the
    values of `args` and `outputs` only, are spaces there, and the text with them is told beside it.
    """
    if b"\n" not in doc:
        return doc
    run = decode(doc, type=FlowRun)
    texts = {name: bytes(value).decode() for name, value in (("args", run.args), ("outputs", run.outputs))}
    broken = {name: text for name, text in texts.items() if "\n" in text}
    return b'%b,"asSent":%b}' % (doc.replace(b"\n", b" ")[:-1], encode(broken))


def _as_sent(value: Raw, text: str | None) -> Raw:
    """*text*, if it is *value* but for its line breaks: else somebody has changed the value since."""
    if text is None or text.replace("\n", " ").encode() != bytes(value):
        return value
    try:
        return decode(text, type=Raw)
    except DecodeError:  # a line break within a string
        return value


class RunPost(Model, kw_only=True):
    """The body of POST: a person starts an action."""

    flow_id: Slug
    id: Slug | None = None
    flow_type: Literal["selfServiceAction"] | None = None
    args: JsonObject = field(default_factory=lambda: _NULL)
    tags: list[Tag] | None = None

    def __post_init__(self) -> None:
        json_object(self.args)

    def put(self) -> RunPut:
        """The PUT that makes the same run."""
        return RunPut(flow_id=self.flow_id, flow_type=FlowType.SELF_SERVICE_ACTION, args=self.args, tags=self.tags)


def _check_times(span: Action | RunPut) -> None:
    if span.start_time is not None:
        span.start_time = instant(span.start_time)
    if span.end_time is not None:
        span.end_time = instant(span.end_time)


encode = Encoder().encode
