"""Threads take turns more often while one is busy with megabytes, and only then."""

import asyncio
import sys
import threading
from typing import Any

import pytest
from msgspec import Raw

from flowruns import Settings
from flowruns.http import requests
from flowruns.model.runs import FlowType, RunPut
from flowruns.model.validation import decode
from flowruns.server.starting import running
from flowruns.store import pages, reads
from flowruns.store.store import Store
from flowruns.switching import quick_switches
from tests.conftest import RUNS
from tests.waits import HANG, eventually
from tests.wire import RUN, Wire

LARGE = b"x" * 2 * pages.MAX_QUICK_BYTES


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


def test_a_large_body_switches_quickly_until_its_request_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.getswitchinterval()
    during: list[float] = []

    def noted(*arguments: Any) -> Any:
        during.append(sys.getswitchinterval())
        return decode(*arguments)

    monkeypatch.setattr(requests, "decode", noted)
    with running(Settings(database=":memory:", port=0)) as server, Wire(server.url) as wire:
        large = RUN.replace(b"}", b',"args":{"x":"%b"}}' % (b"x" * 1_000_000))
        for body, status in ((large, 201), (large.replace(b"flowType", b"flowtype"), 422), (large, 200)):
            assert wire.ask("PUT", f"{RUNS}/large", body).status == status
            eventually(lambda: sys.getswitchinterval() == before)
    assert len(during) == 3
    assert max(during) < before


def test_large_reads_switch_quickly_and_leave_it_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.getswitchinterval()
    during: list[float] = []
    for module, name in ((reads, "get_large"), (pages, "page")):
        read = getattr(module, name)

        def noted(*arguments: Any, read: Any = read) -> Any:
            during.append(sys.getswitchinterval())
            return read(*arguments)

        monkeypatch.setattr(module, name, noted)

    async def read_large() -> None:
        async with Store.open(":memory:") as store:
            await store.put(
                "large", RunPut(flow_id="a", flow_type=FlowType.AUTOMATION, args=Raw(b'{"x":"%b"}' % LARGE))
            )
            await store.get("large")
            await store.page()

    asyncio.run(read_large())
    assert len(during) == 2
    assert max(during) < before
    assert sys.getswitchinterval() == before
