"""The query parameters that filter runs: their names and types. Their SQL is in `store/filters.py`."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from flowruns.errors import ErrorDetail
from flowruns.model.datetimes import parse_datetime
from flowruns.model.error_details import Loc
from flowruns.model.runs import DateTime, FlowType, Identifier, Int64, Slug
from flowruns.model.validation import check_text

TagPair = Annotated[str, Meta(pattern=r"\A[^:]*:")]  # the key ends at the first colon
Value = str | int | tuple[str, str]  # a tag is a key and a value

MAX_VALUES = 100  # of one parameter; SQLite limits the depth of an expression to 1,000


class Filter(NamedTuple):
    """One query parameter. A run has to match any or all of *several* values."""

    name: str
    type: Any
    several: Literal["any", "all"]
    description: str


# The most selective first, as a page scans the index of the first filter in its query.
FILTERS = (
    Filter("flowId", Slug, "any", "runs of this flow"),
    Filter("createdBy", Int64, "any", "runs that this user id created"),
    Filter("tag", TagPair, "all", "runs with this tag; the key ends at the first colon"),
    Filter("phase", Identifier, "any", "runs in this phase"),
    Filter("flowType", FlowType, "any", "runs of this type"),
    Filter("createdAfter", DateTime, "all", "runs created later than this"),
    Filter("createdBefore", DateTime, "all", "runs created earlier than this"),
)


class FilterValues(NamedTuple):
    """The values of one filter in a query."""

    filter: Filter
    values: list[Value]


def parse_filters(query: Iterable[tuple[str, str]], details: list[ErrorDetail]) -> list[FilterValues]:
    """The valid filters in *query*, in the order of `FILTERS`; the errors of others are appended to *details*. Other
    parameters are ignored.
    """
    texts_by_name: dict[str, list[str]] = {}
    for name, text in query:
        texts_by_name.setdefault(name, []).append(text)
    parsed = []
    for filter in FILTERS:
        texts, loc = texts_by_name.get(filter.name, []), ("query", filter.name)
        errors = [detail for text in texts[:MAX_VALUES] for detail in _errors(text, filter.type, loc)]
        if len(texts) > MAX_VALUES:
            errors.append(ErrorDetail(loc, f"Input should have at most {MAX_VALUES} values", "too_long"))
        details += errors
        if texts and not errors:
            parsed.append(FilterValues(filter, [_value(text, filter.type) for text in texts]))
    return parsed


def integer(text: str, loc: Loc) -> int | ErrorDetail:
    """The integer in *text*, of ASCII digits, or the error detail."""
    if re.fullmatch(r"[+-]?\d{1,1000}", text, re.ASCII):
        return int(text)
    return ErrorDetail(loc, "Input should be a valid integer, unable to parse string as an integer", "int_parsing")


def _errors(text: str, type: Any, loc: Loc) -> list[ErrorDetail]:
    if type is Int64:
        number = integer(text, loc)
        return [number] if isinstance(number, ErrorDetail) else []
    details = check_text(_unescaped(text) if type is DateTime else text, type, loc)
    return [detail._replace(msg="Input should be key:value") for detail in details] if type is TagPair else details


def _value(text: str, type: Any) -> Value:
    if type is Int64:
        return int(text)
    if type is TagPair:
        key, _, value = text.partition(":")
        return key, value
    if type is DateTime:
        return parse_datetime(_unescaped(text))
    return text


def _unescaped(text: str) -> str:
    """*text* with the `+` of its offset, which arrives as a space if the client did not escape it."""
    return re.sub(r" (\d\d:\d\d)\Z", r"+\1", text)
