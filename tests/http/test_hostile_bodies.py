"""1,000 random invalid bodies: each is refused, and each broken field is named, no other."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import httpx

from tests.conftest import RUNS
from tests.test_contract import details

Run = dict[str, Any]
Loc = tuple[str | int, ...]

NOT_TEXT = [1, True, 1.5, [], {}]
NOT_WORDS = ["", "1a", "a b", "a\n", "é", "x" * 65, *NOT_TEXT]
NOT_SLUGS = ["", "A", "a b", "a\n", "a/b", "é", *NOT_TEXT]
NOT_TIMES = [
    "",
    "now",
    "2025-01-20",
    "2025-01-20T18:53:03",
    "2025-02-30T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    *NOT_TEXT,
]
NOT_OBJECTS = [1, "x", [], True]
NOT_LISTS = [1, "x", {}, True]

TOP: dict[str, list[Any]] = {
    "flowId": [*NOT_SLUGS, None],
    "flowType": ["", "Automation", None, *NOT_TEXT],
    "phase": NOT_WORDS,
    "startTime": NOT_TIMES,
    "endTime": NOT_TIMES,
    "args": NOT_OBJECTS,
    "outputs": NOT_OBJECTS,
    "actions": NOT_LISTS,
    "logs": NOT_LISTS,
    "tags": NOT_LISTS,
}
NESTED: dict[str, tuple[Run, dict[str, list[Any]]]] = {
    "actions": (
        {"id": "x"},
        {"id": [None, *NOT_TEXT], "phase": NOT_WORDS, "startTime": NOT_TIMES, "endTime": NOT_TIMES},
    ),
    "logs": (
        {"message": "m"},
        {"message": [None, *NOT_TEXT], "level": NOT_WORDS, "timestamp": NOT_TIMES, "action": NOT_TEXT},
    ),
    "tags": ({"key": "k", "value": "v"}, {"key": [None, *NOT_TEXT], "value": [None, *NOT_TEXT]}),
}
REQUIRED: dict[str, list[str]] = {"actions": ["id"], "logs": ["message"], "tags": ["key", "value"]}


def break_top(chance: random.Random, body: Run) -> Loc:
    name = chance.choice(list(TOP))
    body[name] = chance.choice(TOP[name])
    return ("body", name)


def leave_out(chance: random.Random, body: Run) -> Loc:
    name = chance.choice(["flowId", "flowType"])
    body.pop(name, None)
    return ("body", name)


def break_nested(chance: random.Random, body: Run) -> Loc:
    name = chance.choice(list(NESTED))
    valid, rules = NESTED[name]
    items = body[name] if isinstance(body.get(name), list) else []
    body[name] = items
    place = chance.randint(0, len(items))
    items.insert(place, copy.copy(valid))
    match chance.randrange(3):
        case 0:
            items[place] = chance.choice([1, "x", None, [], True])
            return ("body", name, place)
        case 1:
            field = chance.choice(REQUIRED[name])
            del items[place][field]
        case _:
            field = chance.choice(list(rules))
            items[place][field] = chance.choice(rules[field])
    return ("body", name, place, field)


BREAKS: list[Callable[[random.Random, Run], Loc]] = [break_top, leave_out, break_nested]


async def test_each_broken_field_of_1000_random_bodies_is_named(
    client: httpx.AsyncClient, real_runs: list[Run], chance: random.Random
) -> None:
    for _ in range(1000):
        body = copy.deepcopy(chance.choice(real_runs))
        id = body["id"]
        broken: set[Loc] = set()
        for _ in range(chance.randint(1, 3)):
            # One fault a top-level field: a second would move or replace the first.
            attempt = copy.deepcopy(body)
            loc = chance.choice(BREAKS)(chance, attempt)
            if not any(loc[1] == other[1] for other in broken):
                body = attempt
                broken.add(loc)
        response = await client.put(f"{RUNS}/{id}", json=body)
        named = set(details(response))
        assert named == broken, named ^ broken
        assert (await client.get(f"{RUNS}/{id}")).status_code == 404


async def test_bodies_with_random_damage_are_never_a_5xx(
    client: httpx.AsyncClient, real_runs: list[Run], chance: random.Random
) -> None:
    headers = {"content-type": "application/json"}
    for _ in range(1000):
        run = chance.choice(real_runs)
        body = bytearray(json.dumps(run, ensure_ascii=chance.random() < 0.5).encode())
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(body))
            match chance.randrange(4):
                case 0:
                    body[place] = chance.randrange(256)
                case 1:
                    del body[place:]
                case 2:
                    body[place:place] = chance.choice(
                        [b"\\ud800", b"\0", b"\xff", b"[" * 2000, b"1e999", b'"', b"\\", b"{"]
                    )
                case _:
                    del body[place : place + chance.randint(1, 20)]
            if not body:
                break
        response = await client.put(f"{RUNS}/{run['id']}", content=bytes(body), headers=headers)
        assert response.status_code in (200, 201, 422), response.text
        if response.status_code == 422:
            assert details(response)
