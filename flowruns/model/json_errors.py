"""The error detail of a body that is not valid JSON."""

import re

from msgspec import DecodeError

from flowruns.errors import ErrorDetail

NOT_JSON = (DecodeError, UnicodeDecodeError, RecursionError)

# A first half of a surrogate pair at the very end, not after an escaped backslash.
_LONE_AT_END = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB]...{0,5})\Z", re.DOTALL)

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def not_json(body: bytes, error: Exception) -> ErrorDetail:
    """The reason for *error*, one of `NOT_JSON`, and its offset in *body*."""
    if not body:
        return ErrorDetail(("body",), "Field required", "missing")
    if isinstance(error, UnicodeDecodeError):
        return _json_invalid(error.start, "the bytes are not UTF-8")
    if isinstance(error, RecursionError):
        return _json_invalid(_deep_offset(body), "it is nested too deeply")
    reason, offset = str(error), re.search(r"\(byte (\d+)\)", str(error))
    if offset:
        reason = reason[: offset.start()].removeprefix("JSON is malformed:").strip()
        # Of trailing characters, msgspec has already read the first one.
        return _json_invalid(int(offset[1]) - (reason == "trailing characters"), reason)
    lone = _LONE_AT_END.search(body)  # msgspec reports it as truncation if no second half would fit
    if lone:
        return _json_invalid(lone.start(1), "a lone surrogate cannot be preserved exactly")
    return _json_invalid(len(body), "the body ends too early")


def _json_invalid(offset: int, reason: str) -> ErrorDetail:
    return ErrorDetail(("body", offset), f"JSON decode error: {reason}", "json_invalid")


def _deep_offset(body: bytes) -> int:
    """The offset in the first 256 KiB of *body* where its nesting exceeds 500 levels, else of its last opening."""
    depth = offset = 0
    for token in _TOKENS.finditer(body, 0, 256 * 1024):
        if token[0] in b"[{":
            depth, offset = depth + 1, token.start()
            if depth > 500:
                break
        elif token[0] in b"]}":
            depth -= 1
    return offset
