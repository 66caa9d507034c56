"""The values of a script, checked: every mistake with its place and its cure."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from difflib import get_close_matches
from functools import partialmethod
from math import isfinite
from typing import Any, TypeVar

from msgspec import ValidationError, convert

from flowruns.model.datetimes import format_datetime
from flowruns.model.runs import FlowType, Identifier, Slug
from flowruns.player.placeholders import RUN_FIELDS
from flowruns.player.steps import Span
from flowruns.player.toml_lines import Path

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)", re.ASCII)

_NAME = re.compile(r"\{([A-Za-z]\w*(?:\.[\w.-]*)?)\}")  # what looks like a placeholder

_SLUG = "an id of a-z, 0-9, _, . and -"

_ARGS_EXAMPLE = 'args = { ref = "main" }'

_MAX_SECONDS = 366 * 86400.0

_MAX_NUMBER = 2**63 - 1

T = TypeVar("T")


class Checks:
    """Reads values, each at the path of its key, and collects the mistakes."""

    def __init__(self) -> None:
        self.mistakes: list[tuple[Path, str]] = []
        self._misspelt: dict[Path, str] = {}  # each key as it is written, at the path of the one that was meant

    def wrong(self, path: Path, message: str) -> None:
        """Adds a mistake."""
        self.mistakes.append((self._written(path), message))

    def keys(self, table: Mapping[str, Any], path: Path, known: Sequence[str], what: str) -> dict[str, Any]:
        """The *known* keys of *table*. One that is misspelt has the name that was meant, so that its value is checked
        too.
        """
        found = {name: value for name, value in table.items() if name in known}
        for name in (name for name in table if name not in known):
            close = get_close_matches(name, known, 1, 0.6)
            cure = f"did you mean {close[0]!r}?" if close else f"it may have {', '.join(known)}"
            self.wrong((*path, name), f"{what} has no {name!r}; {cure}")
            if close and close[0] not in found:
                found[close[0]] = table[name]
                self._misspelt[*self._written(path), close[0]] = name
        return found

    def _written(self, path: Path) -> Path:
        """*path* with each key as it is written."""
        written: Path = ()
        for part in path:
            written = (*written, self._misspelt.get((*written, part), part))
        return written

    def _table(self, value: Any, path: Path, example: str) -> dict[str, Any]:
        """*value* if it is a table."""
        if isinstance(value, dict):
            return value
        self.wrong(path, f"{_key(path)!r} must be a table, as in {example}")
        return {}

    def word(self, value: Any, path: Path) -> str:
        """*value* if it is a phase or a level."""
        return self._checked(value, path, Identifier, 'a word of letters, digits, _ and -, as in "succeeded"', "x")

    def flow(self, value: Any, path: Path) -> str:
        """*value* if it is the id of a flow, or a pattern with `*`."""
        id = value.replace("*", "x") if isinstance(value, str) else value
        self._checked(id, path, Slug, f'{_SLUG}, with * for any text, as in "deploy-*"', "x")
        return str(value)

    def slug(self, value: Any, path: Path) -> str:
        """*value* if it is the id of a flow."""
        return self._checked(value, path, Slug, f'{_SLUG}, as in "deploy-web"', "x")

    def flow_type(self, value: Any, path: Path) -> FlowType:
        """*value* if it is a flow type."""
        types = ", ".join(FlowType)
        return self._checked(value, path, FlowType, f"one of {types}", FlowType.SELF_SERVICE_ACTION)

    def _checked(self, value: Any, path: Path, type: Any, what: str, default: T) -> T:
        """*value* as *type*, that of *default*, which is returned if it is none."""
        try:
            checked: T = convert(value, type)
        except ValidationError:
            self.wrong(path, f"{_key(path)!r} must be {what}")
            return default
        return checked

    def tags(self, value: Any, path: Path) -> dict[str, str]:
        """*value* if it is a table of tags."""
        tags = self._table(value, path, 'tags = { env = "prod" }')
        for key, text in tags.items():
            if not isinstance(text, str):
                self.wrong((*path, key), f'the tag {key!r} must be a text in quotes, as in "{text}"')
        return {key: str(text) for key, text in tags.items()}

    def new_tags(self, value: Any, path: Path) -> dict[str, str]:
        """*value* if it is a table of tags whose placeholders exist."""
        return {key: self.text(text, (*path, key)) for key, text in self.tags(value, path).items()}

    def args(self, value: Any, path: Path) -> dict[str, Any]:
        """*value* as JSON, if it is a table of arguments."""
        return self._object(self._table(value, path, _ARGS_EXAMPLE), path, lambda text, path: text)

    def new_args(self, value: Any, path: Path) -> dict[str, Any]:
        """*value* as JSON, if it is a table of arguments whose placeholders exist."""
        return self._object(self._table(value, path, _ARGS_EXAMPLE), path, self.text)

    def outputs(self, value: Any, path: Path) -> dict[str, Any]:
        """*value* as JSON, if it is a table of outputs whose placeholders exist."""
        return self._object(self._table(value, path, 'outputs = { url = "https://example.org" }'), path, self.text)

    def _object(self, table: Mapping[str, Any], path: Path, text: Callable[[str, Path], str]) -> dict[str, Any]:
        """*table* as JSON; *text* checks each text in it."""
        return {name: self._json(item, (*path, name), text) for name, item in table.items()}

    def _json(self, value: Any, path: Path, text: Callable[[str, Path], str]) -> Any:
        match value:
            case str():
                return text(value, path)
            case dict():
                return self._object(value, path, text)
            case list():
                return [self._json(item, (*path, index), text) for index, item in enumerate(value)]
            case datetime():
                return self._time(value, path)
            case date() | time():
                return value.isoformat()
            case float() if not isfinite(value):
                self.wrong(path, "JSON has no infinity, which 1e400 is too, and no NaN; write a smaller number")
            case int() if not -_MAX_NUMBER - 1 <= value <= _MAX_NUMBER:
                self.wrong(path, "an integer has over 64 bits; write it as a text, in quotes")
        return value

    def _time(self, value: datetime, path: Path) -> str:
        try:
            if value.tzinfo is not None:
                return format_datetime(value)
            self.wrong(path, f"a date with a time needs a time zone: {value.isoformat()}Z")
        except OverflowError:
            self.wrong(path, "a time must be within the years 1 to 9999 in UTC")
        return ""

    def text(self, value: Any, path: Path) -> str:
        """*value* if it is a text whose placeholders exist."""
        if not isinstance(value, str):
            self.wrong(path, f'{_key(path)!r} must be a text in quotes, as in "building {{args.ref}}"')
            return ""
        for name in _NAME.findall(value):
            self._placeholder(name, path)
        return value

    def _placeholder(self, name: str, path: Path) -> None:
        root, dot, _ = name.partition(".")
        if name in (*RUN_FIELDS, "n") or root in ("args", "tags") and not name.endswith((".", root)):
            return
        if root in ("args", "tags"):
            self.wrong(path, f"{{{name}}} names no value; write {{{root}.NAME}}")
        elif root == "run":
            self.wrong(path, f"there is no {{{name}}}; a run has {', '.join(f'{{{field}}}' for field in RUN_FIELDS)}")
        elif dot and (close := get_close_matches(root, ["args", "tags", "run"], 1)):  # else it is no placeholder
            self.wrong(path, f"there is no {{{name}}}; did you mean {{{close[0]}{name[len(root) :]}}}?")

    def seconds(self, value: Any, path: Path) -> Span:
        """The seconds of a duration as "2s", or of a range as "1s..3s"."""
        parts = value.split("..") if isinstance(value, str) else []
        matches = [_DURATION.fullmatch(part.strip()) for part in parts]
        if not 1 <= len(parts) <= 2 or None in matches:
            if isinstance(value, int | float) and not isinstance(value, bool):
                cure = f'a number needs a unit: "{value}s"'
            else:
                cure = 'write "2s", "500ms", "1.5m", "1h", or a range, "1s..3s"'
            self.wrong(path, f"{_key(path)!r} is no duration; {cure}")
            return Span(1.0, 1.0)
        low, *_, high = (float(match[1]) * _UNITS[match[2]] for match in (matches * 2)[:2] if match)
        if low > high:
            self.wrong(path, f"{_key(path)!r} is a range that ends before it begins; write the smaller value first")
        if high > _MAX_SECONDS:
            cure = "for a run that never ends, write { hang = true }" if _key(path) in ("wait", "for") else "shorten it"
            self.wrong(path, f"{_key(path)!r} is over a year; {cure}")
        return Span(low, max(low, high))

    def _count(self, value: Any, path: Path, most: int) -> Span:
        """A whole number from 1 to *most*, or a range as "1..3"."""
        match = re.fullmatch(r"(\d{1,9})\s*\.\.\s*(\d{1,9})", value, re.ASCII) if isinstance(value, str) else None
        if match:
            low, high = int(match[1]), int(match[2])
        elif isinstance(value, int) and not isinstance(value, bool):
            low = high = value
        else:
            self.wrong(path, f'{_key(path)!r} must be a whole number, as in 3, or a range, as in "1..3"')
            return Span(1, 1)
        if not 1 <= low <= high <= most:
            self.wrong(path, f"{_key(path)!r} must be from 1 to {most:,}, the smaller number first")
            return Span(1, 1)
        return Span(low, high)

    lines = partialmethod(_count, most=10_000)
    times = partialmethod(_count, most=1_000)

    def _number(self, value: Any, path: Path, most: int) -> int:
        """A whole number from 1 to *most*."""
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        self.wrong(path, f"{_key(path)!r} must be a whole number from 1 to {most:,}, as in 5")
        return 1

    runs = partialmethod(_number, most=100_000)
    user = partialmethod(_number, most=_MAX_NUMBER)

    def weight(self, value: Any, path: Path) -> float:
        """A number above 0."""
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
            return float(value)
        self.wrong(path, "'weight' must be a number above 0, as in 9 beside 1 for nine in ten")
        return 1.0


def _key(path: Path) -> str:
    """The last key of *path*, for a message: items of a list have numbers."""
    return next(str(part) for part in reversed(path) if isinstance(part, str))
