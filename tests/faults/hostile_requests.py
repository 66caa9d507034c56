"""Requests that no honest client sends, made by chance."""

import random

from tests.conftest import RUNS
from tests.faults.drafts import Asked, Change, Draft
from tests.faults.odd_bodies import chunked, odd_body
from tests.faults.odd_heads import (
    BROKEN_FIELDS,
    broken_field,
    folded_field,
    idle_fields,
    large_field,
    many_fields,
    odd_host,
    odd_media_type,
    odd_method,
    odd_origin,
    odd_path,
    odd_preconditions,
    odd_query,
    odd_token,
    other_spelling,
    other_version,
)

ANYWHERE: tuple[Change, ...] = (
    odd_path, odd_path, odd_method, other_spelling, other_version, odd_query, odd_host, odd_origin, odd_token,
    odd_preconditions, idle_fields, idle_fields, many_fields, large_field, broken_field, folded_field,
)  # fmt: skip
IN_PAGES: tuple[Change, ...] = (odd_query, odd_query, odd_query, odd_preconditions)
IN_BODIES: tuple[Change, ...] = (odd_body, odd_body, odd_body, odd_media_type)


def made_odd(chance: random.Random, draft: Draft) -> Asked:
    """*draft* with one to three changes."""
    special = IN_BODIES if draft.body is not None else IN_PAGES if draft.target == RUNS.encode() else ()
    changes = chance.choices((*ANYWHERE, *special, *special), k=chance.randint(1, 3))
    for change in dict.fromkeys(changes):  # each once: a second one could undo the first
        change(chance, draft)
    if draft.body is not None and chance.random() < 0.3:
        chunked(chance, draft)
    return draft.asked()


# Framing

NO_REQUESTS = (
    b"hello\r\n\r\n", b"\0\0\0\0\0\0\0\0", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / FTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1.1\r\n\r\n", b"GET / http/1.1\r\n\r\n", b"GET / HTTP/3\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
    b"<xml/>\r\n\r\n", b"{}\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"EHLO localhost\r\n", b"*1\r\n$4\r\nPING\r\n",
    b"\xff" * 100, b"GET / HTTP/1.1 x\r\n\r\n",
)  # fmt: skip
BAD_LENGTHS = (
    b"x", b"-1", b"+5", b"5x", b"0x5", b"5 5", b"5,6", b"1e1", b"9" * 40, b"\xb2", b"5;5", b"5\0",
    b"18446744073709551616",
)  # fmt: skip
BAD_ENCODINGS = (
    b"gzip", b"chunked, gzip", b"identity", b"xchunked", b"chunked, identity", b"\x0bchunked", b"ch\0unked",
)  # fmt: skip
BAD_CHUNKS = (
    b"xyz\r\n", b"-1\r\n", b"0x5\r\n", b"+5\r\n", b"\r\n", b"5 5\r\n", b"f" * 17 + b"\r\n", b"2\r\n{}x\r\n",
    b"2\r\n{}}\r\n", b"g\r\n", b"\0\r\n",
)  # fmt: skip


def broken_framing(chance: random.Random, draft: Draft) -> bytes:
    """A request of which nobody can say where it ends, *draft* being one with a body."""
    assert draft.body is not None
    if chance.random() < 0.2:
        return chance.choice(NO_REQUESTS)
    length = b"Content-Length: %d\r\n" % len(draft.body)
    head = draft.head()
    match chance.randrange(5):
        case 0:
            return head.replace(length, b"Content-Length: " + chance.choice(BAD_LENGTHS) + b"\r\n") + draft.body
        case 1:
            longer = b"Content-Length: %d\r\n" % (len(draft.body) + 1)
            other = chance.choice((longer, b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"))
            return head.replace(length, chance.choice((length + other, other + length))) + draft.body
        case 2:
            name = chance.choice(BAD_ENCODINGS)
            return head.replace(length, b"Transfer-Encoding: " + name + b"\r\n") + b"0\r\n\r\n"
        case 3:
            chunked(chance, draft)
            assert draft.chunked is not None
            end = draft.chunked.rfind(b"\r\n0") + 2
            return draft.head() + draft.chunked[:end] + chance.choice(BAD_CHUNKS)
        case _:
            return head.replace(length, length + chance.choice(BROKEN_FIELDS) + b"\r\n") + draft.body


def damaged(chance: random.Random, data: bytes) -> bytes:
    """*data* with other bytes at a few places."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8))):
        place = chance.randrange(len(changed))
        others = chance.choice((chance.randbytes(chance.randrange(3)), b"\r\n", b"\n", b":"))
        changed[place : place + chance.randrange(3)] = others
    return bytes(changed)


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    """*data* in pieces: of one byte each, if it is short."""
    if len(data) < 600 and chance.random() < 0.5:
        return [data[place : place + 1] for place in range(len(data))]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((1, 2, 9))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]
