"""Where a body stops being JSON, and why."""

import re

from msgspec import DecodeError

from flowruns.errors import ErrorDetail

NOT_JSON = (DecodeError, UnicodeDecodeError, RecursionError)


def not_json(body: bytes, error: Exception) -> ErrorDetail:
    """Where and why *error* was raised for *body*."""
    if not body:
        return ErrorDetail(("body",), "Field required", "missing")
    if isinstance(error, UnicodeDecodeError):
        return _json_fault(error.start, "the bytes are not UTF-8")
    if isinstance(error, RecursionError):
        return _json_fault(_deepest(body), "it is nested too deeply")
    reason, place = str(error), re.search(r"\(byte (\d+)\)", str(error))
    if place:
        reason = reason[: place.start()].removeprefix("JSON is malformed:").strip()
        # msgspec has read the first character that is too many.
        return _json_fault(int(place[1]) - (reason == "trailing characters"), reason)
    lone = _LONE_AT_END.search(body)  # msgspec calls it truncated where no second half would fit
    if lone:
        return _json_fault(lone.start(1), "a lone surrogate cannot be preserved exactly")
    return _json_fault(len(body), "the body ends too early")


def _json_fault(offset: int, reason: str) -> ErrorDetail:
    return ErrorDetail(("body", offset), f"JSON decode error: {reason}", "json_invalid")


_LONE_AT_END = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB]...{0,5})\Z", re.DOTALL)

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def _deepest(body: bytes) -> int:
    """The offset where the nesting of *body* becomes remarkable, looked for in its first 256 KiB."""
    depth = place = 0
    for token in _TOKENS.finditer(body, 0, 256 * 1024):
        if token[0] in b"[{":
            depth, place = depth + 1, token.start()
            if depth > 500:
                break
        elif token[0] in b"]}":
            depth -= 1
    return place
