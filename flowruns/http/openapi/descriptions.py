"""The texts of /openapi.json by operation, schema and field. A test finds those without a text."""

SERVICE = """\
Self-service action runs: which runs were started, by whom, and their progress. One SQLite file holds them.

Requests and responses are JSON in UTF-8. A date-time in a request is RFC 3339 with any offset; in a response it is in \
UTC with milliseconds and `Z`. Unknown fields and query parameters are ignored, so a client can PUT the document that \
GET returned. `HEAD` works wherever `GET` does. If the server has tokens, send `Authorization: Bearer TOKEN`.

Any path may also return 400 (not valid HTTP), 404 (no such path), 405 (method not allowed; `Allow` lists the allowed \
ones), 408 (the request did not arrive in time), 431 (headers too large) and 500 (internal error). Every error has the \
schema `ErrorResponse`.

A client that prefers `text/event-stream` gets a stream from `getFlowRuns` and `getFlowRun`, and the query parameter \
`fields` limits the fields of their runs. `x-event-stream` and `x-fields` of their response 200 describe this. As a \
media type and as a parameter, they would make generated clients return a union of types."""

TAGS = {"flow-runs": "The runs, and streams of their changes.", "service": "The service itself."}

OPERATIONS = {
    "getFlowRuns": """\
To read all pages, send `next_page` as `cursor` until it is null. This returns each run once, whatever is created, \
replaced or deleted meanwhile. A cursor is valid only with the filters and the order of its page.

With `Accept: text/event-stream` the response is a stream of the changes to runs that match the filters, from now on \
or after `Last-Event-ID`, or `lastEventId` in the query. The stream ignores `size`, `order` and `cursor`. To miss no \
change, read a page first and send its `ETag`, without the quotes, as `Last-Event-ID`.""",
    "createFlowRun": """\
For portals: a person starts an action. The new run is `pending` and of type `selfServiceAction`. Agents report \
progress with PUT.""",
    "getFlowRun": """\
With `Accept: text/event-stream` the response is a stream: the current state of the run, then every change. The stream \
stays open when the run is deleted, because it may be created again.""",
    "upsertFlowRun": """\
For agents that report progress. The body is the whole run: an omitted optional field becomes null (`phase`: \
`pending`). `If-Match` with the `ETag` of the state that you read prevents a lost update. `If-None-Match: *` only \
creates.""",
    "deleteFlowRun": "`If-Match` with the `ETag` of the state that you read deletes the run only in that state.",
    "getStats": """\
Each number is that of the runs that match the filters and have this value, the most frequent values first and at most \
1,000 of each field. Numbers without filters, and with the filters `flowId`, `flowType` and `phase` except those of \
tags, are not counted, but kept. Others take longer in a large database, and get 503 after 10 seconds.""",
    "getHealth": """\
Reads the database, so a response of 200 means that the process and the database work. Without a token, where one is \
set, the response has `status` alone.""",
    "createSession": """\
For browsers, whose `EventSource` can send no header: sets a cookie for the token in `Authorization`. It is `HttpOnly` \
and `SameSite=Strict`, and counts only in requests from this origin and from allowed ones.""",
    "deleteSession": "Removes the cookie. It also ends with the browser, and when the server no longer has the token.",
    "getOpenapi": "This document is generated from the code that validates requests. `/docs` displays it.",
}

_IDENTIFIER = "a letter, then up to 63 letters, digits, `_` or `-`"

SCHEMAS = {  # where the docstring of the Struct is not the text
    "ActionCounts": "The actions of a run in numbers. One without a phase is counted in `total` alone.",
    "FlowRun": "A run. Every response carries every field; a field without a value is null.",
    "FlowType": "The kind of flow.",
    "Log": "A log line of a run.",
    "LogCounts": "The log lines of a run in numbers.",
    "PartialFlowRun": "The fields of a run that the parameter `fields` names, in this order.",
    "RunPost": "The body of POST: a person starts an action.",
    "RunPut": "The body of PUT: the whole run. An omitted optional field becomes null, except `phase`.",
    "Stats": "The number of runs with each value, from one snapshot of the database. With `fields`, only these.",
    "Tag": "A key-value pair to filter runs by.",
}

FIELDS = {
    "FlowRunPage.items": "the runs, newest first unless `order` is `asc`",
    "FlowRun.id": "lower-case letters, digits, `_`, `.` and `-`",
    "FlowRun.flowId": "the id of the flow that was run",
    "FlowRun.flowType": "the kind of flow",
    "FlowRun.args": "the arguments of the run, stored byte for byte",
    "FlowRun.phase": f"any identifier, for example `pending`, `running`, `succeeded` or `failed`: {_IDENTIFIER}",
    "FlowRun.startTime": "when the run started",
    "FlowRun.endTime": "when the run ended",
    "FlowRun.actions": "the steps of the run",
    "FlowRun.outputs": "the results of the run, stored byte for byte",
    "FlowRun.logs": "the log lines of the run",
    "FlowRun.tags": "key-value pairs to filter by",
    "FlowRun.createdAt": "when the run was created",
    "FlowRun.createdBy": "the user id of the token that created the run",
    "FlowRun.updatedAt": "when the run was last written",
    "FlowRun.updatedBy": "the user id of the token that last wrote the run",
    "FlowRun.reviewedBy": "the user id of the reviewer; no request sets it",
    "FlowRun.reviewedAt": "when the run was reviewed; no request sets it",
    "PartialFlowRun.actionCounts": "the number of actions by phase; null if `actions` is null",
    "PartialFlowRun.logCounts": "the number of log lines by level; null if `logs` is null",
    "ActionCounts.total": "the number of actions",
    "ActionCounts.phase": "the number of actions in each phase, the 100 most frequent ones",
    "ActionCounts.first": "the id of the first action in each of these phases",
    "LogCounts.total": "the number of log lines",
    "LogCounts.level": "the number of log lines of each level, the 100 most frequent ones",
    "RunPost.id": "if omitted, the server generates a UUIDv7, which sorts by time",
    "RunPost.flowType": "only `selfServiceAction`, which is also the default",
    "RunPut.id": "if sent, the id in the path",
    "Action.id": "the name of the step, for example `build`, or `build.compile` for a step of a job",
    "Action.phase": "as `phase` of a run",
    "Action.startTime": "when the step started",
    "Action.endTime": "when the step ended",
    "Log.timestamp": "if omitted, the time of the request",
    "Log.message": "the text of the line",
    "Log.level": f"`info` if omitted; {_IDENTIFIER}",
    "Log.action": "the id of the action that wrote the line",
    "Tag.key": "the name; in the filter `tag=key:value` the key ends at the first colon",
    "Tag.value": "the value",
    "Stats.phase": "the number of runs in each phase; a run without one is counted in `total` alone",
    "Stats.flowId": "the number of runs of each flow",
    "Stats.flowType": "the number of runs of each type",
    "Stats.tag": "the number of runs with each tag, as `key:value`; a tag whose key has a colon is left out",
    "Stats.hour": "the runs of each hour of `createdAt`, as `2025-01-20T18`, in UTC; the latest 1,000 hours with runs",
    "Stats.day": "the runs of each day of `createdAt`, as `2025-01-20`, in UTC; the latest 1,000 days with runs",
    "Stats.duration": "the time from `startTime` to `endTime`, of the runs that have both in this order",
    "RunsOfTime.phase": "the number of runs in each phase",
    "Durations.median": "half of them took at most so long; null if there is none",
    "Durations.p95": "95 % of them took at most so long; null if there is none",
    "ErrorResponse.detail": "one entry for each error",
    "Health.status": "`ok`",
    "Health.version": "the version of flowruns",
}

FALLBACKS = {"RunPost": "FlowRun", "RunPut": "FlowRun"}  # a schema without a text for a field uses that of the other

PARTIAL_RUNS = "With this parameter, each run in the response, or in the stream, has this schema."

EVENTS = """\
Server-sent events, without end: `run` (data: the whole run) after it is created or replaced, `deleted` (data: its \
id), `left` (data: its id) when a run that was sent no longer matches the filters, `resync` (`Last-Event-ID` is not of \
this database: read everything again), `position` (the number to resume from, after 4 seconds without a change) and \
`bye` (the server stops). Each `id` is a change number, to be sent as `Last-Event-ID`."""


def description(schema: str, field: str) -> str | None:
    """The text for *field* of *schema*."""
    return FIELDS.get(f"{schema}.{field}") or FIELDS.get(f"{FALLBACKS.get(schema)}.{field}")
