"""Files of runs that are no plain lines of JSON: compressed with gzip, in UTF-16, or a JSON array; streamed."""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

_MAX_ITEM = 1_000_000_000  # bytes: SQLite stores no longer document, so an export has no longer line

_CHUNK = 1 << 16  # bytes that are read at once

_STRUCTURE = re.compile(rb'["\[\]{},]')  # what begins, ends or separates values, and what begins a string

_IN_STRING = re.compile(rb'["\\]')

_SPACE = b" \t\r\n"


class Unreadable(Exception):
    """The file is not what its beginning shows. The message continues "line 7 ..."."""


class LineReader(Protocol):
    """A file whose lines can be read."""

    def readline(self, limit: int, /) -> bytes:
        """The next line, at most *limit* bytes of it; empty at the end."""


def unzipped(file: BinaryIO) -> BinaryIO:
    """The content of *file*, which is compressed with gzip."""
    return io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 20)


class Utf16Lines:
    """The lines of *file*, which is in UTF-16 and begins with a byte order mark, as UTF-8."""

    def __init__(self, file: BinaryIO) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-16", newline="\n")

    def readline(self, limit: int, /) -> bytes:
        """The next line; empty at the end. Raises UnicodeDecodeError."""
        return self._text.readline(limit).encode()


def lines(file: LineReader) -> Iterator[tuple[int, bytes]]:
    """The lines of *file* with their numbers, the first one without a UTF-8 byte order mark. Raises OSError and
    Unreadable.
    """
    number = 0
    while text := _checked(lambda: file.readline(_MAX_ITEM + 1)):
        number += 1
        if len(text) > _MAX_ITEM:
            raise Unreadable(f"is over {_MAX_ITEM} bytes")
        yield number, text if number > 1 else text.removeprefix(b"\xef\xbb\xbf")


class ArrayFile:
    """The JSON array in *file*."""

    def __init__(self, file: LineReader) -> None:
        self._file = file
        self._item = bytearray()
        self.line = 1  # on which the next item begins

    def items(self) -> Iterator[tuple[int, bytes]]:
        """The items, each with the number of the line on which it begins. An item without a value, as between two
        commas, is empty. Raises OSError and Unreadable, after the items before that place.
        """
        depth = skip = 0
        quoted = False
        begun = False  # whether there was an item, or a comma
        while chunk := _checked(lambda: self._file.readline(_CHUNK)):
            start, position, skip = 0, skip, 0
            while found := (_IN_STRING if quoted else _STRUCTURE).search(chunk, position):
                position, char = found.end(), found[0]
                if char == b"\\":
                    position += 1  # the next character is escaped
                elif char == b'"':
                    quoted = not quoted
                elif char in b"[{":
                    depth += 1
                    if depth == 1:  # the array itself
                        self.line += chunk.count(b"\n", 0, position)
                        start = position
                else:
                    depth -= char in b"]}"
                    if depth == 0 or (depth == 1 and char == b","):
                        self._item += chunk[start : found.start()]
                        start, begun = position, begun or depth == 1
                        line, item = self._take()
                        if item or begun:
                            yield line, item
                    if depth == 0:
                        self._check_end(chunk[position:])
                        return
            skip = max(0, position - len(chunk))
            self._item += chunk[start:] if depth else b""
            self.line += 0 if depth else chunk.count(b"\n")
            if len(self._item) > _MAX_ITEM:
                raise Unreadable(f"begins an item over {_MAX_ITEM} bytes")
        raise Unreadable("begins an item without an end; the JSON array is cut off")

    def _take(self) -> tuple[int, bytes]:
        """The line and the text of the item, which is complete."""
        text = bytes(self._item)
        self._item.clear()
        leading = len(text) - len(text.lstrip(_SPACE))
        line = self.line + text.count(b"\n", 0, leading)
        self.line += text.count(b"\n")
        return line, text.strip(_SPACE)

    def _check_end(self, rest: bytes) -> None:
        while not rest.strip(_SPACE):
            self.line += rest.count(b"\n")
            rest = _checked(lambda: self._file.readline(_CHUNK))
            if not rest:
                return
        raise Unreadable("follows the end of the JSON array; give one array, or one JSON object a line")


def _checked(read: Callable[[], bytes]) -> bytes:
    """What *read* returns. Raises OSError, and Unreadable for data that cannot be decoded."""
    try:
        return read()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Unreadable("cannot be read: the gzip file is damaged or cut off") from None
    except UnicodeDecodeError:
        raise Unreadable("cannot be read: it is not UTF-16") from None
