"""What a server has when it begins to serve: runs from files, and a demonstration."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import BinaryIO

from flowruns.server.running import Setup
from flowruns.store.store import Store
from flowruns.store.transfer import ImportObserver, ImportStopped, import_lines, read_lines


def seeded(inputs: Sequence[tuple[str, BinaryIO]], fault: Callable[[str], None], *, demo: bool) -> Setup:
    """What gives a store the runs of the named *inputs*, all or none, and those of the *demo*; *fault* is called with
    each fault of a line, on another thread.
    """

    @asynccontextmanager
    async def setup(store: Store, stops: Callable[[], bool]) -> AsyncIterator[None]:
        def at(runs: int, size: int) -> None:
            if stops():
                raise ImportStopped

        async with AsyncExitStack() as stack:
            if demo:
                from flowruns.server.demo import playing

                await stack.enter_async_context(playing(store))
            if inputs:
                await store.run_on_writer(
                    partial(import_lines, lines=read_lines(inputs), observer=ImportObserver(fault, at))
                )
            yield

    return setup
