"""The commands `import` and `export`: runs as lines of JSON."""

import io
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import click

from flowruns.cli.inputs import decoded, open_input
from flowruns.cli.options.command import Command, Option
from flowruns.cli.options.database import database_option
from flowruns.cli.options.runs import CAMEL_CASE, filter_options, filter_values
from flowruns.cli.options.types import URL
from flowruns.cli.outputs import interruptible, output_file, print_warning, write_all, write_errors
from flowruns.cli.sources import LocalSource, RunSource, condition_of, run_source
from flowruns.model.lines import line_of
from flowruns.sqlite.open_file import open_exclusive, open_readonly
from flowruns.store import pages, transfer, writes
from flowruns.store.transfer import ImportObserver, ImportRules
from flowruns.terminal.output import print_stderr, write_lines
from flowruns.terminal.progress import Progress
from flowruns.terminal.text import plural

_STDOUT = 1

Write = Callable[[bytes], object]


@click.command("import", cls=Command, short_help="Import runs from lines of JSON (NDJSON).")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(allow_dash=True))
@database_option()
@click.option("--skip-invalid", is_flag=True, help="Import the valid lines, and report the invalid ones.")
@click.option(
    "--on-conflict", default="replace", show_default=True, type=click.Choice(["replace", "skip", "fail"]),
    help="What to do with a line whose run exists already, or is on an earlier line.",
)  # fmt: skip
def import_command(files: tuple[str, ...], database: str, skip_invalid: bool, on_conflict: writes.OnConflict) -> None:
    """Import runs from FILEs of NDJSON, one JSON object a line, or - for standard input: all of them, or none. A FILE
    may also be a JSON array, in UTF-16, or compressed with gzip.

    A line is the body of a PUT, or a line that `flowruns export` wrote, which preserves who created, updated and
    reviewed a run, and when. Each error is reported by file and line. Exit code 6: there are invalid lines, and nothing
    was imported; 4: the database is being served.

    \b
    flowruns import runs.ndjson
    flowruns export -d old.db --phase failed | flowruns import -d new.db -
    """  # noqa: D301  # click reads the escape
    with ExitStack() as stack:
        opened = [(name, stack.enter_context(open_input(name))) for name in files]
        progress = stack.enter_context(Progress("importing"))

        def report(line: str) -> None:
            progress.clear()
            print_stderr(line)

        def show(runs: int, size: int) -> None:
            progress.update(runs, size / total if total else None)

        interrupts = stack.enter_context(interruptible())
        with interrupts.allowed():
            inputs = [(name, decoded(name, file, skip_invalid=skip_invalid)) for name, file in opened]
        total = total_size([file for _, file in inputs])
        with (
            open_exclusive(
                database, holder=f"pid {os.getpid()}, an import", make=True, warn=print_warning
            ) as connection,
            interrupts.allowed(),
        ):
            observer = ImportObserver(report, show, interrupts.too_late)
            result = transfer.import_lines(
                connection, transfer.read_lines(inputs), ImportRules(on_conflict, skip_invalid), observer
            )
    write_lines([f"{database}: {result}"])


@click.command("export", cls=Command, short_help="Export runs as lines of JSON (NDJSON).", context_settings=CAMEL_CASE)
@database_option()
@click.option("--url", type=URL, help="Export from the server at this address.")
@click.option(
    "--token",
    envvar="FLOWRUNS_TOKEN",
    cls=Option,
    help="The token to send to a server; @FILE reads it from a file, - from standard input.",
)
@filter_options
@click.option(
    "-o", "--output", cls=Option, default="-", metavar="FILE",
    help="File to write instead of standard output: in full, or not at all.",
)  # fmt: skip
def export_command(database: str, url: str | None, token: str | None, output: str, **options: tuple[str, ...]) -> None:
    """Export runs, oldest first, as NDJSON: one JSON object a line. `flowruns import` reads it back to the same bytes.

    The database may be served meanwhile: each run is written as it is when it is read. Runs that are created during the
    export of a file are left out.

    \b
    flowruns export -o runs.ndjson
    flowruns export --flow-id deploy-web --created-after 2026-01-01 | jq .phase
    """  # noqa: D301  # click reads the escape
    source, filters = run_source(database, url, token, file_first=True), filter_values(options)
    with interruptible() as interrupts, Progress("exporting") as progress, ExitStack() as stack:
        stack.callback(source.close)
        local = isinstance(source, LocalSource)  # a file is read directly, even while it is served
        export = _export_from_file(database, stack) if local else _export_from_server(source)
        if output == "-":
            # A reader that closes the pipe has read all that it needs.
            with write_errors("standard output"), suppress(BrokenPipeError), interrupts.allowed():
                export(partial(write_all, _STDOUT), filters, progress)
            return
        with output_file(output, database) as file, interrupts.allowed():
            runs = export(partial(write_all, file), filters, progress)
    write_lines([f"{output}: {plural(runs, 'run')}"])


Export = Callable[[Write, dict[str, Any], Progress], int]  # writes the runs that match filters; returns their number


def _export_from_file(database: str, stack: ExitStack) -> Export:
    connection = stack.enter_context(open_readonly(database))

    def export(write: Write, filters: dict[str, Any], progress: Progress) -> int:
        chosen = condition_of(filters)
        total = pages.count(connection, chosen) if progress.shown else 0

        def show(runs: int) -> None:
            progress.update(runs, runs / total if total else None)

        return transfer.export(connection, write, chosen, show)

    return export


def _export_from_server(source: RunSource) -> Export:
    def export(write: Write, filters: dict[str, Any], progress: Progress) -> int:
        runs = 0
        for page in source.pages(order="asc", **filters):
            write(b"".join(line_of(doc) + b"\n" for doc in page.docs))
            runs += len(page.docs)
            progress.update(runs, runs / page.total if page.total else None)
        return runs

    return export


def total_size(files: Iterable[object]) -> int:
    """The size of all *files*, in bytes; 0 if that of one is unknown, because it is a pipe or was decoded."""
    sizes = [
        os.fstat(file.fileno()).st_size
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO)
        else 0
        for file in files
    ]
    return sum(sizes) if all(sizes) else 0
