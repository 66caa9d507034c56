"""The layer between server and application: what it notes, matches and fails."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from flowruns.testing.fault_injection import Injection, failure_response
from flowruns.testing.requests import RecordedRequest, RecordedRequests, RequestMatcher, assert_requests, differences
from flowruns.testing.server import Flowruns, serve
from tests.conftest import RUNS
from tests.waits import HANG
from tests.wire import RUN, Wire, ping, request

A1 = f"{RUNS}/a1"


def asked(method: str, path: str, body: bytes = b"", query: bytes = b"", status: int | None = 200) -> RecordedRequest:
    one = RecordedRequest({"method": method, "path": path, "query_string": query, "headers": [(b"x-a", b"b")]})
    one.read(body)
    one.status = status
    return one


def requests(*those: RecordedRequest) -> RecordedRequests:
    found = RecordedRequests()
    for one in those:
        found.append(one)
    return found


# What is meant


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (RequestMatcher(), True),
        (RequestMatcher("PUT"), True),
        (RequestMatcher("put"), True),
        (RequestMatcher("GET"), False),
        (RequestMatcher(path=A1), True),
        (RequestMatcher(path=f"{RUNS}/*"), True),
        (RequestMatcher(path=RUNS), False),
        (RequestMatcher(id="a1"), True),
        (RequestMatcher(id="1"), False),
        (RequestMatcher("PUT", f"{RUNS}/*", "a2"), False),
    ],
    ids=str,
)
def test_requests_are_meant_by_method_path_and_run(wanted: RequestMatcher, fits: bool) -> None:
    assert wanted.fits("PUT", A1) is fits


def test_request_tells_all_of_it() -> None:
    one = asked("GET", RUNS, query=b"tag=a:b&tag=c&phase=")
    assert one.query == {"tag": ["a:b", "c"], "phase": [""]}
    assert one.headers == {"x-a": "b"}
    assert repr(one) == f"GET {RUNS}?tag=a:b&tag=c&phase= 200"
    put = asked("PUT", A1, RUN, status=None)
    assert put.json == json.loads(RUN)
    assert repr(put) == f"PUT {A1} no answer {RUN.decode()}"
    assert repr(asked("PUT", A1, b"\x1b[1m\xff" + b"x" * 300)).endswith("\\x1b[1m\ufffd" + "x" * 195 + "…")


def test_requests_are_counted_and_reported() -> None:
    found = requests(*(asked("PUT", f"{RUNS}/r{number}") for number in range(25)))
    assert (len(found), found.count("PUT"), found.count("GET"), found.count(id="r3")) == (25, 25, 0, 1)
    assert found[-1].path.endswith("r24")
    assert len(found[:2]) == 2
    assert found.report().splitlines()[:2] == ["(5 before)", f"PUT {RUNS}/r5 200"]
    assert repr(found).startswith("<25 requests>\n(5 before)\n")
    assert RecordedRequests().report() == "(none)"


@pytest.mark.parametrize(
    ("body", "expected", "lines"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, [".a.b is 1, not 2", ".a.c is missing"]),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, [".a is [{'b': 1, 'c': 2}], not [{'b': 1}]"]),
        ([1], {"a": 1}, ["the body is [1], not {'a': 1}"]),
    ],
)
def test_bodies_may_have_more_than_is_expected(body: Any, expected: Any, lines: list[str]) -> None:
    assert differences(body, expected) == lines


def test_check_finds_the_requests_that_are_meant() -> None:
    found = requests(
        asked("PUT", A1, b'{"phase":"running"}'), asked("PUT", A1, b'{"phase":"failed"}'), asked("GET", A1)
    )
    assert assert_requests(found, RequestMatcher("PUT"), None, {"phase": "failed"}) == [found[1]]
    assert assert_requests(found, RequestMatcher("PUT", id="a1"), 2, None) == found[:2]
    assert assert_requests(found, RequestMatcher("DELETE"), 0, None) == []


def test_check_says_how_the_others_differ() -> None:
    found = requests(asked("PUT", A1, b'{"phase":"running"}'), asked("PUT", A1, b"{"), asked("GET", A1))
    with pytest.raises(AssertionError) as raised:
        assert_requests(found, RequestMatcher("PUT", id="a1"), 1, {"phase": "failed"})
    assert str(raised.value).splitlines() == [
        """PUT of 'a1' with {"phase": "failed"}: expected once, asked 0 times""",
        f'  PUT {A1} 200 {{"phase":"running"}}',
        "      .phase is 'running', not 'failed'",
        f"  PUT {A1} 200 {{",
        "      the body is not JSON",
    ]
    with pytest.raises(AssertionError) as raised:
        assert_requests(found, RequestMatcher(path="/health"), None, None)
    assert str(raised.value).splitlines()[:3] == [
        "any method /health: expected at least once, asked 0 times",
        "no such request; there were:",
        f'  PUT {A1} 200 {{"phase":"running"}}',
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Injection(RequestMatcher(), 0), "times is 1 or more"),
        (lambda: Injection(RequestMatcher(), None, delay=-1), "0 seconds or more"),
        (lambda: failure_response(204, None), "204 is no failure"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# On a server


@pytest.fixture(scope="module")
def server() -> Iterator[Flowruns]:
    with serve() as server:
        yield server


@pytest.fixture
def runs(server: Flowruns) -> Iterator[Flowruns]:
    server.reset()
    yield server
    server.reset()


def test_failure_comes_in_place_of_the_effect(runs: Flowruns) -> None:
    runs.fail_next(503, times=2, retry_after=0, method="PUT", id="a1")
    with Wire(runs.url) as wire:
        for _ in range(2):
            reply = wire.ask("PUT", A1, RUN)
            assert reply.details(503) == [(("server",), "unavailable")]
            assert reply.header(b"retry-after") == b"0"
            assert wire.ask("GET", A1).status == 404
        assert wire.ask("PUT", A1, RUN).status == 201
    assert [one.status for one in runs.requests.of("PUT")] == [503, 503, 201]
    runs.assert_called("PUT", id="a1", times=3, json={"flowId": "deploy"})


def test_failure_comes_after_the_effect_when_it_is_done(runs: Flowruns) -> None:
    runs.fail_next(500, done=True)
    with Wire(runs.url) as wire:
        assert wire.ask("POST", RUNS, b'{"flowId":"web"}').status == 500
    assert len(runs.dump()) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_failure_of_a_read_is_an_answer_like_any_other(runs: Flowruns, method: str) -> None:
    runs.fail_next(401, times=None, done=True)
    with Wire(runs.url) as wire:
        for accept in ("*/*", "text/event-stream"):
            reply = wire.ask(method, RUNS, None, f"Accept: {accept}")
            assert (reply.status, reply.header(b"www-authenticate")) == (401, b"Bearer")
        runs.recover()
        assert wire.ask(method, RUNS).status == 200


@pytest.mark.parametrize("done", [False, True])
def test_connection_is_dropped_before_or_after_the_effect(runs: Flowruns, done: bool) -> None:
    runs.drop_connection(done=done)
    with httpx.Client(base_url=runs.url) as client:
        with pytest.raises(httpx.TransportError):
            client.put(A1, json=json.loads(RUN))
        assert client.get(A1).status_code == (200 if done else 404)
    assert [one.status for one in runs.requests] == [None, 200 if done else 404]
    assert runs.requests[0].json == json.loads(RUN)


def test_connection_is_dropped_after_answers_on_it(runs: Flowruns) -> None:
    with Wire(runs.url) as wire:
        assert wire.ask("PUT", A1, RUN).status == 201
        runs.drop_connection(method="GET")
        wire.send(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % A1.encode())
        assert wire.rest() == b""


def test_large_bodies_pass_and_are_noted(runs: Flowruns) -> None:
    body = json.dumps({"flowId": "a", "flowType": "automation", "args": {"a": "x" * 5_000_000}}).encode()
    runs.delay(0.01)
    with Wire(runs.url) as wire:
        assert wire.ask("PUT", A1, body).status == 201
    assert runs.requests[0].body == body
    assert len(repr(runs.requests[0])) < 300


def test_delayed_requests_go_on(runs: Flowruns) -> None:
    runs.delay(0, times=1)
    runs.delay(0.05, times=1)
    runs.fail_next(503)
    with Wire(runs.url) as wire:
        began = loop_time(runs)
        assert wire.ask("PUT", A1, RUN).status == 503
        assert loop_time(runs) - began > 0.049
        assert wire.ask("PUT", A1, RUN).status == 201


def loop_time(runs: Flowruns) -> float:
    return runs._loop.time()


@pytest.mark.parametrize(("method", "body"), [("PUT", RUN), ("DELETE", None)])
def test_who_leaves_during_a_delay_has_no_effect(runs: Flowruns, method: str, body: bytes | None) -> None:
    runs.run("a1")
    before = runs.dump()
    runs.delay(HANG, path=A1, times=1)
    with Wire(runs.url) as wire:
        wire.send(request(method, A1, body))
        ping(runs.url)
        wire.reset()
    ping(runs.url)
    runs._call(runs._faulty.drop_all())
    assert runs.dump() == before


def test_delay_may_end_before_the_body_has_come(runs: Flowruns) -> None:
    runs.delay(0.01, path=A1)
    with Wire(runs.url) as wire:
        head = b"PUT %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % A1.encode()
        wire.send(head + b"Content-Length: %d\r\n\r\n" % len(RUN) + RUN[:5])
        ping(runs.url)
        until = loop_time(runs) + 0.01
        while loop_time(runs) <= until:
            ping(runs.url)
        wire.send(RUN[5:])
        assert wire.reply().status == 201
    assert runs.requests[0].body == RUN


def test_tokens_are_asked_for_behind_the_layer(runs: Flowruns) -> None:
    runs.reset(tokens={"t": 7})
    runs.fail_next(503)
    with Wire(runs.url) as wire:
        assert [wire.ask("GET", RUNS).status for _ in range(2)] == [503, 401]
        assert wire.ask("GET", RUNS, None, "Authorization: Bearer t").status == 200
    assert "Bearer" not in runs.requests.report()
