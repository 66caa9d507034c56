"""Decoding of a body to a Struct, with an error detail for each broken field (`flowruns/docs/api.md`)."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, ValidationError, inspect
from msgspec.json import Decoder

from flowruns.errors import ErrorDetail, Invalid
from flowruns.model.datetimes import RuleViolation
from flowruns.model.json_errors import NOT_JSON, not_json

T = TypeVar("T")

Loc = tuple[str | int, ...]

PATTERN_WORDS = {  # as published
    "^([a-z0-9_.-]+)$": "lower-case letters, digits, '_', '.' and '-'",
    "^[A-Za-z][A-Za-z0-9_-]{0,63}$": "a letter, then up to 63 letters, digits, '_' and '-'",
}

MAX_DETAILS = 100  # listing every error of an 8 MiB body would take seconds


def decode(body: bytes, type: type[T]) -> T:
    """*body* decoded as *type*. Raises Invalid with a detail for each broken field, or for the first JSON error."""
    kind: Any = type
    try:
        # msgspec does not check that raw and unknown values are UTF-8.
        body.decode()
        decoded: T = _decoder(kind).decode(body)
        return decoded
    except ValidationError as error:
        raise Invalid(*_all_details(body, kind, error)) from None
    except NOT_JSON as error:
        raise Invalid(not_json(body, error)) from None


def _all_details(body: bytes, kind: Any, first: ValidationError) -> list[ErrorDetail]:
    try:
        msgspec.json.decode(body, type=Raw)  # msgspec stopped at the first error, so the rest may be no JSON
    except NOT_JSON as error:
        return [not_json(body, error)]
    details = list(islice(_struct(Raw(body), _info(kind), ("body",)), MAX_DETAILS + 1))
    return limit_details(details or [_shadowed(first)])


def text_field(body: bytes, name: str) -> str | None:
    """The string in field *name* of the invalid *body*, None if it has none."""
    try:
        body.decode()
        value = (_as(dict[str, Raw], Raw(body)) or {}).get(name)
        return None if value is None else _as(str, value)
    except NOT_JSON:
        return None


def check_text(text: str, type: Any, loc: Loc) -> list[ErrorDetail]:
    """The error details of *text*, from a path or a query, as a value of *type*."""
    return list(_value(Raw(msgspec.json.encode(text)), _info(type), loc))


def _shadowed(error: ValidationError) -> ErrorDetail:
    """The error in the first of two equal keys, of which `_struct` sees only the last."""
    msg, _, path = str(error).partition(" - at `$")
    loc = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", path)]
    return ErrorDetail(("body", *loc), msg, "value_error")


def limit_details(details: list[ErrorDetail]) -> list[ErrorDetail]:
    """At most 100 *details*; with more, the last one is `too_many_errors`."""
    if len(details) <= MAX_DETAILS:
        return details
    more = ErrorDetail(details[0].loc[:1], f"There are more errors than these {MAX_DETAILS - 1}", "too_many_errors")
    return [*details[: MAX_DETAILS - 1], more]


@cache
def _decoder(type: Any) -> Decoder[Any]:
    return Decoder(type)


@cache
def _info(type: Any) -> Any:
    return inspect.type_info(type)


# The slow path: msgspec stops at the first error, so each value of an invalid body is checked again. Values stay raw
# until their type is known, so that no number becomes a float.


def _struct(raw: Raw, type: Any, loc: Loc) -> Iterator[ErrorDetail]:
    values = _as(dict[str, Raw], raw)
    if values is None:
        yield ErrorDetail(loc, "Input should be a valid dictionary", "dict_type")
        return
    for field in type.fields:
        field_loc = (*loc, field.encode_name)
        if field.encode_name in values:
            yield from _value(values[field.encode_name], field.type, field_loc)
        elif field.required:
            yield ErrorDetail(field_loc, "Field required", "missing")


def _value(raw: Raw, type: Any, loc: Loc) -> Iterator[ErrorDetail]:
    if isinstance(type, inspect.UnionType):  # in these models always: a type or null
        if bytes(raw) == b"null":
            return
        type = next(member for member in type.types if not isinstance(member, inspect.NoneType))
    check = None
    if isinstance(type, inspect.Metadata):
        type, check = type.type, (type.extra or {}).get("check")
    yield from _KINDS[type.__class__](raw, type, check, loc)


def _text(raw: Raw, type: Any, check: Callable[[str], object] | None, loc: Loc) -> Iterator[ErrorDetail]:
    text = _as(str, raw)
    if text is None and check:
        yield ErrorDetail(
            loc, "Input should be a valid datetime: RFC 3339, as 2025-01-20T18:53:03.558Z", "datetime_type"
        )
    elif text is None:
        yield ErrorDetail(loc, "Input should be a valid string", "string_type")
    elif check:
        yield from _checked(text, check, loc)
    elif type.pattern and not re.search(type.pattern, text):
        yield pattern_detail(loc, type.pattern)


def _raw(raw: Raw, type: Any, check: Callable[[Raw], object], loc: Loc) -> Iterator[ErrorDetail]:
    yield from _checked(raw, check, loc)


def _checked(value: T, check: Callable[[T], object], loc: Loc) -> Iterator[ErrorDetail]:
    try:
        check(value)
    except RuleViolation as error:
        yield ErrorDetail(loc, str(error), error.type)


def _enum(raw: Raw, type: Any, check: object, loc: Loc) -> Iterator[ErrorDetail]:
    values = tuple(type.cls)
    if _as(str, raw) not in values:
        yield choice_detail(loc, "enum", values)


def _literal(raw: Raw, type: Any, check: object, loc: Loc) -> Iterator[ErrorDetail]:
    if _as(str, raw) not in type.values:
        yield choice_detail(loc, "literal_error", type.values)


def _integer(raw: Raw, type: Any, check: object, loc: Loc) -> Iterator[ErrorDetail]:
    number = _as(int, raw)
    if number is None:
        yield ErrorDetail(loc, "Input should be a valid integer", "int_type")
    elif type.ge is not None and number < type.ge:
        yield ErrorDetail(loc, f"Input should be greater than or equal to {type.ge}", "greater_than_equal")
    elif type.le is not None and number > type.le:
        yield ErrorDetail(loc, f"Input should be less than or equal to {type.le}", "less_than_equal")


def _list(raw: Raw, type: Any, check: object, loc: Loc) -> Iterator[ErrorDetail]:
    items = _as(list[Raw], raw)
    if items is None:
        yield ErrorDetail(loc, "Input should be a valid list", "list_type")
    for index, item in enumerate(items or ()):
        yield from _value(item, type.item_type, (*loc, index))


_KINDS: dict[type, Callable[..., Iterator[ErrorDetail]]] = {
    inspect.StrType: _text,
    inspect.IntType: _integer,
    inspect.RawType: _raw,
    inspect.EnumType: _enum,
    inspect.LiteralType: _literal,
    inspect.ListType: _list,
    inspect.StructType: lambda raw, type, check, loc: _struct(raw, type, loc),
}


def _as(type: type[T], raw: Raw) -> T | None:
    """*raw* decoded as *type*, None if it is of another one."""
    try:
        return msgspec.json.decode(raw, type=type)
    except ValidationError:
        return None


def pattern_detail(loc: Loc, pattern: str) -> ErrorDetail:
    """The detail of a text that does not match *pattern*: pydantic's sentence, then the pattern in words."""
    text = published(pattern)
    words = f": {PATTERN_WORDS[text]}" if text in PATTERN_WORDS else ""
    return ErrorDetail(loc, f"String should match pattern '{text}'{words}", "string_pattern_mismatch")


def published(pattern: str) -> str:
    """*pattern* for other languages, where `$` matches only at the end."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")


def choice_detail(loc: Loc, type: str, values: tuple[str, ...]) -> ErrorDetail:
    """The error detail, of pydantic's error *type*, of a string that is none of *values*."""
    *others, last = [f"'{value}'" for value in values]
    return ErrorDetail(loc, f"Input should be {' or '.join(filter(None, [', '.join(others), last]))}", type)
