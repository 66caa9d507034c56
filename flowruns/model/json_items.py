"""The values in a JSON list or object, piece by piece.

msgspec holds the interpreter's lock while it decodes or encodes, and every other thread waits: 0.8 s for 8 MiB of `0,`
as a list of `Raw`, 0.3 s for as many unknown keys.
"""

import re
from collections.abc import Container, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

from msgspec import Raw, Struct, defstruct
from msgspec.json import Decoder, decode, encode

_AT_ONCE = 64 * 1024  # bytes of a list that msgspec splits: 2 ms
_TOKEN = re.compile(rb'\\.|["\[\]{},]', re.DOTALL)  # a whole string would hold the interpreter's lock as long as it is

_BRACKETS = 256  # and quotes that are counted at once; most documents never have as many open

ITEMS_AT_ONCE = 4096  # that msgspec encodes: 0.3 ms

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))


def list_items(raw: Raw) -> Iterator[Raw]:
    """The items of *raw*, a valid JSON list, one at a time."""
    if len(memoryview(raw)) <= _AT_ONCE:
        yield from decode(raw, type=list[Raw])
        return
    text = bytes(raw).strip()
    depth, start, in_string = 0, 1, False
    for token in _TOKEN.finditer(text):
        match token[0]:
            case b'"':
                in_string = not in_string
            case _ if in_string:
                pass
            case b"[" | b"{":
                depth += 1
            case b"]" | b"}":
                depth -= 1
                if depth == 0 and text[start : token.start()].strip():
                    yield Raw(text[start : token.start()].strip())
            case b"," if depth == 1:
                yield Raw(text[start : token.start()].strip())
                start = token.end()


def is_nested_beyond(raw: Raw, levels: int) -> bool:
    """Whether the JSON value *raw* has objects and lists within each other in more than *levels* levels."""
    text = bytes(raw)
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    text = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    depth = quotes = 0
    for start in range(0, len(text), _BRACKETS):
        parts = text[start : start + _BRACKETS].split(b'"')
        brackets = b"".join(parts[quotes % 2 :: 2])  # without strings
        quotes += len(parts) - 1
        opened = brackets.count(b"[") + brackets.count(b"{")
        if depth + opened > levels and _deepest(brackets, depth) > levels:
            return True
        depth += 2 * opened - len(brackets)
    return False


def _deepest(brackets: bytes, depth: int) -> int:
    """The deepest level among *brackets*, the first of which follows *depth* open ones."""
    return max(accumulate((1 if byte in b"[{" else -1 for byte in brackets), initial=depth))


def encode_list(items: Sequence[object]) -> bytes:
    """The JSON list of *items*, encoded piece by piece."""
    return b"".join(encoded_pieces(items))


def encoded_pieces(items: Sequence[object]) -> Iterator[bytes]:
    """The pieces of the JSON list of *items*. Joined at once, as joining bytes releases the interpreter's lock."""
    yield b"["
    for start in range(0, len(items), ITEMS_AT_ONCE):
        piece = encode(items[start : start + ITEMS_AT_ONCE])
        yield piece[1:-1] if start == 0 else b",%b" % piece[1:-1]
    yield b"]"


def release(items: list[Any]) -> None:
    """Empties *items*, which nobody needs any more, piece by piece: freeing 600,000 at once takes 20 ms."""
    while items:
        del items[-ITEMS_AT_ONCE:]


def object_fields(raw: Raw, names: Sequence[str]) -> dict[str, Raw]:
    """The fields of *raw*, a JSON object, that have one of *names*. Raises msgspec.ValidationError if it is none."""
    found = _decoder(tuple(names)).decode(raw)
    return {name: value for name in names if (value := getattr(found, name)) is not None}


class _Name:
    """Every name of an object while `other_names` decodes it: one key, so that the dict stays small."""


_NAME = _Name()


def other_names(raw: Raw, known: Container[str], limit: int) -> list[str]:
    """The first *limit* names of *raw*, a JSON object, that are not in *known*, each once. Raises
    msgspec.ValidationError if it is none.
    """
    found: dict[str, None] = {}

    def note(type: type[Any], name: str) -> _Name:
        """Notes the name. As msgspec calls it for each, other threads run in between."""
        if name not in known and len(found) < limit:
            found[name] = None
        return _NAME

    Decoder(dict[_Name, Raw], dec_hook=note).decode(raw)
    return list(found)


@cache
def _decoder(names: tuple[str, ...]) -> Decoder[Struct]:
    absent: Any = None
    return Decoder(defstruct("Fields", [(name, Raw, absent) for name in names]))
