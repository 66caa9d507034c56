"""What a server has when it begins to serve: runs from files, and a demonstration."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import BinaryIO

from flowruns.server.running import Around
from flowruns.store.store import Store
from flowruns.store.transfer import Stopped, Watch, lines, load


def seeded(inputs: Sequence[tuple[str, BinaryIO]], fault: Callable[[str], None], *, demo: bool) -> Around:
    """What gives a store the runs of the named *inputs*, all or none, and those of the *demo*; *fault* is called with
    each fault of a line, on another thread.
    """

    @asynccontextmanager
    async def around(store: Store, stops: Callable[[], bool]) -> AsyncIterator[None]:
        def at(runs: int, size: int) -> None:
            if stops():
                raise Stopped

        async with AsyncExitStack() as stack:
            if demo:
                from flowruns.server.demo import playing

                await stack.enter_async_context(playing(store))
            if inputs:
                await store.alone(partial(load, given=lines(inputs), watch=Watch(fault, at)))
            yield

    return around
