"""The fields of runs that a response is limited to."""

import json
from collections import Counter
from typing import Any

import pytest

from flowruns.errors import ErrorDetail
from flowruns.model.fields import ALL_FIELDS, COUNTS, FIELDS, MAX_GROUPS, Fields, parse_fields, select_fields
from flowruns.model.runs import FlowRun, RunPut, encode_run
from flowruns.model.validation import MAX_DETAILS, decode

NOW = "2026-01-28T23:05:10.042Z"


def document(**fields: Any) -> bytes:
    body = {"flowId": "deploy", "flowType": "automation", **fields}
    return encode_run(decode(json.dumps(body).encode(), RunPut).run("r1", now=NOW, by=7, preserved=None))


def selected(doc: bytes, *names: str) -> Any:
    return json.loads(select_fields(doc, names))


def parsed(*values: str) -> tuple[Fields, list[ErrorDetail]]:
    details: list[ErrorDetail] = []
    return parse_fields([("size", "5"), *(("fields", value) for value in values)], details), details


def test_fields_are_those_of_a_run_each_count_after_what_it_counts() -> None:
    assert tuple(name for name in FIELDS if name not in COUNTS) == FlowRun.__struct_encode_fields__
    for name, (counted, _) in COUNTS.items():
        assert FIELDS.index(name) == FIELDS.index(counted) + 1


@pytest.mark.parametrize(
    "values",
    [
        ("phase,id",),
        ("phase", "id"),
        ("id", "phase,id"),
        (" id , phase ",),
    ],
)
def test_names_are_repeated_or_separated_by_commas_in_any_order(values: tuple[str, ...]) -> None:
    assert parsed(*values) == (("id", "phase"), [])


def test_no_parameter_means_the_whole_run() -> None:
    assert parsed() == (ALL_FIELDS, [])
    assert select_fields(document(), ALL_FIELDS) == document()


@pytest.mark.parametrize("values", [("",), ("id,",), ("id", " ")])
def test_an_empty_name_is_unknown(values: tuple[str, ...]) -> None:
    (detail,) = parsed(*values)[1]
    assert detail.msg.endswith("not ''")


def test_only_the_first_errors_are_made() -> None:
    assert len(parsed(",".join(map(str, range(10_000))))[1]) == MAX_DETAILS + 1


def test_each_unknown_name_is_an_error_that_names_the_known_ones() -> None:
    _, details = parsed("id,Phase", "log\n" + "x" * 100)
    assert [(detail.loc, detail.type) for detail in details] == [(("query", "fields"), "literal_error")] * 2
    assert all(f"'{name}'" in detail.msg for name in FIELDS for detail in details)
    assert details[0].msg.endswith("'reviewedAt', not 'Phase'")
    assert details[1].msg.endswith(r"not 'log\n" + "x" * 36 + "'")


@pytest.mark.parametrize("args", ['{"b" : 1e400, "a": [ 1,2 ],"b":-0}', "{}", '{\n"x":"\\u00e9\\/"\r}', "null"])
def test_values_keep_their_bytes(args: str) -> None:
    body = b'{"flowId":"deploy","flowType":"automation","args":%b,"outputs":%b}' % ((args.encode(),) * 2)
    doc = encode_run(decode(body, RunPut).run("r1", now=NOW, by=None, preserved=None))
    assert select_fields(doc, ("id", "args", "outputs")) == b'{"id":"r1","args":%b,"outputs":%b}' % (
        (args.encode(),) * 2
    )


def test_any_field_alone_is_as_in_the_whole_run(real_runs: list[dict[str, Any]]) -> None:
    for run in real_runs:
        doc = document(**{name: value for name, value in run.items() if name != "id"})
        whole = json.loads(doc)
        for name in FlowRun.__struct_encode_fields__:
            assert selected(doc, name) == {name: whole[name]}
        most = FlowRun.__struct_encode_fields__[1:]
        assert select_fields(doc, most) == doc.replace(b'"id":"r1",', b"", 1)


def test_several_documents_stay_separate_and_in_order() -> None:
    docs = [document(phase=phase) for phase in ("one", "two")]
    assert select_fields(b",".join(docs), ("phase",)) == b'{"phase":"one"},{"phase":"two"}'
    assert select_fields(b"", ("phase", "logCounts")) == b""


def test_counts_are_those_of_each_phase_and_level(real_runs: list[dict[str, Any]]) -> None:
    for run in real_runs:
        doc = document(**{name: value for name, value in run.items() if name != "id"})
        whole, counts = json.loads(doc), selected(doc, "actionCounts", "logCounts")
        if (actions := whole["actions"]) is None:
            assert counts["actionCounts"] is None
        else:
            phases = Counter(action["phase"] for action in actions if action["phase"])
            assert counts["actionCounts"]["total"] == len(actions)
            assert counts["actionCounts"]["phase"] == dict(phases)
        if (logs := whole["logs"]) is None:
            assert counts["logCounts"] is None
        else:
            assert counts["logCounts"] == {"total": len(logs), "level": dict(Counter(log["level"] for log in logs))}


def test_counts_name_the_first_action_of_a_phase_and_count_null_in_the_total_alone() -> None:
    phases = ["succeeded", "failed", None, "failed", "succeeded", "succeeded"]
    doc = document(actions=[{"id": f"job {number}", "phase": phase} for number, phase in enumerate(phases)], logs=[])
    counts = selected(doc, "actionCounts", "logCounts")
    assert counts == {
        "actionCounts": {
            "total": 6,
            "phase": {"succeeded": 3, "failed": 2},
            "first": {"succeeded": "job 0", "failed": "job 1"},
        },
        "logCounts": {"total": 0, "level": {}},
    }
    assert list(counts["actionCounts"]["phase"]) == ["succeeded", "failed"]  # the most frequent first


def test_counts_have_a_largest_size() -> None:
    logs = [{"message": "", "level": f"level-{number}"} for number in range(3 * MAX_GROUPS)]
    counts = selected(document(logs=[*logs, *logs[-5:]]), "logCounts")["logCounts"]
    assert counts["total"] == 3 * MAX_GROUPS + 5
    assert list(counts["level"].values()) == [2] * 5 + [1] * (MAX_GROUPS - 5)


def test_counts_stand_beside_what_they_count() -> None:
    run = selected(document(logs=[{"message": "one"}], actions=[{"id": "a"}]), *FIELDS)
    assert tuple(run) == FIELDS
    assert run["logCounts"]["total"] == len(run["logs"]) == 1
