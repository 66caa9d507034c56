"""Bodies and the runs they make."""

import json
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from msgspec import Raw

from flowruns.model import json_items, runs
from flowruns.model.datetimes import RuleViolation, format_datetime, parse_datetime
from flowruns.model.runs import (
    FlowType,
    Log,
    PreservedFields,
    RunPost,
    RunPut,
    Tag,
    encode,
    encode_run,
    release_lists,
)
from flowruns.model.validation import decode

NOW = "2025-01-20T18:53:03.558Z"
LATER = "2025-01-20T18:53:04.000Z"


def body(**fields: object) -> RunPut:
    return decode(json.dumps({"flowId": "a", "flowType": "automation"} | fields).encode(), RunPut)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-20T18:53:03Z", "2025-01-20T18:53:03.000Z"),
        ("2025-01-20t18:53:03z", "2025-01-20T18:53:03.000Z"),
        ("2025-01-20 18:53:03Z", "2025-01-20T18:53:03.000Z"),  # RFC 3339 5.6 leaves the T to applications
        ("2025-01-20T18:53:03+00:00", "2025-01-20T18:53:03.000Z"),
        ("2025-01-20T18:53:03-00:00", "2025-01-20T18:53:03.000Z"),
        ("2025-01-20T18:53:03+02:00", "2025-01-20T16:53:03.000Z"),
        ("2025-01-20T18:53:03-05:30", "2025-01-21T00:23:03.000Z"),
        ("2025-01-20T18:53:03+23:59", "2025-01-19T18:54:03.000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("0001-01-01T14:00:00+14:00", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999Z"),
        ("9999-12-31T22:59:59-01:00", "9999-12-31T23:59:59.000Z"),
    ],
)
def test_date_times_are_written_in_utc_with_milliseconds(text: str, expected: str) -> None:
    assert parse_datetime(text) == expected


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("5", "500"),
        ("05", "050"),
        ("558", "558"),
        ("5589", "558"),
        ("99999", "999"),
        ("999999", "999"),
        ("9999999", "999"),
        ("99999999", "999"),
        ("999999999", "999"),
        ("0009" * 250, "000"),
    ],
)
def test_digits_beyond_milliseconds_are_cut_not_rounded(digits: str, expected: str) -> None:
    assert parse_datetime(f"2025-01-20T18:53:03.{digits}Z") == f"2025-01-20T18:53:03.{expected}Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1737399183",
        "2025-01-20",
        "2025-01-20T18:53Z",
        "20250120T185303Z",
        "2025-W04-1T18:53:03Z",
        "2025-01-20_18:53:03Z",
        " 2025-01-20T18:53:03Z",
        "2025-01-20T18:53:03Z\n",
        "2025-01-20T18:53:03.Z",
        "2025-01-20T18:53:03,5Z",
        "2025-01-20T18:53:03+02",
        "2025-01-20T18:53:03+0200",
        "2025-01-20T18:53:03+02:00:00",
        "2025-01-20T18:53:03+24:00",
        "2025-01-20T18:53:03+01:60",  # RFC 3339 5.6: time-minute ends at 59
        "2025-01-20T18:53:03-01:99",
        "2025-01-20T18:53:03+99:99",
        "2025-01-20T18:60:03Z",
        "2025-01-20T24:00:00Z",
        "2016-12-31T23:59:60Z",  # a leap second that was: no datetime holds it
        "2025-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-00-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "10000-01-01T00:00:00Z",
        "-2025-01-20T18:53:03Z",
        "٢٠٢٥-01-20T18:53:03Z",
        "2025-01-20T18:53:0３Z",
        "2025-01-20T18:53:03.५Z",
        "2025-01-20T18:53:03\x00Z",
    ],
)
def test_other_formats_and_years_are_refused(text: str) -> None:
    with pytest.raises(RuleViolation) as broken:
        parse_datetime(text)
    assert broken.value.type == "datetime_parsing"


@pytest.mark.parametrize("text", ["2025-01-20T18:53:03", "2025-01-20 18:53:03.5"])
def test_missing_offset_has_an_error_type_of_its_own(text: str) -> None:
    with pytest.raises(RuleViolation) as broken:
        parse_datetime(text)
    assert broken.value.type == "timezone_aware"


def test_date_times_agree_with_datetime(chance: random.Random) -> None:
    for _ in range(1000):
        zone = timezone(timedelta(minutes=chance.randrange(-1439, 1440)))
        moment = datetime(1900, 1, 1, tzinfo=zone) + timedelta(microseconds=chance.randrange(10**16))
        assert parse_datetime(moment.isoformat()) == format_datetime(moment)


def test_date_times_sort_as_text() -> None:
    moments = [
        datetime(y, 1, 1, 0, 0, s, ms * 1000, UTC) for y in (1, 999, 2025) for s in (0, 59) for ms in (0, 7, 999)
    ]
    assert sorted(map(format_datetime, moments)) == [format_datetime(moment) for moment in moments]


@pytest.mark.parametrize("field", ["id", "args", "startTime", "endTime", "actions", "outputs", "logs", "tags"])
def test_null_is_the_same_as_leaving_out(field: str) -> None:
    assert encode(body(**{field: None})) == encode(body())


@pytest.mark.parametrize("timestamp", [None, LATER])
@pytest.mark.parametrize("level", [None, "warn"])
def test_log_line_without_time_or_level_gets_now_or_info(timestamp: str | None, level: str | None) -> None:
    sent = {"timestamp": timestamp, "message": "a", "level": level, "action": "deploy"}
    run = body(logs=[sent]).run("x", now=NOW, by=None, preserved=None)
    assert run.logs == [Log(timestamp=timestamp or NOW, message="a", level=level or "info", action="deploy")]


def test_one_body_makes_each_run_with_its_own_time() -> None:
    twice = body(logs=[{"message": "a"}])
    first = encode(twice.run("x", now=NOW, by=None, preserved=None))
    second = encode(twice.run("y", now=LATER, by=None, preserved=None))
    assert [json.loads(run)["logs"][0]["timestamp"] for run in (first, second)] == [NOW, LATER]


def test_replacing_preserves_who_created_and_who_reviewed() -> None:
    preserved = PreservedFields(created_at=NOW, created_by=1, reviewed_at=NOW, reviewed_by=2)
    run = body(createdAt=LATER, createdBy=9, reviewedAt=LATER, reviewedBy=9).run(
        "x", now=LATER, by=3, preserved=preserved
    )
    assert (run.created_at, run.created_by, run.reviewed_at, run.reviewed_by) == preserved
    assert (run.updated_at, run.updated_by) == (LATER, 3)


def test_run_is_never_updated_before_it_was_created() -> None:
    preserved = PreservedFields(created_at=LATER, created_by=None, reviewed_at=None, reviewed_by=None)
    assert body().run("x", now=NOW, by=None, preserved=preserved).updated_at == LATER


def test_times_of_a_body_are_turned_to_utc() -> None:
    local, expected = "2025-01-20T20:53:03.5589+02:00", NOW
    sent = body(startTime=local, endTime=local, actions=[{"id": "b", "startTime": local}], logs=[
        {"message": "a", "timestamp": local}
    ])  # fmt: skip
    assert sent.actions is not None
    assert sent.logs is not None
    assert {sent.start_time, sent.end_time, sent.actions[0].start_time, sent.logs[0].timestamp} == {expected}


def test_structs_made_in_python_obey_the_rules_of_bodies() -> None:
    with pytest.raises(RuleViolation):
        RunPut(flow_id="a", flow_type=FlowType.REFERENCE, start_time="yesterday")
    with pytest.raises(RuleViolation):
        RunPost(flow_id="a", args=Raw(b"[]"))


def test_response_of_get_can_be_put_back() -> None:
    full = body(
        args={"a": [1, 2.5, {"b": None}]},
        phase="running",
        startTime=NOW,
        actions=[{"id": "b", "phase": "done"}],
        outputs={"ü": "\u0000"},
        logs=[{"message": "a"}],
        tags=[{"key": "k", "value": "v"}],
    )
    doc = encode(full.run("x", now=NOW, by=1, preserved=None))
    preserved = PreservedFields(created_at=NOW, created_by=1, reviewed_at=None, reviewed_by=None)
    assert encode(decode(doc, RunPut).run("x", now=NOW, by=1, preserved=preserved)) == doc


def test_document_of_long_lists_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    put = body(
        actions=[{"id": f"a{number}", "phase": "failed"} for number in range(10)],
        logs=[{"message": f'"{number}"'} for number in range(3)],
        tags=[{"key": f"k{number}", "value": ""} for number in range(4)],
    )
    run = put.run("r1", now=NOW, by=None, preserved=None)
    whole = encode(run)
    monkeypatch.setattr(json_items, "ITEMS_AT_ONCE", 3)
    monkeypatch.setattr(runs, "ITEMS_AT_ONCE", 3)
    assert encode_run(run) == whole
    assert isinstance(run.actions, list)


def test_released_lists_are_empty() -> None:
    put = RunPut(
        flow_id="a", flow_type=FlowType.AUTOMATION, tags=[Tag(key="k", value="v")] * (2 * json_items.ITEMS_AT_ONCE + 1)
    )
    release_lists(put)
    assert (put.actions, put.logs, put.tags) == (None, None, [])


def test_the_args_of_a_post_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    is_nested_beyond = json_items.is_nested_beyond

    def recorded(raw: Raw, levels: int) -> bool:
        checked.append(bytes(raw))
        return is_nested_beyond(raw, levels)

    monkeypatch.setattr(runs, "is_nested_beyond", recorded)
    put = decode(b'{"flowId":"a","args":{"x":[1]}}', RunPost).put()
    assert bytes(put.args) == b'{"x":[1]}'
    assert checked.count(b'{"x":[1]}') == 1
