"""What /openapi.json says in words, by the names that it has anyway; a test finds what has none."""

SERVICE = """\
Self-service action runs: who started what, and how it goes, kept in one SQLite file.

JSON in and out, in UTF-8. Date-times come in as RFC 3339 with any offset, and go out in UTC with milliseconds and \
`Z`. Unknown fields and query parameters are ignored, so what GET returned can be PUT back as it is. `HEAD` works \
wherever `GET` does. Where a token is set, send `Authorization: Bearer TOKEN`.

Any path may also answer 400 (the bytes are not HTTP), 404 (no such path), 405 (another method; `Allow` names those \
that work), 408 (the request did not come in time), 431 (too large a head) and 500 (a detail of the service), all in \
the one shape of `Error`."""

OPERATIONS = {
    "getFlowRuns": """\
Take `next_page` as `cursor` until it is null: that gives every run once, whatever is created, replaced or deleted \
meanwhile. A cursor belongs to its filters and its order.

With `Accept: text/event-stream` the answer is a stream of the changes to runs that fit the filters, from now on or \
from `Last-Event-ID` on; `size`, `order` and `cursor` then mean nothing. To miss nothing, read a page and send its \
`ETag`, less the quotes, as `Last-Event-ID`.""",
    "createFlowRun": """\
What a portal does when a person starts an action: the run is `pending`, and its type `selfServiceAction`. Agents \
report with PUT.""",
    "getFlowRun": """\
With `Accept: text/event-stream` the answer is a stream: the run as it is, then as it becomes. It goes on when the \
run is deleted, as it may be made again.""",
    "upsertFlowRun": """\
How an agent reports. The body is the whole run: an optional field that it leaves out becomes null (`phase`: \
`pending`). `If-Match` with the `ETag` that you have seen keeps you from undoing somebody else's write; \
`If-None-Match: *` only creates.""",
    "deleteFlowRun": "`If-Match` with the `ETag` that you have seen deletes nothing but that.",
    "getHealth": "Asks the database, not only the process.",
    "getOpenapi": "Made from the code that checks requests. `/docs` shows it.",
}

_WORD = "a letter, then up to 63 letters, digits, `_` or `-`"

FIELDS = {
    "FlowRunPage.items": "the runs, newest first unless `order` says otherwise",
    "FlowRun.id": "lower-case letters, digits, `_`, `.` and `-`",
    "FlowRun.flowId": "the flow that this is a run of",
    "FlowRun.flowType": "what started it",
    "FlowRun.args": "what it was started with, kept byte for byte",
    "FlowRun.phase": f"how far it is: any word, `pending`, `running`, `succeeded` or `failed`, say; {_WORD}",
    "FlowRun.startTime": "when its work began",
    "FlowRun.endTime": "when its work ended",
    "FlowRun.actions": "its steps",
    "FlowRun.outputs": "what came out of it, kept byte for byte",
    "FlowRun.logs": "the lines that it wrote",
    "FlowRun.tags": "words that it is found by",
    "FlowRun.createdAt": "when it was first written here",
    "FlowRun.createdBy": "the user id of the token that it was created with",
    "FlowRun.updatedAt": "when it was last written",
    "FlowRun.updatedBy": "the user id of the token that it was last written with",
    "FlowRun.reviewedBy": "the user id of its reviewer; no request sets it",
    "FlowRun.reviewedAt": "when it was reviewed; no request sets it",
    "RunPost.id": "a UUIDv7, which sorts by time, when left out",
    "RunPost.flowType": "`selfServiceAction`, and nothing else",
    "RunPut.id": "the id in the path, if it is sent",
    "Action.id": "its name, as `build`, or `build.compile` of a step in a job",
    "Action.phase": "as of a run",
    "Action.startTime": "when it began",
    "Action.endTime": "when it ended",
    "Log.timestamp": "now when left out",
    "Log.message": "the line",
    "Log.level": f"`info` when left out; {_WORD}",
    "Log.action": "the id of the action that wrote it",
    "Tag.key": "its name; a search by `key:value` ends it at the first colon",
    "Tag.value": "what it says",
    "Error.detail": "what is wrong, each thing by itself",
    "Health.status": "`ok`",
    "Health.version": "of flowruns",
}

AS = {"RunPost": "FlowRun", "RunPut": "FlowRun"}  # whose words are those of the second, where they have none

EVENTS = """\
Server-sent events, for ever: `run` (data: the whole run) when it is created or replaced, `deleted` (data: its id), \
`resync` (read anew what you show: `Last-Event-ID` is not of this database) and `bye` (the server stops). Each `id` \
is a change number, and what `Last-Event-ID` takes. Silence is broken every 15 seconds by a comment."""


def of(schema: str, field: str) -> str | None:
    """What *field* of *schema* is."""
    return FIELDS.get(f"{schema}.{field}") or FIELDS.get(f"{AS.get(schema)}.{field}")
