"""The query parameters that filter runs: their names and types. Their SQL is `store.filters`."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from flowruns.errors import Fault
from flowruns.model.datetimes import instant
from flowruns.model.runs import FlowType, Instant, Slug, Word
from flowruns.model.validation import Loc, text_faults

TagPair = Annotated[str, Meta(pattern=r"\A[^:]*:")]  # the key ends at the first colon
Value = str | int | tuple[str, str]  # a tag is a key and a value

MOST_VALUES = 100  # of one parameter; SQLite refuses expressions deeper than 1,000


class Filter(NamedTuple):
    """One query parameter. Several values mean *any* of them, or *all*."""

    name: str
    type: Any
    several: Literal["any", "all"]
    meaning: str


# Ordered by how few runs one value leaves: pages walk the index of the first filter that a query names.
FILTERS = (
    Filter("flowId", Slug, "any", "runs of this flow"),
    Filter("createdBy", int, "any", "runs that this user id created"),
    Filter("tag", TagPair, "all", "runs with this tag; the key ends at the first colon"),
    Filter("phase", Word, "any", "runs in this phase"),
    Filter("flowType", FlowType, "any", "runs of this type"),
    Filter("createdAfter", Instant, "all", "runs created later than this"),
    Filter("createdBefore", Instant, "all", "runs created earlier than this"),
)


class FilterValues(NamedTuple):
    """The values of one filter in a query."""

    filter: Filter
    values: list[Value]


def parse_filters(query: Iterable[tuple[str, str]], faults: list[Fault]) -> list[FilterValues]:
    """The filters in *query*, in the order of `FILTERS`; other parameters are ignored. Appends to *faults*."""
    sent: dict[str, list[str]] = {}
    for name, text in query:
        sent.setdefault(name, []).append(text)
    parsed = []
    for filter in FILTERS:
        texts, loc = sent.get(filter.name, []), ("query", filter.name)
        wrong = [fault for text in texts[:MOST_VALUES] for fault in _faults(text, filter.type, loc)]
        if len(texts) > MOST_VALUES:
            wrong.append(Fault(loc, f"Input should have at most {MOST_VALUES} values", "too_long"))
        faults += wrong
        if texts and not wrong:
            parsed.append(FilterValues(filter, [_value(text, filter.type) for text in texts]))
    return parsed


def integer(text: str, loc: Loc) -> int | Fault:
    """The number that *text* is, in ASCII digits; else the fault."""
    if re.fullmatch(r"[+-]?\d{1,1000}", text, re.ASCII):
        return int(text)
    return Fault(loc, "Input should be a valid integer, unable to parse string as an integer", "int_parsing")


def _faults(text: str, type: Any, loc: Loc) -> list[Fault]:
    if type is int:
        number = integer(text, loc)
        return [number] if isinstance(number, Fault) else []
    faults = text_faults(_unescaped(text) if type is Instant else text, type, loc)
    return [fault._replace(msg="Input should be key:value") for fault in faults] if type is TagPair else faults


def _value(text: str, type: Any) -> Value:
    if type is int:
        return int(text)
    if type is TagPair:
        key, _, value = text.partition(":")
        return key, value
    if type is Instant:
        return instant(_unescaped(text))
    return text


def _unescaped(text: str) -> str:
    """*text* with the `+` of an offset that arrived as a space, since the client did not escape it."""
    return re.sub(r" (\d\d:\d\d)\Z", r"+\1", text)
