"""Random bodies: each broken field of an invalid one is named, no other, and a damaged one is never a 5xx."""

import json
import random
from typing import Any

import httpx

from tests.conftest import RUNS
from tests.model.test_validation import broken_body
from tests.test_contract import details

JSON = {"content-type": "application/json"}


async def test_each_broken_field_of_random_bodies_is_named(client: httpx.AsyncClient, chance: random.Random) -> None:
    for _ in range(1000):
        body, broken = broken_body(chance)
        response = await client.put(f"{RUNS}/a1", content=body, headers=JSON)
        assert details(response) == {("body", *loc): kind for loc, kind in broken.items()}, body
    assert (await client.get(f"{RUNS}/a1")).status_code == 404


async def test_bodies_with_random_damage_are_never_a_5xx(
    client: httpx.AsyncClient, real_runs: list[dict[str, Any]], chance: random.Random
) -> None:
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
        response = await client.put(f"{RUNS}/{run['id']}", content=bytes(body), headers=JSON)
        assert response.status_code in (200, 201, 422), response.text
        if response.status_code == 422:
            assert details(response)
