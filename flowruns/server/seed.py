"""What a server has from its start: runs of files, and scripts that play runs."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from flowruns.player.script import Script
from flowruns.server.starting import Setup
from flowruns.store.import_formats import ArrayFile, LineReader
from flowruns.store.store import Store
from flowruns.store.transfer import ImportObserver, ImportStopped, import_lines, read_lines


def seed_setup(
    inputs: Sequence[tuple[str, LineReader | ArrayFile]],
    report: Callable[[str], None],
    *,
    scripts: Sequence[Script] = (),
) -> Setup:
    """A setup that imports the runs of the named *inputs*, all or none, and plays *scripts*. It calls *report* with
    each error in a line, from any thread.
    """

    @asynccontextmanager
    async def setup(store: Store, stopped: Callable[[], bool]) -> AsyncIterator[None]:
        def progress(runs: int, size: int) -> None:
            if stopped():
                raise ImportStopped

        async with AsyncExitStack() as stack:
            if inputs:
                observer = ImportObserver(report, progress)
                await store.run_on_writer(
                    lambda connection: import_lines(connection, read_lines(inputs), observer=observer)
                )
            for script in scripts:
                from flowruns.server.play import playing

                await stack.enter_async_context(playing(store, script, report))
            yield

    return setup
