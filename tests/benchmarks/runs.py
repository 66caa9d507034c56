"""Real runs, again and again under new ids. Imports nothing of flowruns: the peer's interpreter reads it too."""

import json
import random
from collections import Counter
from itertools import combinations, product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

RUNS = "/api/v1/flow-runs"
STATS = "/api/v1/stats"
FIELDS = ("flowId", "flowType", "phase")  # that two filters are made of
PAGE = 50
FEWEST_RUNS = 1_000  # of any database here: the filters below still fill a page of it


def _bodies() -> list[dict[str, Any]]:
    """The bodies of the data file without their ids, each run of 50 in it a mixture."""
    lines = (Path(__file__).parents[1] / "data" / "real_runs.ndjson").read_text(encoding="utf-8").splitlines()
    bodies = [{key: value for key, value in json.loads(line).items() if key != "id"} for line in lines]
    random.Random(1).shuffle(bodies)
    return bodies


BODIES = _bodies()


def id_of(number: int) -> str:
    """The id of the run with this *number*."""
    return f"run-{number:07}"


def body_of(number: int) -> dict[str, Any]:
    """The body, without an id, of the run with this *number*."""
    return BODIES[number % len(BODIES)]


def pairs_that_fill_a_page() -> list[str]:
    """Queries of two filters that at least `PAGE` of `FEWEST_RUNS` runs fit."""
    counts = Counter((one, other, body[one], body[other]) for body in BODIES for one, other in combinations(FIELDS, 2))
    enough = len(BODIES) * PAGE / FEWEST_RUNS
    return [urlencode({one: a, other: b}) for (one, other, a, b), count in counts.items() if count >= enough]


def pairs_that_nothing_fits() -> list[str]:
    """Queries of a usual flow and a usual phase that never meet: all of the flow is looked through."""
    flows, phases = (_most_common(field, 5) for field in ("flowId", "phase"))
    met = {(body["flowId"], body["phase"]) for body in BODIES}
    return [urlencode({"flowId": flow, "phase": phase}) for flow, phase in product(flows, phases)
            if (flow, phase) not in met]  # fmt: skip


def _most_common(field: str, count: int) -> list[str]:
    return [value for value, _ in Counter(body[field] for body in BODIES).most_common(count)]
