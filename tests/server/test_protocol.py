"""HTTP as bytes on real sockets: limits, deadlines, and misbehaving clients."""

import inspect
import logging
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from msgspec.structs import force_setattr
from uvicorn.protocols.http import httptools_impl

from flowruns.server import pacing, protocol
from flowruns.server.starting import RunningServer, running
from flowruns.settings import Settings
from tests.conftest import RUNS
from tests.streams import Stream
from tests.wire import RUN, Wire, ping, request

MAX_BODY = 200_000
SETTINGS = Settings(database=":memory:", port=0, max_body=MAX_BODY)
LATE_HEAD, LATE_BODY = SETTINGS.head_timeout + 1, SETTINGS.body_timeout + 1  # seconds
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
LIST = request("GET", RUNS)


class Clock:
    """The time that connections are measured by: only tests move it on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.connections: set[Clocked] = set()
        self.server: RunningServer

    def advance(self, seconds: float) -> None:
        """Moves the time on, and has the server close what has stalled by now."""
        ping(self.server.url)  # so that it has read what was sent before
        self.server.call(self._advance(seconds))

    async def _advance(self, seconds: float) -> None:
        self.now += seconds
        for connection in list(self.connections):
            connection.close_stalled(self.now)


class ClockedLoop:
    """An event loop with another time."""

    def __init__(self, loop: Any, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock

    def time(self) -> float:
        return self._clock.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class Clocked(protocol.Protocol):
    """A connection that is measured by a `Clock`."""

    clock: Clock

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.loop = ClockedLoop(self.loop, self.clock)  # type: ignore[assignment]  # a proxy

    def connection_made(self, transport: Any) -> None:
        self.clock.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.clock.connections.discard(self)
        super().connection_lost(exc)

    def close_stalled(self, now: float) -> None:  # the server calls it, too, by its own time
        super().close_stalled(self.clock.now)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    clock = Clocked.clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowruns.server.server.Protocol", Clocked)
        with running(SETTINGS) as clock.server:
            yield clock


@pytest.fixture(scope="module")
def server(clock: Clock) -> str:
    return clock.server.url


@pytest.fixture(autouse=True)
def _nothing_breaks(server: str, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No internal error is logged, and the server goes on."""
    yield
    ping(server)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []


@contextmanager
def limits(**seconds: float) -> Iterator[None]:
    """While entered, the server has other limits."""
    before = {name: getattr(SETTINGS, name) for name in seconds}
    for name, value in seconds.items():
        force_setattr(SETTINGS, name, value)
    yield
    for name, value in before.items():
        force_setattr(SETTINGS, name, value)


def chunks(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies)


def run_of(size: int) -> bytes:
    """A body of *size* bytes."""
    return RUN + b" " * (size - len(RUN))


def status_of(server: str, target: str) -> int:
    with Wire(server) as other:
        return other.ask("GET", target).status


# Connections


def test_longest_idle_connection_is_closed_over_the_limit(server: str, clock: Clock) -> None:
    with limits(max_connections=3), Wire(server) as first, Wire(server) as second, Wire(server) as third:
        for wire in (first, third, second):
            assert wire.ask("GET", RUNS).status == 200
            clock.now += 1
        with Wire(server) as fourth:
            assert fourth.ask("GET", RUNS).status == 200
            assert first.rest() == b""
            assert second.ask("GET", RUNS).status == 200
            assert third.ask("GET", RUNS).status == 200


@pytest.mark.parametrize("sent", [b"", LIST[:-1]], ids=["nothing", "half a head"])
def test_connection_without_a_request_is_closed_over_the_limit(server: str, sent: bytes) -> None:
    with limits(max_connections=1), ExitStack() as stack:
        idle = [stack.enter_context(Wire(server)) for _ in range(20)]
        idle[-1].send(sent)
        with Wire(server) as wire:
            assert wire.ask("GET", RUNS).status == 200
            assert [one.rest() for one in idle] == [b""] * 20


def test_idle_connection_is_closed_after_its_timeout() -> None:
    settings = Settings(database=":memory:", port=0, idle_timeout=0.1)
    with running(settings) as ready, Wire(ready.url) as wire:
        assert wire.ask("GET", RUNS).status == 200
        assert wire.rest() == b""


def test_busy_connections_stay_open_and_others_get_503(server: str) -> None:
    put = request("PUT", f"{RUNS}/busy", RUN)
    with Wire(server) as busy:
        busy.send(put[:-1])
        with Wire(server) as wire:  # the server has read that, and has closed what was here before
            wire.ask("GET", RUNS)
            wire.ask("GET", RUNS, None, "Connection: close")
            assert wire.rest() == b""
        with limits(max_connections=1), Wire(server) as other:
            reply = other.ask("GET", RUNS)
            assert reply.details(503) == [(("server",), "unavailable")]
            assert reply.header(b"retry-after") == b"1"
            assert other.rest() == b""
        busy.send(put[-1:])
        assert busy.reply().status == 201


# Not HTTP

NOT_HTTP = [
    b"hello\r\n\r\n",
    b"\0\0\0\0\0\0\0\0",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / FTP/1.1\r\n\r\n",
    b"NOSUCHMETHOD / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET relative HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n",
    b"GET / HTTP/1.1\r\nHo st: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: 1\rY: 2\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("before", [None, "GET", "HEAD"])
@pytest.mark.parametrize("data", NOT_HTTP)
def test_bytes_that_are_not_http_are_400(wire: Wire, data: bytes, before: str | None) -> None:
    if before:
        assert wire.ask(before, RUNS).status == 200
    wire.send(data)
    reply = wire.reply()
    assert reply.details(400) == [(("request",), "bad_request")]
    assert reply.header(b"connection") == b"close"
    assert wire.rest() == b""


def test_broken_chunk_is_400_and_makes_no_run(wire: Wire, server: str) -> None:
    wire.send(request("PUT", f"{RUNS}/broken-chunk", None, JSON, CHUNKED) + chunks(RUN) + b"xyz\r\n")
    assert wire.reply().status == 400
    assert wire.rest() == b""
    assert status_of(server, f"{RUNS}/broken-chunk") == 404


@pytest.mark.parametrize("target", ["*", "localhost:8000", "http://localhost", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "CONNECT", "TRACE"])
def test_other_methods_and_targets_are_4xx(wire: Wire, method: str, target: str) -> None:
    wire.send(request(method, target))
    reply = wire.reply(method)
    assert 400 <= reply.status < 500
    assert reply.details(reply.status)


def test_random_damage_is_never_a_5xx(server: str, chance: random.Random) -> None:
    whole = request("PUT", f"{RUNS}/damaged?size=1", RUN) + LIST
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            place = chance.randrange(len(data))
            data[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        with Wire(server) as wire:
            wire.send(bytes(data))
            wire.end()
            answers = wire.rest()
        assert b"HTTP/1.1 5" not in answers, bytes(data)


# Headers

LIMIT = SETTINGS.max_head
LARGE_HEADS = {
    "one header": request("GET", RUNS, None, "X: " + "x" * LIMIT),
    "one name": request("GET", RUNS, None, "x" * LIMIT + ": x"),
    "many headers": request("GET", RUNS, None, *(f"X-{number}: {'x' * 50}" for number in range(LIMIT // 50))),
    "many empty headers": request("GET", RUNS, None, *["X:"] * (LIMIT // 4)),
    "the target": request("GET", f"{RUNS}?x=" + "x" * LIMIT),
    "with a body": request("PUT", f"{RUNS}/large-head", RUN, "X: " + "x" * LIMIT),
}


@pytest.mark.parametrize("head", LARGE_HEADS.values(), ids=LARGE_HEADS)
def test_head_over_64_kib_is_431(wire: Wire, head: bytes) -> None:
    wire.send(head)
    reply = wire.reply()
    assert reply.details(431) == [(("header",), "headers_too_large")]
    assert reply.header(b"connection") == b"close"
    assert wire.rest() == b""


@pytest.mark.parametrize("name", [name for name in LARGE_HEADS if name != "with a body"])
@pytest.mark.parametrize("first", [1, 100])
def test_unfinished_head_over_64_kib_is_431_at_once(wire: Wire, server: str, name: str, first: int) -> None:
    unfinished = LARGE_HEADS[name][:-4]
    wire.send(unfinished[:first])
    ping(server)
    wire.send(unfinished[first:] + b"x" * 100)
    assert wire.reply().status == 431


def test_rejected_head_request_has_no_body(wire: Wire) -> None:
    wire.send(request("HEAD", RUNS, None, *["X: 1"] * protocol.MAX_HEADERS))
    assert wire.reply("HEAD").status == 431
    assert wire.rest() == b""


@pytest.mark.parametrize(("fields", "status"), [(protocol.MAX_HEADERS - 1, 200), (protocol.MAX_HEADERS, 431)])
def test_head_has_at_most_256_fields(wire: Wire, fields: int, status: int) -> None:
    assert wire.ask("GET", RUNS, None, *["X: 1"] * fields).status == status  # and Host


def test_head_under_64_kib_is_served(wire: Wire) -> None:
    assert wire.ask("GET", RUNS, None, "X: " + "x" * (LIMIT - 200)).status == 200
    assert wire.ask("GET", f"{RUNS}?x=" + "x" * (LIMIT - 200)).status == 200


def test_size_of_a_body_does_not_count_for_the_head_behind_it(wire: Wire, server: str) -> None:
    put = request("PUT", f"{RUNS}/large-body", run_of(100_000))  # which the server reads in one go
    wire.send(put[:20])
    ping(server)
    wire.send(put[20:] + LIST[:20])
    assert wire.reply().status == 201
    wire.send(LIST[20:])
    assert wire.reply().status == 200


def test_connection_that_sends_nothing_is_closed(wire: Wire, clock: Clock) -> None:
    clock.advance(LATE_HEAD)
    assert wire.rest() == b""


def test_server_looks_for_stalled_connections_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowruns.server.server.Protocol", protocol.Protocol)
    with running(SETTINGS) as ready, Wire(ready.url) as wire, limits(head_timeout=0.0):
        assert wire.rest() == b""


@pytest.mark.parametrize("answered", [False, True])
def test_blank_lines_do_not_keep_a_connection_open(wire: Wire, clock: Clock, answered: bool) -> None:
    if answered:
        wire.ask("GET", RUNS)
    for _ in range(4):
        wire.send(b"\r\n")
        clock.advance(LATE_HEAD / 4)
    assert wire.rest()[:12] in (b"", b"HTTP/1.1 408")


@pytest.mark.parametrize("size", [1, 20, len(LIST) - 2])
def test_slow_head_is_408(wire: Wire, clock: Clock, size: int) -> None:
    wire.send(LIST[:size])
    clock.advance(LATE_HEAD)
    reply = wire.reply()
    assert reply.details(408) == [(("request",), "request_timeout")]
    assert reply.header(b"connection") == b"close"
    assert wire.rest() == b""


def test_slow_headers_after_a_response_are_408(wire: Wire, clock: Clock) -> None:
    wire.send(LIST + LIST[:20])
    assert wire.reply().status == 200
    clock.advance(LATE_HEAD)
    assert wire.reply().status == 408
    assert wire.rest() == b""


def test_time_of_a_head_is_for_all_of_it(wire: Wire, clock: Clock) -> None:
    wire.send(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(4):
        clock.advance(LATE_HEAD / 4)
        wire.send(b"x")
    assert wire.rest().startswith(b"HTTP/1.1 408 ")


# Bodies


def test_slow_body_is_408_and_makes_no_run(wire: Wire, server: str, clock: Clock) -> None:
    wire.send(request("PUT", f"{RUNS}/slow-body", RUN)[:-5])
    clock.advance(LATE_BODY)
    assert wire.reply().details(408) == [(("request",), "request_timeout")]
    assert wire.rest() == b""
    assert status_of(server, f"{RUNS}/slow-body") == 404


def test_slow_and_steady_upload_succeeds(wire: Wire, clock: Clock) -> None:
    put = request("PUT", f"{RUNS}/steady", RUN)
    for piece in (put[:-20], put[-20:-15], put[-15:-10]):  # each pause is allowed, and all are longer than one may be
        wire.send(piece)
        clock.advance(SETTINGS.body_timeout * 0.9)
    wire.send(put[-10:])
    assert wire.reply().status == 201


def test_stream_is_not_stalled(server: str, clock: Clock) -> None:
    with Stream(server) as stream, Wire(server) as wire:
        clock.advance(LATE_HEAD + LATE_BODY)
        assert wire.rest() == b""
        assert status_of(server, RUNS) == 200
        with Wire(server) as other:
            other.ask("PUT", f"{RUNS}/streamed", RUN)
        assert stream.event().json["id"] == "streamed"


@pytest.mark.parametrize(
    "body",
    [
        chunks(RUN) + b"0\r\n\r\n",
        chunks(*(bytes([byte]) for byte in RUN)) + b"0\r\n\r\n",
        b"%X;name=value\r\n%b\r\n000\r\n\r\n" % (len(RUN), RUN),
        chunks(run_of(MAX_BODY)) + b"0\r\n\r\n",
    ],
    ids=["one chunk", "a byte each", "extension", "as large as may be"],
)
def test_chunked_body_is_read(wire: Wire, body: bytes) -> None:
    wire.send(request("PUT", f"{RUNS}/chunked", None, JSON, CHUNKED) + body)
    assert wire.reply().status in (200, 201)
    assert wire.ask("GET", f"{RUNS}/chunked").json["flowId"] == "deploy"


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("size", [MAX_BODY + 1, 10**15])
def test_declared_body_over_the_limit_is_413_before_it_is_sent(wire: Wire, method: str, size: int) -> None:
    target = {"PUT": f"{RUNS}/over", "POST": RUNS}[method]
    wire.send(request(method, target, None, JSON, f"Content-Length: {size}", "Expect: 100-continue"))
    assert wire.reply().details(413) == [(("body",), "too_large")]


def test_chunked_body_over_the_limit_is_413(wire: Wire, server: str) -> None:
    wire.send(request("PUT", f"{RUNS}/over", None, JSON, CHUNKED) + chunks(run_of(MAX_BODY), b" "))  # no end in sight
    assert wire.reply().details(413) == [(("body",), "too_large")]
    assert status_of(server, f"{RUNS}/over") == 404


def test_rest_of_a_rejected_body_gets_no_response_of_its_own(wire: Wire) -> None:
    wire.send(f"PUT {RUNS}/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{CHUNKED}\r\n\r\n".encode())
    assert wire.reply().status == 415
    wire.send(b"+5\r\n")
    assert wire.rest() == b""


def test_upload_is_ignored_once_it_is_rejected(wire: Wire, clock: Clock) -> None:
    wire.send(request("PUT", f"{RUNS}/over", None, JSON, CHUNKED) + chunks(run_of(MAX_BODY + 1)))
    assert wire.reply().status == 413
    for _ in range(2):
        wire.send(chunks(b" " * 1000))
        clock.advance(LATE_BODY / 2)
    assert wire.rest() == b""  # no second answer, and an end


def test_expect_100_continue_gets_100_before_the_body_is_sent(wire: Wire) -> None:
    put = request("PUT", f"{RUNS}/expected", RUN, "Expect: 100-continue")
    wire.send(put.removesuffix(RUN))
    assert wire.reply().status == 100
    wire.send(RUN)
    assert wire.reply().status == 201


def test_expect_100_continue_gets_no_100_where_no_body_is_read(wire: Wire) -> None:
    wire.send(request("PUT", f"{RUNS}/expected", None, "Expect: 100-continue", f"Content-Length: {len(RUN)}"))
    assert wire.reply().status == 415


def test_trailers_are_not_taken_for_headers(wire: Wire) -> None:
    trailers = f"{JSON}\r\nHost: evil.example\r\nOrigin: null\r\nIf-Match: *\r\n\r\n".encode()
    put = f"{RUNS}/trailers"
    wire.send(request("PUT", put, None, CHUNKED) + chunks(RUN) + b"0\r\n" + trailers)
    assert wire.reply().status == 415
    wire.send(request("PUT", put, None, JSON, CHUNKED) + chunks(RUN) + b"0\r\n" + trailers)
    assert wire.reply().status == 201
    assert wire.ask("GET", put).status == 200


def test_endless_trailer_is_4xx(wire: Wire) -> None:
    wire.send(request("PUT", f"{RUNS}/trailer", None, JSON, CHUNKED) + chunks(RUN) + b"0\r\nX: ")
    assert wire.trickle(b"x" * 70_000).startswith(b"HTTP/1.1 4")


# Many requests on one connection


def test_pipelined_requests_get_their_responses_in_order(wire: Wire) -> None:
    targets = [f"{RUNS}/pipelined-{number}" for number in range(50)]
    wire.send(b"".join(request("PUT", target, RUN) + request("GET", target) for target in targets))
    for target in targets:
        assert wire.reply().header(b"location") == target.encode()
        assert wire.reply().json["id"] == target.rpartition("/")[2]


def test_pipelined_requests_are_parsed_as_they_are_answered(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = []
    on_message_complete = protocol.Protocol.on_message_complete

    def recorded(self: protocol.Protocol) -> None:
        waiting.append(len(self.pipeline))
        on_message_complete(self)

    monkeypatch.setattr(protocol.Protocol, "on_message_complete", recorded)
    one = request("GET", "/nothing")
    with Wire(server) as wire, ThreadPoolExecutor() as threads:  # made after the patch: its parser takes the methods
        sent = threads.submit(wire.send, one * 20_000)
        assert [wire.reply().status for _ in range(20_000)] == [404] * 20_000
        sent.result()
    assert len(waiting) == 20_000
    assert max(waiting) <= pacing._PARSED_AT_ONCE // len(one) + 1


def test_others_have_their_turn_between_many_chunks(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    on_body = protocol.Protocol.on_body

    def recorded(self: protocol.Protocol, body: bytes) -> None:
        on_body(self, body)
        parsed.append(self._tokens)

    monkeypatch.setattr(protocol.Protocol, "on_body", recorded)
    chunk = chunks(b" ")
    with Wire(server) as wire:
        wire.send(request("PUT", f"{RUNS}/chunks", None, JSON, CHUNKED) + chunks(RUN) + chunk * 20_000 + chunks(b""))
        assert wire.reply().status == 201
        assert wire.ask("GET", f"{RUNS}/chunks").status == 200
    assert len(parsed) == 20_001
    assert max(parsed) <= pacing._MAX_TOKENS + pacing._BODY_PARSED_AT_ONCE // len(chunk) + 1


@pytest.mark.parametrize("padding", [1985, 1990, 1995])  # so that the first piece that is parsed ends near a request
def test_stream_behind_pipelined_requests_is_not_idle(clock: Clock, padding: int) -> None:
    with Wire(clock.server.url) as wire:
        padded = request("GET", "/nothing", None, f"X-Padding: {'x' * padding}")
        wire.send(padded * 6 + request("GET", RUNS, None, "Accept: text/event-stream"))
        assert [wire.reply().status for _ in range(6)] == [404] * 6
        assert wire.head().status == 200
        streams = [connection for connection in list(clock.connections) if connection.is_streaming]
        assert [stream.timeout_keep_alive_task for stream in streams] == [None]


def test_pipelined_requests_before_the_end_get_their_responses(wire: Wire) -> None:
    wire.send(request("GET", "/nothing") * 1_000 + b"GET / HTTP/1.1\r\nHost")
    wire.end()
    assert [wire.reply().status for _ in range(1_000)] == [404] * 1_000
    assert wire.rest() == b""


def test_invalid_request_behind_an_error_response_is_no_internal_error(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"id": "there-twice", "flowId": "x"}'
    assert wire.ask("POST", RUNS, body).status == 201
    padding = b"X: " + b"x" * 3000  # so that its end is parsed as the first response is sent
    invalid = b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % padding
    wire.send(request("POST", RUNS, body) + request("GET", f"{RUNS}/there-twice") + invalid)
    assert [wire.reply().status for _ in range(2)] == [409, 200]
    assert wire.rest() == b""
    assert not caplog.records


def test_pipelined_bodies_may_be_large(wire: Wire) -> None:
    wire.send(request("PUT", f"{RUNS}/large", run_of(MAX_BODY)) * 5)
    assert [wire.reply().status for _ in range(5)] == [201, 200, 200, 200, 200]


BAD_SECOND = {
    "not HTTP": b"hello\r\n\r\n",
    "no target": b"GET\r\n\r\n",
    "bad header": b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    "bad length": request("PUT", RUNS, None, "Content-Length: x"),
    "bad chunk": request("PUT", RUNS, None, JSON, CHUNKED) + b"xyz\r\n",
    "bad second chunk": request("PUT", RUNS, None, JSON, CHUNKED) + chunks(b" ") + b"xyz\r\n",
    "large head": LARGE_HEADS["one header"],
}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("name", BAD_SECOND)
def test_good_requests_before_a_bad_one_get_their_responses(wire: Wire, server: str, name: str, count: int) -> None:
    targets = [f"{RUNS}/{number}-of-{count}-before-{name.lower().replace(' ', '-')}" for number in range(count)]
    wire.send(b"".join(request("PUT", target, RUN) for target in targets) + BAD_SECOND[name])
    for target in targets:
        reply = wire.reply()
        assert (reply.status, reply.header(b"location")) == (201, target.encode())
    assert wire.rest()[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")
    assert status_of(server, targets[-1]) == 200


def test_nothing_after_a_bad_request_is_performed(wire: Wire, server: str) -> None:
    wire.send(b"hello\r\n\r\n" + request("PUT", f"{RUNS}/after-bad", RUN))
    assert wire.reply().status == 400
    assert wire.rest() == b""
    assert status_of(server, f"{RUNS}/after-bad") == 404


def test_head_has_no_body(wire: Wire) -> None:
    assert wire.ask("PUT", f"{RUNS}/head", RUN).status == 201
    for target in (RUNS, f"{RUNS}/head", "/health", "/openapi.json", f"{RUNS}/nobody", "/nothing", f"{RUNS}?size=0"):
        wire.send(request("HEAD", target) + request("GET", target))
        head, get = wire.reply("HEAD"), wire.reply()  # the second one would begin within the first one's body
        assert head.status == get.status
        assert [pair for pair in head.headers if pair[0] != b"date"] == [
            pair for pair in get.headers if pair[0] != b"date"
        ]


@pytest.mark.parametrize(("method", "status"), [("DELETE", 204), ("GET", 304)])
def test_responses_without_a_body_leave_the_connection_usable(wire: Wire, method: str, status: int) -> None:
    wire.ask("PUT", f"{RUNS}/empty-{method.lower()}", RUN)
    reply = wire.ask(method, f"{RUNS}/empty-{method.lower()}", None, *["If-None-Match: *"] * (method == "GET"))
    assert reply.status == status
    assert reply.header(b"transfer-encoding") is None
    assert wire.ask("GET", RUNS).status == 200


def test_connection_is_closed_when_the_client_requests_it(wire: Wire) -> None:
    reply = wire.ask("GET", RUNS, None, "Connection: close")
    assert (reply.status, reply.header(b"connection")) == (200, b"close")
    assert wire.rest() == b""


def test_http_1_0_is_served_and_closed(wire: Wire) -> None:
    wire.send(LIST.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert wire.reply().json["items"] is not None
    assert wire.rest() == b""


def test_http_1_0_without_a_host_is_403(wire: Wire) -> None:
    wire.send(b"GET / HTTP/1.0\r\n\r\n")
    assert wire.reply().details(403) == [(("header", "host"), "host_not_allowed")]


# Clients that leave


@pytest.mark.parametrize("data", [LIST, LIST * 3, request("PUT", f"{RUNS}/half-closed", RUN)])
def test_client_that_closes_its_half_gets_its_responses(wire: Wire, data: bytes) -> None:
    wire.send(data)
    wire.end()
    for _ in range(data.count(b"HTTP/1.1")):
        assert wire.reply().status in (200, 201)
    assert wire.rest() == b""


HALF = {
    "head": LIST[:-1],
    "body": request("PUT", f"{RUNS}/half", RUN)[:-1],
    "broken": request("PUT", f"{RUNS}/half", None, "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "target": request("PUT", "http://[::1", RUN),
}


@pytest.mark.parametrize("rest", HALF.values(), ids=HALF)
def test_complete_requests_before_an_incomplete_one_get_responses(wire: Wire, server: str, rest: bytes) -> None:
    wire.send(request("PUT", f"{RUNS}/whole", RUN) + LIST + rest)
    wire.end()
    assert [wire.reply().status in (200, 201), wire.reply().status] == [True, 200]
    assert b"HTTP/1.1 2" not in wire.rest()
    assert status_of(server, f"{RUNS}/half") == 404


@pytest.mark.parametrize(
    "data",
    [b"", b"GET", LIST[:-2], request("PUT", f"{RUNS}/left", RUN)[:-1], request("PUT", f"{RUNS}/left", RUN)[:-len(RUN)],
     request("PUT", f"{RUNS}/left", None, JSON, CHUNKED) + chunks(RUN)],
    ids=["nothing", "method", "head", "body", "no body", "chunks"],
)  # fmt: skip
@pytest.mark.parametrize("rudely", [False, True])
def test_client_that_leaves_midway_leaves_nothing(wire: Wire, server: str, data: bytes, rudely: bool) -> None:
    wire.send(data)
    ping(server)
    if rudely:
        wire.reset()
    else:
        wire.end()
        assert wire.rest() == b""
    ping(server)
    assert status_of(server, f"{RUNS}/left") == 404


def test_client_that_disconnects_before_its_response_is_no_error(server: str) -> None:
    for number in range(20):
        with Wire(server) as wire:
            wire.send(request("PUT", f"{RUNS}/gone-{number}", RUN) + LIST * 3)
            wire.reset()
    ping(server)


# Upgrades


UPGRADES = {
    "websocket": ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"],
    "h2c": ["HTTP2-Settings: AAMAAABkAAQAAP__"],  # as curl --http2 and Java's HttpClient send it
}


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_upgrade_is_ignored(wire: Wire, upgrade: str) -> None:
    lines = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", *UPGRADES[upgrade]]
    for method, status in (("GET", 200), ("HEAD", 200), ("OPTIONS", 405)):
        assert wire.ask(method, RUNS, None, *lines).status == status
    assert wire.ask("GET", RUNS).status == 200


@pytest.mark.parametrize("name", ["Upgrade", "UPGRADE", "upgrade"])
def test_upgrade_may_be_written_in_any_case(wire: Wire, name: str) -> None:
    assert wire.ask("PUT", f"{RUNS}/any-case", RUN, "CONNECTION: UPGRADE", f"{name}: H2C").status in (200, 201)


def test_upgrades_may_be_pipelined(wire: Wire) -> None:
    wire.send(request("GET", "/nothing", None, "Connection: Upgrade", "Upgrade: h2c") * 1500 + LIST)
    assert {wire.reply().status for _ in range(1500)} == {404}
    assert wire.reply().status == 200


def test_upgrade_of_http_1_0_gets_a_response_and_closes(wire: Wire) -> None:
    wire.send(request("GET", RUNS, None, "Connection: Upgrade", "Upgrade: h2c").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert wire.reply().status == 200
    assert wire.rest() == b""


@pytest.mark.parametrize(
    "data",
    [
        request("PUT", f"{RUNS}/pieces", RUN, "Connection: Upgrade", "Upgrade: h2c"),
        f"GET {RUNS} HTTP/1.1\r\nHost:\tlocalhost \t\r\n\r\n".encode(),  # space is no part of the value
    ],
)
def test_head_may_come_in_any_pieces(server: str, data: bytes) -> None:
    for cut in range(data.index(b"Host"), data.index(b"\r\n\r\n") + 4):
        with Wire(server) as wire:
            wire.send(data[:cut])
            ping(server)
            wire.send(data[cut:])
            assert wire.reply().status in (200, 201), data[:cut]


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("pieces", [1, 2])
def test_upgrade_with_a_body_is_ignored(wire: Wire, server: str, upgrade: str, pieces: int) -> None:
    target = f"{RUNS}/upgrade-{upgrade}-{pieces}"
    lines = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", *UPGRADES[upgrade]]
    put = request("PUT", target, RUN, *lines)
    if pieces == 2:
        wire.send(put.removesuffix(RUN))
        ping(server)
        put = RUN
    wire.send(put)
    assert wire.reply().status == 201
    assert wire.ask("GET", target).status == 200


# Targets


def test_absolute_form_of_a_target_is_served(wire: Wire, server: str) -> None:
    assert wire.ask("GET", f"{server}{RUNS}?size=1").json["items"] is not None
    assert wire.ask("GET", f"http://localhost{RUNS}/nobody").status == 404


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", f"{RUNS}%0A", 404), ("GET", f"{RUNS}%0a?size=1", 404), ("GET", f"{RUNS}/", 404),
        ("GET", f"{RUNS}%00", 404), ("GET", f"{RUNS}%3Fsize=1", 404), ("GET", "/health%0A", 404),
        ("GET", f"/{RUNS}", 404), ("GET", f"{RUNS}/a%0A", 404), ("GET", f"{RUNS}/%FF", 404),
        ("GET", f"{RUNS}/%ED%A0%80", 404), ("GET", f"{RUNS}/a%00", 404), ("GET", f"{RUNS}/%F0%9F%99%82", 404),
        ("GET", RUNS.replace("-", "%2D"), 200), ("GET", f"{RUNS}#fragment", 200), ("GET", f"{RUNS}?", 200),
        ("PUT", f"{RUNS}/a%0A", 422), ("PUT", f"{RUNS}/%0A", 422), ("PUT", f"{RUNS}/a%00", 422),
        ("PUT", f"{RUNS}/%FF", 422), ("PUT", f"{RUNS}/%C3%BC", 422), ("PUT", f"{RUNS}/%ED%A0%80", 422),
        ("PUT", f"{RUNS}/%zz", 422), ("PUT", f"{RUNS}/A", 422), ("DELETE", f"{RUNS}/a%0A", 422),
        ("PUT", f"{RUNS}/a%2Fb", 404), ("PUT", f"{RUNS}/a/b", 404), ("PUT", f"{RUNS}/", 404),
    ],
)  # fmt: skip
def test_path_counts_as_it_came(wire: Wire, method: str, target: str, status: int) -> None:
    reply = wire.ask(method, target, RUN if method == "PUT" else None)
    assert reply.status == status
    if status == 422:
        assert reply.details(422) == [(("path", "id_"), "string_pattern_mismatch")]
    elif status != 200:
        assert reply.details(status)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("cursor=%FF", 422), ("cursor=%00", 422), ("cursor=%ED%A0%80", 422), ("size=%FF", 422), ("size=1%0A", 422),
        ("flowId=a%0A", 422), ("flowId=%FF", 422), ("phase=%FF", 422), ("createdAfter=%FF", 422), ("order=%FF", 422),
        ("flowType=%FF", 422), ("createdBy=%FF", 422), ("tag=%FF:%FF", 200), ("tag=k:%00", 200), ("%FF=%FF", 200),
        ("&&==&", 200), ("%", 200), ("size=%31", 200), ("size=+1", 422), ("tag=k:%ED%A0%80", 200),
    ],
)  # fmt: skip
def test_query_is_read_whatever_its_bytes(wire: Wire, query: str, status: int) -> None:
    reply = wire.ask("GET", f"{RUNS}?{query}")
    assert reply.status == status, reply.body
    if status == 422:
        assert [loc for loc, _ in reply.details(422)] == [("query", query.partition("=")[0])]


def test_location_escapes_what_a_path_may_not_hold(wire: Wire, server: str) -> None:
    assert urlsplit(server).path == ""
    reply = wire.ask("PUT", f"{RUNS}/%61-b.c_d", RUN)
    assert reply.header(b"location") == f"{RUNS}/a-b.c_d".encode()


# uvicorn


def test_listed_names_of_uvicorn_exist_and_are_used() -> None:
    table = protocol.__doc__ or ""
    theirs = "".join(inspect.getsource(module) for module in (httptools_impl, uvicorn.server, uvicorn.config))
    files = Path(protocol.__file__).parent.glob("*.py")
    ours = "".join(file.read_text(encoding="utf-8") for file in files).replace(table, "")
    for name in re.findall(r"`(\w+)`", table):
        assert re.search(rf"\b{name}\b", theirs), name
        assert re.search(rf"\b{name}\b", ours), name


def test_error_in_a_callback_of_the_parser_is_internal_and_logged(
    server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: protocol.Protocol) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(protocol.Protocol, "on_message_begin", broken)
    with Wire(server) as wire:
        wire.send(request("GET", RUNS))
        assert wire.reply().details(500) == [(("server",), "internal_error")]
        assert wire.rest() == b""
    monkeypatch.undo()
    assert [record.getMessage() for record in caplog.records] == ["ZeroDivisionError in a callback of the HTTP parser"]
    caplog.clear()
    assert status_of(server, RUNS) == 200
