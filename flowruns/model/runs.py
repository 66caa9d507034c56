"""Runs and the bodies of requests that create or replace them (`flowruns/docs/api.md`). Date-times are text as in
`datetimes.py`.
"""

from copy import copy
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Raw, Struct, field
from msgspec.json import Encoder

from flowruns.model.datetimes import RuleViolation, parse_datetime
from flowruns.model.json_items import ITEMS_AT_ONCE, encoded_pieces, is_nested_beyond, release

# \A and \Z, as $ also matches before a newline at the end.
Slug = Annotated[str, Meta(pattern=r"\A([a-z0-9_.-]+)\Z")]

Identifier = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_-]{0,63}\Z")]


# Of `args` and `outputs`. Parsers raise from some 1,000 levels on, less those of their callers; since Python 3.14, when
# the stack is full.
MAX_LEVELS = 512


def require_object(value: Raw) -> Raw:
    """*value* if it is an object or null, and nested at most `MAX_LEVELS` deep. Raises RuleViolation."""
    if memoryview(value)[0] not in b"{n":
        raise RuleViolation("dict_type", "Input should be a valid dictionary")
    if is_nested_beyond(value, MAX_LEVELS):
        raise RuleViolation("too_deep", f"Input should be nested at most {MAX_LEVELS} levels deep")
    return value


DateTime = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, extra={"check": parse_datetime})]

Int64 = Annotated[int, Meta(extra_json_schema={"format": "int64"})]

UserId = Annotated[Int64, Meta(ge=-(2**63), le=2**63 - 1)]  # the range of SQLite's integers

_JSON_OBJECT = {"type": ["object", "null"], "additionalProperties": True}  # else generators drop its content

JsonObject = Annotated[Raw, Meta(extra_json_schema=_JSON_OBJECT, extra={"check": require_object})]

_NULL = Raw(b"null")


class FlowType(StrEnum):
    """The kind of flow that a run belongs to."""

    AUTOMATION = "automation"
    SELF_SERVICE_ACTION = "selfServiceAction"
    SCORECARD = "scorecard"
    REFERENCE = "reference"


class Model(Struct, rename="camel"):
    """A Struct with camelCase names in JSON and snake_case names in Python."""


class Item(Model, gc=False):
    """An item of a list of a run. A body may have a million of them, which refer to nothing but text: without them, the
    garbage collector does not hold the interpreter's lock for as long.
    """


class Action(Item, kw_only=True):
    """A step of a run."""

    id: str
    phase: Identifier | None = None
    start_time: DateTime | None = None
    end_time: DateTime | None = None

    def __post_init__(self) -> None:
        _check_times(self)


class Log(Item, kw_only=True):
    """A line of a run's log; `action` is the id of an action."""

    timestamp: DateTime | None = None
    message: str
    level: Identifier | None = None
    action: str | None = None

    def __post_init__(self) -> None:
        if self.timestamp is not None:
            self.timestamp = parse_datetime(self.timestamp)

    def completed(self, now: str) -> "Log":
        """This line with *now* and `info` where it has no time or level."""
        if self.timestamp and self.level:
            return self
        log = copy(self)  # without checking it again: a body may have 500,000 lines
        log.timestamp, log.level = self.timestamp or now, self.level or "info"
        return log


class Tag(Item, kw_only=True):
    """A label of a run."""

    key: str
    value: str

    def __post_init__(self) -> None:
        """Lets other threads run: msgspec holds the interpreter's lock from one call of Python code to the next."""


class FlowRun(Model, kw_only=True):
    """A run as every response has it: all fields, in this order."""

    id: Slug
    flow_id: Slug
    flow_type: FlowType
    args: JsonObject
    phase: Identifier | None
    start_time: DateTime | None
    end_time: DateTime | None
    actions: list[Action] | None
    outputs: JsonObject
    logs: list[Log] | None
    tags: list[Tag] | None
    created_at: DateTime
    created_by: Int64 | None
    updated_at: DateTime
    updated_by: Int64 | None
    reviewed_by: Int64 | None
    reviewed_at: DateTime | None


class PreservedFields(NamedTuple):
    """The fields of a replaced run that a PUT preserves."""

    created_at: str
    created_by: int | None
    reviewed_at: str | None
    reviewed_by: int | None


class RunPut(Model, kw_only=True):
    """The body of a PUT. An omitted field becomes null, an omitted phase `pending`."""

    flow_id: Slug
    flow_type: FlowType
    id: Slug | None = None
    args: JsonObject = field(default_factory=lambda: _NULL)  # a plain default has no JSON schema
    phase: Identifier | None = "pending"
    start_time: DateTime | None = None
    end_time: DateTime | None = None
    actions: list[Action] | None = None
    outputs: JsonObject = field(default_factory=lambda: _NULL)
    logs: list[Log] | None = None
    tags: list[Tag] | None = None

    def __post_init__(self) -> None:
        _check_times(self)
        require_object(self.args)
        require_object(self.outputs)

    def run(self, id: str, *, now: str, by: int | None, preserved: PreservedFields | None) -> FlowRun:
        """The run of this body, written at *now* by the user *by*; *preserved* is None if it replaces no run."""
        preserved = preserved or PreservedFields(created_at=now, created_by=by, reviewed_at=None, reviewed_by=None)
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
            created_at=preserved.created_at,
            created_by=preserved.created_by,
            updated_at=max(now, preserved.created_at),  # even if the clock has gone back
            updated_by=by,
            reviewed_by=preserved.reviewed_by,
            reviewed_at=preserved.reviewed_at,
        )


class RunPost(Model, kw_only=True):
    """The body of a POST, which starts a self-service action."""

    flow_id: Slug
    id: Slug | None = None
    flow_type: Literal["selfServiceAction"] | None = None
    args: JsonObject = field(default_factory=lambda: _NULL)
    tags: list[Tag] | None = None

    def __post_init__(self) -> None:
        require_object(self.args)

    def put(self) -> RunPut:
        """The body of a PUT that creates the same run."""
        put = RunPut(flow_id=self.flow_id, flow_type=FlowType.SELF_SERVICE_ACTION, tags=self.tags)
        put.args = self.args  # without checking it again: megabytes would hold up the event loop
        return put


def _check_times(span: Action | RunPut) -> None:
    if span.start_time is not None:
        span.start_time = parse_datetime(span.start_time)
    if span.end_time is not None:
        span.end_time = parse_datetime(span.end_time)


encode = Encoder().encode

_LISTS = ("actions", "logs", "tags")  # in the order of `FlowRun`

_PLACEHOLDER = Raw(b"\0")  # which no JSON has


def release_lists(body: RunPut | RunPost) -> None:
    """Frees the items of the lists of *body*, which nobody needs any more."""
    for name in _LISTS:
        release(getattr(body, name, None) or [])


def encode_run(run: FlowRun) -> bytes:
    """The document of *run*: the body of the responses that carry it."""
    large = {name: items for name in _LISTS if (items := getattr(run, name)) is not None and len(items) > ITEMS_AT_ONCE}
    if not large:
        return encode(run)
    run = copy(run)
    for name in large:
        setattr(run, name, _PLACEHOLDER)
    start, *rest = encode(run).split(_PLACEHOLDER)
    pieces = [start]
    for items, text in zip(large.values(), rest, strict=True):
        pieces += [*encoded_pieces(items), text]
    return b"".join(pieces)
