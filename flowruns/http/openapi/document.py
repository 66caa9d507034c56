"""/openapi.json (OpenAPI 3.1), generated from the Structs that decode bodies and the table of filters."""

from functools import lru_cache
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.json import encode, schema_components

from flowruns.http.openapi import descriptions, parameters
from flowruns.http.openapi.schemas import (
    ERROR_EXAMPLES,
    ERRORS,
    EVENTS_EXAMPLE,
    EXAMPLES,
    ID_EXAMPLE,
    REF,
    TAG_EXAMPLE,
    Detail,
    ErrorResponse,
    FlowRunPage,
    Health,
    Stats,
)
from flowruns.http.tokens import SESSION
from flowruns.model.error_details import published
from flowruns.model.fields import FIELDS, ActionCounts, LogCounts
from flowruns.model.runs import FlowRun, RunPost, RunPut
from flowruns.settings import RUNS, STATS
from flowruns.version import __version__

RUN = RUNS + "/{id_}"

# Extensions of a response:
EVENT_STREAM = "x-event-stream"  # with the content of a media type
PARTIAL_RUNS = "x-fields"  # with a parameter, and with the schema of runs in the response if it is sent

_COMPONENTS = (FlowRunPage, FlowRun, Stats, RunPost, RunPut, ErrorResponse, Health)

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
    _, components = schema_components(_COMPONENTS, ref_template=REF)
    _describe(components)
    partial = _partial_run(components["FlowRun"])
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
                    parameters.of_pages(),
                    _extended(_json("the page", _ref(FlowRunPage), **_ETAG), partial),
                    "304 401 403 422 503",
                ),
                "post": _operation(
                    "createFlowRun", "Create a run", [], _CREATED, "401 403 409 413 415 422 503", RunPost
                ),
            },
            RUN: {
                "get": _operation(
                    "getFlowRun",
                    "One run, or a stream of its changes",
                    parameters.of_reads(),
                    _extended(_json("the run", _ref(FlowRun), **_ETAG), partial),
                    "304 401 403 404 412 422 503",
                ),
                "put": _operation(
                    "upsertFlowRun",
                    "Create or replace a run",
                    parameters.of_writes(),
                    {"200": _json("replaced", _ref(FlowRun), **_ETAG), **_CREATED},
                    "401 403 412 413 415 422 503",
                    RunPut,
                ),
                "delete": _operation(
                    "deleteFlowRun",
                    "Delete a run",
                    parameters.of_writes(),
                    {"204": {"description": "deleted"}},
                    "401 403 404 412 422 503",
                ),
            },
            STATS: {
                "get": _operation(
                    "getStats",
                    "The number of runs with each phase, flow, type and tag",
                    parameters.of_stats(),
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
        component["description"] = descriptions.SCHEMAS.get(name, component.get("description"))
        for field, schema in component.get("properties", {}).items():
            if text := descriptions.description(name, field):
                schema["description"] = text
        if name in EXAMPLES:
            component["examples"] = [EXAMPLES[name]]


def _partial_run(run: dict[str, Any]) -> dict[str, Any]:
    """The schema of a run with some of its fields, and with counts. No component, because no operation refers to it."""
    _, schemas = schema_components(_COUNTS.values(), ref_template=REF)
    counts = {name: {"anyOf": [schemas[type.__name__], {"type": "null"}]} for name, type in _COUNTS.items()}
    properties = {name: counts.get(name) or run["properties"][name] for name in FIELDS}
    partial = {"title": "PartialFlowRun", "type": "object", "properties": properties}
    _describe(schemas | {"PartialFlowRun": partial})
    return partial


def _json(description: str, schema: dict[str, Any], **headers: Any) -> dict[str, Any]:
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}


def _ref(type: type[Struct]) -> dict[str, Any]:
    return {"$ref": REF.format(name=type.__name__)}


def _extended(response: dict[str, Any], partial_run: dict[str, Any]) -> dict[str, Any]:
    """*response*, or what the client may ask for instead: a stream of server-sent events, or runs with some of their
    fields. As a second media type, and as a parameter, they would make generated clients return a union of types.
    """
    events = {"schema": {"type": "string", "description": descriptions.EVENTS}, "example": EVENTS_EXAMPLE}
    fields = {
        "description": descriptions.PARTIAL_RUNS,
        "parameter": parameters.FIELDS_OF_RUNS,
        "schema": partial_run,
    }
    return {"200": response | {EVENT_STREAM: events, PARTIAL_RUNS: fields}}


_CREATED = {"201": _json("created", _ref(FlowRun), **_ETAG, **_LOCATION)}

_HEALTH = {"200": _json("ok", _ref(Health))}


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
