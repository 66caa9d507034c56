"""The values in a JSON list or object, without a Python object for each at once.

The event loop waits while msgspec decodes: 0.8 s for 8 MiB of `0,` as a list of `Raw`, 0.3 s for as many unknown keys.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from msgspec import Raw, Struct, defstruct
from msgspec.json import Decoder, decode

_AT_ONCE = 64 * 1024  # bytes of a list that msgspec splits: 2 ms
_TOKEN = re.compile(rb'\\.|["\[\]{},]', re.DOTALL)  # a whole string would hold the interpreter's lock as long as it is

_PASSES = 8  # by which most documents are done

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
    text = b"".join(text.split(b'"')[::2])  # without strings
    for _ in range(min(_PASSES, levels)):  # each pass removes the innermost level
        if not text:
            return False
        text = _without_innermost(text)
    depth, most = 0, levels - min(_PASSES, levels)
    for byte in text:
        depth += 1 if byte in b"[{" else -1
        if depth > most:
            return True
    return False


def _without_innermost(text: bytes) -> bytes:
    """*text*, which has nothing but brackets, without its innermost objects and lists."""
    return text.replace(b"[]", b" ").replace(b"{}", b" ").replace(b" ", b"")


def object_fields(raw: Raw, names: Sequence[str]) -> dict[str, Raw]:
    """The fields of *raw*, a JSON object, that have one of *names*. Raises msgspec.ValidationError if it is none."""
    found = _decoder(tuple(names)).decode(raw)
    return {name: value for name in names if (value := getattr(found, name)) is not None}


@cache
def _decoder(names: tuple[str, ...]) -> Decoder[Struct]:
    absent: Any = None
    return Decoder(defstruct("Fields", [(name, Raw, absent) for name in names]))
