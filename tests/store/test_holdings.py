"""Which runs leave the filters of a subscriber: what it holds is what a page of the same filters has."""

import random
from pathlib import Path

import pytest

from flowruns.model.cursors import PageRequest
from flowruns.model.lines import RunLine
from flowruns.model.runs import FlowType, RunPut, Tag
from flowruns.store import holdings as module
from flowruns.store import reads
from flowruns.store.filters import ALL, Where, where
from flowruns.store.holdings import Holdings
from flowruns.store.reads import Change, Changes, Departure
from flowruns.store.store import Store
from flowruns.store.writes import Restore
from tests.store.test_changes import read


def departure(seq: int, id: str, created: int, former: int = 0) -> Departure:
    return Departure(Change(seq, id, None, left=True), created, former)


def departures(*found: Departure) -> Changes:
    return Changes([], 98, 99, {one.change.id: one for one in found})


def ids(changes: Changes) -> list[str]:
    return [change.id for change in changes.found]


def test_changes_are_in_the_order_of_their_numbers() -> None:
    holdings = Holdings()
    holdings.select(Changes([Change(1, "a", b"{}"), Change(2, "b", b"{}")], 2, 2))
    found = Changes([Change(4, "c", b"{}")], 5, 5, departures(departure(3, "b", 2), departure(5, "a", 1)).departures)
    assert ids(holdings.select(found)) == ["b", "c", "a"]


def test_subscriber_that_began_now_drops_what_it_was_sent_once() -> None:
    holdings = Holdings()
    holdings.select(Changes([Change(7, "a", b"{}")], 7, 7))
    assert ids(holdings.select(departures(departure(8, "a", 1), departure(9, "b", 1)))) == ["a"]
    assert ids(holdings.select(departures(departure(10, "a", 1)))) == []


def test_subscriber_that_resumed_drops_what_existed_once() -> None:
    holdings = Holdings(5)
    left = departures(departure(7, "old", 5), departure(8, "new", 6), departure(9, "made-again", 8, former=7))
    assert ids(holdings.select(left)) == ["old", "made-again"]
    assert ids(holdings.select(departures(departure(10, "old", 5), departure(11, "made-again", 8, former=7)))) == []
    holdings.select(Changes([Change(12, "old", b"{}")], 12, 12))
    assert ids(holdings.select(departures(departure(13, "old", 5)))) == ["old"]


def test_departures_are_read_only_for_a_subscriber_that_may_hold_a_run() -> None:
    holdings = Holdings()
    assert holdings.scope(ALL) == ALL._replace(departures=False)
    holdings.select(Changes([Change(7, "a", b"{}")], 7, 7))
    assert holdings.scope(ALL) == ALL._replace(departures=True)
    assert Holdings(5).scope(ALL) == ALL._replace(departures=True)


async def test_read_has_departures_only_if_they_are_wanted(path: Path) -> None:
    put = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION)
    failed = where([("phase", "failed")], [])
    async with Store.open(path) as store:
        await store.put("x", put)
        position = await store.position()
        await store.put("x", put)
        await store.put("y", RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, phase="failed"))
        for departures in (False, True):
            changes = await read(store, failed._replace(departures=departures), position)
            assert ids(changes) == ["y"]
            assert list(changes.departures) == ["x"] * departures


def test_run_of_unknown_age_may_have_existed() -> None:
    assert ids(Holdings(5).select(departures(departure(7, "a", 0)))) == ["a"]
    assert ids(Holdings(0).select(departures(departure(7, "a", 0)))) == []


def test_memory_of_a_subscriber_is_bounded() -> None:
    for holdings in (Holdings(), Holdings(5)):
        for number in range(10, 5000):
            kind = b"{}" if number % 3 else None
            holdings.select(Changes([Change(number, f"{number}", kind)], number, number))
            assert len(holdings._held) + len(holdings._released) <= 2001
    holdings = Holdings()
    holdings.select(Changes([Change(1, "x" * 10_000, b"{}")], 1, 1))
    assert holdings._held == set()
    assert ids(holdings.select(departures(departure(2, "x" * 10_000, 1)))) == ["x" * 10_000]


class Subscriber:
    """A client that applies `run`, `left` and `deleted`, and resumes at random."""

    def __init__(self, where: Where, *, exact: bool) -> None:
        self.where = where
        self.position = 0
        self.held: dict[str, int] = {}
        self.exact = exact  # only what it holds leaves
        self._holdings = Holdings()

    def resume(self) -> None:
        self._holdings = Holdings(self.position)
        self.exact = False

    async def catch_up(self, store: Store) -> None:
        last = await store.position()
        while self.position < last:
            changes = await read(store, self._holdings.scope(self.where), self.position)
            for change in self._holdings.select(changes).found:
                assert change.seq > max(self.held.values(), default=0)
                if change.doc is not None:
                    self.held[change.id] = change.seq
                else:
                    assert not self.exact or change.id in self.held or change.kind == "deleted"
                    self.held.pop(change.id, None)
            self.position = changes.position


def any_run(chance: random.Random) -> RunPut:
    tags = [Tag(key="k", value=chance.choice("12"))]
    phase = chance.choice(["running", "failed", None])
    if chance.random() < 0.2:
        return RunLine(
            flow_id=chance.choice("ab"), flow_type=FlowType.AUTOMATION, phase=phase, tags=tags,
            created_at=f"20{chance.choice('12')}0-01-01T00:00:00.000Z", created_by=chance.choice([1, 2]),
        )  # fmt: skip
    return RunPut(flow_id=chance.choice("ab"), flow_type=FlowType.AUTOMATION, phase=phase, tags=tags)


QUERIES = [
    [], [("phase", "running")], [("flowId", "a"), ("phase", "failed")], [("tag", "k:1")], [("createdBy", "1")],
    [("createdBy", "1"), ("phase", "running")], [("createdAfter", "2015-01-01T00:00:00Z")],
    [("createdBefore", "2015-01-01T00:00:00Z"), ("flowId", "b")],
]  # fmt: skip


@pytest.mark.parametrize("most", [1000, 3])
async def test_subscribers_hold_what_pages_have_whenever_they_resume(
    path: Path, most: int, monkeypatch: pytest.MonkeyPatch, chance: random.Random
) -> None:
    monkeypatch.setattr(module, "_MAX_RUNS", most)
    monkeypatch.setattr(reads, "MAX_DEPARTURES", most)
    subscribers = [Subscriber(where(query, []), exact=most == 1000) for query in QUERIES * 2]
    async with Store.open(path) as store:
        existing: set[str] = set()
        for _ in range(150):
            for _ in range(chance.choice([1, 3, 20])):
                id = f"x{chance.randrange(30)}"
                if id in existing and chance.random() < 0.4:
                    await store.delete(id)
                    existing.discard(id)
                    continue
                body = any_run(chance)
                existing.add(id)
                if isinstance(body, RunLine):
                    await store._writer.run(Restore(id, body, "replace"))
                else:
                    await store.put(id, body, by=chance.choice([1, 2, None]))
            for number, subscriber in enumerate(subscribers):
                if number >= len(QUERIES) and chance.random() < 0.3:
                    subscriber.resume()
                if chance.random() < 0.5:
                    continue
                await subscriber.catch_up(store)
                page = await store.page(subscriber.where, PageRequest(size=100))
                expected = {run.id for run in page.runs}
                assert set(subscriber.held) == expected, QUERIES[number % len(QUERIES)]
