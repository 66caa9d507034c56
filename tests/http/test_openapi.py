"""/openapi.json says what the service does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from msgspec import Struct
from msgspec.structs import fields
from starlette.applications import Starlette

from flowruns.http import static
from flowruns.http.endpoints import Endpoint
from flowruns.http.openapi import descriptions
from flowruns.http.openapi.document import document
from flowruns.http.openapi.schemas import ErrorResponse, FlowRunPage, Health, Stats
from flowruns.model.fields import FIELDS as ALL
from flowruns.model.filters import FILTERS
from flowruns.model.runs import FlowRun, RunPost, RunPut
from flowruns.model.validation import decode
from tests.conftest import RUNS
from tests.test_contract import FIELDS

DOCUMENT: dict[str, Any] = json.loads(document())
PARTIAL = DOCUMENT["paths"][RUNS]["get"]["responses"]["200"]["x-fields"]["schema"]
PARTIAL_SCHEMAS = {
    "PartialFlowRun": PARTIAL,
    "ActionCounts": PARTIAL["properties"]["actionCounts"]["anyOf"][0],
    "LogCounts": PARTIAL["properties"]["logCounts"]["anyOf"][0],
}
DESCRIBED = DOCUMENT["components"]["schemas"] | PARTIAL_SCHEMAS


async def test_it_is_served(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json")
    assert response.json() == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1.")


async def test_paths_and_methods_are_those_of_the_routes(app: Starlette) -> None:
    served = {}
    for route in app.routes[: -len(static.routes())]:  # the page is for people
        endpoint = route.endpoint  # type: ignore[attr-defined]  # all are `Path`s
        assert isinstance(endpoint, Endpoint)
        served[route.path] = set(endpoint._operations) - {"HEAD"}  # type: ignore[attr-defined]  # as above
    assert {path: {method.upper() for method in item} for path, item in DOCUMENT["paths"].items()} == served


def test_a_run_has_every_field_and_requires_it() -> None:
    schema = DOCUMENT["components"]["schemas"]["FlowRun"]
    assert list(schema["properties"]) == schema["required"] == FIELDS


def test_every_filter_is_a_parameter() -> None:
    names = {parameter["name"] for parameter in DOCUMENT["paths"][RUNS]["get"]["parameters"]}
    assert {filter.name for filter in FILTERS} | {"cursor", "size", "order"} <= names


@pytest.mark.parametrize("path", [RUNS, f"{RUNS}/{{id_}}"])
def test_streams_are_of_the_same_operations(path: str) -> None:
    operation = DOCUMENT["paths"][path]["get"]
    response = operation["responses"]["200"]
    assert set(response["content"]) == {"application/json"}  # with two, generated clients return a union
    assert {"schema", "example"} == set(response["x-event-stream"])
    names = [(one["in"], one["name"]) for one in operation["parameters"]]
    assert {("header", "Last-Event-ID"), ("query", "lastEventId")} <= set(names)


@pytest.mark.parametrize(("path", "schema"), [(RUNS, "FlowRunPage"), (f"{RUNS}/{{id_}}", "FlowRun")])
def test_generated_clients_return_whole_runs(path: str, schema: str) -> None:
    """With `fields` as a parameter they would return a union, in which no field is certain."""
    operation = DOCUMENT["paths"][path]["get"]
    response = operation["responses"]["200"]
    assert response["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{schema}"}
    assert DOCUMENT["components"]["schemas"]["FlowRunPage"]["properties"]["items"]["items"] == {
        "$ref": "#/components/schemas/FlowRun"
    }
    assert "fields" not in [one["name"] for one in operation["parameters"]]
    extension = response["x-fields"]
    assert extension["parameter"]["schema"]["items"]["enum"] == list(extension["schema"]["properties"]) == list(ALL)
    assert "required" not in extension["schema"]


def test_every_schema_is_used_by_an_operation() -> None:
    """Linters warn of others, and generators write types that nothing returns."""
    used, unseen = set[str](), [DOCUMENT["paths"]]
    while unseen:
        names = {node["$ref"].rpartition("/")[2] for node in nodes(without_extensions(unseen.pop())) if "$ref" in node}
        unseen += [DOCUMENT["components"]["schemas"][name] for name in names - used]
        used |= names
    assert used == set(DOCUMENT["components"]["schemas"])


def without_extensions(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: without_extensions(value) for key, value in node.items() if not key.startswith("x-")}
    return [without_extensions(one) for one in node] if isinstance(node, list) else node


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """All objects in *node*."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def test_generated_clients_keep_the_content_of_args_and_outputs() -> None:
    for name in ("FlowRun", "RunPost", "RunPut"):
        properties = DOCUMENT["components"]["schemas"][name]["properties"]
        for field in {"args", "outputs"} & set(properties):
            assert properties[field]["type"] == ["object", "null"]
            assert properties[field]["additionalProperties"] is True


def test_generated_clients_send_no_null_for_what_is_omitted() -> None:
    assert [node for node in nodes(DOCUMENT) if node.get("default", ...) is None] == []


def test_every_enum_has_its_type() -> None:
    enums = [node for node in nodes(DOCUMENT) if "enum" in node and "in" not in node]
    assert len(enums) > 2
    assert all(node.get("type") == "string" for node in enums)


def test_ids_of_users_have_64_bits() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for field in ("createdBy", "updatedBy", "reviewedBy"):
        assert {"type": "integer", "format": "int64"} in schemas["FlowRun"]["properties"][field]["anyOf"]
    (creator,) = [one for one in DOCUMENT["paths"][RUNS]["get"]["parameters"] if one["name"] == "createdBy"]
    assert creator["schema"]["items"] == {"type": "integer", "format": "int64"}


def test_names_of_schemas_shadow_nothing_and_operations_have_tags() -> None:
    assert not {"Error", "Response", "Request", "Event"} & set(DOCUMENT["components"]["schemas"])
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            assert set(operation["tags"]) <= tags
            assert len(operation["tags"]) == 1
    assert DOCUMENT["info"]["contact"]


def test_patterns_are_written_as_json_schema_reads_them() -> None:
    text = document().decode()
    assert "^([a-z0-9_.-]+)$" in text
    assert r"\\A" not in text
    assert r"\\Z" not in text


def test_every_reference_leads_somewhere() -> None:
    for name in re.findall(r'"\$ref":"([^"]*)"', document().decode()):
        assert name.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]


def test_every_operation_schema_field_parameter_and_header_is_described() -> None:
    bare = [
        f"{name}.{field}"
        for name, schema in DESCRIBED.items()
        for field, value in schema.get("properties", {}).items()
        if not value.get("description")
    ]
    bare += [name for name, schema in DESCRIBED.items() if not schema.get("description")]
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            described = [operation, *operation["parameters"], *operation["responses"].values()]
            described += [
                header
                for response in operation["responses"].values()
                for header in response.get("headers", {}).values()
            ]
            bare += [operation["operationId"] for one in described if not one.get("description")]
    assert bare == []


def test_every_description_is_used() -> None:
    found = {f"{name}.{field}" for name, schema in DESCRIBED.items() for field in schema.get("properties", {})}
    assert set(descriptions.FIELDS) <= found
    assert set(descriptions.SCHEMAS) <= set(DESCRIBED)
    assert set(descriptions.OPERATIONS) == {
        one["operationId"] for item in DOCUMENT["paths"].values() for one in item.values()
    }


@pytest.mark.parametrize("model", [FlowRunPage, FlowRun, RunPost, RunPut, ErrorResponse, Health, Stats])
def test_examples_are_what_they_are_examples_of(model: type[Struct]) -> None:
    errors = [
        response["content"]["application/json"]["example"]
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if status >= "400"
    ]
    shown = errors if model is ErrorResponse else DOCUMENT["components"]["schemas"][model.__name__]["examples"]
    assert shown
    for example in shown:
        decode(json.dumps(example).encode(), model)
        assert model in (RunPost, RunPut) or list(example) == [field.encode_name for field in fields(model)]


@pytest.mark.parametrize(("model", "method", "target"), [("RunPost", "POST", RUNS), ("RunPut", "PUT", f"{RUNS}/x")])
async def test_its_examples_are_taken(client: httpx.AsyncClient, model: str, method: str, target: str) -> None:
    for example in DOCUMENT["components"]["schemas"][model]["examples"]:
        assert (await client.request(method, target, json=example)).status_code == 201
