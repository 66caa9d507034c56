"""/openapi.json (OpenAPI 3.1), generated from the Structs that decode bodies and the table of filters."""

from functools import lru_cache
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.json import encode, schema_components

from flowruns.http.openapi import descriptions
from flowruns.http.openapi.schemas import (
    ERROR_EXAMPLES,
    ERRORS,
    EVENTS_EXAMPLE,
    EXAMPLES,
    ID_EXAMPLE,
    TAG_EXAMPLE,
    Cursor,
    Detail,
    ErrorResponse,
    FlowRunPage,
    Health,
    PageSize,
    Stats,
)
from flowruns.http.requests import LAST_EVENT_ID
from flowruns.http.tokens import SESSION
from flowruns.model.error_details import published
from flowruns.model.fields import FIELDS, ActionCounts, LogCounts
from flowruns.model.filters import FILTERS, MAX_VALUES
from flowruns.model.runs import FlowRun, RunPost, RunPut, Slug
from flowruns.settings import RUNS, STATS
from flowruns.store.stats import COUNTED_FIELDS, STATS_FIELDS
from flowruns.version import __version__

RUN = RUNS + "/{id_}"

EVENT_STREAM = "x-event-stream"  # an extension of a response, with the content of a media type

_REF = "#/components/schemas/{name}"

_COMPONENTS = (FlowRunPage, FlowRun, ActionCounts, LogCounts, Stats, RunPost, RunPut, ErrorResponse, Health)

_COUNTS: dict[str, type[Struct]] = {"actionCounts": ActionCounts, "logCounts": LogCounts}


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    return {name: {"description": description, "schema": {"type": "string"}, "example": example}}


_ETAG = _header("ETag", "changes with each write", f'"{TAG_EXAMPLE}"')

_LOCATION = _header("Location", "the path of the run", f"{RUNS}/{ID_EXAMPLE}")

_SET_COOKIE = _header("Set-Cookie", "absent if the server has no tokens", "flowruns-8000=…; HttpOnly; SameSite=Strict")

_ERROR_HEADERS = {
    "401": _header("WWW-Authenticate", "the authentication scheme", "Bearer"),
    "503": _header("Retry-After", "seconds after which to retry; absent if retrying does not help", "1"),
}


@lru_cache(maxsize=16)
def document(prefix: str = "") -> bytes:
    """The description as JSON, for a service mounted at *prefix*."""
    return encode(_published(_document(prefix)))


def _document(prefix: str) -> dict[str, Any]:
    _, components = schema_components(_COMPONENTS, ref_template=_REF)
    components["PartialFlowRun"] = _partial(components["FlowRun"])
    components["FlowRunPage"]["properties"]["items"]["items"] = _RUN_OR_FIELDS
    _describe(components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flowruns",
            "version": __version__,
            "summary": "Self-service action runs",
            "description": descriptions.SERVICE,
            "contact": {"name": "The flowruns maintainers"},
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
                    [_id(str), _FIELDS, _LAST_EVENT_ID_IN_QUERY, _IF_MATCH, _IF_NONE_MATCH, _LAST_EVENT_ID],
                    _streamed({"200": _json("the run", _RUN_OR_FIELDS, **_ETAG)}),
                    "304 401 403 404 412 422 503",
                ),
                "put": _operation(
                    "upsertFlowRun",
                    "Create or replace a run",
                    [_id(Slug), _IF_MATCH, _IF_NONE_MATCH],
                    {**_found("replaced"), **_created("created")},
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
            STATS: {
                "get": _operation(
                    "getStats",
                    "The number of runs with each phase, flow, type and tag",
                    [*_filters(), _STATS_FIELDS, _IF_NONE_MATCH],
                    {"200": _json("the numbers", _ref(Stats), **_ETAG)},
                    "304 401 403 422 503",
                )
            },
            SESSION: {
                "post": _operation(
                    "createSession",
                    "Exchange a token for a cookie",
                    [],
                    {"204": {"description": "the cookie is set", "headers": _SET_COOKIE}},
                    "401 403",
                ),
                "delete": _operation(
                    "deleteSession",
                    "Remove the cookie",
                    [],
                    {"204": {"description": "the cookie is removed", "headers": _SET_COOKIE}},
                    "403",
                ),
            },
            "/health": {
                "get": _operation(
                    "getHealth", "Whether the service works, and the number of runs", [], _HEALTH, "401 403 503"
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
                "bearer": {"type": "http", "scheme": "bearer", "description": "required if the server has tokens"}
            },
        },
        "security": [{}, {"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in descriptions.TAGS.items()],
    }


def _operation(
    id: str, summary: str, parameters: list[Any], success: dict[str, Any], errors: str, body: type[Struct] | None = None
) -> dict[str, Any]:
    operation = {
        "operationId": id,
        "tags": ["flow-runs" if "FlowRun" in id or id == "getStats" else "service"],
        "summary": summary,
        "description": descriptions.OPERATIONS[id],
        "parameters": parameters,
        "responses": success | {status: _error(status) for status in errors.split()},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return operation


def _error(status: str) -> dict[str, Any]:
    if status == "304":
        return {"description": "If-None-Match matches the current ETag", "headers": _ETAG}
    detail = [to_builtins(Detail(**detail._asdict())) for detail in ERROR_EXAMPLES[status].details]
    response = _json(ERRORS[status], _ref(ErrorResponse), **_ERROR_HEADERS.get(status, {}))
    response["content"]["application/json"]["example"] = {"detail": detail}
    return response


def _describe(components: dict[str, Any]) -> None:
    """Adds descriptions and examples to *components*."""
    for name, component in components.items():
        component["description"] = descriptions.SCHEMAS[name]
        for field, schema in component.get("properties", {}).items():
            if text := descriptions.description(name, field):
                schema["description"] = text
        if name in EXAMPLES:
            component["examples"] = [EXAMPLES[name]]


def _partial(run: dict[str, Any]) -> dict[str, Any]:
    """The schema of a run with some of its fields, and with counts."""
    properties = {name: _nullable(_COUNTS[name]) if name in _COUNTS else run["properties"][name] for name in FIELDS}
    return {"title": "PartialFlowRun", "type": "object", "properties": {name: {**properties[name]} for name in FIELDS}}


def _nullable(type: type[Struct]) -> dict[str, Any]:
    return {"anyOf": [_ref(type), {"type": "null"}]}


def _json(description: str, schema: dict[str, Any], **headers: Any) -> dict[str, Any]:
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}


def _ref(type: type[Struct]) -> dict[str, Any]:
    return {"$ref": _REF.format(name=type.__name__)}


def _schema(type: Any) -> dict[str, Any]:
    (schema,), _ = schema_components((type,), ref_template=_REF)
    return schema


_RUN_OR_FIELDS = {"anyOf": [_ref(FlowRun), {"$ref": _REF.format(name="PartialFlowRun")}]}


def _found(description: str) -> dict[str, Any]:
    return {"200": _json(description, _ref(FlowRun), **_ETAG)}


def _created(description: str) -> dict[str, Any]:
    return {"201": _json(description, _ref(FlowRun), **_ETAG, **_LOCATION)}


def _streamed(success: dict[str, Any]) -> dict[str, Any]:
    """*success*, or a stream of server-sent events if the client prefers one. The stream is no second media type, for
    which generated clients return a union of both.
    """
    events = {"schema": {"type": "string", "description": descriptions.EVENTS}, "example": EVENTS_EXAMPLE}
    return success | {"200": success["200"] | {EVENT_STREAM: events}}


_PAGE = _streamed({"200": _json("the page", _ref(FlowRunPage), **_ETAG)})

_HEALTH = {"200": _json("ok", _ref(Health))}


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"in": place, "name": name, "required": place == "path", "schema": schema, "description": description}


def _entity_tags(name: str, description: str) -> dict[str, Any]:
    return _parameter("header", name, {"type": "string", "examples": [f'"{TAG_EXAMPLE}"']}, description)


_IF_MATCH = _entity_tags("If-Match", "proceed only if the ETag of the run is one of these; `*` matches any")

_IF_NONE_MATCH = _entity_tags("If-None-Match", "proceed only if the ETag is none of these; `*` matches any")

_LAST_EVENT_ID = _parameter(
    "header",
    "Last-Event-ID",
    {"type": "string", "examples": [TAG_EXAMPLE]},
    "for a stream: the change number to resume after; `0` sends all runs",
)

_LAST_EVENT_ID_IN_QUERY = _parameter(
    "query", LAST_EVENT_ID, _LAST_EVENT_ID["schema"], "for a stream: as `Last-Event-ID`, which is used if both are sent"
)


_FIELDS = _parameter(
    "query",
    "fields",
    {"type": "array", "items": {"type": "string", "enum": list(FIELDS)}},
    "the fields of each run in the response, also separated by commas; without it, all but the counts",
)


_STATS_FIELDS = _parameter(
    "query",
    "fields",
    {"type": "array", "items": {"type": "string", "enum": [*STATS_FIELDS, *COUNTED_FIELDS]}},
    "the fields of the response, also separated by commas; without it, all but `hour`, `day` and `duration`",
)


def _id(type: Any) -> dict[str, Any]:
    return _parameter("path", "id_", {**_schema(type), "examples": [ID_EXAMPLE]}, "the run's id")


_ORDER = {"type": "string", "enum": ["desc", "asc"], "default": "desc"}


def _filters() -> list[dict[str, Any]]:
    return [
        _parameter(
            "query",
            filter.name,
            {"type": "array", "items": _schema(filter.type), "maxItems": MAX_VALUES},
            f"{filter.description}; if repeated, runs that match {filter.several} of the values",
        )
        for filter in FILTERS
    ]


def _page_parameters() -> list[dict[str, Any]]:
    return [
        _parameter("query", "cursor", _schema(Cursor), "any of the four cursors of a page"),
        _parameter("query", "size", {**_schema(PageSize), "default": 50}, "the maximum number of runs on the page"),
        _parameter("query", "order", _ORDER, "newest or oldest first"),
        _FIELDS,
        *_filters(),
        _LAST_EVENT_ID_IN_QUERY,
        _IF_NONE_MATCH,
        _LAST_EVENT_ID,
    ]


def _published(node: Any) -> Any:
    """*node* as JSON Schema: patterns in its syntax, enums with their type, and no default of null, which generated
    clients would send.
    """
    if isinstance(node, dict):
        if "enum" in node and "properties" not in node:
            node = {"type": "string", **node}
        return {
            key: published(value) if key == "pattern" else _published(value)
            for key, value in node.items()
            if (key, value) != ("default", None)
        }
    if isinstance(node, list | tuple):
        return [_published(item) for item in node]
    return node
