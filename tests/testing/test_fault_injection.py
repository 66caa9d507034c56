"""The middleware of the test server: what it records, matches and injects."""

import json
import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest

from flowruns.testing.requests import RecordedRequest, RecordedRequests, RequestMatcher, assert_requests, differences
from flowruns.testing.server import Flowruns
from tests.conftest import RUNS
from tests.waits import HANG, eventually
from tests.wire import RUN, Wire, ping, request

A1 = f"{RUNS}/a1"
TIME = "2025-01-20T18:53:03.558Z"


def recorded(
    method: str, path: str, body: bytes = b"", query: bytes = b"", status: int | None = 200
) -> RecordedRequest:
    request = RecordedRequest({"method": method, "path": path, "query_string": query, "headers": [(b"x-a", b"b")]})
    request.record_body(body, complete=True)
    request.status = status
    return request


def unread(size: int, *pieces: bytes, status: int | None = 404) -> RecordedRequest:
    """A PUT with a body of *size* bytes, of which the server has read *pieces*."""
    headers = [(b"content-length", b"%d" % size)]
    request = RecordedRequest({"method": "PUT", "path": A1, "query_string": b"", "headers": headers})
    for piece in pieces:
        request.record_body(piece, complete=False)
    request.status = status
    return request


def requests(*items: RecordedRequest) -> RecordedRequests:
    collected = RecordedRequests()
    for item in items:
        collected.append(item)
    return collected


# Matching


@pytest.mark.parametrize(
    ("matcher", "expected"),
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
def test_requests_match_by_method_path_and_run(matcher: RequestMatcher, expected: bool) -> None:
    assert matcher.matches("PUT", A1) is expected


def test_recorded_request_has_query_headers_body_and_status() -> None:
    get = recorded("GET", RUNS, query=b"tag=a:b&tag=c&phase=")
    assert get.query == {"tag": ["a:b", "c"], "phase": [""]}
    assert (get.headers["X-A"], get.headers.get("x-a"), get.id, get.json) == ("b", "b", None, None)
    assert repr(get) == f"GET {RUNS}?tag=a:b&tag=c&phase= 200"
    put = recorded("PUT", A1, RUN, status=None)
    assert (put.json, put.id, put.status) == (json.loads(RUN), "a1", None)
    assert repr(put) == f"PUT {A1} no response {RUN.decode()}"
    assert repr(recorded("PUT", A1, b"\x1b[1m\xff" + b"x" * 300)).endswith("\\x1b[1m\ufffd" + "x" * 195 + "…")


@pytest.mark.parametrize(
    ("path", "id"),
    [
        (A1, "a1"), (f"/proxied{A1}", "a1"), (RUNS, None), (f"{RUNS}/a1/logs", None), ("/api/v2/flow-runs/a1", None),
        ("/flow-runs/a1", None),
    ],
)  # fmt: skip
def test_the_id_of_a_request_is_the_one_that_selects_it(path: str, id: str | None) -> None:
    assert recorded("PUT", path).id == id
    assert RequestMatcher(id="a1").matches("PUT", path) is (id == "a1")


def test_only_requests_that_are_shown_are_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    received = requests(*(recorded("PUT", f"{RUNS}/r{number}", b"{}") for number in range(25)))
    rendered: list[str | None] = []
    render = RecordedRequest.__repr__
    monkeypatch.setattr(RecordedRequest, "__repr__", lambda request: rendered.append(request.id) or render(request))
    shown = [f"r{number}" for number in range(5, 25)]
    received.report()
    assert rendered == shown
    with pytest.raises(AssertionError, match=r"\n  \(5 before\)\n"):
        assert_requests(received, RequestMatcher("PUT"), 1, {"phase": "failed"})
    assert rendered == shown * 2


def test_requests_are_counted_and_reported() -> None:
    received = requests(*(recorded("PUT", f"{RUNS}/r{number}") for number in range(25)))
    counts = received.count("PUT"), received.count("GET"), received.count(id="r3")
    assert (len(received), *counts) == (25, 25, 0, 1)
    assert received[-1].path.endswith("r24")
    assert len(received[:2]) == 2
    assert received.report().splitlines()[:2] == ["(5 before)", f"PUT {RUNS}/r5 200"]
    assert repr(received).startswith("<25 requests>\n(5 before)\n")
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
def test_bodies_may_have_more_than_expected(body: Any, expected: Any, lines: list[str]) -> None:
    assert differences(body, expected) == lines


def test_assert_requests_returns_the_requests_that_match() -> None:
    received = requests(
        recorded("PUT", A1, b'{"phase":"running"}'), recorded("PUT", A1, b'{"phase":"failed"}'), recorded("GET", A1)
    )
    assert assert_requests(received, RequestMatcher("PUT"), None, {"phase": "failed"}) == [received[1]]
    assert assert_requests(received, RequestMatcher("PUT", id="a1"), 2, None) == received[:2]
    assert assert_requests(received, RequestMatcher("DELETE"), 0, None) == []


def test_assertion_error_shows_how_the_requests_differ() -> None:
    received = requests(recorded("PUT", A1, b'{"phase":"running"}'), recorded("PUT", A1, b"{"), recorded("GET", A1))
    with pytest.raises(AssertionError) as raised:
        assert_requests(received, RequestMatcher("PUT", id="a1"), 1, {"phase": "failed"})
    assert str(raised.value).splitlines() == [
        """PUT of 'a1' with the JSON {"phase": "failed"}: expected 1 request, received 0""",
        f'  PUT {A1} 200 {{"phase":"running"}}',
        "      .phase is 'running', not 'failed'",
        f"  PUT {A1} 200 {{",
        "      the body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ]
    with pytest.raises(AssertionError) as raised:
        assert_requests(received, RequestMatcher(path="/health"), None, None)
    assert str(raised.value).splitlines()[:3] == [
        "any method /health: expected at least 1 request, received 0",
        "no request has this method, path and id (path is the whole path, such as '/api/v1/flow-runs', or has *);"
        " the server received:",
        f'  PUT {A1} 200 {{"phase":"running"}}',
    ]
    with pytest.raises(AssertionError) as raised:
        assert_requests(requests(), RequestMatcher("PUT"), 2, None)
    assert str(raised.value).splitlines() == [
        "PUT: expected 2 requests, received 0",
        "the server received no requests at all: does the code under test use flowruns.url?",
    ]
    with pytest.raises(AssertionError) as raised:
        assert_requests(received, RequestMatcher("GET"), 0, None)
    assert str(raised.value).splitlines() == ["GET: expected 0 requests, received 1", f"  GET {A1} 200"]


@pytest.mark.parametrize(
    ("request_", "shown", "difference"),
    [
        (unread(9), "404 (body not read)", "did not read the body: it returned 404 first"),
        (unread(9, b"{"), "404 { (rest of the body not read)", "did not read the whole body: it returned 404 first"),
        (unread(9, status=None), "no response (body not read)", "did not read the body: there is no response yet"),
        (recorded("PUT", A1, b"{"), "200 {", "the body is not JSON: Expecting .*"),
    ],
)
def test_body_that_was_not_read_is_not_called_invalid(request_: RecordedRequest, shown: str, difference: str) -> None:
    assert repr(request_) == f"PUT {A1} {shown}"
    with pytest.raises(ValueError, match=difference) as raised:
        _ = request_.json
    assert type(raised.value) is ValueError
    with pytest.raises(AssertionError, match=f"\n      (the server )?{difference}$"):
        assert_requests(requests(request_), RequestMatcher("PUT"), None, {"phase": "failed"})


def test_expected_value_that_json_does_not_have_is_shown() -> None:
    with pytest.raises(AssertionError, match=r"with the JSON \{\"a\": \"datetime.date\(2025, 1, 1\)\"\}"):
        assert_requests(requests(recorded("PUT", A1, RUN)), RequestMatcher(), None, {"a": date(2025, 1, 1)})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda runs: runs.fail_next(times=0), "times must be a whole number, 1 or more, not 0"),
        (lambda runs: runs.fail_next(times="2"), "times must be a whole number, 1 or more, not '2'"),
        (lambda runs: runs.delay(-1), "seconds must be a number, 0 or more, not -1"),
        (lambda runs: runs.delay(math.nan), "seconds must be a number, 0 or more, not nan"),
        (lambda runs: runs.delay("1"), "seconds must be a number, 0 or more, not '1'"),
        (lambda runs: runs.fail_next(204), "status must be a whole number from 400 to 599, not 204"),
        (lambda runs: runs.fail_next("503"), "status must be a whole number from 400 to 599, not '503'"),
        (lambda runs: runs.fail_next(True), "status must be a whole number from 400 to 599, not True"),
        (lambda runs: runs.fail_next(retry_after="soon"), "retry_after must be a whole number, 0 or more, not 'soon'"),
        (lambda runs: runs.fail_next(retry_after=0.5), "retry_after must be a whole number, 0 or more, not 0.5"),
        (lambda runs: runs.fail_next(retry_after=-1), "retry_after must be a whole number, 0 or more, not -1"),
        (lambda runs: runs.fail_next(method="post", id="a"), "a POST has no run's id in its path.*leave id out"),
        (lambda runs: runs.assert_called("PUT", times=-1), "times must be a whole number, 0 or more, not -1"),
        (lambda runs: runs.freeze(0.5), "time must be a text (RFC 3339) or a datetime with a time zone, not 0.5"),
        (lambda runs: runs.freeze(TIME, step_ms=-1), "step_ms must be a number, 0 or more, not -1"),
        (lambda runs: runs.seed(7.5), "seed takes a list of bodies, the path of a file or a whole number, not 7.5"),
        (lambda runs: runs.run(logs=-1), "logs must be a whole number, 0 or more, not -1"),
        (lambda runs: runs.run(status="failed"), "a PUT has no field 'status'; is it 'phase'?"),
        (lambda runs: runs.get(runs.run()), "id must be a text, such as run.id, not a Run"),
        (lambda runs: runs.advance(runs.run(), "failed"), "id must be a text, such as run.id, not a Run"),
        (lambda runs: runs.fail_next(method="PTU"), "there is no method 'PTU'; did you mean 'PUT'?"),
        (lambda runs: runs.assert_called("xyzzy"), "there is no method 'xyzzy', only GET, HEAD, POST, .*"),
        (lambda runs: runs.requests.count("DELTE"), "there is no method 'DELTE'; did you mean 'DELETE'?"),
        (
            lambda runs: runs.delay(1, path="flow-runs"),
            "path is the whole path .*, or begins with '*', not 'flow-runs'",
        ),
        (lambda runs: runs.fail_next(time=2), "fail_next() has no argument 'time'; did you mean 'times'?"),
        (lambda runs: runs.fail_next(count=2), "fail_next() has no argument 'count'; did you mean 'times'?"),
        (lambda runs: runs.delay(1, methods="PUT"), "delay() has no argument 'methods'; did you mean 'method'?"),
        (lambda runs: runs.assert_called(body={}), "assert_called() has no argument 'body', only method, path, .*"),
        (lambda runs: runs.delay(), "delay(seconds, times, method, path, id): missing a required argument: 'seconds'"),
        (lambda runs: runs.drop_connection(1, 2), "drop_connection(.*): too many positional arguments"),
        (lambda runs: runs.tick(-5), "seconds must be a number, 0 or more, not -5"),
        (lambda runs: runs.fail_next(path=3), "path is the whole path .*, or begins with '*', not 3"),
        (lambda runs: runs.wait(timeout="1"), "timeout must be a number, 0 or more, not '1'"),
        (lambda runs: runs.advance("a1"), "advance(id, phase, by, fields): missing a required argument: 'phase'"),
        (lambda runs: runs.freeze(at=TIME), "freeze() has no argument 'at', only time, step_ms"),
        (lambda runs: runs.play("web", [{"end": "failed"}]), "each step is a dict.*: write play(flow, {…}, {…}).*"),
    ],
)
def test_wrong_arguments_are_one_line(runs: Flowruns, call: Callable[[Any], object], message: str) -> None:
    runs.freeze(TIME)
    with pytest.raises((TypeError, ValueError)) as raised:
        call(runs)
    assert re.fullmatch(re.escape(message).replace(r"\.\*", ".*"), str(raised.value))
    assert runs._injector.injections == []


def test_time_does_not_go_back_with_a_script(runs: Flowruns) -> None:
    runs.play("web", {"end": "failed"})
    with pytest.raises(ValueError, match="seconds must be a number, 0 or more, not -1"):
        runs.tick(-1)


# On a server


def test_injected_error_replaces_the_effect(runs: Flowruns) -> None:
    runs.fail_next(503, times=2, retry_after=0, method="PUT", id="a1")
    with Wire(runs.url) as wire:
        for _ in range(2):
            reply = wire.ask("PUT", A1, RUN)
            assert reply.details(503) == [(("server",), "unavailable")]
            assert reply.header(b"retry-after") == b"0"
            assert wire.ask("GET", A1).status == 404
        assert wire.ask("PUT", A1, RUN).status == 201
    assert [request.status for request in runs.requests.of("PUT")] == [503, 503, 201]
    runs.assert_called("PUT", id="a1", times=3, json={"flowId": "deploy"})


def test_injected_error_with_done_comes_after_the_effect(runs: Flowruns) -> None:
    runs.fail_next(500, done=True)
    with Wire(runs.url) as wire:
        assert wire.ask("POST", RUNS, b'{"flowId":"web"}').status == 500
    assert len(runs.dump()) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_injected_error_of_a_read_ignores_done(runs: Flowruns, method: str) -> None:
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
    assert [request.status for request in runs.requests] == [None, 200 if done else 404]
    assert runs.requests[0].json == json.loads(RUN)


def test_connection_with_earlier_responses_is_dropped(runs: Flowruns) -> None:
    with Wire(runs.url) as wire:
        assert wire.ask("PUT", A1, RUN).status == 201
        runs.drop_connection(method="GET")
        wire.send(request("GET", A1))
        assert wire.rest() == b""


def test_large_bodies_are_passed_on_and_recorded(runs: Flowruns) -> None:
    body = json.dumps({"flowId": "a", "flowType": "automation", "args": {"a": "x" * 5_000_000}}).encode()
    runs.delay(0.01)
    with Wire(runs.url) as wire:
        assert wire.ask("PUT", A1, body).status == 201
    assert runs.requests[0].body == body
    assert len(repr(runs.requests[0])) < 300


def test_delayed_requests_continue(runs: Flowruns) -> None:
    runs.delay(0, times=1)
    runs.delay(0.05, times=1)
    runs.fail_next(503)
    with Wire(runs.url) as wire:
        began = loop_time(runs)
        assert wire.ask("PUT", A1, RUN).status == 503
        assert loop_time(runs) - began > 0.049
        assert wire.ask("PUT", A1, RUN).status == 201


def test_delayed_requests_continue_without_a_fault_when_the_server_recovers(runs: Flowruns) -> None:
    runs.delay(HANG * 10, times=1)
    runs.delay(HANG * 10)
    runs.fail_next(503)
    with Wire(runs.url) as first, Wire(runs.url) as second:
        for wire in (first, second):
            wire.send(request("PUT", A1, RUN))
        eventually(lambda: len(runs.requests) == 2)
        assert runs.dump() == []
        runs.recover()
        assert {first.reply().status, second.reply().status} == {200, 201}
        assert first.ask("GET", A1).status == 200


def loop_time(runs: Flowruns) -> float:
    return runs._server.loop.time()


async def delay_has_ended(runs: Flowruns) -> bool:
    """Whether the request that has arrived no longer waits, in the event loop of the server."""
    return len(runs.requests) == 1 and not runs._injector._delays


@pytest.mark.parametrize("leave", [Wire.reset, lambda wire: wire.socket.close()], ids=["reset", "close"])
@pytest.mark.parametrize(("method", "body", "status"), [("PUT", RUN, 200), ("DELETE", None, 204)])
def test_delayed_request_goes_on_without_its_client(
    runs: Flowruns, method: str, body: bytes | None, status: int, leave: Callable[[Wire], None]
) -> None:
    before = runs.run("a1", tags={"a": "b"})
    runs.delay(HANG * 10, path=A1, times=1)
    with Wire(runs.url) as wire:
        wire.send(request(method, A1, body))
        ping(runs.url)
        leave(wire)
    ping(runs.url)
    assert runs.get("a1") == before
    runs.recover()
    eventually(lambda: runs.requests[0].status == status)
    assert [run["tags"] for run in runs.dump()] == ([None] if method == "PUT" else [])


def test_delayed_request_has_no_effect_after_the_end_of_its_test(runs: Flowruns) -> None:
    runs.delay(HANG * 10, path=A1)
    with Wire(runs.url) as wire:
        wire.send(request("PUT", A1, RUN))
        ping(runs.url)
        runs.reset()
    assert runs.dump() == []


def test_delay_may_end_before_the_body_arrives(runs: Flowruns) -> None:
    runs.delay(0.01, path=A1)
    with Wire(runs.url) as wire:
        put = request("PUT", A1, RUN)
        wire.send(put[:-5])
        eventually(lambda: runs._call(delay_has_ended(runs)))
        wire.send(put[-5:])
        assert wire.reply().status == 201
    assert runs.requests[0].body == RUN


def test_tokens_are_checked_after_injected_errors(runs: Flowruns) -> None:
    runs.reset(tokens={"t": 7})
    runs.fail_next(503)
    with Wire(runs.url) as wire:
        assert [wire.ask("GET", RUNS).status for _ in range(2)] == [503, 401]
        assert wire.ask("GET", RUNS, None, "Authorization: Bearer t").status == 200
    assert "Bearer" not in runs.requests.report()


# Bodies that the application does not read


@pytest.mark.parametrize("number", range(20))
def test_body_of_an_early_response_is_recorded(runs: Flowruns, number: int) -> None:
    response = runs.client.put("/nothing", json={"flowId": "web"})  # httpx sends the body after the headers
    assert response.status_code == 404
    runs.assert_called("PUT", "/nothing", times=1, json={"flowId": "web"})
    runs.drop_connection(done=True)
    with pytest.raises(httpx.TransportError):
        runs.client.post(f"{RUNS}?number={number}", content=b"[1]", headers={"Content-Type": "text/plain"})
    assert runs.requests[-1].body == b"[1]"


def test_body_that_does_not_arrive_does_not_hold_up_an_early_response(runs: Flowruns) -> None:
    head = b"PUT /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n%b\r\n"
    for header in (b"", b"Expect: 100-continue\r\n"):
        with Wire(runs.url) as wire:
            wire.send(head % header)
            assert wire.reply().status == 404  # not 100: the body is not requested
        request = runs.requests[-1]
        assert (request.body, request.body_complete) == (b"", False)
    with pytest.raises(AssertionError, match="the server did not read the body: it returned 404 first"):
        runs.assert_called(path="/nothing", json={})


def test_only_the_beginning_of_a_large_unread_body_is_recorded(runs: Flowruns) -> None:
    with Wire(runs.url) as wire:
        wire.ask("PUT", "/nothing", b"x" * 5_000_000)
        assert wire.ask("GET", RUNS).status == 200
    assert 0 < len(runs.requests[0].body) < 2_000_000
    assert not runs.requests[0].body_complete
