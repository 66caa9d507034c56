"""Threads take turns more often while one is busy with megabytes, and only then."""

import asyncio
import sys
import threading

from flowruns import Settings
from flowruns.server.starting import running
from flowruns.sqlite.switching import quick_switches
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.waits import HANG, eventually
from tests.wire import RUN, Wire


def test_switches_are_quick_while_any_thread_asks_for_it() -> None:
    before = sys.getswitchinterval()
    entered, over = threading.Event(), threading.Event()

    def other() -> None:
        with quick_switches():
            entered.set()
            assert over.wait(HANG)

    thread = threading.Thread(target=other)
    with quick_switches():
        assert sys.getswitchinterval() < before
        thread.start()
        assert entered.wait(HANG)
    assert sys.getswitchinterval() < before
    over.set()
    thread.join()
    assert sys.getswitchinterval() == before


def test_a_large_body_is_over_with_its_request() -> None:
    before = sys.getswitchinterval()
    with running(Settings(database=":memory:", port=0)) as server, Wire(server.url) as wire:
        large = RUN.replace(b"}", b',"args":{"x":"%b"}}' % (b"x" * 1_000_000))
        for body, status in ((large, 201), (large.replace(b"flowType", b"flowtype"), 422), (large, 200)):
            assert wire.ask("PUT", f"{RUNS}/large", body).status == status
            eventually(lambda: sys.getswitchinterval() == before)


def test_large_reads_leave_it_as_it_was() -> None:
    async def read() -> None:
        async with Store.open(":memory:") as store:
            assert await store.count() == 0
            assert (await store.page()).total == 0

    before = sys.getswitchinterval()
    asyncio.run(read())
    assert sys.getswitchinterval() == before
