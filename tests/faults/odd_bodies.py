"""Bodies that no honest client sends: changes that make one of a draft's."""

import json
import random
from typing import Any

from tests.faults.clients import BODIES
from tests.faults.drafts import Draft

MAX_BODY = 8 * 1024 * 1024

NOT_JSON = (
    b"", b"{", b"}", b"[]x", b"nul", b"NaN", b"'a'", b"{,}", b'{"a":1,}', b'{"a" 1}', b'{"a":01}', b'{"a":+1}',
    b'{"a":.5}', b'{"a":1.}', b'{"a":"\x01"}', b'{"a":"\\x"}', b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}',
    b'{"a":"\\u12"}', b"\xef\xbb\xbf{}", b'{"a":"\xff"}', b'{"\xed\xa0\x80":1}', b"\xff\xfe{\0}\0", b"{}{}", b"{} x",
    b"//{}", b"{/**/}", b"\0", b"\x1f\x8b\x08\0", b"-", b'{"a":Infinity}', b"[" * 3_000 + b"]" * 3_000,
    b'{"a":' * 20_000, b"[" * 100_000,
)  # fmt: skip
NO_RUNS = (
    b"null", b"1", b'"flowId"', b"[]", b"true", b"{}", b'{"flowId":null}',
    b'{"flowId":"A B","flowType":"automation"}', b'{"flowId":"a","flowType":"x"}',
    b'{"flowId":"a\\n","flowType":"automation"}', b'{"flowid":"a","flowType":"automation"}',
    b'[{"flowId":"a","flowType":"automation"}]', b'{"flowId":["a"],"flowType":{"a":1}}', b"-0", b"1e999",
)  # fmt: skip
OBJECTS = (
    (b'{"a":1,"a":2,"":3}', True), (b'{"a":%b}' % (b"9" * 4_000), True),
    (b'{"a":-0,"b":1e400,"c":1E-400,"d":0.10}', True),
    (b'{"__proto__":{"x":1},"$ref":"/etc/passwd","id":"other"}', True),
    (b'{"a":"\\u0000\\ud83d\\ude42\\u2028\\/\\""}', True),
    (b'{"a":"\xf0\x9f\x99\x82\xc2\x85\xe2\x80\xa8\x7f</script>"}', True), (b"{}", True),
    (b'{ "a" : [ ] ,\r\n\t"b":{ } }', True), (b'{"a":%b%b}' % (b"[" * 100, b"]" * 100), True),
    (b'{"a":"%b"}' % (b"x" * 200_000), True), (b"null", True), (b'{"\\ud800":1}', False),
    (b'{"a":"\\udfff x"}', False), (b'{"a":"\xc3"}', False), (b'{"a":\xa0 1}', False), (b"[]", False),
    (b'{"a":%b%b}' % (b"[" * 5_000, b"]" * 5_000), False), (b"1", False), (b'"x"', False), (b"{]", False),
    (b'{"a":1', False),
)  # fmt: skip
VALUES_OF_FIELDS: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**40, "", "a", "A b", "\n", "\0", "é", "x" * 3_000, [], {}, [None], [[]], [{}], {"": 1},
    "0001-01-01T00:00:00+14:00", "2025-01-20T18:53:03Z", ["a"] * 300, [{"id": 1}] * 300, {"a": {"b": []}},
)  # fmt: skip
FIELDS = (
    "id", "flowId", "flowType", "args", "phase", "startTime", "endTime", "actions", "outputs", "logs", "tags",
    "createdAt", "createdBy", "reviewedAt", "unknown", "",
)  # fmt: skip


def odd_body(chance: random.Random, draft: Draft) -> None:
    """A body that is no run, or one of odd values."""
    match chance.randrange(6):
        case 0:
            draft.body = chance.choice(NOT_JSON)
        case 1:
            draft.body = chance.choice(NO_RUNS)
        case 2:
            draft.body = b"\xff" + chance.randbytes(chance.choice((1, 100, 50_000)))
        case 3:
            whole = json.dumps(chance.choice(BODIES)).encode()
            draft.body = whole[: chance.randrange(len(whole))]
        case 4:
            value, taken = chance.choice(OBJECTS)
            kind = b"selfServiceAction"
            draft.body = b'{"flowId":"odd","flowType":"%b","args":%b,"tags":[{"key":"k","value":"v"}]}' % (kind, value)
            if taken:
                return
        case _:
            body: dict[str, Any] = {"flowId": "odd", "flowType": "selfServiceAction"}
            body |= {chance.choice(FIELDS): chance.choice(VALUES_OF_FIELDS) for _ in range(chance.choice((1, 2, 5)))}
            draft.body = json.dumps(body).encode()
            draft.allows(422, *((409,) if draft.method == "POST" else ()))
            return
    draft.refuses(422)


def large_body(chance: random.Random, draft: Draft) -> None:
    draft.body = b'{"flowId":"large","flowType":"selfServiceAction","args":{"a":"%b"}}' % (b"x" * MAX_BODY)
    draft.refuses(413)


def chunked(chance: random.Random, draft: Draft) -> None:
    """The same body in pieces of any size; must be the last change of it."""
    body, pieces = draft.body or b"", []
    while body:
        size = chance.choice((1, 2, 10, 1_000, 100_000)) if len(body) < 3_000 else len(body) // 3 + 1
        piece, body = body[:size], body[size:]
        length = b"%x" % len(piece)
        length = chance.choice((length, length.upper(), b"000" + length, length + b";name=value", length + b';a="b"'))
        pieces.append(length + b"\r\n" + piece + b"\r\n")
    trailers = chance.choice(
        (b"", b"", b"X: trailer\r\n", b"Host: evil.example\r\nOrigin: null\r\n", b"Content-Length: 5\r\n")
    )
    if b"Length" in trailers:
        draft.allows(400)
    draft.chunked = b"".join(pieces) + chance.choice((b"0", b"000", b"0;last")) + b"\r\n" + trailers + b"\r\n"
