"""Heads that no honest client sends: changes that make one of a draft's."""

import random
from base64 import b64encode
from urllib.parse import quote_from_bytes

from tests.conftest import RUNS
from tests.faults.drafts import BEARER, HOST, TOKEN, Answered, Draft

MAX_HEAD = 64 * 1024

# Paths and methods

NO_PART_OF_A_PATH = (
    b"%00", b"%0A", b"%0d%0a", b"%2F", b"/", b"//", b"/../", b"/./", b"%2e%2e%2f", b"%FF", b"%ED%A0%80",
    b"%F0%9F%99%82", b"%C3%BC", b"%zz", b"%", b"%u0041", b"%252e", b"A", b"~", b"'", b"\"", b"<script>", b"\\", b"|",
    b"^", b"{id_}", b"$", b"!", b"@", b":", b";", b",", b"&", b"=", b"+", b"%20",
)  # fmt: skip
NO_PART_OF_A_LINE = (b"\0", b"\t", b" ", b"\r", b"\x01", b"\x1b", b"\x7f", b"\x80", b"\xff", b"\xc3\xbc")
TARGETS: Answered = (
    (b"*", (400, 404, 405)), (b"", (400,)), (b"relative", (400,)), (b"localhost:8000", (400, 404)),
    (b"//evil.example/", (400, 404)), (b"//", (400, 404)), (b"http://", (400,)),
    (b"http:///" + RUNS.encode(), (400, 404)), (b"http://[::1", (400,)), (b"ftp://localhost/a", (400, 404)),
    (b"/nothing", (404,)), (b"/ui/%2e%2e/etc/passwd", (404,)), (b"/ui/assets/x/..%2f..%2fweb.py", (404,)),
    (b"/ui/assets/x/__init__.py", (404,)),
    (RUNS.encode() + b"/", (404,)), (b"/." + RUNS.encode(), (404,)), (b"/" + RUNS.encode(), (404,)),
    (RUNS.encode().upper(), (404,)), (b"/%", (404,)), (RUNS.encode() + b"%0A", (404,)), (b"/health%00", (404,)),
    (b"/health/", (404,)), (b"/openapi.json%20", (404,)), (RUNS.encode() + b"/a/b", (404,)),
    (b"/api/v1/../v1/flow-runs", (404,)), (b"/etc/passwd", (404,)),
)  # fmt: skip
METHODS = (
    "get", "Put", "FOO", "GETGET", "", "G" * 5_000, "GET\t", "(", "G\xc9T", "GE T", "\0", "PATCH", "TRACE", "OPTIONS",
    "CONNECT", "PROPFIND", "M-SEARCH", "LINK", "SOURCE", "QUERY", "PRI", "DESCRIBE", "PURGE",
)  # fmt: skip


def odd_path(chance: random.Random, draft: Draft) -> None:
    draft.id = ""
    if chance.random() < 0.4:
        draft.target, statuses = chance.choice(TARGETS)
        draft.refuses(*statuses, *(() if draft.method in ("GET", "HEAD") else (405,)))
        return
    pieces = chance.choices((*NO_PART_OF_A_PATH, b"a", b"..", b"-"), k=chance.choice((1, 2, 8)))
    pieces.append(chance.choice(NO_PART_OF_A_PATH))
    chance.shuffle(pieces)
    if chance.random() < 0.2:
        pieces.insert(chance.randrange(len(pieces)), chance.choice(NO_PART_OF_A_LINE))
        draft.allows(400)
    if chance.random() < 0.1:
        pieces.append(b"x" * chance.choice((1_000, 60_000, MAX_HEAD)))
        draft.allows(431)
    draft.target = RUNS.encode() + b"/" + b"".join(pieces)
    draft.refuses(404, 405, 422)


def other_spelling(chance: random.Random, draft: Draft) -> None:
    """The same target in a form that servers have to take, or, in that of proxies, may refuse."""
    if draft.refused:
        return  # it may be no target
    if chance.random() < 0.3:
        draft.target = chance.choice((b"http://localhost", b"http://localhost:1", b"HTTP://LOCALHOST")) + draft.target
        draft.allows(400)
    else:
        draft.target = draft.target.replace(b"-", chance.choice((b"%2D", b"%2d", b"%2D")))


def odd_method(chance: random.Random, draft: Draft) -> None:
    draft.method = chance.choice(METHODS)
    draft.refuses(400, 404, 405)


def other_version(chance: random.Random, draft: Draft) -> None:
    draft.version = chance.choice((b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0"))
    if draft.version != b"HTTP/1.0":
        draft.allows(400)


# Queries

NAMES = (
    "size", "order", "cursor", "flowId", "flowType", "phase", "createdBy", "tag", "createdAfter", "createdBefore",
    "SIZE", "", "unknown", "tag[]", "__proto__", "size%00",
)  # fmt: skip
VALUES = (
    b"", b"0", b"-1", b"1", b"100", b"101", b"9" * 30, b"9" * 5_000, b"1e3", b"0x10", b"1.5", b"%D9%A1", b"+1",
    b"desc", b"asc", b"ASC", b"null", b"true", b"[]", b"a:b", b":", b"::", b"automation", b"%00", b"%0A", b"%FF",
    b"%ED%A0%80", b"%F0%9F%99%82", b"%", b"%z", b"' or 1=1 --", b"';drop table run;--", b"%27%22",
    b"2025-01-20T18:53:03Z", b"2025-01-20T18:53:03+02:00", b"2025-02-30T00:00:00Z", b"0001-01-01T00:00:00%2B14:00",
    b"9999-12-31T23:59:59-14:00", b"99999-01-01T00:00:00Z", b"2025-01-20", b"24:00", b"a" * 5_000, b"*", b"_%25_",
    b"\\",
)  # fmt: skip


def odd_query(chance: random.Random, draft: Draft) -> None:
    pairs = [
        b"=".join((chance.choice(NAMES).encode(), chance.choice(VALUES))) for _ in range(chance.choice((1, 1, 2, 5)))
    ]
    if chance.random() < 0.2:
        pairs *= chance.choice((2, 50, 101))
    if chance.random() < 0.2:
        pairs.append(
            chance.choice(
                (b"&&", b"=", b"%", b"==&", b"?", b"#", b";", quote_from_bytes(chance.randbytes(40)).encode())
            )
        )
    query = b"&".join(pairs)
    if chance.random() < 0.1:
        query += chance.choice(NO_PART_OF_A_LINE)
    draft.target += b"?" + query
    if set(query) & set(b"".join(NO_PART_OF_A_LINE)):
        draft.allows(400)
    if len(query) > MAX_HEAD - 1_000:
        draft.allows(431)
    if draft.method in ("GET", "HEAD"):
        draft.allows(422)


def damaged_cursor(chance: random.Random, draft: Draft, cursor: bytes) -> None:
    """The *cursor* of a page, no longer as it was, or with other filters."""
    place = chance.randrange(len(cursor))
    match chance.randrange(5):
        case 0:
            damaged = cursor[:place] + (b"A" if cursor[place : place + 1] != b"A" else b"B") + cursor[place + 1 :]
        case 1:
            damaged = cursor[: place or 1]
        case 2:
            damaged = cursor + chance.choice((b"A", b"=", b"%20", b"%0A", cursor))
        case 3:
            damaged = quote_from_bytes(chance.randbytes(len(cursor))).encode()
        case _:
            damaged = cursor + chance.choice((b"&order=asc", b"&flowId=other", b"&tag=a:b", b"&cursor=AA"))
    draft.target = RUNS.encode() + b"?size=1&cursor=" + damaged
    draft.refuses(422)


# Headers

HOSTS: Answered = (
    ([], (400, 403)), ([HOST, HOST], (400, 403)), ([HOST, b"Host: evil.example"], (400, 403)),
    ([b"Host:"], (400, 403)), ([b"Host: evil.example"], (403,)), ([b"Host: localhost.evil.example"], (403,)),
    ([b"Host: localhost:abc"], (403,)), ([b"Host: localhost@evil.example"], (403,)),
    ([b"Host: local\xffhost"], (400, 403)), ([b"Host: 0.0.0.0"], (403,)), ([b"Host: [::1"], (403,)),
    ([b"Host: localhost, evil.example"], (403,)), ([b"Host: localhost\0"], (400, 403)),
    ([b"Host: " + b"h" * 5_000], (403,)), ([b"Host: 2130706433"], (403,)), ([b"Host: localhost/"], (403,)),
    ([b"Host : localhost"], (400,)), ([b"Host: LOCALHOST:1"], ()), ([b"host:[::1]:80"], ()),
    ([b"HOST:\t127.0.0.1 "], ()),
)  # fmt: skip
ORIGINS = (
    b"null", b"http://evil.example", b"https://localhost", b"http://localhost.evil.example", b"http://localhost:2",
    b"", b"localhost", b"http://localhost, http://localhost", b"\xff", b"file://", b"http://localhost/",
)  # fmt: skip
TOKENS: Answered = tuple((lines, (401,)) for lines in (
    [], [b"Authorization:"], [b"Authorization: Bearer"], [b"Authorization: Bearer "],
    [b"Authorization: Bearer \xff\xfe"],
    [b"Authorization: Bearer " + TOKEN[:-1].encode()], [BEARER + b"x"], [BEARER, BEARER], [BEARER.upper()],
    [BEARER.replace(b"Bearer", b"Basic")],
    [b"Authorization: Basic " + b64encode(b"admin:" + TOKEN.encode())], [b"Authorization: " + TOKEN.encode()],
    [b"Authorization: Bearer " + b"x" * 5_000], [b"Authorization: Bearer null"],
))  # fmt: skip
MEDIA_TYPES = (
    b"text/plain", b"text/plain; application/json", b"application/x-www-form-urlencoded", b"", b"application/jsonx",
    b"multipart/form-data; boundary=x", b"application/json, text/plain", b"json", b"\xff", b"*/*",
)  # fmt: skip
SAME_MEDIA_TYPES = (
    b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/json;", b"application/json ;x=y",
)  # fmt: skip
ENTITY_TAGS = (
    b"", b"*", b"**", b'"', b'""', b'"1', b"1", b'W/"1"', b'w/"1"', b'"1", "2"', b",,,", b'"a,b"', b"*, *", b'"\xff"',
    b'"1" "2"', b'"\\""', b'"' + b"9" * 5_000 + b'"', b",".join([b'"x"'] * 5_000), b'W/W/"1"',
)  # fmt: skip
IDLE_FIELDS = (
    b"Range: bytes=0-10", b"Range: bytes=-1,5-2,x", b"Cookie: a=b; c", b"X-Forwarded-For: evil.example",
    b"Accept: image/png", b"X-Forwarded-Host: evil.example", b"X-HTTP-Method-Override: DELETE",
    b"Forwarded: host=evil.example;proto=https", b"Connection: Upgrade", b"Upgrade: websocket",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", b"Upgrade:",
    b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==",
    b"Connection: close", b"Connection: keep-alive, close", b"Connection: Host, Authorization",
    b"Connection: " + b"x," * 500, b"Keep-Alive: timeout=0", b"Expect: 100-continue", b"Expect: nothing",
    b"Expect: 100-Continue\r\nExpect: 100-continue", b"Accept-Encoding: gzip;q=x", b"TE: trailers", b"Trailer: Host",
    b"Via: 1.1 " + b"x" * 1_000, b"X-Empty:", b"Date: never", b"Max-Forwards: 0", b"Last-Event-ID: 1",
    b"Proxy-Connection: close", b"Sec-Fetch-Site: cross-site", b"X: \xfc\x80\xff",
    b"Access-Control-Request-Method: PUT", b"Access-Control-Request-Headers: authorization", b"X-Real-Ip: ::1",
)  # fmt: skip
BROKEN_FIELDS = (
    b"X Y: 1", b": nameless", b"X : 1", b"No colon", b"X\0: 1", b"X: \0", b"X: \x01\x02", b"X: a\rb", b"\xff: 1",
    b"(: 1", b"X\x7f: 1", b"X: a\r\r\nY: b",
)  # fmt: skip


def odd_host(chance: random.Random, draft: Draft) -> None:
    draft.host, statuses = chance.choice(HOSTS)
    if statuses:
        draft.refuses(*statuses)


def odd_origin(chance: random.Random, draft: Draft) -> None:
    draft.more.append(b"Origin: " + chance.choice(ORIGINS))
    if chance.random() < 0.2:
        draft.more.append(b"Origin: http://localhost")
    draft.refuses(403)


def odd_token(chance: random.Random, draft: Draft) -> None:
    draft.token, statuses = chance.choice(TOKENS)
    if draft.target == b"/health" and not draft.token:  # probes get the status, unless it is made odd further
        draft.allows(*statuses)
    else:
        draft.refuses(*statuses)


def odd_media_type(chance: random.Random, draft: Draft) -> None:
    if chance.random() < 0.3:
        draft.media_type = [b"Content-Type: " + chance.choice(SAME_MEDIA_TYPES)]
    elif chance.random() < 0.3:
        draft.more.append(
            chance.choice((b"Content-Encoding: gzip", b"Content-Encoding: identity, br", b"Content-Encoding: x"))
        )
        draft.refuses(415)
    else:
        draft.media_type = [b"Content-Type: " + chance.choice(MEDIA_TYPES)] if chance.random() < 0.8 else []
        draft.refuses(415)


def odd_preconditions(chance: random.Random, draft: Draft) -> None:
    for _ in range(chance.choice((1, 2))):
        draft.more.append(chance.choice((b"If-Match: ", b"If-None-Match: ", b"if-match:")) + chance.choice(ENTITY_TAGS))
    draft.allows(*((304, 412) if draft.method in ("GET", "HEAD") else (412,)))


def idle_fields(chance: random.Random, draft: Draft) -> None:
    """Headers that are not for this service, or change nothing but how it sends."""
    draft.more += chance.choices(IDLE_FIELDS, k=chance.choice((1, 2, 6)))
    chance.shuffle(draft.more)


def many_fields(chance: random.Random, draft: Draft) -> None:
    draft.more += [
        b"X-%d: %b" % (number, b"x" * chance.randrange(9)) for number in range(chance.choice((200, 300, 5_000)))
    ]
    draft.allows(431)


def large_field(chance: random.Random, draft: Draft) -> None:
    size = chance.choice((30_000, MAX_HEAD - 10, MAX_HEAD + 10, 3 * MAX_HEAD))
    draft.more.append(chance.choice((b"X: " + b"x" * size, b"x" * size + b": x", b"Cookie: " + b"x" * size)))
    if size < MAX_HEAD - 5_000:
        draft.allows(431)
    else:
        draft.refuses(431)


def broken_field(chance: random.Random, draft: Draft) -> None:
    draft.more.insert(chance.randint(0, len(draft.more)), chance.choice(BROKEN_FIELDS))
    draft.refuses(400)


def folded_field(chance: random.Random, draft: Draft) -> None:
    """A header over two lines, which a server may refuse (RFC 9112 5.2)."""
    draft.more.append(chance.choice((b"X: a\r\n b", b"X: a\r\n\tHost: evil.example", b"X:\r\n a", b"X: a\r\n  \r\n b")))
    draft.allows(400)
