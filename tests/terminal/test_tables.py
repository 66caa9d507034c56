"""Runs as text for a terminal."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from flowruns.model.runs import RunPut, encode
from flowruns.model.validation import decode
from flowruns.terminal.run import Log, Run, describe_run, line_of_json, run_of
from flowruns.terminal.tables import Table
from flowruns.terminal.tail import Tail
from flowruns.terminal.text import Style, columns, cut, duration, local_clock, local_time, time_taken

NOW = datetime(2025, 1, 20, 18, 0, tzinfo=UTC)
PLAIN = Style()
HOSTILE = "a\x1b[31m\r\nb\x9b\u202e"


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def run(id: str = "a1", **fields: Any) -> Run:
    body = json.dumps({"flowId": "deploy-web", "flowType": "automation", **fields}).encode()
    return run_of(encode(decode(body, RunPut).run(id, now="2025-01-20T17:53:03.558Z", by=None, preserved=None)))


# Pieces


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2025-01-20T18:53:03.558Z", "2025-01-20 19:53:03+01:00"),
        ("2025-07-20T18:53:03.558Z", "2025-07-20 20:53:03+02:00"),
        (None, "-"), ("", "-"), ("nonsense", "-"), ("0001-01-01T00:00:00.000Z", "0001-01-01 00:53:28+00:53:28"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)  # fmt: skip
def test_time_is_local(text: str | None, shown: str) -> None:
    assert local_time(text) == shown


def test_zone_with_two_offsets_is_told_apart_and_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/London")
    time.tzset()
    assert [local_time(f"2025-10-26T{hour}:30:00Z", "minutes") for hour in ("00", "01")] == [
        "2025-10-26 01:30+01:00", "2025-10-26 01:30Z",
    ]  # fmt: skip
    logs = [{"timestamp": f"2025-10-26T{hour}:30:00Z", "message": "x"} for hour in ("00", "01")]
    assert list(describe_run(run(logs=logs), PLAIN, NOW))[-2:] == [
        "  2025-10-26 01:30:00+01:00  info     x",
        "  2025-10-26 01:30:00Z       info     x",
    ]


def test_day_is_left_out_if_it_is_today() -> None:
    assert local_clock("2025-01-20T17:59:00Z", NOW) == "18:59:00+01:00"
    assert local_clock("2025-01-19T17:59:00Z", NOW) == "2025-01-19 18:59:00+01:00"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"), (0.25, "250 ms"), (1, "1 s"), (7.49, "7.5 s"), (40.9, "40 s"), (60, "1 min"), (75, "1 min 15 s"),
        (3600, "1 h"), (7800.5, "2 h 10 min"), (86400, "1 d"), (90061, "1 d 1 h"), (1e9, "11574 d 1 h"),
    ],
)  # fmt: skip
def test_duration_says_two_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ("2025-01-20T17:00:00Z", "2025-01-20T17:00:40Z", "40 s"), ("2025-01-20T17:00:00Z", None, "1 h…"),
        (None, "2025-01-20T17:00:40Z", "-"), (None, None, "-"),
        ("2025-01-20T17:00:00Z", "2025-01-20T16:00:00Z", "-"), ("2025-01-20T19:00:00Z", None, "-"),
    ],
)  # fmt: skip
def test_what_goes_on_says_how_long_by_now(start: str | None, end: str | None, shown: str) -> None:
    assert time_taken(start, end, NOW) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 6, "日本語"), ("日本語", 5, "日本…"), ("日本語", 4, "日…")],
)
def test_text_is_cut_to_its_columns(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown
    assert columns(shown) <= width


def test_combining_marks_take_no_column() -> None:
    assert columns("e\u0301a") == 2


def test_document_on_one_line_means_the_same() -> None:
    doc = b'{"a":\r\n[1,\n2], "b":"\\n"}'
    assert line_of_json(doc) == b'{"a":  [1, 2], "b":"\\n"}'


# The table


def test_columns_are_aligned_and_nothing_is_a_dash() -> None:
    started = {"startTime": "2025-01-20T17:00:00Z", "endTime": "2025-01-20T17:00:40Z"}
    runs = [run("a1"), run("longer-id", phase="succeeded", flowId="web", **started), run("c", phase=None)]
    assert list(Table(PLAIN).lines(runs, NOW)) == [
        "PHASE      FLOW        STARTED                 TOOK  ID",
        "pending    deploy-web  -                       -     a1",
        "succeeded  web         2025-01-20 18:00+01:00  40 s  longer-id",
        "-          deploy-web  -                       -     c",
    ]


def test_later_rows_go_on_without_a_head() -> None:
    table = Table(PLAIN)
    assert len(list(table.lines([run("a1")], NOW))) == 2
    assert list(table.lines([run("b1", flowId="a-much-longer-flow")], NOW)) == [
        "pending  a-much-longer-flow  -        -     b1"
    ]


@pytest.mark.parametrize(
    ("width", "shown"),
    [(200, ["STARTED", "TOOK"]), (80, ["STARTED", "TOOK"]), (76, ["STARTED"]), (60, []), (45, []), (10, [])],
)
def test_table_fits_the_terminal_and_never_cuts_an_id(width: int, shown: list[str]) -> None:
    long = run("0" * 20, flowId="flow" * 10, startTime="2025-01-20T17:00:00Z", phase="p" * 64)
    lines = list(Table(Style(width=width)).lines([long, run("a1")], NOW))
    assert all(len(line) <= max(width, 16 + 8 + 20 + 4) for line in lines)
    assert lines[1].endswith("  " + "0" * 20)
    assert [name for name in ("STARTED", "TOOK") if name in lines[0]] == shown


def test_colour_is_of_the_phase_and_takes_no_room() -> None:
    runs = [run(phase=phase) for phase in ("succeeded", "failed", "Running", "unheard-of")]
    plain = list(Table(PLAIN).lines(runs, NOW))
    coloured = list(Table(Style(colour=True)).lines(runs, NOW))
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in coloured] == plain
    assert [re.findall(r"\x1b\[(\d+)m", line) for line in coloured] == [
        ["1", "0"], ["32", "0"], ["31", "0"], ["33", "0"], [],
    ]  # fmt: skip


# One run


def test_all_that_is_known_of_a_run_is_shown() -> None:
    shown = run(
        "web-42",
        phase="failed",
        startTime="2025-01-20T17:00:00Z",
        endTime="2025-01-20T17:00:40Z",
        args={"ref": "main"},
        outputs={"text": "x" * 60, "more": [1, 2]},
        tags=[{"key": "env", "value": "test"}, {"key": "team", "value": HOSTILE}],
        actions=[
            {"id": HOSTILE, "phase": "succeeded", "startTime": "2025-01-20T17:00:00Z"},
            {"id": "test", "phase": None},
        ],
        logs=[
            {"message": HOSTILE, "level": "error", "action": "test", "timestamp": "2025-01-20T17:00:01Z"},
            {"message": "done", "timestamp": "2025-01-20T17:00:02Z"},
        ],
    )
    assert list(describe_run(shown, PLAIN, NOW)) == [
        "web-42",
        "  phase     failed",
        "  flow      deploy-web (automation)",
        "  started   2025-01-20 18:00:00+01:00",
        "  ended     2025-01-20 18:00:40+01:00",
        "  took      40 s",
        "  created   2025-01-20 18:53:03+01:00",
        "  updated   2025-01-20 18:53:03+01:00",
        r"  tags      env:test, team:a\x1b[31m\r\nb\x9b\u202e",
        '  args      {"ref": "main"}',
        "  outputs   {",
        f'              "text": "{"x" * 60}",',
        '              "more": [',
        "                1,",
        "                2",
        "              ]",
        "            }",
        "",
        "  ACTION                    PHASE      STARTED                    TOOK",
        r"  a\x1b[31m\r\nb\x9b\u202e  succeeded  2025-01-20 18:00:00+01:00  1 h…",
        "  test                      -          -                          -",
        "",
        r"  2025-01-20 18:00:01+01:00  error    test: a\x1b[31m\r\nb\x9b\u202e",
        "  2025-01-20 18:00:02+01:00  info     done",
    ]


def test_run_of_another_flowruns_is_shown_too() -> None:
    doc = b'{"id":"a1","flowType":"newer","phase":"x","args":{"n":1e400},"more":[1],"logs":[{"message":"m"}]}'
    lines = list(describe_run(run_of(doc), PLAIN, NOW))
    assert '  args      {"n":1e400}' in lines
    assert "  flow      - (newer)" in lines


@pytest.mark.parametrize("style", [PLAIN, Style(colour=True)])
def test_no_text_of_a_run_moves_the_cursor_or_ends_a_line(style: Style) -> None:
    hostile = run(
        args={HOSTILE: HOSTILE},
        tags=[{"key": HOSTILE, "value": HOSTILE}],
        actions=[{"id": HOSTILE}],
        logs=[{"message": HOSTILE, "action": HOSTILE}],
    )
    tail = Tail(style, names=True, lines=10)
    for line in (*describe_run(hostile, style, NOW), *tail.changed(hostile, NOW), *Table(style).lines([hostile], NOW)):
        assert re.sub(r"\x1b\[\d+m", "", line).isprintable() or not line


# Changes


def changed(tail: Tail, **fields: Any) -> list[str]:
    return list(tail.changed(run(**fields), NOW))


def log(message: str, second: int, level: str = "info", action: str | None = None) -> dict[str, Any]:
    return {"message": message, "timestamp": f"2025-01-20T17:00:{second:02}Z", "level": level, "action": action}


def test_only_changes_are_shown() -> None:
    tail = Tail(PLAIN, names=True, lines=10)
    begun = {"id": "build", "phase": "running", "startTime": "2025-01-20T17:00:00Z"}
    ended = {**begun, "phase": "succeeded", "endTime": "2025-01-20T17:00:09Z"}
    first, second = log("one", 1), log("two", 2, "warning", "build")
    assert changed(tail) == ["18:53:03+01:00  a1  run      deploy-web pending"]
    assert changed(tail) == []
    assert changed(tail, phase="running", actions=[begun], logs=[first]) == [
        "18:53:03+01:00  a1  run      deploy-web running",
        "18:00:00+01:00  a1  action   build running",
        "18:00:01+01:00  a1  info     one",
    ]
    assert changed(tail, phase="running", actions=[begun], logs=[first, second]) == [
        "18:00:02+01:00  a1  warning  build: two",
    ]
    times = {"startTime": "2025-01-20T17:00:00Z", "endTime": "2025-01-20T17:00:10Z"}
    assert changed(tail, phase="failed", actions=[ended], logs=[first, second], **times) == [
        "18:00:09+01:00  a1  action   build succeeded (9 s)",
        "18:00:10+01:00  a1  run      deploy-web failed (10 s)",
    ]
    assert tail.gone("a1", "deleted", NOW) == "19:00:00+01:00  a1  deleted"
    assert changed(tail) == ["18:53:03+01:00  a1  run      deploy-web pending"]


def test_lines_that_a_server_stamps_anew_are_shown_once() -> None:
    tail = Tail(PLAIN, names=False, lines=10)
    assert len(changed(tail, logs=[log("one", 1)])) == 2
    assert changed(tail, logs=[log("one", 5), log("two", 5)]) == ["18:00:05+01:00  info     two"]
    assert changed(tail, logs=[log("other", 7)]) == ["18:00:07+01:00  info     other"]
    assert changed(tail, logs=[]) == []


@pytest.mark.parametrize("lines", [0, 1, 3, 100])
def test_long_log_is_shown_from_its_end(lines: int) -> None:
    logs = [log(f"line {number}", number) for number in range(10)]
    shown = changed(Tail(PLAIN, names=False, lines=lines), logs=logs)[1:]
    assert [line[-6:] for line in shown] == [f"line {number}" for number in range(10)[max(0, 10 - lines) :]]


def test_levels_have_colours() -> None:
    tail = Tail(Style(colour=True), names=False, lines=10)
    lines = changed(
        tail, logs=[log("a", 1, "error"), log("b", 2, "warning"), log("c", 3, "debug"), log("d", 4, "info")]
    )
    assert [re.findall(r"\x1b\[(\d+)m(\w+)", line)[1:] for line in lines[1:]] == [
        [("31", "error")], [("33", "warning")], [("2", "debug")], [],
    ]  # fmt: skip


def test_only_so_many_runs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowruns.terminal.tail._MAX_RUNS", 2)
    tail = Tail(PLAIN, names=True, lines=10)
    for id in ("a", "b", "a", "c"):
        changed(tail, id=id)
    assert (changed(tail, id="a"), len(changed(tail, id="b"))) == ([], 1)


def test_log_of_another_flowruns_needs_a_message_alone() -> None:
    assert list(Tail(PLAIN, names=False, lines=1).changed(Run(id="a", logs=[Log(message="m")]), NOW)) == [
        "-  run      - -", "-  -        m",
    ]  # fmt: skip


def test_text_of_a_run_forges_no_line() -> None:
    doc = encode(
        {"id": "a", "flowId": "b", "phase": "x\x1b[31m\r\n", "args": {"text": "a\u2028b\u202ec", "more": "x" * 60}}
    )
    lines = list(describe_run(run_of(doc), PLAIN, NOW))
    assert "  phase     x\\x1b[31m\\r\\n" in lines
    assert any('"text": "a\\u2028b\\u202ec"' in line for line in lines)
    assert all(line.isprintable() for line in lines)
