"""The tables of a script, checked: every mistake with its place and its cure."""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from flowruns.model.runs import FlowType
from flowruns.player.placeholders import RUN_FIELDS
from flowruns.player.toml_lines import Path

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)", re.ASCII)

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")  # a phase or a level: `docs/api.md`

_FLOW = re.compile(r"[a-z0-9_.*-]+")

_NAME = re.compile(r"\{([A-Za-z]\w*(?:\.[\w.-]*)?)\}")  # what looks like a placeholder

_SLUG = re.compile(r"[a-z0-9_.-]+")

_MAX_SECONDS = 366 * 86400.0

_MAX_NUMBER = 2**63 - 1

ARGS_EXAMPLE = 'args = { ref = "main" }'

T = TypeVar("T")

Range = tuple[float, float]


class Checks:
    """Reads values out of tables, and collects the mistakes: each with the path of its key."""

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

    def several(self, table: Mapping[str, Any], path: Path, name: str, check: Callable[[Any, Path], T]) -> list[T]:
        """The values at *name*, which may be one or a list; none if it is not there."""
        if name not in table:
            return []
        value, path = table[name], (*path, name)
        if not isinstance(value, list):
            return [check(value, path)]
        if not value:
            self.wrong(path, f"{name!r} is an empty list; leave it out")
        return [check(item, (*path, index)) for index, item in enumerate(value)]

    def table(self, value: Any, path: Path, example: str) -> dict[str, Any]:
        """*value* if it is a table."""
        if isinstance(value, dict):
            return value
        self.wrong(path, f"{_key(path)!r} must be a table, as in {example}")
        return {}

    def tables(self, value: Any, path: Path, example: str) -> list[tuple[Path, dict[str, Any]]]:
        """The tables in the list *value*, each with its path."""
        if not isinstance(value, list) or not value:
            self.wrong(path, f"{_key(path)!r} must be a list with at least one table, as in {example}")
            return []
        found = []
        for index, item in enumerate(value):
            if isinstance(item, dict):
                found.append(((*path, index), item))
            else:
                self.wrong((*path, index), f"each item of {_key(path)!r} must be a table, as in {example}")
        return found

    def word(self, value: Any, path: Path) -> str:
        """*value* if it is a phase or a level."""
        if isinstance(value, str) and _WORD.fullmatch(value):
            return value
        self.wrong(path, f'{_key(path)!r} must be a word of letters, digits, _ and -, as in "succeeded"')
        return "x"

    def flow(self, value: Any, path: Path) -> str:
        """*value* if it is the id of a flow, or a pattern with `*`."""
        if isinstance(value, str) and _FLOW.fullmatch(value):
            return value
        self.wrong(path, f'{_key(path)!r} must be an id of a-z, 0-9, _, . and -, with * for any text, as in "deploy-*"')
        return "*"

    def slug(self, value: Any, path: Path) -> str:
        """*value* if it is the id of a flow."""
        if isinstance(value, str) and _SLUG.fullmatch(value):
            return value
        self.wrong(path, f'{_key(path)!r} must be an id of a-z, 0-9, _, . and -, as in "deploy-web"')
        return "x"

    def flow_type(self, value: Any, path: Path) -> FlowType:
        """*value* if it is a flow type."""
        if value in list(FlowType):
            return FlowType(value)
        self.wrong(path, f"{_key(path)!r} must be one of {', '.join(FlowType)}")
        return FlowType.SELF_SERVICE_ACTION

    def tags(self, value: Any, path: Path) -> dict[str, str]:
        """*value* if it is a table of tags."""
        tags = self.table(value, path, 'tags = { env = "prod" }')
        for key, text in tags.items():
            if not isinstance(text, str):
                self.wrong((*path, key), f'the tag {key!r} must be a text in quotes, as in "{text}"')
        return {key: str(text) for key, text in tags.items()}

    def new_tags(self, value: Any, path: Path) -> dict[str, str]:
        """*value* if it is a table of tags whose placeholders exist."""
        tags = self.tags(value, path)
        self.texts(tags, path)
        return tags

    def new_args(self, value: Any, path: Path) -> dict[str, Any]:
        """*value* if it is a table of arguments whose placeholders exist."""
        args = self.table(value, path, ARGS_EXAMPLE)
        self.texts(args, path)
        return args

    def text(self, value: Any, path: Path) -> str:
        """*value* if it is a text whose placeholders exist."""
        if not isinstance(value, str):
            self.wrong(path, f'{_key(path)!r} must be a text in quotes, as in "building {{args.ref}}"')
            return ""
        for name in _NAME.findall(value):
            self._placeholder(name, path)
        return value

    def texts(self, value: Any, path: Path) -> None:
        """Checks the placeholders of all texts within *value*."""
        if isinstance(value, str):
            self.text(value, path)
        elif isinstance(value, dict):
            for name, item in value.items():
                self.texts(item, (*path, name))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.texts(item, (*path, index))
        elif isinstance(value, float) and not abs(value) < float("inf"):
            self.wrong(path, "JSON has no infinity and no NaN; write a finite number")

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

    def seconds(self, value: Any, path: Path) -> Range:
        """The seconds of a duration as "2s", or of a range as "1s..3s"."""
        parts = value.split("..") if isinstance(value, str) else []
        matches = [_DURATION.fullmatch(part.strip()) for part in parts]
        if not 1 <= len(parts) <= 2 or None in matches:
            if isinstance(value, int | float) and not isinstance(value, bool):
                cure = f'a number needs a unit: "{value}s"'
            else:
                cure = 'write "2s", "500ms", "1.5m", "1h", or a range, "1s..3s"'
            self.wrong(path, f"{_key(path)!r} is no duration; {cure}")
            return 1.0, 1.0
        low, *_, high = (float(match[1]) * _UNITS[match[2]] for match in (matches * 2)[:2] if match)
        if low > high:
            self.wrong(path, f"{_key(path)!r} is a range that ends before it begins; write the smaller value first")
        if high > _MAX_SECONDS:
            cure = "for a run that never ends, write { hang = true }" if _key(path) in ("wait", "for") else "shorten it"
            self.wrong(path, f"{_key(path)!r} is over a year; {cure}")
        return low, max(low, high)

    def count(self, value: Any, path: Path, most: int) -> Range:
        """A whole number from 1 to *most*, or a range as "1..3"."""
        match = re.fullmatch(r"(\d{1,9})\s*\.\.\s*(\d{1,9})", value, re.ASCII) if isinstance(value, str) else None
        if match:
            low, high = int(match[1]), int(match[2])
        elif isinstance(value, int) and not isinstance(value, bool):
            low = high = value
        else:
            self.wrong(path, f'{_key(path)!r} must be a whole number, as in 3, or a range, as in "1..3"')
            return 1, 1
        if not 1 <= low <= high <= most:
            self.wrong(path, f"{_key(path)!r} must be from 1 to {most:,}, the smaller number first")
            return 1, 1
        return low, high

    def number(self, value: Any, path: Path, most: int = _MAX_NUMBER) -> int:
        """A whole number from 1 to *most*."""
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        self.wrong(path, f"{_key(path)!r} must be a whole number from 1 to {most:,}, as in 5")
        return 1

    def weight(self, value: Any, path: Path) -> float:
        """A number above 0."""
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
            return float(value)
        self.wrong(path, "'weight' must be a number above 0, as in 9 beside 1 for nine in ten")
        return 1.0


def _key(path: Path) -> str:
    """The last key of *path*, for a message: items of a list have numbers."""
    return next(str(part) for part in reversed(path) if isinstance(part, str))
