"""Every error of a JSON value against a type, each by its place (`flowruns/docs/api.md`, "Errors").

msgspec stops at the first error. Once it has refused a body, each value is checked again here. Values stay raw until
their type is known: no number ever becomes a float.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, ValidationError, inspect

from flowruns.errors import ErrorDetail
from flowruns.model.datetimes import NOT_A_DATETIME, RuleViolation
from flowruns.model.json_items import list_items, object_fields

T = TypeVar("T")
Loc = tuple[str | int, ...]
Details = Iterator[ErrorDetail]

PATTERN_WORDS = {  # as published
    "^([a-z0-9_.-]+)$": "lower-case letters, digits, '_', '.' and '-'",
    "^[A-Za-z][A-Za-z0-9_-]{0,63}$": "a letter, then up to 63 letters, digits, '_' and '-'",
}

MAX_ITEMS = 10_000  # list items that are checked in one body: each takes 10 microseconds


class Checker:
    """Checks one body. *starts* maps a list's place to the index of its first wrong item, where that is known.

    After `MAX_ITEMS` items of lists it stops and sets `exhausted`.
    """

    def __init__(self, starts: Mapping[Loc, int]) -> None:
        self.exhausted = False
        self._starts = starts
        self._items_left = MAX_ITEMS

    def value(self, raw: Raw, type: Any, loc: Loc) -> Details:
        """The errors of *raw*, which should be a *type*."""
        if isinstance(type, inspect.UnionType):  # in these models always: a type or null
            if bytes(raw) == b"null":
                return
            type = next(one for one in type.types if not isinstance(one, inspect.NoneType))
        check = None
        if isinstance(type, inspect.Metadata):
            type, check = type.type, (type.extra or {}).get("check")
        yield from _METHODS[type.__class__](self, raw, type, check, loc)

    def _object(self, raw: Raw, type: Any, check: object, loc: Loc) -> Details:
        try:
            values = object_fields(raw, [field.encode_name for field in type.fields])
        except ValidationError:
            yield ErrorDetail(loc, "Input should be a valid dictionary", "dict_type")
            return
        for field in type.fields:
            place = (*loc, field.encode_name)
            if field.encode_name in values:
                yield from self.value(values[field.encode_name], field.type, place)
            elif field.required:
                yield ErrorDetail(place, "Field required", "missing")

    def _list(self, raw: Raw, type: Any, check: object, loc: Loc) -> Details:
        if bytes(memoryview(raw)[:1]) != b"[":
            yield ErrorDetail(loc, "Input should be a valid list", "list_type")
            return
        yield from self._items(raw, type, loc, self._starts.get(loc, 0))

    def _items(self, raw: Raw, type: Any, loc: Loc, start: int) -> Details:
        for index, item in enumerate(list_items(raw)):
            if index < start:
                continue
            if not self._items_left:
                self.exhausted = True
                return
            self._items_left -= 1
            details = list(self.value(item, type.item_type, (*loc, index)))
            if index == start > 0 and not details:  # msgspec refused another list, of an equal key before this one
                yield from self._items(raw, type, loc, 0)
                return
            yield from details

    def _text(self, raw: Raw, type: Any, check: Callable[[str], object] | None, loc: Loc) -> Details:
        text = _as(str, raw)
        if text is None and check:
            yield ErrorDetail(loc, NOT_A_DATETIME, "datetime_type")
        elif text is None:
            yield ErrorDetail(loc, "Input should be a valid string", "string_type")
        elif check:
            yield from _checked(text, check, loc)
        elif type.pattern and not re.search(type.pattern, text):
            yield pattern_detail(loc, type.pattern)

    def _raw(self, raw: Raw, type: Any, check: Callable[[Raw], object], loc: Loc) -> Details:
        yield from _checked(raw, check, loc)

    def _enum(self, raw: Raw, type: Any, check: object, loc: Loc) -> Details:
        values = tuple(type.cls)
        if _as(str, raw) not in values:
            yield choice_detail(loc, "enum", values)

    def _literal(self, raw: Raw, type: Any, check: object, loc: Loc) -> Details:
        if _as(str, raw) not in type.values:
            yield choice_detail(loc, "literal_error", type.values)

    def _integer(self, raw: Raw, type: Any, check: object, loc: Loc) -> Details:
        number = _as(int, raw)
        if number is None:
            yield ErrorDetail(loc, "Input should be a valid integer", "int_type")
        elif type.ge is not None and number < type.ge:
            yield ErrorDetail(loc, f"Input should be greater than or equal to {type.ge}", "greater_than_equal")
        elif type.le is not None and number > type.le:
            yield ErrorDetail(loc, f"Input should be less than or equal to {type.le}", "less_than_equal")


_METHODS: dict[type, Callable[..., Details]] = {
    inspect.StrType: Checker._text,
    inspect.IntType: Checker._integer,
    inspect.RawType: Checker._raw,
    inspect.EnumType: Checker._enum,
    inspect.LiteralType: Checker._literal,
    inspect.ListType: Checker._list,
    inspect.StructType: Checker._object,
}


type_info: Callable[[Any], Any] = cache(inspect.type_info)


def pattern_detail(loc: Loc, pattern: str) -> ErrorDetail:
    """The error of a text that does not match *pattern*: pydantic's sentence, then the pattern in words."""
    text = published(pattern)
    words = f": {PATTERN_WORDS[text]}" if text in PATTERN_WORDS else ""
    return ErrorDetail(loc, f"String should match pattern '{text}'{words}", "string_pattern_mismatch")


def published(pattern: str) -> str:
    """*pattern* as other languages read it, where `$` is the very end."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")


def choice_detail(loc: Loc, type: str, values: tuple[str, ...]) -> ErrorDetail:
    """The error, of pydantic's *type*, of a text that is none of *values*."""
    *most, last = [f"'{value}'" for value in values]
    return ErrorDetail(loc, f"Input should be {' or '.join(filter(None, [', '.join(most), last]))}", type)


def _as(type: type[T], raw: Raw) -> T | None:
    """*raw* as a *type*, None if it is something else."""
    try:
        return msgspec.json.decode(raw, type=type)
    except ValidationError:
        return None


def _checked(value: T, check: Callable[[T], object], loc: Loc) -> Details:
    try:
        check(value)
    except RuleViolation as broken:
        yield ErrorDetail(loc, str(broken), broken.type)
