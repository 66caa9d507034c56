"""/openapi.json (OpenAPI 3.1), made from the Structs that decode bodies and the table that reads queries."""

import re
from functools import lru_cache
from typing import Annotated, Any

from msgspec import Meta, Struct, to_builtins
from msgspec.json import decode, encode, schema_components

from flowruns import __version__, errors, meanings
from flowruns.datafile import SCHEMA_VERSION
from flowruns.errors import Fault, FlowrunsError
from flowruns.filters import FILTERS
from flowruns.models import FlowRun, RunPost, RunPut, Slug
from flowruns.paging import LARGEST_PAGE
from flowruns.settings import RUNS
from flowruns.validation import published

RUN = RUNS + "/{id_}"

Cursor = Annotated[str, Meta(description="opaque; it belongs to its filters and its order")]
PageSize = Annotated[int, Meta(ge=1, le=LARGEST_PAGE)]


class FlowRunPage(Struct, kw_only=True):
    """A page of runs, of one snapshot."""

    items: list[FlowRun]
    total: Annotated[int, Meta(ge=0, description="all runs that the filters match")]
    current_page: Annotated[Cursor | None, Meta(description="gives this page again")]
    current_page_backwards: Annotated[
        Cursor | None, Meta(description="gives the page that ends at this one's last item")
    ]
    previous_page: Annotated[Cursor | None, Meta(description="null on the first page")]
    next_page: Annotated[Cursor | None, Meta(description="null on the last page")]


class Detail(Struct, kw_only=True):
    """One thing that is wrong."""

    loc: Annotated[list[str | int], Meta(description="where, as a path")]
    msg: Annotated[str, Meta(description="what, for a person")]
    type: Annotated[str, Meta(description="what, for a program")]


class Error(Struct, kw_only=True):
    """The one shape of every error."""

    detail: Annotated[list[Detail], Meta(min_length=1, max_length=100)]


class Health(Struct, kw_only=True):
    """What the service says of itself."""

    status: str
    version: str
    schema: Annotated[int, Meta(description="version of the database's schema")]
    runs: Annotated[int, Meta(ge=0, description="how many runs there are")]
    instance: Annotated[str, Meta(description="of this start of the service: another one has another")]


_REF = "#/components/schemas/{name}"
_COMPONENTS = (FlowRunPage, FlowRun, RunPost, RunPut, Error, Health)

_POST_EXAMPLE = {
    "flowId": "deploy-to-production",
    "args": {"repository": "kubewarden/kubewarden-controller", "ref": "main"},
    "tags": [{"key": "environment", "value": "production"}],
}
# A run of shared public CI data: a pull request's title was checked.
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

_ID_EXAMPLE = "example-run"
_TAG_EXAMPLE = "17"  # a change number
_RUN_EXAMPLE = decode(
    encode(decode(encode(_PUT_EXAMPLE), type=RunPut).run(_ID_EXAMPLE, now="2026-01-28T23:05:10.042Z", by=7, kept=None))
)
_EXAMPLES: dict[str, Any] = {
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
    "Health": {
        "status": "ok",
        "version": __version__,
        "schema": SCHEMA_VERSION,
        "runs": 346,
        "instance": "5f0c6d1e7a2b4c39",
    },
}
_EVENTS_EXAMPLE = f"""\
:
id: 16

id: 17
event: run
data: {encode(_RUN_EXAMPLE).decode()}

id: 18
event: deleted
data: {{"id":"{_ID_EXAMPLE}"}}

"""

_ERRORS = {
    "401": "a token is set and the request has none that fits",
    "403": "a host or an origin that is not served",
    "404": "no such run",
    "409": "there is a run with this id",
    "412": "If-Match or If-None-Match does not hold",
    "413": "the body is too large",
    "415": "the body is not declared as application/json",
    "422": "a value breaks a rule; every broken one is named",
    "503": "the database or the server cannot do this now",
}
_ERROR_EXAMPLES: dict[str, FlowrunsError] = {
    "401": errors.Unauthorized(),
    "403": errors.Forbidden(Fault(("header", "host"), "This server is not served under that host", "host_not_allowed")),
    "404": errors.NotFound(_ID_EXAMPLE),
    "409": errors.AlreadyExists(_ID_EXAMPLE),
    "412": errors.PreconditionFailed("If-Match"),
    "413": errors.TooLarge(8 << 20),
    "415": errors.NotJson(),
    "422": errors.Invalid(
        Fault(("body", "flowId"), "Field required", "missing"),
        Fault(("body", "tags", 0, "value"), "Input should be a valid string", "string_type"),
    ),
    "503": errors.Unavailable("The database is locked by another program", retry_after=1),
}


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    return {name: {"description": description, "schema": {"type": "string"}, "example": example}}


_ETAG = _header("ETag", "changes with every write", f'"{_TAG_EXAMPLE}"')
_LOCATION = _header("Location", "the path of the run", f"{RUNS}/{_ID_EXAMPLE}")
_ERROR_HEADERS = {
    "401": _header("WWW-Authenticate", "how to say who you are", "Bearer"),
    "503": _header("Retry-After", "after so many seconds it may work; missing where waiting does not help", "1"),
}


@lru_cache(maxsize=16)
def document(prefix: str = "") -> bytes:
    """The description as JSON, of a service below *prefix*."""
    return encode(_published(_document(prefix)))


def _document(prefix: str) -> dict[str, Any]:
    _, components = schema_components(_COMPONENTS, ref_template=_REF)
    _describe(components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flowruns",
            "version": __version__,
            "summary": "Self-service action runs",
            "description": meanings.SERVICE,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": prefix or "/"}],
        "paths": {
            RUNS: {
                "get": _operation(
                    "getFlowRuns",
                    "A page of runs, newest first, or a stream of their changes",
                    _page_parameters(),
                    _PAGE,
                    "304 401 403 422 503",
                ),
                "post": _operation(
                    "createFlowRun", "Create a run", [], _created("created"), "401 403 409 413 415 422 503", RunPost
                ),
            },
            RUN: {
                "get": _operation(
                    "getFlowRun",
                    "One run, or a stream of its changes",
                    [_id(str), _IF_MATCH, _IF_NONE_MATCH, _LAST_EVENT_ID],
                    _streamed(_one("the run")),
                    "304 401 403 404 412 503",
                ),
                "put": _operation(
                    "upsertFlowRun",
                    "Create or replace a run",
                    [_id(Slug), _IF_MATCH, _IF_NONE_MATCH],
                    {**_one("replaced"), **_created("created")},
                    "401 403 412 413 415 422 503",
                    RunPut,
                ),
                "delete": _operation(
                    "deleteFlowRun",
                    "Delete a run",
                    [_id(Slug), _IF_MATCH, _IF_NONE_MATCH],
                    {"204": {"description": "deleted"}},
                    "401 403 404 412 422 503",
                ),
            },
            "/health": {
                "get": _operation(
                    "getHealth", "Whether runs can be read, and how many there are", [], _HEALTH, "401 403 503"
                )
            },
            "/openapi.json": {
                "get": _operation(
                    "getOpenapi", "This description", [], {"200": _json("OpenAPI 3.1", {"type": "object"})}, "401 403"
                )
            },
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "asked for where a token is set"}
            },
        },
        "security": [{}, {"bearer": []}],
    }


def _operation(
    id: str, summary: str, parameters: list[Any], success: dict[str, Any], others: str, body: type[Struct] | None = None
) -> dict[str, Any]:
    operation = {
        "operationId": id,
        "summary": summary,
        "description": meanings.OPERATIONS[id],
        "parameters": parameters,
        "responses": success | {status: _other(status) for status in others.split()},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return operation


def _other(status: str) -> dict[str, Any]:
    if status == "304":
        return {"description": "If-None-Match fits what is here", "headers": _ETAG}
    detail = [to_builtins(Detail(**fault._asdict())) for fault in _ERROR_EXAMPLES[status].faults]
    response = _json(_ERRORS[status], _ref(Error), **_ERROR_HEADERS.get(status, {}))
    response["content"]["application/json"]["example"] = {"detail": detail}
    return response


def _describe(components: dict[str, Any]) -> None:
    """Gives *components* what msgspec does not know: the meaning of each field, and examples."""
    for name, component in components.items():
        # The headings of the contract are for those who read the code.
        component["description"] = re.sub(r" \(contract, [^)]*\)", "", component["description"])
        for field, schema in component.get("properties", {}).items():
            if meaning := meanings.of(name, field):
                schema["description"] = meaning
        if name in _EXAMPLES:
            component["examples"] = [_EXAMPLES[name]]


def _json(description: str, schema: dict[str, Any], **headers: Any) -> dict[str, Any]:
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}


def _ref(type: type[Struct]) -> dict[str, Any]:
    return {"$ref": _REF.format(name=type.__name__)}


def _schema(type: Any) -> dict[str, Any]:
    (found,), _ = schema_components((type,), ref_template=_REF)
    return found


def _one(description: str) -> dict[str, Any]:
    return {"200": _json(description, _ref(FlowRun), **_ETAG)}


def _created(description: str) -> dict[str, Any]:
    return {"201": _json(description, _ref(FlowRun), **_ETAG, **_LOCATION)}


def _streamed(success: dict[str, Any]) -> dict[str, Any]:
    """*success*, which is a stream of server-sent events to who asks for that."""
    events = {"schema": {"type": "string", "description": meanings.EVENTS}, "example": _EVENTS_EXAMPLE}
    return success | {"200": success["200"] | {"content": success["200"]["content"] | {"text/event-stream": events}}}


_PAGE = _streamed({"200": _json("the page", _ref(FlowRunPage), **_ETAG)})
_HEALTH = {"200": _json("it is well", _ref(Health))}


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"in": place, "name": name, "required": place == "path", "schema": schema, "description": description}


def _tags(name: str, description: str) -> dict[str, Any]:
    return _parameter("header", name, {"type": "string", "examples": [f'"{_TAG_EXAMPLE}"']}, description)


_IF_MATCH = _tags("If-Match", "only if the run has one of these entity tags, or `*` for any")
_IF_NONE_MATCH = _tags("If-None-Match", "only if what is here has none of these entity tags, or `*` for any")
_LAST_EVENT_ID = _parameter(
    "header",
    "Last-Event-ID",
    {"type": "string", "examples": [_TAG_EXAMPLE]},
    "of a stream: the change number that it goes on after; `0` tells all there is",
)


def _id(type: Any) -> dict[str, Any]:
    return _parameter("path", "id_", {**_schema(type), "examples": [_ID_EXAMPLE]}, "the run's id")


def _page_parameters() -> list[dict[str, Any]]:
    filters = [
        _parameter("query", filter.name, {"type": "array", "items": _schema(filter.type), "maxItems": 100},
                   f"{filter.meaning}; repeated: {'any' if filter.several == ' or ' else 'all'} of them")
        for filter in FILTERS
    ]  # fmt: skip
    return [
        _parameter("query", "cursor", _schema(Cursor), "from any of the four cursor fields of a page"),
        _parameter("query", "size", {**_schema(PageSize), "default": 50}, "at most so many runs"),
        _parameter("query", "order", {"enum": ["desc", "asc"], "default": "desc"}, "newest or oldest first"),
        *filters,
        _IF_NONE_MATCH,
        _LAST_EVENT_ID,
    ]


def _published(node: Any) -> Any:
    """*node* with its patterns as JSON Schema reads them."""
    if isinstance(node, dict):
        return {key: published(value) if key == "pattern" else _published(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_published(item) for item in node]
    return node
