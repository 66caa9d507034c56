"""What a server has from its start: those of files, a demonstration, and a script."""

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
    demo: bool = False,
    script: Script | None = None,
) -> Setup:
    """A setup that imports the runs of the named *inputs*, all or none, runs the *demo*, and plays *script*. It calls
    *report* with each error in a line, from any thread.
    """

    @asynccontextmanager
    async def setup(store: Store, stopped: Callable[[], bool]) -> AsyncIterator[None]:
        def progress(runs: int, size: int) -> None:
            if stopped():
                raise ImportStopped

        async with AsyncExitStack() as stack:
            if demo:
                from flowruns.server.demo import demonstration

                await stack.enter_async_context(demonstration(store))
            if inputs:
                observer = ImportObserver(report, progress)
                await store.run_on_writer(
                    lambda connection: import_lines(connection, read_lines(inputs), observer=observer)
                )
            if script is not None:
                from flowruns.server.play import playing

                await stack.enter_async_context(playing(store, script, report))
            yield

    return setup
