"""Requests that no honest client sends, by chance; `python -m tests.faults hostile` sends many more."""

import random

from tests.faults import hostile


def test_hostile_requests_get_right_responses_and_do_nothing_else() -> None:
    seed = random.randrange(1 << 32)
    print(f"{seed=}")
    hostile.run(1_500, seed)
