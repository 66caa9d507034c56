"""JSON lists and objects, taken apart without an object for each value at once."""

import json
import random

import pytest
from msgspec import Raw, ValidationError
from msgspec.json import decode, encode

from flowruns.model import json_items
from flowruns.model.json_items import encode_list, is_nested_beyond, list_items, object_fields, other_names

ITEMS = [
    "0",
    "{}",
    "[]",
    '""',
    '"a,b]}"',
    '"\\""',
    '"\\\\"',
    '{"a":[1,{"b":"],"}]}',
    "[[],[{}]]",
    "null",
    "-1.5e9",
    " true ",
]


@pytest.mark.parametrize("text", ["[]", " [ ] ", "[0]", "[\n0 ,\t1]", f"[{','.join(ITEMS)}]"])
@pytest.mark.parametrize("at_once", [0, 1_000])
def test_items_are_those_of_the_list(monkeypatch: pytest.MonkeyPatch, text: str, at_once: int) -> None:
    monkeypatch.setattr(json_items, "_AT_ONCE", at_once)
    assert [json.loads(bytes(item)) for item in list_items(Raw(text.encode()))] == json.loads(text)


def test_items_of_lists_by_chance_are_those_of_msgspec(monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> None:
    monkeypatch.setattr(json_items, "_AT_ONCE", 0)
    for _ in range(300):
        text = f"[{','.join(chance.choices(ITEMS, k=chance.randrange(20)))}]".encode()
        assert list(map(bytes, list_items(Raw(text)))) == [bytes(item) for item in decode(text, type=list[Raw])]


def test_only_named_fields_are_kept_and_the_last_of_equal_ones() -> None:
    raw = Raw(b'{"other": 1, "a": 1, "b": null, "a": {"x": [2]}, "": 3}')
    found = object_fields(raw, ["a", "b", "c"])
    assert {name: bytes(value) for name, value in found.items()} == {"a": b'{"x": [2]}', "b": b"null"}


@pytest.mark.parametrize("text", ["[]", "0", '"a"', "null"])
def test_what_is_no_object_has_no_fields(text: str) -> None:
    with pytest.raises(ValidationError):
        object_fields(Raw(text.encode()), ["a"])


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("[]", 1), ("{}", 1), ('{"a":[[]]}', 3), ("[[],[[]],[]]", 3), ('["[[[","]]]","\\\\",["\\"["]]', 2),
        ('[{"a":"\\\\\\"[","b":[{}]}]', 4), ("[[[]],{}]", 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at_once", [1, 2, 3, 256])
def test_nesting_is_that_of_lists_and_objects_alone(
    monkeypatch: pytest.MonkeyPatch, text: str, depth: int, at_once: int
) -> None:
    monkeypatch.setattr(json_items, "_BRACKETS", at_once)
    json.loads(text)
    assert is_nested_beyond(Raw(text.encode()), depth - 1)
    assert not is_nested_beyond(Raw(text.encode()), depth)


def test_other_names_of_an_object_are_each_returned_once() -> None:
    raw = Raw(b'{"a":1,"b":{"c":[]},"\\u00e9":"}","a":2,"d":null,"e":0}')
    assert other_names(raw, ("d",), 9) == ["a", "b", "\u00e9", "e"]
    assert other_names(raw, (), 2) == ["a", "b"]
    with pytest.raises(ValidationError):
        other_names(Raw(b"[]"), (), 9)


@pytest.mark.parametrize("items", [[], [1], ["a,b", None, {"c": []}] * 5])
@pytest.mark.parametrize("at_once", [1, 4, 4096])
def test_list_that_is_encoded_piece_by_piece_is_the_same(
    monkeypatch: pytest.MonkeyPatch, items: list[object], at_once: int
) -> None:
    monkeypatch.setattr(json_items, "ITEMS_AT_ONCE", at_once)
    assert encode_list(items) == encode(items)
