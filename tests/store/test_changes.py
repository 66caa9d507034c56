"""Changes without HTTP: the query, subscriptions, and which of them share a read."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowruns.errors import NotFound, Unavailable
from flowruns.model.cursors import PageRequest
from flowruns.model.filters import FILTERS
from flowruns.model.runs import FlowType, RunPut, Tag
from flowruns.sqlite.connection import Failed
from flowruns.sqlite.numbers import count_on
from flowruns.store import changes, reads
from flowruns.store.changes import ChangeNotifier, Subscription
from flowruns.store.filters import ALL, Where, by_id, where
from flowruns.store.reads import Change, Changes
from flowruns.store.store import Store
from tests.store.test_filters import VALUES
from tests.waits import HANG

PUT = RunPut(flow_id="a", flow_type=FlowType.AUTOMATION)


def chosen(*query: tuple[str, str]) -> Where:
    return where(query, [])


async def until(holds: Callable[[], bool]) -> None:
    """Returns once *holds* returns true, where no event signals it. Raises TimeoutError."""
    async with asyncio.timeout(HANG):
        while not holds():  # noqa: ASYNC110  # no event signals it
            await asyncio.sleep(0)  # as above


@contextmanager
def ending(store: Store) -> Iterator[None]:
    """Ends the subscriptions to *store* after the block, even if it fails, so that no thread waits for ever."""
    try:
        yield
    finally:
        store.end_subscriptions()


async def read(store: Store, where: Where, after: int) -> Changes:
    """What one read returns to a subscriber."""
    (changes,) = await store._reads.changes.run([(where, after)])
    assert isinstance(changes, Changes), changes
    return changes


async def past(store: Store, where: Where = ALL, after: int = 0) -> list[Change]:
    """All changes that a new subscriber receives of past writes."""
    last = await store.position()
    found: list[Change] = []
    while after < last:
        changes = await read(store, where, after)
        found += changes.found
        assert after < changes.position <= changes.last == last
        after = changes.position
    return found


async def some(following: AsyncIterator[Change], count: int) -> list[tuple[int, str, bool]]:
    """The number and the id of the next changes, and whether there is a run."""
    changes = [await anext(following) for _ in range(count)]
    return [(change.seq, change.id, change.run is not None) for change in changes]


# The query


async def test_changes_are_the_last_of_each_run_in_their_order(store: Store) -> None:
    for id in "abcb":
        await store.put(id, PUT)
    await store.delete("a")
    assert [(change.seq, change.id, change.doc is None) for change in await past(store)] == [
        (3, "c", False), (4, "b", False), (5, "a", True)
    ]  # fmt: skip
    assert (await past(store))[1].doc == (await store.get("b")).doc


async def test_one_read_takes_a_bounded_number(store: Store) -> None:
    await asyncio.gather(*(store.put(f"{number}", PUT) for number in range(250)))
    changes = await read(store, ALL, 0)
    assert (len(changes.found), changes.position, changes.last) == (100, 100, 250)
    assert len(await past(store)) == 250


async def test_one_read_takes_bounded_bytes_but_at_least_one_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MAX_CHANGES_BYTES", 1)
    for id in "abc":
        await store.put(id, PUT)
    changes = await read(store, ALL, 1)
    assert ([change.id for change in changes.found], changes.position) == (["b"], 2)
    assert len(await past(store)) == 3


async def test_one_read_scans_a_bounded_range(store: Store) -> None:
    for number in range(20):
        await store.put(f"a{number}", PUT)
    await store.put("b", RunPut(flow_id="b", flow_type=FlowType.AUTOMATION))
    far = chosen(("flowId", "b"))._replace(scan_limit=5)
    assert await read(store, far, 0) == Changes([], 5, 21)
    assert [change.id for change in await past(store, far)] == ["b"]


async def test_numbers_that_no_run_has_are_not_scanned(store: Store) -> None:
    for _ in range(20):
        await store.put("a", PUT)
    await store.put("b", RunPut(flow_id="b", flow_type=FlowType.AUTOMATION))
    far = chosen(("flowId", "b"))._replace(scan_limit=5)
    changes = await read(store, far, 0)
    assert ([change.id for change in changes.found], changes.position) == (["b"], 21)


async def test_one_run_is_found_however_long_ago_it_was_written(store: Store) -> None:
    await store.put("old", PUT)
    for _ in range(20):
        await store.put("a", PUT)
    changes = await read(store, by_id("old"), 0)
    assert ([change.id for change in changes.found], changes.position) == (["old"], 21)
    assert by_id("old").scan_limit > 2**60


async def test_changes_are_scanned_by_their_numbers(store: Store) -> None:
    texts = [f"{name}={value}" for name, values in VALUES.items() for value in values]
    for query in [[], *([tuple(text.split("=", 1))] for text in texts)]:
        found = where(query, [])  # type: ignore[arg-type]  # of pairs
        plan = await store._reads.changes._connection.call(
            lambda connection, found=found: connection.execute(
                "explain query plan select doc from run"
                f" where seq > 0 and seq <= 9 and {found.change_clause} order by seq",
                found.change_args,
            ).fetchall()
        )
        assert [row[3] for row in plan] == ["SEARCH run USING INDEX sqlite_autoindex_run_1 (seq>? AND seq<?)"], query


def test_every_filter_selects_changes() -> None:
    for filter in FILTERS:
        found = chosen(*((filter.name, value) for value in VALUES[filter.name]))
        assert found.change_clause.count("?") == len(found.change_args) > 0
        assert " from " not in found.change_clause
    assert chosen().change_clause == "true"


async def test_changes_of_any_filters_are_the_runs_that_pages_have(path: Path, chance: random.Random) -> None:
    async with Store.open(path, start_after=count_on) as store:
        expected_runs: dict[str, RunPut] = {}
        noon = ""
        for number in range(300):
            id = f"x{chance.randrange(40)}"
            if id in expected_runs and chance.random() < 0.3:
                await store.delete(id)
                expected_runs.pop(id)
            else:
                expected_runs[id] = any_run(chance)
                put, _ = await store.put(id, expected_runs[id], by=chance.choice([1, 2, None]))
                noon = put.run.created_at if number < 150 else noon
        for _ in range(100):
            query = [
                *(("flowId", value) for value in chance.choice([[], ["a"], ["a", "b"]])),
                *(("phase", value) for value in chance.choice([[], [], ["failed"]])),
                *(("createdBy", value) for value in chance.choice([[], [], ["1"]])),
                *(("tag", value) for value in chance.choice([[], ["k:1"], ["k:1", "k:2"], ['l"\\:ä\x00']])),
                *((name, noon) for name in chance.choice([[], [], ["createdAfter"], ["createdBefore"]])),
            ]
            chosen = where(query, [])
            expected = {run.id for run in (await store.page(chosen, PageRequest(size=100))).runs}
            changes = await past(store, chosen)
            assert {change.id for change in changes if change.run} == expected, query
            assert sorted(change.seq for change in changes) == [change.seq for change in changes]


def any_run(chance: random.Random) -> RunPut:
    values = ["1", "2", "\\:ä\x00"]
    tags = [Tag(key=chance.choice(["k", 'l"']), value=chance.choice(values)) for _ in range(chance.randrange(4))]
    return RunPut(
        flow_id=chance.choice("abc"),
        flow_type=chance.choice([FlowType.AUTOMATION, FlowType.REFERENCE]),
        phase=chance.choice(["failed", "running", None]),
        tags=tags or None,
    )


async def test_deleted_runs_match_as_before_their_deletion(store: Store) -> None:
    body = RunPut(flow_id="b", flow_type=FlowType.REFERENCE, phase="failed", tags=[Tag(key="k", value="v:w")])
    await store.put("x", body, by=5)
    created = (await store.get("x")).run.created_at
    await store.delete("x")
    matching = [
        ("flowId", "b"), ("flowType", "reference"), ("phase", "failed"), ("tag", "k:v:w"), ("createdBy", "5"),
        ("createdAfter", "2000-01-01T00:00:00Z"), ("createdBefore", "9000-01-01T00:00:00Z"),
    ]  # fmt: skip
    others = [
        ("flowId", "a"), ("flowType", "automation"), ("phase", "running"), ("tag", "k:v"), ("createdBy", "6"),
        ("createdAfter", created), ("createdBefore", created),
    ]  # fmt: skip
    assert {name for name, _ in matching} == {name for name, _ in others} == {filter.name for filter in FILTERS}
    assert [change.doc for change in await past(store, where(matching, []))] == [None]
    for pair in matching:
        assert len(await past(store, chosen(pair))) == 1, pair
    for pair in others:
        assert await past(store, chosen(pair)) == [], pair


# Subscriptions


async def test_follow_yields_past_changes_then_new_ones(store: Store) -> None:
    await store.put("a", PUT)
    following = store.follow()
    assert await some(following, 1) == [(1, "a", True)]
    next = asyncio.create_task(some(following, 1))
    await store.put("b", PUT)
    assert await next == [(2, "b", True)]
    await store.delete("a")
    await store.put("b", PUT)
    assert await some(following, 2) == [(3, "a", False), (4, "b", True)]


async def test_follow_ends_with_the_store(path: Path) -> None:
    async def all_changes(store: Store, where: Where = ALL) -> list[str]:
        return [change.id async for change in store.follow(where=where)]

    before = asyncio.all_tasks()
    async with Store.open(path, start_after=count_on) as store:
        followers = [asyncio.create_task(all_changes(store)), asyncio.create_task(all_changes(store, by_id("b")))]
        await store.put("a", PUT)
        await anext(store.follow())
    assert await asyncio.gather(*followers) == [["a"], []]
    assert asyncio.all_tasks() == before


async def test_no_future_of_a_cancelled_subscriber_is_kept(store: Store) -> None:
    before = asyncio.all_tasks()
    following = [
        asyncio.create_task(anext(store.follow(where=where))) for where in (ALL, by_id("a")) for _ in range(10)
    ]
    await until(lambda: len(store._notifier._subscriptions) == 20)
    for task in following:
        task.cancel()
    await asyncio.wait(following)
    assert store._notifier._subscriptions == {}
    await store._notifier.drain()
    assert store._notifier._unread == set()
    await store.put("a", PUT)
    await store._writer.drain()
    assert asyncio.all_tasks() <= before


async def test_no_change_is_missed_at_any_moment(store: Store, chance: random.Random) -> None:

    async def follow(where: Where, last: str) -> dict[str, int]:
        seen: dict[str, int] = {}
        async for change in store.follow(where=where):
            assert change.seq > max(seen.values(), default=0)
            seen.pop(change.id, None)
            if change.run:
                seen[change.id] = change.seq
            if change.id == last:
                return seen
        raise AssertionError("the subscription has ended")

    followers = [asyncio.create_task(follow(where, "last")) for where in [ALL, chosen(("flowId", "a"))] * 3]
    numbers: dict[str, int] = {}
    for _ in range(300):
        id = f"{chance.randrange(50)}"
        if id in numbers and chance.random() < 0.3:
            await store.delete(id)
            numbers.pop(id)
        else:
            numbers[id] = (await store.put(id, PUT))[0].seq
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)  # at a random moment
    numbers["last"] = (await store.put("last", PUT))[0].seq
    assert await asyncio.gather(*followers) == [numbers] * 6


async def test_a_change_is_delivered_though_its_writer_was_cancelled(store: Store) -> None:
    following = store.follow()
    next = asyncio.create_task(anext(following))
    await until(lambda: bool(store._notifier._subscriptions))
    writing = asyncio.create_task(store.put("a", PUT))
    await until(lambda: store._writer._queue._driver is not None and not store._writer._queue._waiting)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (await next).id == "a"


async def test_numbers_that_restart_are_noticed(store: Store) -> None:
    for id in "abc":
        await store.put(id, PUT)
    waiting = asyncio.create_task(store.changes(ALL, 3))
    await until(lambda: bool(store._notifier._subscriptions))
    await store.clear()
    assert await waiting == Changes([], 0, 0)
    await store.put("d", PUT)
    assert await store.changes(ALL, 3) == Changes([], 1, 1)
    assert await some(store.follow(), 1) == [(1, "d", True)]


def test_subscribers_may_wait_in_one_event_loop_after_the_other(path: Path) -> None:
    async def put_and_see(id: str) -> list[tuple[int, str, bool]]:
        following = store.follow(await store.position())
        seen = asyncio.create_task(some(following, 1))
        await until(lambda: bool(store._notifier._subscriptions))
        await store.put(id, PUT)
        return await seen

    store = asyncio.run(Store.connect(path, start_after=count_on))
    assert [asyncio.run(put_and_see(id)) for id in "ab"] == [[(1, "a", True)], [(2, "b", True)]]
    asyncio.run(store.aclose())


def test_subscriptions_of_a_closed_loop_are_dropped() -> None:
    async def leave() -> None:
        waiting.append(asyncio.create_task(store.changes(ALL, 0)))
        await until(lambda: bool(store._notifier._subscriptions))

    waiting: list[asyncio.Task[Changes | None]] = []
    store = asyncio.run(Store.connect(":memory:", start_after=count_on))
    for id in "abc":
        asyncio.run(leave())
        assert waiting.pop().cancelled()
        asyncio.run(store.put(id, PUT))
        assert asyncio.run(store.changes(ALL, 0)) is not None
        asyncio.run(store.clear())
    asyncio.run(store.aclose())


def test_writes_of_one_event_loop_reach_subscribers_in_another() -> None:
    async def follow() -> list[tuple[int, str, bool]]:
        following = store.follow()
        first = await some(following, 1)
        begun.set()
        return first + await some(following, 1)

    begun = threading.Event()
    store = asyncio.run(Store.connect(":memory:", start_after=count_on))
    asyncio.run(store.put("a", PUT))
    with ThreadPoolExecutor(1) as pool, ending(store):
        following = pool.submit(asyncio.run, follow())
        try:
            assert begun.wait(HANG)
            asyncio.run(store.put("b", PUT))
            assert following.result(HANG) == [(1, "a", True), (2, "b", True)]
        finally:
            asyncio.run(store.aclose())  # which ends what still follows


def test_subscribers_wait_in_one_event_loop_and_another_one_may_end_them() -> None:
    async def follow() -> list[Change]:
        return [change async for change in store.follow()]

    async def subscribed() -> None:
        await until(lambda: bool(store._notifier._subscriptions))

    store = asyncio.run(Store.connect(":memory:", start_after=count_on))
    with ThreadPoolExecutor(1) as pool, ending(store):
        following = pool.submit(asyncio.run, follow())
        try:
            asyncio.run(subscribed())
            with pytest.raises(RuntimeError, match="one event loop"):
                asyncio.run(store.changes(ALL, 0))
        finally:
            asyncio.run(store.aclose())
        assert following.result(HANG) == []


async def test_the_last_change_of_a_run_is_known_when_it_is_gone(store: Store) -> None:
    assert await store.last_change("a") is None
    put, _ = await store.put("a", PUT)
    assert await store.last_change("a") == Change(put.seq, "a", put.doc)
    await store.delete("a")
    assert await store.last_change("a") == Change(put.seq + 1, "a", None)
    assert await store.position() == put.seq + 1
    with pytest.raises(NotFound):
        await store.get("a")


# The notifier, with a reader of the test


class Reader:
    """Reads changes from the numbers in *written*; each is a change of run "a"."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.last = 0
        self.reads: list[Sequence[Subscription]] = []

    async def __call__(self, subscriptions: Sequence[Subscription]) -> list[Changes | Failed]:
        self.reads.append(subscriptions)
        await asyncio.sleep(0)  # as a read of the database, it takes a turn of the loop
        return [
            Changes([Change(number, "a", b"{}") for number in self.written if number > after], self.last, self.last)
            for _, after in subscriptions
        ]

    def write(self, number: int, *, matches: bool = True) -> None:
        self.last = number
        self.written += [number] * matches


async def settled(notifier: ChangeNotifier) -> None:
    """Returns once no read is pending."""
    await asyncio.sleep(0)  # also for callbacks that another thread has scheduled
    await until(lambda: not (notifier._reader or notifier._timer))


async def test_equal_subscriptions_share_a_read() -> None:
    reader = Reader()
    notifier = ChangeNotifier(reader)
    waiting = [asyncio.create_task(notifier.wait(ALL, 0)) for _ in range(50)]
    await asyncio.sleep(0)  # all of them wait now
    await settled(notifier)
    assert reader.reads == [[(ALL, 0)]]
    reader.write(1)
    notifier.notify()
    results = await asyncio.gather(*waiting)
    assert reader.reads[1:] == [[(ALL, 0)]]
    assert all(result is results[0] for result in results)


async def test_changes_that_match_no_subscription_are_scanned_once() -> None:
    reader = Reader()
    notifier = ChangeNotifier(reader)
    waiting = asyncio.create_task(notifier.wait(ALL, 0))
    for number in (10, 20, 30):
        reader.write(number, matches=False)
        notifier.notify()
        await asyncio.sleep(0)  # what was scheduled runs now
        await settled(notifier)
    reader.write(31)
    notifier.notify()
    assert await waiting == Changes([Change(31, "a", b"{}")], 31, 31)
    assert [after for ((_, after),) in reader.reads][-3:] == [10, 20, 30]


async def test_subscriber_that_waits_again_reads_only_after_a_write() -> None:
    reader = Reader()
    notifier = ChangeNotifier(reader)
    for number in (0, 0, 0):
        assert await notifier.wait(ALL, number, max_wait=0.01) == Changes((), 0, 0)
        await settled(notifier)
    assert len(reader.reads) == 1
    reader.write(1)
    notifier.notify()
    assert await notifier.wait(ALL, 0) == Changes([Change(1, "a", b"{}")], 1, 1)
    await settled(notifier)
    assert await notifier.wait(ALL, 1, max_wait=0.01) == Changes((), 1, 1)
    assert len(reader.reads) == 2


async def test_many_commits_share_a_read() -> None:
    reader = Reader()
    notifier = ChangeNotifier(reader)
    waiting = asyncio.create_task(notifier.wait(ALL, 0))
    await asyncio.sleep(0)  # it waits now
    await settled(notifier)
    for number in range(1, 1000):
        reader.write(number, matches=False)
        notifier.notify()
    await settled(notifier)
    assert len(reader.reads) == 2
    waiting.cancel()


async def test_a_slow_read_delays_the_next_one_for_a_bounded_time() -> None:
    class Slow(Reader):
        async def __call__(self, subscriptions: Sequence[Subscription]) -> list[Changes | Failed]:
            await asyncio.sleep(0.1)  # as slow a read as the one whose duration is bounded
            return await super().__call__(subscriptions)

    reader = Slow()
    reader.write(1)
    notifier = ChangeNotifier(reader)
    assert await notifier.wait(ALL, 0) == Changes([Change(1, "a", b"{}")], 1, 1)
    debounce = notifier._next_read - asyncio.get_running_loop().time()
    assert debounce <= 0.25


async def test_without_subscribers_nothing_is_read() -> None:
    reader = Reader()
    notifier = ChangeNotifier(reader)
    notifier.notify()
    await settled(notifier)
    assert reader.reads == []


async def test_timeout_returns_the_position_that_was_read_to(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, skipped = asyncio.get_running_loop(), 0
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + skipped)
    reader = Reader()
    notifier = ChangeNotifier(reader)
    reader.write(7, matches=False)
    waiting = asyncio.create_task(notifier.wait(ALL, 3, max_wait=HANG))
    await settled(notifier)
    skipped = HANG
    assert await waiting == Changes((), 7, 7)
    assert notifier._subscriptions == {}


async def test_a_read_that_fails_raises_in_its_subscribers() -> None:
    async def read(subscriptions: Sequence[Subscription]) -> list[Changes | Failed]:
        return [Failed(Unavailable("damaged")) if where is ALL else Changes([Change(1, "a", None)], 1, 1)
                for where, _ in subscriptions]  # fmt: skip

    notifier = ChangeNotifier(read)
    outcomes = await asyncio.gather(notifier.wait(ALL, 0), notifier.wait(by_id("a"), 0), return_exceptions=True)
    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[1] == Changes([Change(1, "a", None)], 1, 1)


async def test_a_reader_that_raises_raises_in_all_subscribers() -> None:
    async def read(subscriptions: Sequence[Subscription]) -> list[Changes | Failed]:
        raise ValueError("closed")

    notifier = ChangeNotifier(read)
    outcomes = await asyncio.gather(notifier.wait(ALL, 0), notifier.wait(by_id("a"), 0), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError, ValueError]


async def test_end_resolves_present_and_later_waits() -> None:
    notifier = ChangeNotifier(Reader())
    waiting = [asyncio.create_task(notifier.wait(ALL, 0)) for _ in range(10)]
    await asyncio.sleep(0)  # all of them wait now
    notifier.end()
    notifier.end()
    assert await asyncio.gather(*waiting) == [None] * 10
    assert await notifier.wait(ALL, 0) is None
    notifier.notify()
    await notifier.drain()
    assert notifier._timer is None


async def test_change_is_found_though_the_only_subscriber_leaves_before_it_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_DEBOUNCE_SECONDS", 0)
    monkeypatch.setattr(changes, "_DEBOUNCE_FACTOR", 0)
    for steps in range(40):  # of the event loop until it leaves
        start = await store.position()
        assert await store.changes(ALL, start, max_wait=0)
        subscriber = asyncio.create_task(store.changes(ALL, start))
        await asyncio.sleep(0)  # it waits now
        await store.put(f"x{steps}", PUT)
        for _ in range(steps):
            await asyncio.sleep(0)  # one turn of the loop more each time
        subscriber.cancel()
        await asyncio.wait([subscriber])
        found = await store.changes(ALL, start, max_wait=HANG)
        assert found
        assert [change.id for change in found.found] == [f"x{steps}"], steps
