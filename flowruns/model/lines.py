"""A run as one line of JSON, the format of `flowruns export` and `flowruns import`."""

from msgspec import DecodeError, Raw
from msgspec.json import decode

from flowruns.model.datetimes import RuleViolation, parse_datetime
from flowruns.model.runs import DateTime, FlowRun, Model, PreservedFields, RunPut, UserId, encode


class AsSent(Model, kw_only=True):
    """The text of JSON values that contain line breaks."""

    args: str | None = None
    outputs: str | None = None


class RunLine(RunPut, kw_only=True):
    """A line of an import: the body of a PUT, or, with `createdAt`, a whole run as `export` writes it."""

    created_at: DateTime | None = None
    created_by: UserId | None = None
    updated_at: DateTime | None = None
    updated_by: UserId | None = None
    reviewed_by: UserId | None = None
    reviewed_at: DateTime | None = None
    as_sent: AsSent | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("created_at", "updated_at", "reviewed_at"):
            if text := getattr(self, name):
                setattr(self, name, parse_datetime(text))
        if self.created_at and self.updated_at and self.updated_at < self.created_at:
            raise RuleViolation("value_error", "updatedAt should not be before createdAt")
        if self.as_sent:
            self.args = _with_line_breaks(self.args, self.as_sent.args)
            self.outputs = _with_line_breaks(self.outputs, self.as_sent.outputs)

    def run(self, id: str, *, now: str, by: int | None, preserved: PreservedFields | None) -> FlowRun:
        """The run of this line. Unlike a PUT, a whole run preserves nothing of the run that it replaces."""
        if self.created_at is None:
            return super().run(id, now=now, by=by, preserved=preserved)
        own = PreservedFields(self.created_at, self.created_by, self.reviewed_at, self.reviewed_by)
        return super().run(id, now=self.updated_at or self.created_at, by=self.updated_by, preserved=own)


def line_of(doc: bytes) -> bytes:
    """The line of the run *doc*, which `RunLine` turns back into the same bytes. Raw line breaks, which occur only in
    `args` and `outputs`, become spaces; `asSent` has the text with line breaks.
    """
    if b"\n" not in doc:
        return doc
    run = decode(doc, type=FlowRun)
    texts = {name: bytes(value).decode() for name, value in (("args", run.args), ("outputs", run.outputs))}
    broken = {name: text for name, text in texts.items() if "\n" in text}
    return b'%b,"asSent":%b}' % (doc.replace(b"\n", b" ")[:-1], encode(broken))


def _with_line_breaks(value: Raw, text: str | None) -> Raw:
    """*text* if it differs from *value* in line breaks only, else *value*, which was edited after the export."""
    if text is None or text.replace("\n", " ").encode() != bytes(value):
        return value
    try:
        return decode(text, type=Raw)
    except DecodeError:  # the line break is inside a string
        return value
