"""The schemas of responses, and the examples, in /openapi.json."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import decode, encode, schema_components

from flowruns import errors
from flowruns.errors import ErrorDetail, FlowrunsError
from flowruns.model.cursors import MAX_PAGE_SIZE
from flowruns.model.runs import FlowRun, RunPut
from flowruns.settings import DEFAULTS
from flowruns.sqlite.datafile import SCHEMA_VERSION
from flowruns.store.stats import MAX_VALUES
from flowruns.version import __version__

Cursor = Annotated[str, Meta(description="opaque; valid only with the filters and the order of its page")]

REF = "#/components/schemas/{name}"

PageSize = Annotated[int, Meta(ge=1, le=MAX_PAGE_SIZE)]


def schema_of(type: Any) -> dict[str, Any]:
    """The JSON Schema of *type*, which is no Struct."""
    (schema,), _ = schema_components((type,), ref_template=REF)
    return schema


class FlowRunPage(Struct, kw_only=True):
    """A page of runs, from one snapshot of the database."""

    items: list[FlowRun]
    total: Annotated[int, Meta(ge=0, description="the number of all runs that match the filters")]
    current_page: Annotated[Cursor | None, Meta(description="returns this page again")]
    current_page_backwards: Annotated[
        Cursor | None, Meta(description="returns the page that ends with the last item of this page")
    ]
    previous_page: Annotated[Cursor | None, Meta(description="null on the first page")]
    next_page: Annotated[Cursor | None, Meta(description="null on the last page")]


_Numbers = Annotated[dict[str, Annotated[int, Meta(ge=1)]], Meta(max_length=MAX_VALUES)]


class RunsOfTime(Struct):
    """The runs that were created in one hour, or on one day."""

    total: Annotated[int, Meta(ge=1, description="the number of runs")]
    phase: _Numbers


_Times = Annotated[dict[str, RunsOfTime], Meta(max_length=MAX_VALUES)]


class Durations(Struct):
    """How long runs took, in seconds."""

    total: Annotated[int, Meta(ge=0, description="the number of runs that have ended after their start")]
    median: float | None
    p95: float | None


class Stats(Struct, kw_only=True):
    """The number of runs with each value."""

    total: Annotated[int, Meta(ge=0, description="the number of all runs that match the filters")] | UnsetType = UNSET
    phase: _Numbers | UnsetType = UNSET
    flowId: _Numbers | UnsetType = UNSET
    flowType: _Numbers | UnsetType = UNSET
    tag: _Numbers | UnsetType = UNSET
    hour: _Times | UnsetType = UNSET
    day: _Times | UnsetType = UNSET
    duration: Durations | UnsetType = UNSET


class Detail(Struct, kw_only=True):
    """One error."""

    loc: Annotated[list[str | int], Meta(description="the place of the error, as a path")]
    msg: Annotated[str, Meta(description="the message for people")]
    type: Annotated[str, Meta(description="the kind of error, for programs")]


class ErrorResponse(Struct, kw_only=True):
    """The body of every error response."""

    detail: Annotated[list[Detail], Meta(min_length=1, max_length=100)]


class Health(Struct, kw_only=True):
    """The state of the service."""

    status: str
    version: str | UnsetType = UNSET  # without a token, where one is set, the status is all
    schema: Annotated[int, Meta(description="the version of the database schema")] | UnsetType = UNSET
    runs: Annotated[int, Meta(ge=0, description="the number of runs")] | UnsetType = UNSET
    instance: Annotated[str, Meta(description="random; different after each start of the service")] | UnsetType = UNSET


_POST_EXAMPLE = {
    "flowId": "deploy-to-production",
    "args": {"repository": "kubewarden/kubewarden-controller", "ref": "main"},
    "tags": [{"key": "environment", "value": "production"}],
}

# From public CI data: a check of the title of a pull request.
_PUT_EXAMPLE = {
    "flowId": "biome.lint-pull-request-titles",
    "flowType": "automation",
    "args": {"repository": "biomejs/biome", "ref": "ci/test", "event": "pull_request_target"},
    "phase": "succeeded",
    "startTime": "2026-01-28T23:04:29Z",
    "endTime": "2026-01-28T23:05:09Z",
    "actions": [
        {
            "id": "Validate PR title",
            "phase": "succeeded",
            "startTime": "2026-01-28T23:04:33Z",
            "endTime": "2026-01-28T23:05:08Z",
        }
    ],
    "outputs": {"conclusion": "success"},
    "logs": [{"timestamp": "2026-01-28T23:04:33Z", "message": "Run title check", "level": "info"}],
    "tags": [{"key": "source", "value": "github-actions"}],
}

ID_EXAMPLE = "example-run"

TAG_EXAMPLE = "17"  # a change number

_RUN_EXAMPLE = decode(
    encode(
        decode(encode(_PUT_EXAMPLE), type=RunPut).run(ID_EXAMPLE, now="2026-01-28T23:05:10.042Z", by=7, preserved=None)
    )
)

EXAMPLES: dict[str, Any] = {
    "FlowRun": _RUN_EXAMPLE,
    "FlowRunPage": {
        "items": [_RUN_EXAMPLE],
        "total": 1,
        "current_page": "AEAAAAAAAAAAoCjxKM4jWm2_4fHM",
        "current_page_backwards": "AQAAAAAAAAACl6aq8fTWdSLcUKFk",
        "previous_page": None,
        "next_page": None,
    },
    "RunPost": _POST_EXAMPLE,
    "RunPut": _PUT_EXAMPLE,
    "Stats": {
        "total": 7,
        "phase": {"succeeded": 4, "failed": 2},
        "flowId": {"deploy-web": 7},
        "flowType": {"automation": 7},
        "tag": {"env:prod": 5, "env:test": 2},
        "hour": {"2025-01-20T18": {"total": 7, "phase": {"succeeded": 4, "failed": 2}}},
        "day": {"2025-01-20": {"total": 7, "phase": {"succeeded": 4, "failed": 2}}},
        "duration": {"total": 6, "median": 12.5, "p95": 40.042},
    },
    "Health": {
        "status": "ok",
        "version": __version__,
        "schema": SCHEMA_VERSION,
        "runs": 346,
        "instance": "5f0c6d1e7a2b4c39",
    },
}

EVENTS_EXAMPLE = f"""\
retry: 500
id: 16
event: position
data: {{}}

id: 17
event: run
data: {encode(_RUN_EXAMPLE).decode()}

id: 18
event: deleted
data: {{"id":"{ID_EXAMPLE}"}}

"""

ERRORS = {
    "401": "the server has tokens, and the request has no valid one",
    "403": "the server does not serve this host or origin",
    "404": "no such run",
    "409": "a run with this id exists",
    "412": "If-Match or If-None-Match does not match the current state",
    "413": "the body is too large",
    "415": "the Content-Type is not application/json",
    "422": "one or more values are invalid; the body names each",
    "503": "the database or the server cannot process the request now",
}

ERROR_EXAMPLES: dict[str, FlowrunsError] = {
    "401": errors.Unauthorized(),
    "403": errors.Forbidden(ErrorDetail(("header", "host"), "This host is not allowed", "host_not_allowed")),
    "404": errors.NotFound(ID_EXAMPLE),
    "409": errors.AlreadyExists(ID_EXAMPLE),
    "412": errors.PreconditionFailed("If-Match"),
    "413": errors.BodyTooLarge(DEFAULTS.max_body),
    "415": errors.UnsupportedMediaType(),
    "422": errors.Invalid(
        ErrorDetail(("body", "flowId"), "Field required", "missing"),
        ErrorDetail(("body", "tags", 0, "value"), "Input should be a valid string", "string_type"),
    ),
    "503": errors.Unavailable("The database is locked by another program", retry_after=1),
}
