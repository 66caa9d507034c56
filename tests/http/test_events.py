"""The stream of changes: its events, and clients of a real server over real sockets."""

import json
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from flowruns.http import events
from flowruns.http.accept import prefers_events
from flowruns.http.events import chunks, opening
from flowruns.server.starting import running
from flowruns.settings import Settings
from flowruns.store import holdings
from flowruns.store.reads import Change
from tests.conftest import RUNS
from tests.processes import command_with, ended, serving
from tests.streams import ACCEPT, Event, Events, Stream
from tests.waits import HANG, eventually
from tests.wire import RUN, Reply, Wire, ping, request

MANY = 50
BIG = json.dumps({"flowId": "deploy", "flowType": "automation", "args": {"text": "x" * 7_000_000}}).encode()


def put(wire: Wire, id: str, **fields: Any) -> int:
    """The number of the change that puts the run."""
    body = {"flowId": "deploy", "flowType": "automation", **fields}
    reply = wire.ask("PUT", f"{RUNS}/{id}", json.dumps(body).encode())
    assert reply.status in (200, 201), reply.body
    return number(reply)


def number(reply: Reply) -> int:
    return int((reply.header(b"etag") or b"").strip(b'"'))


def delete(wire: Wire, id: str) -> None:
    assert wire.ask("DELETE", f"{RUNS}/{id}").status == 204


def summary(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.json.get("id", "")) for event in events]


def parsed(data: bytes) -> list[Event]:
    events = Events()
    events.feed(data)
    return events.events


# The format


def test_a_change_is_an_event_with_its_number_and_the_whole_document() -> None:
    data = b"".join(chunks([Change(7, "a", b'{"id":"a"}'), Change(9, "b", None)]))
    assert data == (
        b'id: 7\nevent: run\ndata: {"id":"a"}\n\n'
        b'id: 9\nevent: deleted\ndata: {"id":"b"}\n\n'
    )  # fmt: skip


def test_newlines_in_a_document_are_lines_of_data() -> None:
    doc = b'{"args":{\n\n"a":\n1}}'
    assert [event.data for event in parsed(b"".join(chunks([Change(1, "a", doc)])))] == [doc.decode()]


@pytest.mark.parametrize("end", [b"\r", b"\r\n", b"\n\r", b"\r\r\n\n"])
def test_carriage_returns_in_a_document_break_nothing(end: bytes) -> None:
    doc = b'{"args":{%b"a":1}}' % end
    (event,) = parsed(b"".join(chunks([Change(1, "a", doc)])))
    assert event.data == doc.decode().replace("\r", " ")
    assert event.json == json.loads(doc)


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("char", [b"x", b"\n", "ä".encode()])
def test_pieces_are_small_and_make_the_same_events(monkeypatch: pytest.MonkeyPatch, size: int, char: bytes) -> None:
    monkeypatch.setattr(events, "_PIECE_BYTES", 1024)
    docs = [char * size] * 3 + [b"{}"] * 100
    found = list(chunks(Change(number, "a", doc) for number, doc in enumerate(docs)))
    assert max(map(len, found)) < 10 * 1024
    assert len(found) < 10 + sum(map(len, docs)) / 100
    assert [event.data.encode() for event in parsed(b"".join(found))] == docs


def test_a_stream_begins_with_the_number_to_resume_from() -> None:
    events = Events()
    events.feed(opening(8, resync=False))
    assert (events.events, events.last_id, events.positions) == ([], 8, 1)


def test_a_lost_position_is_an_immediate_resync() -> None:
    assert parsed(opening(8, resync=True)) == [Event(8, "resync", "{}")]


# Changes


def test_a_stream_has_what_is_written_and_deleted(server: str, wire: Wire) -> None:
    with Stream(server) as stream:
        first = put(wire, "a", phase="running")
        event = stream.event()
        assert (event.id, event.kind) == (first, "run")
        assert event.data.encode() == wire.ask("GET", f"{RUNS}/a").body
        second = put(wire, "a", phase="succeeded")
        event = stream.event()
        assert (event.id, event.json["phase"]) == (second, "succeeded")
        delete(wire, "a")
        assert stream.event() == Event(second + 1, "deleted", '{"id":"a"}')


def test_a_stream_begins_at_once_and_now(server: str, wire: Wire) -> None:
    last = put(wire, "a")
    with Stream(server) as stream:
        assert stream.position == last
        put(wire, "b")
        assert summary([stream.event()]) == [("run", "b")]


def test_headers_keep_proxies_from_gathering(server: str) -> None:
    with Stream(server) as stream:
        headers = {name: value for name, value in stream.answer.headers if name != b"date"}
    assert headers == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"x-content-type-options": b"nosniff",
        b"cache-control": b"no-store, no-transform",
        b"x-accel-buffering": b"no",
        b"transfer-encoding": b"chunked",
    }


def test_positions_keep_a_stream_without_events_alive(server: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_SILENCE_SECONDS", 0.01)
    with Stream(server, "?phase=failed") as stream:
        last = put(wire, "a")
        while stream.position != last:
            stream.chunk()
        assert stream.parsed.positions > 1
        assert stream.parsed.retry == [500]  # once
        assert stream.parsed.events == []
        put(wire, "b", phase="failed")
        assert summary([stream.event()]) == [("run", "b")]


def test_a_big_document_arrives_whole_at_everybody(server: str, wire: Wire) -> None:
    with Stream(server) as stream, Stream(server) as other:
        put(wire, "big", args={"text": "ä" * 1_000_000, "lines": ["x"] * 100_000})
        whole = wire.ask("GET", f"{RUNS}/big").body
        assert stream.event().data.encode() == whole
        assert other.event().data.encode() == whole


def test_http_1_0_gets_the_stream_until_the_connection_closes(path: Path) -> None:
    with running(Settings(database=str(path), port=0)) as ready, Wire(ready.url) as wire, Wire(ready.url) as old:
        old.send(b"GET %b HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n" % RUNS.encode())
        head = old.head()
        assert (head.status, head.header(b"transfer-encoding"), head.header(b"content-length")) == (200, None, None)
        ping(ready.url)
        put(wire, "a")
        old._until(b"event: run")
        ready.stop()
        assert summary(parsed(old.rest())) == [("run", "a"), ("bye", "")]


# Resuming


def test_last_event_id_brings_what_was_missed_each_run_once(server: str, wire: Wire) -> None:
    first = put(wire, "a")
    put(wire, "b")
    put(wire, "c")
    put(wire, "b", phase="failed")
    delete(wire, "c")
    with Stream(server, after=first) as stream:
        assert stream.position == first
        assert summary(stream.events(2)) == [("run", "b"), ("deleted", "c")]
        put(wire, "d")
        assert summary([stream.event()]) == [("run", "d")]


def test_everything_comes_from_0_on(server: str, wire: Wire) -> None:
    for id in range(250):
        put(wire, f"{id}")
    with Stream(server, after=0) as stream:
        assert summary(stream.events(250)) == [("run", f"{id}") for id in range(250)]


def test_a_page_and_the_stream_from_its_etag_on_have_no_gap(server: str, wire: Wire) -> None:
    put(wire, "a")
    page = wire.ask("GET", RUNS)
    put(wire, "b")
    with Stream(server, after=number(page)) as stream:
        assert summary([stream.event()]) == [("run", "b")]


def test_a_client_that_left_before_any_change_loses_nothing(server: str, wire: Wire) -> None:
    put(wire, "a")
    with Stream(server, "?phase=failed") as stream:
        position = stream.position
    put(wire, "b", phase="failed")
    with Stream(server, "?phase=failed", position) as stream:
        assert summary([stream.event()]) == [("run", "b")]


def test_a_stream_resumes_after_a_restart_of_the_server(path: Path) -> None:
    settings = Settings(database=str(path), port=0)
    with running(settings) as ready, Wire(ready.url) as wire:
        with Stream(ready.url) as stream:
            put(wire, "a")
            seen = stream.event().id
        put(wire, "b")
        delete(wire, "a")
    with running(settings) as ready, Stream(ready.url, after=seen) as stream, Wire(ready.url) as wire:
        assert summary(stream.events(2)) == [("run", "b"), ("deleted", "a")]
        put(wire, "c")
        assert summary([stream.event()]) == [("run", "c")]


@pytest.mark.parametrize("after", [4, 10**17, 10**30, "-1", "1.0", "x", "4, x", "1 2", "\xb2"])
def test_a_position_of_another_database_gets_a_resync(server: str, wire: Wire, after: str) -> None:
    last = [put(wire, id) for id in "abc"][-1]
    with Stream(server, after=after) as stream:
        assert stream.event() == Event(last, "resync", "{}")
        put(wire, "d")
        assert summary([stream.event()]) == [("run", "d")]


@pytest.mark.parametrize("target", ["", "/b"])
@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?lastEventId={n}", []),
        ("?lastEventId={n}", [""]),  # as browsers send it first
        ("?lastEventId=&lastEventId={n}", []),
        ("?lastEventId=0&lastEventId={n}&lastEventId=x&lastEventId=99", []),
        ("?lastEventId=0", ["{n}"]),
        ("?lastEventId=99", ["0", "{n}"]),
        ("", ["{n}, 0, 99"]),
    ],
)
def test_position_may_come_in_the_query_and_twice(
    server: str, wire: Wire, target: str, query: str, headers: list[str]
) -> None:
    for id in "ab":
        put(wire, id)
    seen = put(wire, "b")
    last = put(wire, "b")
    lines = [f"Last-Event-ID: {text.format(n=seen)}" for text in headers]
    with Stream(server, target + query.format(n=seen), None, *lines) as stream:
        event = stream.event()
        assert (event.id, event.kind, event.json["id"]) == (last, "run", "b")


def test_the_larger_valid_position_is_used_beside_one_of_another_copy(tmp_path: Path) -> None:
    """Whose number is not above the last one: a file's numbers begin after a gap."""
    with running(Settings(database=str(tmp_path / "runs.db"), port=0)) as ready, Wire(ready.url) as wire:
        first, second = (put(wire, id) for id in "ab")
        assert first > 1000
        with Stream(ready.url, f"?lastEventId={first - 2}&lastEventId=7&lastEventId=0") as stream:
            assert [event.id for event in stream.events(2)] == [first, second]
        with Stream(ready.url, f"?lastEventId={first - 2}&lastEventId={first}") as stream:
            assert stream.event().id == second
        with Stream(ready.url, after=f"{first - 2}, 7") as stream:
            assert stream.event() == Event(second, "resync", "{}")


def test_position_of_another_database_in_the_query_gets_a_resync(server: str, wire: Wire) -> None:
    last = put(wire, "a")
    with Stream(server, "?lastEventId=99") as stream:
        assert stream.event() == Event(last, "resync", "{}")


def test_an_empty_last_event_id_is_none(server: str, wire: Wire) -> None:
    put(wire, "a")
    with Stream(server, after="") as stream:
        put(wire, "b")
        assert summary([stream.event()]) == [("run", "b")]


def test_a_store_that_is_cleared_sends_a_resync(path: Path) -> None:
    with running(Settings(database=str(path), port=0)) as ready, Wire(ready.url) as wire:
        for id in "abc":
            put(wire, id)
        with Stream(ready.url, after=0) as stream:
            stream.events(3)
            ready.call(ready.store.clear())
            assert stream.event() == Event(0, "resync", "{}")
            put(wire, "d")
            assert stream.event().id == 1


# Filters

TAGS = [{"key": "env", "value": "test"}, {"key": "a b", "value": 'q"\\:\u0000ä\n'}]


@pytest.mark.parametrize(
    ("query", "fits", "other"),
    [
        ("flowId=web&flowId=app", {"flowId": "app"}, {"flowId": "deploy"}),
        ("phase=failed", {"phase": "failed"}, {"phase": "running"}),
        ("flowType=reference", {"flowType": "reference"}, {"flowType": "scorecard"}),
        ("tag=env:test", {"tags": TAGS}, {"tags": TAGS[1:]}),
        ("tag=env:test&tag=a%20b:q%22%5C:%00%C3%A4%0A", {"tags": TAGS}, {"tags": TAGS[:1]}),
        ("tag=env:test&phase=failed", {"tags": TAGS, "phase": "failed"}, {"tags": TAGS, "phase": "running"}),
        ("tag=env:te", {"tags": [{"key": "env", "value": "te"}]}, {"tags": TAGS}),
        ("tag=env:test", {"tags": TAGS}, {"args": {"a": '{"key":"env","value":"test"}', "key": "env"}}),
        ("tag=env:test", {"tags": TAGS}, {"tags": [{"key": '{"key":"env","value":"test"}', "value": "env"}]}),
        ("createdAfter=2020-01-01T00:00:00Z&phase=failed", {"phase": "failed"}, {}),
        ("createdBefore=9000-01-01T00:00:00Z&phase=failed", {"phase": "failed"}, {}),
    ],
)
def test_a_filter_sends_runs_that_match_and_their_deletion(
    server: str, wire: Wire, query: str, fits: dict[str, Any], other: dict[str, Any]
) -> None:
    with Stream(server, f"?{query}") as stream:
        put(wire, "other", **other)
        put(wire, "fits", **fits)
        assert summary([stream.event()]) == [("run", "fits")]
        delete(wire, "other")
        delete(wire, "fits")
        assert summary([stream.event()]) == [("deleted", "fits")]
        put(wire, "last", **fits)
        assert summary([stream.event()]) == [("run", "last")]


@pytest.mark.parametrize("query", ["createdBefore=2020-01-01T00:00:00Z", "createdAfter=9000-01-01T00:00:00Z"])
def test_runs_of_other_times_are_not_sent(server: str, wire: Wire, query: str) -> None:
    put(wire, "a")
    delete(wire, "a")
    with Stream(server, f"?{query}", 0) as stream, Stream(server, after=0) as all_of_them:
        last = put(wire, "b")
        assert summary(all_of_them.events(2)) == [("deleted", "a"), ("run", "b")]
        with Stream(server, f"?{query}", last - 1) as another:
            put(wire, "c")
            all_of_them.event()
            assert stream.parsed.events == another.parsed.events == []


def test_a_run_that_was_sent_and_matches_no_longer_has_left(server: str, wire: Wire) -> None:
    with Stream(server, "?phase=running") as stream:
        put(wire, "a", phase="running")
        stream.event()
        last = put(wire, "a", phase="failed")
        assert stream.event() == Event(last, "left", '{"id":"a"}')
        put(wire, "a", phase="pending")
        put(wire, "a", phase="running")
        assert summary([stream.event()]) == [("run", "a")]
        delete(wire, "a")
        assert summary([stream.event()]) == [("deleted", "a")]


@pytest.mark.parametrize("after", [None, 0])
def test_a_run_that_never_matched_is_not_sent(server: str, wire: Wire, after: int | None) -> None:
    put(wire, "before", phase="pending")
    with Stream(server, "?phase=running", after) as stream:
        put(wire, "before", phase="failed")
        put(wire, "a", phase="pending")
        put(wire, "a", phase="failed")
        delete(wire, "a")
        put(wire, "a", phase="failed")
        put(wire, "b", phase="running")
        assert summary([stream.event()]) == [("run", "b")]


def test_a_resumed_stream_releases_runs_that_existed_and_no_others(server: str, wire: Wire) -> None:
    put(wire, "seen", phase="running")
    put(wire, "seen-and-deleted", phase="running")
    put(wire, "seen-and-made-again", phase="running")
    put(wire, "may-have-matched", phase="failed")
    after = put(wire, "stays", phase="running")
    put(wire, "seen", phase="failed")
    put(wire, "seen-and-deleted", phase="failed")
    delete(wire, "seen-and-deleted")
    delete(wire, "seen-and-made-again")
    put(wire, "seen-and-made-again", phase="failed")
    put(wire, "may-have-matched", phase="pending")
    put(wire, "new", phase="failed")
    put(wire, "new-and-deleted", phase="failed")
    delete(wire, "new-and-deleted")
    expected = [("left", "seen"), ("deleted", "seen-and-deleted"), ("left", "seen-and-made-again")]
    with Stream(server, "?phase=running", after) as stream:
        assert summary(stream.events(4)) == [*expected, ("left", "may-have-matched")]
        put(wire, "seen", phase="pending")  # which the client holds no longer
        put(wire, "new", phase="pending")
        put(wire, "stays", phase="failed")
        assert summary([stream.event()]) == [("left", "stays")]


@pytest.mark.parametrize("bounds", [{"_MAX_RUNS": 2}, {"_MAX_ID": 1}])
def test_a_stream_that_has_sent_too_many_runs_releases_all_of_them(
    server: str, wire: Wire, bounds: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(holdings, name, value)
    with Stream(server, "?phase=running") as stream:
        for number in range(10):
            put(wire, f"run-{number}", phase="running")
        assert len(stream.events(10)) == 10
        for number in range(10):
            put(wire, f"run-{number}", phase="failed")
        assert summary(stream.events(10)) == [("left", f"run-{number}") for number in range(10)]
        put(wire, "new", phase="failed")
        put(wire, "last", phase="running")
        assert summary([stream.event()]) == [("run", "last")]


def test_what_no_put_changes_decides_at_once(path: Path) -> None:
    settings = Settings(database=str(path), port=0, tokens={"one": 1, "two": 2})
    with running(settings) as ready, Wire(ready.url) as wire:
        one, two = "Authorization: Bearer one", "Authorization: Bearer two"
        after = number(wire.ask("PUT", f"{RUNS}/of-two", RUN, two))
        for id, by in (("of-two", one), ("of-one", one), ("of-two", two)):
            assert wire.ask("PUT", f"{RUNS}/{id}", RUN, by).status in (200, 201)
        with Stream(ready.url, "?createdBy=1", after, one) as stream:
            assert summary([stream.event()]) == [("run", "of-one")]
            wire.ask("PUT", f"{RUNS}/of-two", RUN, two)
            wire.ask("DELETE", f"{RUNS}/of-one", None, two)
            wire.ask("PUT", f"{RUNS}/of-one", RUN, two)  # another run, which the filter excludes
            assert {id for _, id in summary([stream.event()])} == {"of-one"}
            wire.ask("PUT", f"{RUNS}/of-two", RUN, one)
            wire.ask("PUT", f"{RUNS}/last", RUN, one)
            assert summary([stream.event()]) == [("run", "last")]


def test_a_run_made_again_by_another_user_leaves_a_client_that_was_away(path: Path) -> None:
    settings = Settings(database=str(path), port=0, tokens={"one": 1, "two": 2})
    with running(settings) as ready, Wire(ready.url) as wire:
        one, two = "Authorization: Bearer one", "Authorization: Bearer two"
        after = number(wire.ask("PUT", f"{RUNS}/a", RUN, one))
        wire.ask("DELETE", f"{RUNS}/a", None, one)
        wire.ask("PUT", f"{RUNS}/a", RUN, two)
        with Stream(ready.url, "?createdBy=1", after, one) as stream:
            assert summary([stream.event()]) == [("left", "a")]


def test_a_resync_may_be_followed_by_runs_that_leave(server: str, wire: Wire) -> None:
    put(wire, "a", phase="running")
    with Stream(server, "?phase=running", "x") as stream:
        assert stream.event().kind == "resync"
        put(wire, "a", phase="failed")
        assert summary([stream.event()]) == [("left", "a")]


@pytest.mark.parametrize("query", ["?size=1", "?order=asc", "?cursor=", "?size=1&order=desc&unknown=1"])
def test_what_only_pages_have_means_nothing(server: str, wire: Wire, query: str) -> None:
    for id in "abc":
        put(wire, id)
    with Stream(server, query, after=0) as stream:
        assert summary(stream.events(3)) == [("run", "a"), ("run", "b"), ("run", "c")]


# One run


def test_a_run_sends_its_current_state_then_the_changes(server: str, wire: Wire) -> None:
    first = put(wire, "a", phase="running")
    put(wire, "b")
    with Stream(server, "/a") as stream:
        event = stream.event()
        assert (event.id, event.json["phase"]) == (first, "running")
        put(wire, "b", phase="failed")
        last = put(wire, "a", phase="failed")
        event = stream.event()
        assert (event.id, event.json["phase"]) == (last, "failed")


def test_a_run_that_is_deleted_may_be_made_again(server: str, wire: Wire) -> None:
    put(wire, "a")
    with Stream(server, "/a") as stream:
        stream.event()
        delete(wire, "a")
        assert summary([stream.event()]) == [("deleted", "a")]
        put(wire, "a")
        assert summary([stream.event()]) == [("run", "a")]


def test_a_client_that_comes_back_learns_that_its_run_is_gone(server: str, wire: Wire) -> None:
    first = put(wire, "a")
    delete(wire, "a")
    with Stream(server, "/a", first) as stream:
        gone = stream.event()
        assert summary([gone]) == [("deleted", "a")]
    with Stream(server, "/a", gone.id) as stream:
        put(wire, "a")
        assert summary([stream.event()]) == [("run", "a")]


def test_a_run_of_another_database_gets_a_resync(server: str, wire: Wire) -> None:
    put(wire, "a")
    last = put(wire, "b")
    with Stream(server, "/a", 77) as stream:
        assert stream.event() == Event(last, "resync", "{}")
        put(wire, "a")
        assert summary([stream.event()]) == [("run", "a")]


@pytest.mark.parametrize(("id", "after"), [("never", ()), ("never", 1), ("gone", ()), ("gone", 77), ("A%0A", 0)])
def test_a_run_that_is_not_there_is_404(server: str, wire: Wire, id: str, after: Any) -> None:
    put(wire, "gone")
    delete(wire, "gone")
    resume = () if after == () else (f"Last-Event-ID: {after}",)
    reply = wire.ask("GET", f"{RUNS}/{id}", None, ACCEPT, *resume)
    assert reply.details(404) == [(("path", "id_"), "not_found")]


# Which media type


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("text/event-stream", True),
        ("Text/Event-Stream", True),
        ("text/event-stream;q=0.1", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream; q=0.000", False),
        ("text/event-stream, */*;q=0.5", True),
        ("text/html, text/event-stream", True),
        ("application/json, text/event-stream", False),
        ("application/json;q=0.5, text/event-stream", True),
        ("application/json;q=0.5, text/event-stream;q=0.4", False),
        ("text/event-stream;charset=utf-8;q=0.3,application/json;q=0.2", True),
        ("text/event-stream;q=x", True),
        ("text/event-streams", False),
        (",,;", False),
    ],
)
def test_accept_chooses(accept: str, streams: bool) -> None:
    assert prefers_events(accept) == streams


def test_head_gets_the_headers_alone_and_the_connection_goes_on(server: str, wire: Wire) -> None:
    put(wire, "a")
    for target in (RUNS, f"{RUNS}/a"):
        head = wire.ask("HEAD", target, None, ACCEPT)
        assert head.status == 200
        assert head.header(b"cache-control") == b"no-store, no-transform"
        assert head.header(b"content-length") is None
    assert wire.ask("GET", RUNS).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_writes_respond_with_json_whatever_is_accepted(server: str, wire: Wire, method: str) -> None:
    put(wire, "a")
    target = RUNS if method == "POST" else f"{RUNS}/a"
    wire.send(request(method, target, None if method == "DELETE" else RUN, ACCEPT))
    assert wire.reply(method).header(b"content-type") in (b"application/json", None)


# Error responses


def test_bad_parameters_are_422(wire: Wire) -> None:
    reply = wire.ask("GET", f"{RUNS}?phase=1&size=0&cursor=x&createdAfter=2020", None, ACCEPT)
    assert {loc[1] for loc, _ in reply.details(422)} == {"phase", "size", "cursor", "createdAfter"}


def test_tokens_hosts_and_origins_are_checked(path: Path) -> None:
    with running(Settings(database=str(path), port=0, tokens={"secret": 7})) as ready, Wire(ready.url) as wire:
        assert wire.ask("GET", RUNS, None, ACCEPT).details(401)
        origin = "Origin: https://evil.example"
        assert wire.ask("GET", RUNS, None, ACCEPT, origin, "Authorization: Bearer secret").details(403)
        wire.send(request("GET", RUNS, None, ACCEPT, host="evil.example"))
        assert wire.reply().details(403)
        with Stream(ready.url, "", None, "Authorization: Bearer secret") as stream:
            assert stream.position == ready.call(ready.store.position())


@pytest.mark.parametrize(("most", "connections", "open"), [(2, 500, 2), (200, 6, 3), (0, 500, 0)])
def test_too_many_streams_are_503_and_others_are_served(most: int, connections: int, open: int) -> None:
    settings = Settings(database=":memory:", port=0, max_streams=most, max_connections=connections)
    with running(settings) as ready, ExitStack() as stack, Wire(ready.url) as wire:
        streams = [stack.enter_context(Stream(ready.url)) for _ in range(open)]
        reply = wire.ask("GET", RUNS, None, ACCEPT)
        assert reply.details(503) == [(("server",), "unavailable")]
        assert "--max-streams" in reply.json["detail"][0]["msg"]
        assert reply.header(b"retry-after") == b"5"
        assert wire.ask("HEAD", RUNS, None, ACCEPT).status == 200
        put(wire, "a")
        for stream in streams:
            assert summary([stream.event()]) == [("run", "a")]
        if streams:
            streams[0].socket.close()
            eventually(lambda: wire.ask("GET", f"{RUNS}/never", None, ACCEPT).status == 404)
            eventually(lambda: begins(ready.url))


def begins(url: str) -> bool:
    """Whether the server has room for a stream."""
    with Wire(url) as wire:
        wire.send(request("GET", RUNS, None, ACCEPT))
        return wire.head().status == 200


# Clients that are slow, or disconnect


def test_a_client_that_reads_nothing_delays_no_other(server: str) -> None:
    body = json.dumps({"flowId": "deploy", "flowType": "automation", "args": {"text": "x" * 10_000}}).encode()
    with Stream(server) as slow, Stream(server) as quick, ExitStack() as stack:
        wires = [stack.enter_context(Wire(server)) for _ in range(10)]
        for index, wire in enumerate(wires):
            threading.Thread(
                target=wire.send,
                args=(b"".join(request("PUT", f"{RUNS}/{index}-{one}", body) for one in range(100)),),
            ).start()
        for wire in wires:
            assert {wire.reply().status for _ in range(100)} == {201}
        for stream in (quick, slow):
            events = stream.events(1000)
            assert [event.id for event in events] == list(range(1, 1001))
            assert len({event.json["id"] for event in events}) == 1000


LEAVING: list[Callable[[Wire], None]] = [
    lambda wire: wire.socket.close(),
    Wire.reset,
    Wire.end,
]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what a process holds is looked up in Linux's /proc")
@pytest.mark.parametrize("leave", LEAVING, ids=["close", "reset", "end"])
@pytest.mark.parametrize("busy", [False, True])
def test_clients_that_disconnect_leave_nothing(tmp_path: Path, leave: Callable[[Wire], None], busy: bool) -> None:
    with serving(tmp_path, "runs.db") as server, Wire(server.url) as wire:
        put(wire, "a")

        def held() -> tuple[int, int]:
            return tuple(len(os.listdir(f"/proc/{server.process.pid}/{kind}")) for kind in ("fd", "task"))

        assert wire.ask("PUT", f"{RUNS}/a", BIG).status == 200  # starts the thread that decodes large bodies
        at_rest = held()
        for query in ("", "?phase=failed", "/a"):
            streams = [Stream(server.url, query) for _ in range(10)]
            if busy:  # they leave in the middle of an event
                assert wire.ask("PUT", f"{RUNS}/a", BIG).status == 200
            for stream in streams:
                leave(stream)
            eventually(lambda: held() == at_rest)
            for stream in streams:
                stream.socket.close()
        assert wire.ask("GET", "/health").status == 200
        server.process.send_signal(signal.SIGTERM)
        assert ended(server.process) == (0, "")


def test_a_client_that_has_closed_its_half_before_is_served(server: str) -> None:
    with Wire(server) as other:
        other.send(request("GET", RUNS, None, ACCEPT, "Last-Event-ID: 0"))
        other.end()
        assert other.head().status == 200


def test_a_response_that_waits_for_its_client_is_no_stream(server: str, wire: Wire) -> None:
    assert wire.ask("PUT", f"{RUNS}/big", BIG).status == 201
    with Wire(server) as slow:
        slow.send(request("GET", f"{RUNS}/big") * 2)
        ping(server)
        slow.end()
        ping(server)
        assert [len(slow.reply().body) > 7_000_000 for _ in range(2)] == [True, True]


def test_a_stream_is_not_idle(path: Path) -> None:
    with (
        running(Settings(database=str(path), port=0, max_connections=4)) as ready,
        Stream(ready.url) as stream,
        ExitStack() as stack,
    ):
        for _ in range(10):
            stack.enter_context(Wire(ready.url))
        with Wire(ready.url) as wire:
            put(wire, "a")
        assert summary([stream.event()]) == [("run", "a")]


# The stop

NEVER = 10 * HANG
PATIENT = command_with("flowruns.server.server", _STOP_SECONDS=NEVER, _BYE_SECONDS=NEVER)  # waits for its clients


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_streams_end_with_bye_and_the_server_at_once(tmp_path: Path, number: int) -> None:
    with serving(tmp_path, "runs.db", command=PATIENT) as server, ExitStack() as stack:
        queries = ["", "?phase=failed", "?tag=a:b", "/a"]
        with Wire(server.url) as wire:
            put(wire, "a")
        streams = [stack.enter_context(Stream(server.url, queries[one % 4])) for one in range(MANY)]
        server.process.send_signal(number)
        for stream in streams:
            assert stream.until_end()[-1].kind == "bye"
        assert ended(server.process) == (0, "")
    assert os.listdir(tmp_path) == ["runs.db"]


def test_streams_end_with_standard_input(tmp_path: Path) -> None:
    with serving(tmp_path, "runs.db", "--exit-with-stdin") as server, Stream(server.url) as stream:
        assert server.process.stdin
        server.process.stdin.close()
        assert summary(stream.until_end()) == [("bye", "")]
        assert ended(server.process) == (0, "")


def test_a_client_that_reads_nothing_does_not_delay_the_stop(tmp_path: Path) -> None:
    command = command_with("flowruns.server.server", _STOP_SECONDS=NEVER)
    with serving(tmp_path, "runs.db", command=command) as server, Stream(server.url), Stream(server.url) as quick:
        with Wire(server.url) as wire:
            assert wire.ask("PUT", f"{RUNS}/a", BIG).status == 201
        assert quick.event().json["id"] == "a"
        server.process.send_signal(signal.SIGTERM)
        assert summary(quick.until_end()) == [("bye", "")]
        assert ended(server.process) == (0, "")


def renamed(path: Path, table: str, name: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma legacy_alter_table = 1")  # and leave the triggers as they are
        connection.execute(f"alter table {table} rename to {name}")


def test_a_stream_that_cannot_be_read_on_ends(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(Settings(database=str(path), port=0)) as ready, Wire(ready.url) as wire, Stream(ready.url) as stream:
        put(wire, "a")
        seen = stream.event().id
        renamed(path, "sequence", "away")
        assert wire.ask("PUT", f"{RUNS}/b", RUN).status == 500
        ready.store._notifier.notify()  # as a commit would
        assert stream.until_end() == []
        assert wire.ask("GET", RUNS, None, ACCEPT).details(500)
        renamed(path, "away", "sequence")
        with Stream(ready.url, after=seen) as again:
            put(wire, "b")
            assert summary([again.event()]) == [("run", "b")]
    assert {record.getMessage().split(" at ")[0] for record in caplog.records} == {"OperationalError"}
