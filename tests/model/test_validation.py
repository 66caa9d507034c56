"""Bytes to a Struct, or an error detail for each broken field."""

import json
import random
from copy import deepcopy
from typing import Any

import msgspec
import pytest

from flowruns.errors import ErrorDetail, Invalid
from flowruns.model.runs import RunPost, RunPut, encode
from flowruns.model.validation import decode

START = b'{"flowId":"a","flowType":"automation",'
NOW = "2025-01-20T18:53:03.558Z"

VALID: dict[str, Any] = {
    "id": "a1",
    "flowId": "a",
    "flowType": "automation",
    "args": {"a": [1, 2.5, {"b": None}], "é": '\n😀\\"', "n": {}},
    "phase": "running",
    "startTime": "2020-01-01T00:00:00Z",
    "endTime": None,
    "actions": [{"id": "b", "phase": "done", "startTime": "2020-01-01T00:00:00+02:00", "x": [[]]}, {"id": "c"}],
    "outputs": {"a": 1e5, "b": "x"},
    "logs": [{"message": "m", "level": "info", "timestamp": "2020-01-01T00:00:00Z", "action": "b"}, {"message": ""}],
    "tags": [{"key": "k", "value": "v"}, {"key": "", "value": ""}],
    "unknown": {"a": [True, False, "😀"]},
}


def details(body: bytes, type: type = RunPut) -> list[ErrorDetail]:
    with pytest.raises(Invalid) as caught:
        decode(body, type)
    assert caught.value.details
    return list(caught.value.details)


def named(body: bytes, type: type = RunPut) -> dict[tuple[str | int, ...], str]:
    """The type of each error by its location after the first item, "body"."""
    found = details(body, type)
    places = {detail.loc[1:]: detail.type for detail in found}
    assert len(places) == len(found)
    assert all(detail.loc[0] == "body" and detail.msg for detail in found)
    return places


def put(**fields: object) -> bytes:
    return json.dumps({"flowId": "a", "flowType": "automation"} | fields).encode()


TEXT = [5, 1.5, True, [], {}]
ID = [(value, "string_type") for value in TEXT] + [
    (text, "string_pattern_mismatch") for text in ("", "A", "a b", "a/b", "ü", "a\n", "\na", "a\x00")
]
PHASE = [(value, "string_type") for value in TEXT] + [
    (text, "string_pattern_mismatch") for text in ("", "1a", "-a", "a b", "a" * 65, "a\n", "ä", "a.")
]
TIME = [(value, "datetime_type") for value in [*TEXT, 1737399183]] + [
    ("", "datetime_parsing"),
    ("2025-02-30T00:00:00Z", "datetime_parsing"),
    ("2025-01-20T18:53:03Z\n", "datetime_parsing"),
    ("0001-01-01T00:00:00+14:00", "datetime_parsing"),
    ("2025-01-20T18:53:03", "timezone_aware"),
]
NO_NULL = [(None, "string_type")]
PLAIN = [(value, "string_type") for value in TEXT]
OBJECT = [(value, "dict_type") for value in ["{", 5, True, [], [{}], 1e5]]
LIST = [(value, "list_type") for value in ["[", 5, False, {}, {"0": {}}]]
ITEM = [(value, "dict_type") for value in ["", 5, None, []]]
FLOW_TYPE = [(value, "enum") for value in ["", "Automation", "automation\n", 5, None, [], {}]]

RULES: list[tuple[tuple[str | int, ...], list[tuple[Any, str]]]] = [
    (("id",), ID),
    (("flowId",), ID + NO_NULL),
    (("flowType",), FLOW_TYPE),
    (("args",), OBJECT),
    (("phase",), PHASE),
    (("startTime",), TIME),
    (("endTime",), TIME),
    (("actions",), LIST),
    (("actions", 1), ITEM),
    (("actions", 0, "id"), PLAIN + NO_NULL),
    (("actions", 0, "phase"), PHASE),
    (("actions", 0, "startTime"), TIME),
    (("actions", 1, "endTime"), TIME),
    (("outputs",), OBJECT),
    (("logs",), LIST),
    (("logs", 0), ITEM),
    (("logs", 1, "message"), PLAIN + NO_NULL),
    (("logs", 1, "level"), PHASE),
    (("logs", 0, "timestamp"), TIME),
    (("logs", 1, "action"), PLAIN),
    (("tags",), LIST),
    (("tags", 1), ITEM),
    (("tags", 0, "key"), PLAIN + NO_NULL),
    (("tags", 1, "value"), PLAIN + NO_NULL),
]
REQUIRED = [
    ("flowId",),
    ("flowType",),
    ("actions", 0, "id"),
    ("logs", 1, "message"),
    ("tags", 0, "key"),
    ("tags", 1, "value"),
]


def change(body: Any, loc: tuple[str | int, ...], value: Any) -> None:
    *way, last = loc
    for step in way:
        body = body[step]
    body[last] = value


def remove(body: Any, loc: tuple[str | int, ...]) -> None:
    *way, last = loc
    for step in way:
        body = body[step]
    del body[last]


@pytest.mark.parametrize(("loc", "rules"), RULES, ids=[".".join(map(str, loc)) for loc, _ in RULES])
def test_each_broken_rule_has_its_place_and_its_kind(loc: tuple[str | int, ...], rules: list[tuple[Any, str]]) -> None:
    for value, kind in rules:
        body = deepcopy(VALID)
        change(body, loc, value)
        assert named(json.dumps(body).encode()) == {loc: kind}, value


@pytest.mark.parametrize("loc", REQUIRED, ids=lambda loc: ".".join(map(str, loc)))
def test_what_is_required_is_missing(loc: tuple[str | int, ...]) -> None:
    body = deepcopy(VALID)
    remove(body, loc)
    assert named(json.dumps(body).encode()) == {loc: "missing"}


def test_empty_object_lacks_what_is_required() -> None:
    assert named(b"{}") == {("flowId",): "missing", ("flowType",): "missing"}
    assert named(b"{}", RunPost) == {("flowId",): "missing"}


@pytest.mark.parametrize("flow_type", ["automation", "scorecard", "reference", "", 5, "selfServiceAction\n"])
def test_post_takes_one_flow_type_only(flow_type: object) -> None:
    body = json.dumps({"flowId": "a", "flowType": flow_type}).encode()
    assert details(body, RunPost) == [
        ErrorDetail(("body", "flowType"), "Input should be 'selfServiceAction'", "literal_error")
    ]


def test_messages_show_patterns_and_choices_as_the_api_page_writes_them() -> None:
    messages = {detail.loc[-1]: detail.msg for detail in details(put(flowId="A", flowType="x", phase="1"))}
    assert messages == {
        "flowId": "String should match pattern '^([a-z0-9_.-]+)$': lower-case letters, digits, '_', '.' and '-'",
        "flowType": "Input should be 'automation', 'selfServiceAction', 'scorecard' or 'reference'",
        "phase": (
            "String should match pattern '^[A-Za-z][A-Za-z0-9_-]{0,63}$':"
            " a letter, then up to 63 letters, digits, '_' and '-'"
        ),
    }


@pytest.mark.parametrize("count", [101, 5000])
def test_a_hundred_errors_are_all_listed_and_more_end_with_too_many_errors(count: int) -> None:
    assert len(named(put(tags=[{"key": "k"}] * 100))) == 100
    found = details(put(tags=[{"key": "k"}] * count))
    assert [detail.loc for detail in found[:-1]] == [("body", "tags", place, "value") for place in range(99)]
    assert (found[-1].loc, found[-1].type) == (("body",), "too_many_errors")
    assert "99" in found[-1].msg


@pytest.mark.parametrize("body", [b"null", b"[]", b"[{}]", b"5", b'"{}"', b"true", b" []\n"])
def test_json_that_is_no_object_is_one_error_of_the_body(body: bytes) -> None:
    assert named(body) == {(): "dict_type"}


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (b'{"flowId":5,"flowId":"a","flowType":"automation"}', ("flowId",)),
        (START + b'"phase":"1","phase":"a"}', ("phase",)),
        (START + b'"tags":[{"key":5,"key":"a","value":""}]}', ("tags", 0, "key")),
        (START + b'"logs":[{"message":""},{"message":1}],"logs":[]}', ("logs", 1, "message")),
        (START + b'"actions":null,"actions":5}', ("actions",)),
    ],
)
def test_error_in_one_of_two_equal_keys_is_listed(body: bytes, loc: tuple[str | int, ...]) -> None:
    assert list(named(body)) == [loc]


def test_empty_body_is_missing() -> None:
    assert details(b"") == [ErrorDetail(("body",), "Field required", "missing")]


# The @ stands where the offset points to, and is not part of the body.
@pytest.mark.parametrize(
    "marked",
    [
        b" @",
        b"{@",
        b'{"flowId@',
        START + b"@",
        START + b'"args":{}@',
        START + b'"args":{"a":tru@',
        START + b'"args":{"a":"\\u12@',
        START + b'"args":{"a":"\\ud8@',
        START + b'"phase":"\\\\ud800@',
        b"@id=a",
        b"@\xef\xbb\xbf{}",  # RFC 8259 8.1: no byte order mark
        b"@\xff\xfe{\x00}\x00",
        START + b'"args":{"a":@NaN}}',
        START + b'"args":@NaN}',
        START + b'"args":{"a":@Infinity}}',
        START + b'"args":{"a":-@Infinity}}',
        START + b'"x":@NaN}',
        START + b'"args":{},@}',
        START + b'"args":{"a":1,@}}',
        START + b'"args":{"a":[1,@]}}',
        START + b'"args":{"a":"@\x00"}}',
        START + b'"args":{"a":"@\x1f"}}',
        START + b'"x":"@\n"}',
        START + b'"args":{"a":"@\xff"}}',
        START + b'"args":{"a":"@\xc0\x80"}}',
        START + b'"args":{"a":"@\xed\xa0\x80"}}',
        START + b'"x":"@\xff"}',
        START + b'"@\xff":1}',
        START + b'"args":{"a":"ab@\xe2\x82"}}',
        START + b"@'args':{}}",
        START + b'"args":{}}@x',
        START + b'"args":{}}@{}',
    ],
)
def test_body_that_is_not_json_has_the_offset_of_its_error(marked: bytes) -> None:
    [detail] = details(marked.replace(b"@", b""))
    assert (detail.loc, detail.type) == (("body", marked.index(b"@")), "json_invalid")


@pytest.mark.parametrize(
    "rest",
    [b",", b"", b"}x", b',"x":NaN}', b',"x":"\\ud800"}', b',"x":"\\udc00"}', b',"args":{"a":01}}', b',"tags":[1,]}'],
)
@pytest.mark.parametrize("start", [b'{"flowId":5', b'{"flowId":"A"', b'{"flowType":"x"', b'{"actions":[5]'])
def test_broken_json_behind_a_broken_field_is_still_not_json(start: bytes, rest: bytes) -> None:
    [detail] = details(start + rest)
    assert detail.type == "json_invalid"
    assert detail.loc[1] in range(len(start), len(start + rest) + 1)


@pytest.mark.parametrize("body", [b"[", b"[NaN]", b"[1,]", b"5 x", b"true false", b'["\\ud800"]', b"[" * 100_000])
def test_broken_json_that_is_no_object_is_still_not_json(body: bytes) -> None:
    assert [detail.type for detail in details(body)] == ["json_invalid"]


# The @ stands before the escape.
@pytest.mark.parametrize(
    "marked",
    [
        b'"args":{"a":"@\\ud800"}}',
        b'"args":{"a":"@\\uDBFF"}}',
        b'"args":{"a":"@\\udc00"}}',
        b'"args":{"a":"@\\udfff and more"}}',
        b'"args":{"a":"@\\ud800 and more"}}',
        b'"args":{"a":"@\\ud800\\u0041"}}',
        b'"args":{"a":"\\ud83d\\ude00@\\ude00"}}',
        b'"args":{"a":"@\\ud800\\ud83d\\ude00"}}',
        b'"args":{"a":"@\\ud800\\n"}}',
        b'"args":{"a":"@\\ud800\\\\"}}',
        b'"args":{"a":"\\\\@\\ud800"}}',
        b'"args":{"a":"x@\\ud800"}}\r\n\r\n',
        b'"args":{"@\\ud800":1}}',
        b'"args":{"@\\udc00":1}}',
        b'"x":"@\\ud800"}',
        b'"x":"@\\ud800\\n"}',
        b'"x":"@\\udc00"}',
        b'"x":{"a":["@\\ud800"]}}',
        b'"@\\ud800":1}',
        b'"@\\udc00":1}',
        b'"phase":"@\\ud800"}',
        b'"actions":[{"id":"@\\ud800"}]}',
        b'"actions":[{"id":"a","x":"@\\udc00"}]}',
        b'"tags":[{"key":"a","value":"@\\ud800"}]}',
    ],
)
def test_lone_surrogate_is_refused_where_it_stands(marked: bytes) -> None:
    marked = START + marked
    [detail] = details(marked.replace(b"@", b""))
    first = marked.index(b"@")
    assert detail.type == "json_invalid"
    assert detail.loc[1] in range(first, first + len(r"\ud800\u0041") + 1)
    assert "too early" not in detail.msg  # all of the body was there


@pytest.mark.parametrize("text", [r'"\ud83d\ude00"', r'"\\ud800"', r'"\\\\udc00"', '"😀"', '"\ufffe\x7f"'])
def test_pairs_and_what_only_looks_like_a_surrogate_are_taken(text: str) -> None:
    body = START + b'"args":{"a":' + text.encode() + b"}}"
    assert bytes(decode(body, RunPut).args) == b'{"a":' + text.encode() + b"}"


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}"), (b'["]",', b"]")])
@pytest.mark.parametrize("field", ["args", "outputs"])
def test_512_levels_are_taken_and_no_more(field: str, pair: tuple[bytes, bytes]) -> None:
    def nested(levels: int) -> bytes:
        opening, closing = pair
        return START + b'"%b":{"a":%b1%b}}' % (field.encode(), opening * (levels - 1), closing * (levels - 1))

    assert decode(nested(512), RunPut)
    [detail] = details(nested(513))
    assert (detail.loc, detail.type) == (("body", field), "too_deep")


@pytest.mark.parametrize("field", [b'"args":', b'"x":', b'"args":{"a":', b'"flowId":5,"x":'])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_without_end_is_refused(field: bytes, opening: bytes) -> None:
    [detail] = details(START + field + opening * 100_000)
    assert detail.type == "json_invalid"
    closed = b"[" * 1_000_000 + b"]" * 1_000_000  # Python 3.14 counts bytes: 100,000 levels fit into a stack of 8 MiB
    assert [detail.type for detail in details(START + field + closed + b"}" * field.count(b"{") + b"}")] == [
        "json_invalid"
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"a":1e400}',
        b'{"a":-1e-400}',
        b'{"a":-0}',
        b'{"a":-0.0}',
        b'{"a":1E5}',
        b'{"a":1.50}',
        b'{"a":123456789012345678901234567890}',
        b'{"a":' + b"9" * 309 + b"}",
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":0.' + b"1" * 10_000 + b"}",
        b'{"a":1,"a":2,"a":1}',
        b'{"b":1,"a":2,"10":3,"9":4}',
        rb'{"a":"\u0041\/\n\u00e9\ud83d\ude00\u0000"}',
        '{"é":"😀\u2028"}'.encode(),
        b'{ "a" : [ 1 , 2 ],\n\t"b":{ } }',
        b'{"":{"":""}}',
        b'{"a":' * 100 + b"{}" + b"}" * 100,
        b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
    ids=lambda text: text[:24].decode() + f" {len(text)}",
)
def test_free_form_json_is_preserved_byte_for_byte(text: bytes) -> None:
    body = START + b'"args": ' + text + b' ,"outputs":' + text + b"}"
    doc = encode(decode(body, RunPut).run("x", now=NOW, by=None, preserved=None))
    assert doc.count(text) == 2
    preserved = msgspec.json.decode(doc, type=dict[str, msgspec.Raw])
    assert bytes(preserved["args"]) == bytes(preserved["outputs"]) == text


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e999999", "1" + "0" * 400 + ".5"])
def test_numbers_beyond_any_range_are_errors_like_others(number: str) -> None:
    for field, kind in (("flowId", "string_type"), ("startTime", "datetime_type"), ("tags", "list_type")):
        assert named(f'{{"flowType":"automation","flowId":"a","{field}":{number}}}'.encode()) == {(field,): kind}
    decode(START + f'"createdBy":{number}}}'.encode(), RunPut)  # an ignored field


def broken_body(chance: random.Random) -> tuple[bytes, dict[tuple[str | int, ...], str]]:
    """A body with random errors, and the type of each by its place."""
    body = deepcopy(VALID)
    expected: dict[tuple[str | int, ...], str] = {}
    picked = [(loc, *chance.choice(rules)) for loc, rules in chance.sample(RULES, chance.randint(1, 8))]
    picked += [(loc, None, "missing") for loc in chance.sample(REQUIRED, chance.randint(0, 2))]
    for loc, value, kind in picked:
        if any(loc[: len(other)] == other or other[: len(loc)] == loc for other in expected):
            continue  # one broken place inside another
        expected[loc] = kind
        if kind == "missing":
            remove(body, loc)
        else:
            change(body, loc, value)
    items = list(body.items())
    chance.shuffle(items)
    text = json.dumps(dict(items), ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1]))
    return text.encode(), expected


def test_random_invalid_bodies_have_each_mutated_field_named(chance: random.Random) -> None:
    for _ in range(1000):
        body, expected = broken_body(chance)
        assert named(body) == expected, body


def test_random_damage_never_raises_anything_else(chance: random.Random) -> None:
    whole = json.dumps(VALID).encode()
    for _ in range(3000):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(body) + 1)
            body[place : place + chance.randrange(4)] = bytes(
                chance.choices(b'{}[]",:0189eE+-.\\untfad 5\x00\xff', k=chance.randrange(3))
            )
        if chance.random() < 0.2:
            del body[chance.randrange(len(body) + 1) :]
        damaged = bytes(body)
        try:
            decode(damaged, RunPut)
        except Invalid as error:
            kinds, offset = {detail.type for detail in error.details}, error.details[0].loc[-1]
        except Exception as error:
            raise AssertionError(damaged) from error
        else:
            kinds, offset = set(), 0
        if damaged and not json_of_python(damaged):
            assert kinds == {"json_invalid"}, damaged
            assert offset in range(len(damaged) + 1)


def json_of_python(body: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(body.decode(), parse_constant=refuse)
    except ValueError:
        return False
    return True
