"""The line of each key in a TOML document, which `tomllib` does not report."""

import re

Path = tuple[str | int, ...]  # keys, and the indexes of arrays

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")  # a number, a boolean or a time
# TOML 1.0: the strings of several lines come first, as their quotes begin like those of an empty string.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)


def toml_lines(text: str) -> dict[Path, int]:
    """The line, from 1, of each key and each array item in *text*, which `tomllib` has accepted."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Path, int] = {(): 1}
        self._counts: dict[Path, int] = {}  # of the tables in each array of tables

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._next():
            if self._skip("[["):
                table = self._header(self._key("]"), is_array=True)
                self._at += 2
            elif self._skip("["):
                table = self._header(self._key("]"), is_array=False)
                self._at += 1
            else:
                self._pair(table)
        return self._lines

    def _next(self) -> str:
        """The next character that is not blank; none at the end."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _skip(self, word: str) -> bool:
        found = self._text.startswith(word, self._at)
        self._at += len(word) * found
        return found

    def _note(self, path: Path) -> None:
        self._lines.setdefault(path, self._text.count("\n", 0, self._at) + 1)

    def _header(self, key: list[str], *, is_array: bool) -> Path:
        path: Path = ()
        for number, part in enumerate(key, 1):
            path = (*path, part)
            self._note(path)
            if is_array and number == len(key):
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self._note(path)
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for part in self._key("="):
            path = (*path, part)
            self._note(path)
        self._at += 1
        self._value(path)

    def _key(self, end: str) -> list[str]:
        """The parts of the dotted key before *end*, which is not read."""
        parts = []
        while self._next() not in ("", end):
            if match := _STRING.match(self._text, self._at) or _BARE_KEY.match(self._text, self._at):
                parts.append(_unquoted(match[0]))
            self._at = match.end() if match else self._at + 1  # a dot
        return parts

    def _value(self, path: Path) -> None:
        char = self._next()
        if char == "[":
            self._items(path)
        elif char == "{":
            self._at += 1
            while (char := self._next()) and char != "}":
                if char == ",":
                    self._at += 1
                else:
                    self._pair(path)
            self._at += 1
        elif match := _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at):
            self._at = match.end()

    def _items(self, path: Path) -> None:
        self._at += 1
        index = 0
        while (char := self._next()) and char != "]":
            if char == ",":
                self._at += 1
                continue
            self._note((*path, index))
            self._value((*path, index))
            index += 1
        self._at += 1


def _unquoted(text: str) -> str:
    import tomllib

    return next(iter(tomllib.loads(f"{text} = 0")))
