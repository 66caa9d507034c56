"""The parameters of operations in /openapi.json."""

from typing import Any

from flowruns.http.openapi.schemas import ID_EXAMPLE, TAG_EXAMPLE, Cursor, PageSize, schema_of
from flowruns.http.requests import LAST_EVENT_ID
from flowruns.model.fields import FIELDS
from flowruns.model.filters import FILTERS, MAX_VALUES
from flowruns.model.runs import Slug
from flowruns.store.stats import COUNTED_FIELDS, STATS_FIELDS


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"in": place, "name": name, "required": place == "path", "schema": schema, "description": description}


def _entity_tags(name: str, description: str) -> dict[str, Any]:
    return _parameter("header", name, {"type": "string", "examples": [f'"{TAG_EXAMPLE}"']}, description)


def _names(names: list[str], description: str) -> dict[str, Any]:
    return _parameter("query", "fields", {"type": "array", "items": {"type": "string", "enum": names}}, description)


def _id(type: Any) -> dict[str, Any]:
    return _parameter("path", "id_", {**schema_of(type), "examples": [ID_EXAMPLE]}, "the run's id")


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

_ORDER = {"type": "string", "enum": ["desc", "asc"], "default": "desc"}

FIELDS_OF_RUNS = _names(
    list(FIELDS), "the fields of each run in the response, also separated by commas; without it, all but the counts"
)

_FIELDS_OF_STATS = _names(
    [*STATS_FIELDS, *COUNTED_FIELDS],
    "the fields of the response, also separated by commas; without it, all but `hour`, `day` and `duration`",
)


def _filters() -> list[dict[str, Any]]:
    return [
        _parameter(
            "query",
            filter.name,
            {"type": "array", "items": schema_of(filter.type), "maxItems": MAX_VALUES},
            f"{filter.description}; if repeated, runs that match {filter.several} of the values",
        )
        for filter in FILTERS
    ]


def of_pages() -> list[dict[str, Any]]:
    """The parameters of a page of runs, or of their stream."""
    return [
        _parameter("query", "cursor", schema_of(Cursor), "any of the four cursors of a page"),
        _parameter("query", "size", {**schema_of(PageSize), "default": 50}, "the maximum number of runs on the page"),
        _parameter("query", "order", _ORDER, "newest or oldest first"),
        *_filters(),
        _LAST_EVENT_ID_IN_QUERY,
        _IF_NONE_MATCH,
        _LAST_EVENT_ID,
    ]


def of_reads() -> list[dict[str, Any]]:
    """The parameters of GET of a run, whose id may be off the pattern, or of its stream."""
    return [_id(str), _LAST_EVENT_ID_IN_QUERY, _IF_MATCH, _IF_NONE_MATCH, _LAST_EVENT_ID]


def of_writes() -> list[dict[str, Any]]:
    """The parameters of PUT and DELETE of a run."""
    return [_id(Slug), _IF_MATCH, _IF_NONE_MATCH]


def of_stats() -> list[dict[str, Any]]:
    """The parameters of statistics."""
    return [*_filters(), _FIELDS_OF_STATS, _IF_NONE_MATCH]
