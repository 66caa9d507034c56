"""Bodies of many list items: the first error is found wherever it is, and the number of checks is bounded."""

import pytest

from flowruns.errors import Invalid
from flowruns.model import error_details, json_items
from flowruns.model.runs import RunPut
from flowruns.model.validation import decode


def errors(body: str) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(Invalid) as refused:
        decode(body.encode(), RunPut)
    return [(detail.loc, detail.type) for detail in refused.value.details]


def run(**lists: list[str]) -> str:
    fields = ['"flowId":"a"', '"flowType":"automation"']
    return "{" + ",".join([*fields, *(f'"{name}":[{",".join(items)}]' for name, items in lists.items())]) + "}"


@pytest.fixture(autouse=True, params=[0, 64 * 1024])
def _split(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(json_items, "_AT_ONCE", request.param)


def test_the_last_of_many_items_is_named_without_checking_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_details, "MAX_ITEMS", 1)
    assert errors(run(actions=['{"id":""}'] * 50_000 + ['{"id":1}'])) == [
        (("body", "actions", 50_000, "id"), "string_type")
    ]


def test_errors_of_two_lists_are_named() -> None:
    body = run(logs=['{"message":""}'] * 10 + ["{}"], tags=['{"key":"a","value":"b"}', '{"key":"a"}', "0"])
    assert errors(body) == [
        (("body", "logs", 10, "message"), "missing"),
        (("body", "tags", 1, "value"), "missing"),
        (("body", "tags", 2), "dict_type"),
    ]


def test_items_that_are_not_checked_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_details, "MAX_ITEMS", 10)
    body = run(tags=["0"] + ['{"key":"a","value":"b"}'] * 9 + ["0"])
    assert errors(body) == [(("body", "tags", 0), "dict_type"), (("body",), "too_many_errors")]


def test_of_two_equal_keys_the_errors_of_the_last_are_named() -> None:
    good = '{"key":"a","value":"b"}'
    body = run(tags=[good, "1"]).removesuffix("}") + f',"tags":[0,{good},0]}}'
    assert errors(body) == [(("body", "tags", 0), "dict_type"), (("body", "tags", 2), "dict_type")]


def test_of_two_equal_keys_the_error_of_the_first_is_named() -> None:
    body = run(tags=['{"key":"a","value":"b"}', "1"]).removesuffix("}") + ',"tags":[]}'
    assert errors(body) == [(("body", "tags", 1), "value_error")]


def test_unknown_fields_cost_nothing_and_hide_nothing() -> None:
    unknown = ",".join(f'"k{number}":0' for number in range(1000))
    assert errors(f'{{{unknown},"flowType":"automation"}}') == [(("body", "flowId"), "missing")]
