"""What is measured: each operation is a maker of request lines, `METHOD <tab> target <tab> body`."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tests.benchmarks.runs import (
    BODIES,
    PAGE,
    RUNS,
    STATS,
    body_of,
    id_of,
    pairs_that_fill_a_page,
    pairs_that_nothing_fits,
)


class Known(NamedTuple):
    """What requests may name: the runs from 0 to *runs*, *cursors* of deep pages, and *victims*, each to go once."""

    runs: int
    cursors: Sequence[str] = ()
    victims: Iterator[int] = iter(())


class Operation(NamedTuple):
    """*line* makes one request of what is known."""

    line: Callable[[Known], str]
    writes: bool = False
    deletes: bool = False  # each request can be sent once only


_FULL = pairs_that_fill_a_page()
_EMPTY = pairs_that_nothing_fits()
_POSTED = ("flowId", "args", "tags")  # all that POST takes
_SHOWN = "id,flowId,flowType,phase,createdAt,createdBy,tags,actionCounts,logCounts"  # in a list


def request(method: str, rest: str = "", body: str = "") -> str:
    """The line of a request to the runs' path and the *rest* of its target."""
    return f"{method}\t{RUNS}{rest}\t{body}"


def get(known: Known) -> str:
    return request("GET", f"/{id_of(random.randrange(known.runs))}")


def first_page(known: Known) -> str:
    return request("GET", f"?size={PAGE}")


def deep(known: Known) -> str:
    return request("GET", f"?size={PAGE}&cursor={random.choice(known.cursors)}")


def filtered(known: Known) -> str:
    return request("GET", f"?size={PAGE}&{random.choice(_FULL)}")


def rare(known: Known) -> str:
    return request("GET", f"?size={PAGE}&{random.choice(_EMPTY)}")


def tagged(known: Known) -> str:
    return request("GET", f"?size={PAGE}&tag=source:github-actions&phase=failed")


def fields(known: Known) -> str:
    return request("GET", f"?size={PAGE}&fields={_SHOWN}")


def stats(known: Known) -> str:
    return f"GET\t{STATS}\t"


def stats_of_phase(known: Known) -> str:
    return f"GET\t{STATS}?phase=failed&fields=total,flowId\t"


def stats_of_tag(known: Known) -> str:
    return f"GET\t{STATS}?tag=branch:master\t"


def create(known: Known) -> str:
    body = random.choice(BODIES)
    return request("POST", "", _json({field: body[field] for field in _POSTED}))


def replace(known: Known) -> str:
    number = random.randrange(known.runs)
    body = {**body_of(number), "phase": random.choice(BODIES)["phase"]}  # as a run goes on
    return request("PUT", f"/{id_of(number)}", _json(body))


def delete(known: Known) -> str:
    return request("DELETE", f"/{id_of(next(known.victims))}")


def mixed(known: Known) -> str:
    return random.choices((get, first_page, create, replace), (60, 20, 10, 10))[0](known)


OPERATIONS = {
    "get": Operation(get),
    "list": Operation(first_page),
    "deep": Operation(deep),
    "filtered": Operation(filtered),
    "create": Operation(create, writes=True),
    "replace": Operation(replace, writes=True),
    "delete": Operation(delete, writes=True, deletes=True),
    "mixed": Operation(mixed, writes=True),
}
# What only growth tells apart: filters that match nothing, totals that no table keeps, fields, and statistics.
GROWTH_OPERATIONS = {
    **OPERATIONS,
    "rare": Operation(rare),
    "tagged": Operation(tagged),
    "fields": Operation(fields),
    "stats": Operation(stats),
    "stats of a phase": Operation(stats_of_phase),
    "stats of a tag": Operation(stats_of_tag),
}


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":"))
