"""Numbers that clients have from before a restore fit nothing afterwards; those from before a plain restart do.

Here a copy is put back as users would do it. `tests/test_litestream.py` restores a replica.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowruns.server.starting import RunningServer, running
from flowruns.settings import MEMORY, Settings
from flowruns.sqlite.numbers import start_after
from flowruns.sqlite.open_file import open_readonly
from flowruns.store.integrity import check
from flowruns.store.store import Sources
from tests.conftest import RUNS
from tests.processes import output
from tests.streams import Stream
from tests.wire import RUN, Wire

HOUR = 3600 * 10**9  # nanoseconds
NOON = 1_800_000_000 * 10**9


@contextmanager
def served(path: Path | str, time: int | None = None) -> Iterator[tuple[RunningServer, Wire]]:
    """A server; *time*, in nanoseconds, replaces the real one."""
    sources = Sources() if time is None else Sources(start_after=lambda last: start_after(last, lambda: time))
    with running(Settings(database=str(path), port=0), **sources) as server, Wire(server.url) as wire:
        yield server, wire


def put(wire: Wire, id: str, *lines: str) -> str:
    """The ETag of the run *id* after a PUT."""
    answer = wire.ask("PUT", f"{RUNS}/{id}", RUN, *lines)
    assert answer.status in (200, 201), answer
    return (answer.header(b"etag") or b"").decode()


def number(etag: str) -> int:
    return int(etag.strip('"'))


def events(server: RunningServer, etag: str, query: str = "", count: int = 1) -> list[int | str]:
    """The first events of a stream that resumes after *etag*: the numbers of runs, or `resync`."""
    with Stream(server.url, query, after=number(etag)) as stream:
        received = [stream.event() for _ in range(count)]
    return [event.id if event.kind == "run" else event.kind for event in received]


def stands(path: Path) -> None:
    with open_readonly(path) as connection:
        assert check(connection, lambda amount, share: None).findings == []


@pytest.mark.parametrize(
    ("time", "restored"),
    [(None, None), (NOON, NOON - HOUR), (NOON, NOON), (NOON, 0)],
    ids=["real", "an hour back", "stopped", "1970"],
)
@pytest.mark.parametrize("copied_by", ["cp", "flowruns backup"])
def test_nothing_from_before_a_restore_fits(path: Path, copied_by: str, time: int | None, restored: int | None) -> None:
    copy = path.with_name("copy.db")
    with served(path) as (server, wire):
        shared = put(wire, "run")
        if copied_by != "cp":
            output(path.parent, "backup", copy.name, "-d", path.name)
    if copied_by == "cp":
        shutil.copy(path, copy)
    with served(path, time) as (_, wire):
        lost = [put(wire, "run") for _ in range(100)][-1]
    shutil.copy(copy, path)

    with served(path, restored) as (server, wire):
        assert wire.ask("GET", f"{RUNS}/run", None, f"If-None-Match: {shared}").status == 304
        assert events(server, lost) == ["resync"]
        assert wire.ask("PUT", f"{RUNS}/run", RUN, f"If-Match: {lost}").status == 412
        news = [put(wire, "new"), *(put(wire, "run") for _ in range(300))]
        for target in (RUNS, f"{RUNS}/run"):
            assert wire.ask("GET", target, None, f"If-None-Match: {lost}").status == 200
        for method in ("PUT", "DELETE"):
            assert wire.ask(method, f"{RUNS}/run", RUN, f"If-Match: {lost}").status == 412
        assert events(server, lost) == events(server, lost, "/run") == ["resync"]
        assert events(server, shared, count=2) == [number(news[0]), number(news[-1])]
    stands(path)


def test_three_restores_in_a_row_have_numbers_of_their_own(path: Path) -> None:
    copy = path.with_name("copy.db")
    with served(path) as (_, wire):
        put(wire, "run")
    shutil.copy(path, copy)
    histories: list[list[str]] = []
    for _ in range(4):
        shutil.copy(copy, path)
        with served(path) as (server, wire):
            for lost in histories:
                for etag in (lost[0], lost[-1]):
                    assert wire.ask("GET", f"{RUNS}/run", None, f"If-None-Match: {etag}").status == 200
                    assert events(server, etag) == ["resync"]
            histories.append([put(wire, "run") for _ in range(200)])
            for lost in histories[:-1]:
                assert events(server, lost[-1]) == ["resync"]
                assert wire.ask("PUT", f"{RUNS}/run", RUN, f"If-Match: {lost[-1]}").status == 412
    etags = [etag for history in histories for etag in history]
    assert len(set(etags)) == len(etags)
    stands(path)


def test_idle_restarts_keep_etags_positions_and_cursors(path: Path) -> None:
    with served(path) as (_, wire):
        etags = [put(wire, f"r{n}") for n in range(5)]
        page = wire.ask("GET", f"{RUNS}?size=2")
    last = number(etags[-1])
    for _ in range(3):
        with served(path) as (server, wire), Stream(server.url) as stream:
            assert stream.position == last
            again = wire.ask("GET", f"{RUNS}?size=2", None, f"If-None-Match: {etags[-1]}")
            assert (again.status, again.header(b"etag")) == (304, etags[-1].encode())
            assert wire.ask("GET", f"{RUNS}/r0", None, f"If-None-Match: {etags[0]}").status == 304
            assert wire.ask("GET", f"{RUNS}?size=2").body == page.body
    with served(path) as (server, wire):
        new = number(put(wire, "new"))
        with Stream(server.url, after=last) as stream:
            assert (stream.position, stream.event().id) == (last, new)
        older = wire.ask("GET", f"{RUNS}?size=2&cursor={page.json['next_page']}")
        assert [run["id"] for run in older.json["items"]] == ["r2", "r1"]
        newer = wire.ask("GET", f"{RUNS}?size=2&cursor={older.json['previous_page']}")
        assert [run["id"] for run in newer.json["items"]] == ["r4", "r3"]
        newest = wire.ask("GET", f"{RUNS}?size=2&cursor={newer.json['previous_page']}")
        assert [run["id"] for run in newest.json["items"]] == ["new"]
        assert wire.ask("PUT", f"{RUNS}/r0", RUN, f"If-Match: {etags[0]}").status == 200


def test_stream_reads_on_over_restarts(path: Path) -> None:
    etags = []
    for n in range(6):
        with served(path) as (_, wire):
            etags.append(put(wire, f"r{n}"))
    with served(path) as (server, wire):
        for start, etag in enumerate(["0", *etags[:-1]]):
            assert events(server, etag, count=6 - start) == [number(etag) for etag in etags[start:]]
        with Stream(server.url, "?flowId=none", after=number(etags[0])) as stream:
            put(wire, "other")
            wire.ask("PUT", f"{RUNS}/seen", b'{"flowId":"none","flowType":"automation"}')
            assert stream.event().json["id"] == "seen"
        last = number(etags[-1])
        for skipped in (last - 2, number(etags[0]) - 2, 1):
            with Stream(server.url, after=skipped) as stream:
                assert stream.event().kind == "resync"


def test_each_position_of_a_stream_can_be_resumed_from(path: Path) -> None:
    for n in range(3):
        with served(path) as (_, wire):
            put(wire, f"r{n}")
    with served(path) as (server, wire):
        for n in range(3):
            with Stream(server.url, f"/r{n}") as stream:
                begin, event = stream.position, stream.event()
            for position in (begin, event.id):
                with Stream(server.url, after=position) as stream:
                    put(wire, "next")
                    assert stream.event().kind == "run"


def test_databases_in_memory_have_numbers_of_their_own() -> None:
    seen: list[list[str]] = []
    for _ in range(3):
        with served(MEMORY) as (server, wire):
            empty = wire.ask("GET", RUNS).header(b"etag") or b""
            for etags in seen:
                for etag in etags:
                    assert wire.ask("GET", RUNS, None, f"If-None-Match: {etag}").status == 200
                    assert events(server, etag) == ["resync"]
            etags = [empty.decode(), *(put(wire, f"r{n}") for n in range(5))]
            for lost in seen:
                assert wire.ask("GET", RUNS, None, f"If-None-Match: {lost[-1]}").status == 200
                assert wire.ask("PUT", f"{RUNS}/r4", RUN, f"If-Match: {lost[-1]}").status == 412
                assert events(server, lost[-1]) == ["resync"]
            with Stream(server.url, after=0) as stream:
                assert [stream.event().id for _ in range(5)] == [number(etag) for etag in etags[1:]]
            seen.append(etags)


def test_commands_that_write_begin_anew_too(path: Path) -> None:
    copy = path.with_name("copy.db")
    (path.parent / "runs.ndjson").write_bytes(b'{"id":"a","flowId":"deploy","flowType":"automation"}\n' * 3)
    output(path.parent, "import", "runs.ndjson")
    shutil.copy(path, copy)
    lost = []
    for _ in range(2):
        shutil.copy(copy, path)
        output(path.parent, "import", "runs.ndjson")
        with served(path) as (_, wire):
            lost.append(wire.ask("GET", f"{RUNS}/a").header(b"etag"))
        output(path.parent, "prune", "--older-than", "0s")
        with served(path) as (_, wire):
            lost.append(wire.ask("GET", RUNS).header(b"etag"))
        stands(path)
    assert len(set(lost)) == 4
