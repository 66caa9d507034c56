"""The commands on what is in a file: in and out, copies, and care."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import BinaryIO

import click

from flowruns.cli.database_option import DATABASE_OPTION
from flowruns.cli.inputs import open_input
from flowruns.cli.options import CAMEL_CASE, filter_options, filter_query
from flowruns.cli.param_types import Age
from flowruns.errors import CannotWrite, DatabaseUnusable
from flowruns.server.signals import DeferredInterrupts
from flowruns.settings import MEMORY
from flowruns.sqlite.atomic_files import atomic_write
from flowruns.sqlite.blocking import open_exclusive, open_readonly
from flowruns.sqlite.datafile import SCHEMA_VERSION, check_path, database_files, real_path
from flowruns.sqlite.lockfile import locked
from flowruns.store import checks, maintenance, pages, transfer, writes
from flowruns.store.filters import where
from flowruns.store.transfer import ImportObserver, ImportRules
from flowruns.terminal.output import print_stderr, write_lines
from flowruns.terminal.progress import Progress

_STDOUT = 1


class OnDatabase(click.Command):
    """A command that takes the database as an option, and says so where it is given as `serve` takes it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What click makes of *args*. Raises click.UsageError."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "extra argument" not in error.message:
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}: name the database with --database", ctx) from None


@click.command("import", cls=OnDatabase, short_help="Bring runs in, from lines of JSON.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(allow_dash=True))
@DATABASE_OPTION
@click.option("--skip-invalid", is_flag=True, help="Import the valid lines, whatever is wrong with others.")
@click.option(
    "--on-conflict", default="replace", show_default=True, type=click.Choice(["replace", "skip", "fail"]),
    help="What becomes of a run that there is already, or that an earlier line has made.",
)  # fmt: skip
def import_command(files: tuple[str, ...], database: str, skip_invalid: bool, on_conflict: writes.OnConflict) -> None:
    """Import runs from FILEs of one JSON object a line, - for standard input: all of them, or none.

    A line is the body of a PUT, or what `flowruns export` wrote, which keeps who created, updated and reviewed a run
    and when. Every fault is named by file and line. Exit code 6: there were some, and nothing was imported; 4: the
    database is being served.

    \b
    flowruns import runs.ndjson
    flowruns export -d old.db --phase failed | flowruns import -d new.db -
    """  # noqa: D301  # click reads the escape
    with ExitStack() as stack:
        inputs = [(name, stack.enter_context(open_input(name))) for name in files]
        total = size_of([file for _, file in inputs])
        progress = stack.enter_context(Progress("importing"))

        def fault(line: str) -> None:
            progress.clear()
            print_stderr(line)

        def at(runs: int, size: int) -> None:
            progress.at(runs, size / total if total else None)

        with (
            interruptible() as interrupts,
            open_exclusive(database, holder=f"pid {os.getpid()}, an import", make=True) as connection,
            interrupts.allowed(),
        ):
            watch = ImportObserver(fault, at, interrupts.too_late)
            loaded = transfer.import_lines(
                connection, transfer.read_lines(inputs), ImportRules(on_conflict, skip_invalid), watch
            )
    write_lines([f"{database}: {loaded}"])


@click.command("export", cls=OnDatabase, short_help="Take runs out, as lines of JSON.", context_settings=CAMEL_CASE)
@DATABASE_OPTION
@filter_options
@click.option(
    "-o", "--output", default="-", metavar="FILE", help="Where to, instead of standard output: whole, or not at all."
)
def export_command(database: str, output: str, **filters: tuple[str, ...]) -> None:
    """Export runs, oldest first, as one JSON object a line, which `flowruns import` reads back to the same bytes.

    The database may be served meanwhile: each run is written as it is then, and those that come later are not.

    \b
    flowruns export -o runs.ndjson
    flowruns export --flow-id deploy-web --created-after 2026-01-01T00:00:00Z | jq .phase
    """  # noqa: D301  # click reads the escape
    chosen = where(filter_query(filters), [])  # each was checked as an option
    with interruptible() as interrupts, open_readonly(database) as connection, Progress("exporting") as progress:
        total = pages.count(connection, chosen) if progress.shown else 0

        def at(runs: int) -> None:
            progress.at(runs, runs / total if total else None)

        if output == "-":
            # Whoever closes the pipe has what it wanted.
            with writing("standard output"), suppress(BrokenPipeError), interrupts.allowed():
                transfer.export(connection, partial(write_all, _STDOUT), chosen, at)
            return
        with output_file(output, database) as file, interrupts.allowed():
            runs = transfer.export(connection, partial(write_all, file), chosen, at)
    write_lines([f"{output}: {runs} runs"])


@click.command("backup", cls=OnDatabase, short_help="Copy the database, served or not.")
@click.argument("file", metavar="FILE")
@DATABASE_OPTION
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
def backup_command(file: str, database: str, force: bool) -> None:
    """Copy the database to FILE, whole, whoever serves it meanwhile: every write that was acknowledged before.

    \b
    flowruns backup runs-$(date +%F).db
    """  # noqa: D301  # click reads the escape
    target = real_path(file)
    check_path(target)
    if file in (MEMORY, "-"):
        raise click.UsageError(f"FILE is a file: {file} is none")
    if target in database_files(real_path(database)):
        raise click.UsageError("FILE is the database itself, or a part of it; name another file")
    if target.exists() and not force:
        raise click.UsageError(f"{file} exists; name another file, or say --force to replace it")
    with (
        interruptible() as interrupts,
        open_readonly(database, older=True) as connection,
        writing(file),
        locked(target, f"pid {os.getpid()}, a backup"),  # FILE may be a database that is served
        atomic_write(target, force=force) as part,
        Progress("copying", "MB") as progress,
        interrupts.allowed(),
    ):
        wal = target.with_name(target.name + "-wal")
        if wal.exists() and wal.stat().st_size:  # it would be taken for a part of the copy
            raise CannotWrite(f"{wal} belongs to another database; name another file")
        size = maintenance.backup(connection, part, progress.at)
    write_lines([f"{file}: {megabytes(size)}"])


@click.command("check", cls=OnDatabase, short_help="Check that the file is whole.")
@DATABASE_OPTION
def check_command(database: str) -> None:
    """Check that the file is whole: its pages, its schema, its counts, and each run. Exit code 5: it is not.

    \b
    flowruns check -d runs.db
    """  # noqa: D301  # click reads the escape
    with (
        interruptible() as interrupts,
        open_readonly(database, older=True) as connection,
        Progress("checking") as progress,
        interrupts.allowed(),
    ):
        checked = checks.check(connection, progress.at)
    for finding in checked.findings:
        write_lines([finding])
    if checked.findings:
        raise DatabaseUnusable(f"{database} is damaged: restore it from a backup, or export what can be read")
    if checked.schema < SCHEMA_VERSION:
        write_lines([f"{database} is well as far as can be seen: schema {checked.schema} is of an older flowruns"])
    else:
        write_lines([f"{database} is well: {checked.runs} runs, {checked.deleted} deleted, schema {checked.schema}"])


@click.command("prune", cls=OnDatabase, short_help="Delete the runs of long ago.")
@DATABASE_OPTION
@click.option("--older-than", required=True, type=Age(), help="By createdAt: 30d, say, or 12h; of s, m, h, d, w.")
@click.option(
    "--keep-failed", is_flag=True, help=f"Keep those whose phase is {', '.join(maintenance.FAILED[:4])} or so."
)
@click.option("--dry-run", is_flag=True, help="Only say how many it would be.")
def prune_command(database: str, older_than: float, keep_failed: bool, dry_run: bool) -> None:
    """Delete the runs that were created long ago: all of them, or none. Exit code 4: the database is being served.

    The room that they leave is used again; `flowruns vacuum` makes the file smaller.

    \b
    flowruns prune --older-than 30d --keep-failed --dry-run
    """  # noqa: D301  # click reads the escape
    now = datetime.now(UTC)
    try:
        before = now - timedelta(seconds=older_than)
    except OverflowError:
        raise click.UsageError("--older-than goes back beyond the year 1") from None
    if dry_run:
        with interruptible() as interrupts, open_readonly(database) as connection, interrupts.allowed():
            pruned = maintenance.count_prunable(connection, before, keep_failed=keep_failed)
    else:
        with (
            interruptible() as interrupts,
            open_exclusive(database, holder=f"pid {os.getpid()}, a prune") as connection,
            Progress("pruning") as progress,
            interrupts.allowed(),
        ):
            commits = interrupts.too_late
            pruned = maintenance.prune(connection, before, progress.at, commits, keep_failed=keep_failed, now=now)
    kept = f", {pruned.kept} failed ones kept" if keep_failed else ""
    write_lines([f"{database}: {pruned.deleted} runs {'would be ' * dry_run}deleted{kept}"])


@click.command("vacuum", cls=OnDatabase, short_help="Make the file as small as it can be.")
@DATABASE_OPTION
def vacuum_command(database: str) -> None:
    """Make the file as small as what is in it. Exit code 4: the database is being served.

    That runs were deleted stays known, so that clients that were away are told.

    \b
    flowruns vacuum -d runs.db
    """  # noqa: D301  # click reads the escape
    with (
        interruptible() as interrupts,
        open_exclusive(database, holder=f"pid {os.getpid()}, a vacuum") as connection,
        Progress("vacuuming") as progress,
        interrupts.allowed(),
    ):
        before = real_path(database).stat().st_size
        maintenance.vacuum(connection, progress.at)
    write_lines([f"{database}: {megabytes(real_path(database).stat().st_size)}, was {megabytes(before)}"])


@contextmanager
def interruptible() -> Iterator[DeferredInterrupts]:
    """While entered, what is allowed is interrupted by Ctrl+C and the like. Raises click.Abort then, once it is said
    that nothing was changed.
    """
    with DeferredInterrupts() as interrupts:
        try:
            yield interrupts
        except KeyboardInterrupt:
            print_stderr("flowruns: interrupted, and nothing was changed")
            raise click.Abort from None


def size_of(files: list[BinaryIO]) -> int:
    """The size of all *files*, in bytes; 0 if that of one of them is not known: a pipe."""
    sizes = [os.fstat(file.fileno()).st_size for file in files]
    return sum(sizes) if all(sizes) else 0


@contextmanager
def output_file(name: str, database: str) -> Iterator[int]:
    """What *name* is written by: whole, or it stays as it was. Raises CannotWrite or click.UsageError."""
    file = real_path(name)
    if file in database_files(real_path(database)):
        raise click.UsageError("--output is the database itself, or a part of it; name another file")
    special = file.exists() and not file.is_file()  # a pipe, say, which is not to be replaced
    with writing(name), nullcontext(file) if special else atomic_write(file, force=True) as part:
        handle = os.open(part, os.O_WRONLY | getattr(os, "O_BINARY", 0))  # Windows would write other line ends
        try:
            yield handle
        finally:
            os.close(handle)


@contextmanager
def writing(name: str) -> Iterator[None]:
    """While entered, what goes wrong with the file *name* is told as CannotWrite."""
    try:
        yield
    except FileExistsError:
        raise CannotWrite(f"{name} exists by now; name another file, or say --force to replace it") from None
    except OSError as error:
        raise CannotWrite(f"{name} cannot be written: {error.strerror}") from None


def write_all(handle: int, data: bytes) -> None:
    """Writes all of *data*: a pipe may take a part at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def megabytes(size: int) -> str:
    """*size* in bytes, as people read it."""
    return f"{size / 1_000_000:,.1f} MB"
