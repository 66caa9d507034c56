"""Bytes to a Struct, or every error by its place (`flowruns/docs/api.md`, "Errors")."""

import re
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, ValidationError
from msgspec.json import Decoder

from flowruns.errors import ErrorDetail, Invalid
from flowruns.model.error_details import MAX_ITEMS, Checker, Loc, type_info
from flowruns.model.json_errors import NOT_JSON, not_json
from flowruns.model.json_items import object_fields

T = TypeVar("T")

MAX_DETAILS = 100

_decoder: Any = cache(Decoder)  # of a type


def decode(body: bytes, type: type[T]) -> T:
    """*body* as a *type*. Raises Invalid, which names every wrong field, or where the JSON breaks.

    It takes a second for 8 MiB of log lines.
    """
    kind: Any = type
    try:
        # msgspec accepts bytes that are not UTF-8 wherever it keeps or skips a value.
        body.decode()
        decoded: T = _decoder(kind).decode(body)
        return decoded
    except ValidationError as error:
        raise Invalid(*_error_details(body, kind, error)) from None
    except NOT_JSON as error:
        raise Invalid(not_json(body, error)) from None


def text_field(body: bytes, name: str) -> str | None:
    """The text *name* in a *body* that was refused; None if there is none."""
    try:
        body.decode()
        value = object_fields(Raw(body), [name]).get(name)
        return None if value is None else msgspec.json.decode(value, type=str)
    except NOT_JSON:
        return None


def check_text(text: str, type: Any, loc: Loc) -> list[ErrorDetail]:
    """The errors of *text*, from a path or a query, which should be a *type*."""
    return list(Checker({}).value(Raw(msgspec.json.encode(text)), type_info(type), loc))


def limit_details(details: list[ErrorDetail]) -> list[ErrorDetail]:
    """At most 100 *details*; if there are more, the last one says so."""
    if len(details) <= MAX_DETAILS:
        return details
    more = ErrorDetail(details[0].loc[:1], f"There are more errors than these {MAX_DETAILS - 1}", "too_many_errors")
    return [*details[: MAX_DETAILS - 1], more]


def _error_details(body: bytes, kind: Any, first: ValidationError) -> list[ErrorDetail]:
    try:
        msgspec.json.decode(body, type=Raw)  # msgspec stopped at the first error: the rest may not be JSON
    except NOT_JSON as error:
        return [not_json(body, error)]
    first_loc, first_msg = _parsed(first)
    starts = {first_loc[:at]: part for at, part in enumerate(first_loc) if isinstance(part, int)}
    checker = Checker(starts)
    details = list(islice(checker.value(Raw(body), type_info(kind), ("body",)), MAX_DETAILS + 1))
    if not details:  # in the first of two equal keys: the checker sees only the last one
        details = [ErrorDetail(first_loc, first_msg, "value_error")]
    if checker.exhausted:
        msg = f"There may be more errors: {MAX_ITEMS} items of lists were checked"
        details.append(ErrorDetail(("body",), msg, "too_many_errors"))
    return limit_details(details)


def _parsed(error: ValidationError) -> tuple[Loc, str]:
    """The place and the message of *error*, which msgspec writes as `message - at `$.logs[3].level``."""
    msg, _, path = str(error).partition(" - at `$")
    return ("body", *(int(part) if part.isdigit() else part for part in re.findall(r"\w+", path))), msg
