"""Large bodies, whose items are freed on a thread."""

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.json import encode

from flowruns.http.app import create_app
from flowruns.store.store import Store
from tests.conftest import RUNS
from tests.waits import HANG
from tests.wire import scope_of


async def test_large_body_of_a_cancelled_write_is_stored_whole(path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def clock() -> datetime:  # which the writer reads first
        begun.set()
        assert go_on.wait(HANG)
        return datetime.now(UTC)

    body = encode({"flowId": "a", "flowType": "automation", "actions": [{"id": f"a{n}"} for n in range(20_000)]})
    messages = iter([{"type": "http.request", "body": body}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        pass

    async with Store.open(path, clock=clock) as store:
        app = create_app(store)
        scope = scope_of("PUT", f"{RUNS}/large", [(b"host", b"localhost"), (b"content-type", b"application/json")])
        put = asyncio.create_task(app(scope, receive, send))
        assert await asyncio.to_thread(begun.wait, HANG)
        put.cancel()
        await asyncio.wait([put])
        await asyncio.get_running_loop().shutdown_default_executor()  # which frees what is not used any more
        go_on.set()
        await store._writer.drain()
        run = (await store.get("large")).run
    assert run.actions is not None
    assert len(run.actions) == 20_000
