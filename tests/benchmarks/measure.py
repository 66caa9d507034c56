"""One operation on every contender in turn, so that what else the machine does meets all of them."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.answers import record
from tests.benchmarks.contenders import Ceiling, Contender
from tests.benchmarks.load import Load, load
from tests.benchmarks.operations import Known, Operation, first_page
from tests.benchmarks.processes import Server

_REQUESTS = 10_000  # prepared for a measurement, and sent in turn, so that a run is not soon asked for again
_RECORDED = 400  # requests: in them the first page of a mixture fills with what the mixture creates
_DELETES = 6_000  # a second, more than flowruns can do at most


class Plan(NamedTuple):
    """How long: *rounds* of *seconds* for each contender."""

    rounds: int
    seconds: float


class Measured(NamedTuple):
    """What came of one contender: its loads, round by round, and the memory it held then, in MB."""

    loads: list[Load]
    rss: float


def measure(
    operation: Operation, contenders: Sequence[Contender], connections: int, plan: Plan, answers: Path
) -> dict[str, Measured]:
    """What came of each contender, by name; ceilings send what flowruns answers to the same requests."""
    count = math.ceil(_DELETES * plan.seconds) if operation.deletes else _REQUESTS
    victims = _RECORDED + plan.rounds * count if operation.deletes else 0
    requests = answers.with_name("requests")
    ceilings = any(isinstance(one, Ceiling) for one in contenders)
    with ExitStack() as stack:
        started: list[tuple[Contender, Server, Known]] = []
        # The first that is no ceiling: ceilings need its answers when they start.
        for contender in sorted(contenders, key=lambda one: isinstance(one, Ceiling)):
            server = stack.enter_context(contender.serving(operation, victims))
            known = contender.known(server, victims)
            if ceilings and not started:
                record(server, [first_page(known), *(operation.line(known) for _ in range(_RECORDED))], answers)
            started.append((contender, server, known))
        loads: dict[str, list[Load]] = {contender.name: [] for contender in contenders}
        for _ in range(plan.rounds):
            for contender, server, known in started:
                requests.write_text("\n".join(operation.line(known) for _ in range(count)), encoding="utf-8")
                loads[contender.name].append(load(server, requests, connections, plan.seconds))
        rss = {contender.name: server.rss() for contender, server, _ in started}
    return {name: Measured(found, rss[name]) for name, found in loads.items()}
