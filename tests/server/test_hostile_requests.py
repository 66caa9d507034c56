"""Requests that no honest client sends, by chance; `python -m tests.faults hostile` sends many more."""

import random

from tests.faults import hostile


def test_hostile_requests_get_right_responses_and_do_nothing_else() -> None:
    print(hostile.run(1_500, random.randrange(1 << 32)))
