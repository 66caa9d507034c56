"""The commands that copy a database and keep it in order: `backup`, `restore`, `check`, `prune`, `vacuum`."""

import os
from datetime import UTC, datetime, timedelta

import click

from flowruns.cli.options.command import Command
from flowruns.cli.options.database import database_option
from flowruns.cli.options.types import AGE
from flowruns.cli.outputs import interruptible, print_warning, write_errors
from flowruns.errors import DatabaseUnusable
from flowruns.settings import MEMORY
from flowruns.sqlite.atomic_files import atomic_write, part_file
from flowruns.sqlite.datafile import SCHEMA_VERSION, check_path, database_files, has_wal, real_path
from flowruns.sqlite.identity.ownership import set_aside
from flowruns.sqlite.identity.replacement import check_replaceable, remove_side_files, replace_database
from flowruns.sqlite.lockfile import locked
from flowruns.sqlite.open_file import open_exclusive, open_readonly
from flowruns.store import integrity, maintenance
from flowruns.terminal.output import write_lines
from flowruns.terminal.progress import Progress
from flowruns.terminal.text import plural

_EMPTY_COPY = "if this is a copy of a database that was served: it needs {name}-wal, too; copy with `flowruns backup`"


@click.command("backup", cls=Command, short_help="Copy the database, even while it is served.")
@click.argument("file", metavar="FILE")
@database_option()
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def backup_command(file: str, database: str, force: bool) -> None:
    """Copy the database to FILE, even while it is served. The copy has every write that was acknowledged before.

    \b
    flowruns backup runs-$(date +%F).db
    """  # noqa: D301  # click reads the escape
    target = real_path(file)
    check_path(target)
    if file in (MEMORY, "-"):
        raise click.UsageError(f"FILE cannot be {file}; name a file")
    if target in database_files(real_path(database)):
        raise click.UsageError("FILE is the database itself, or a part of it; name another file")
    if target.exists() and not force:
        raise click.UsageError(f"{file} exists; name another file, or replace it with --force")
    with (
        interruptible() as interrupts,
        open_readonly(database, older=True) as connection,
        write_errors(file),
        locked(target, f"pid {os.getpid()}, a backup"),  # FILE may be a database that is served
    ):
        if has_wal(target) and not target.exists():
            set_aside(target, "the database was removed")
        with atomic_write(target, force=force) as part, Progress("copying", "MB") as progress, interrupts.allowed():
            size = maintenance.backup(connection, part, progress.update)
        remove_side_files(target)  # of the file that was replaced
    write_lines([f"{file}: {megabytes(size)}"])


@click.command("restore", cls=Command, short_help="Put a backup in the place of the database.")
@click.argument("file", metavar="FILE")
@database_option()
def restore_command(file: str, database: str) -> None:
    """Put a copy of FILE, a backup, in the place of the database, and keep the replaced one beside it. FILE is checked
    first. Exit code 4: the database is being served.

    \b
    flowruns restore runs-2026-11-28.db -d runs.db
    """  # noqa: D301  # click reads the escape
    if MEMORY in (file, database) or file == "-":
        raise click.UsageError("a backup is a file, and so is the database that it replaces; name files")
    source, target = real_path(file), real_path(database)
    check_path(target)
    if source in database_files(target):
        raise click.UsageError("FILE is the database itself, or a part of it; name a backup")
    if source.exists() and not source.stat().st_size:
        raise DatabaseUnusable(f"{file} is empty; name a backup")
    with (
        interruptible() as interrupts,
        open_readonly(source, older=True) as connection,
        write_errors(database),
        locked(target, f"pid {os.getpid()}, a restore") as lock,
        part_file(target) as part,
    ):
        check_replaceable(target)
        with Progress("copying", "MB") as progress, interrupts.allowed():
            size = maintenance.backup(connection, part, progress.update)
        with open_readonly(part, older=True) as copy, Progress("checking") as progress, interrupts.allowed():
            result = integrity.check(copy, progress.update)
        if result.findings:
            raise DatabaseUnusable(f"{file} is damaged ({result.findings[0]}); {database} was not changed")
        kept = replace_database(target, part, lock.note)
    runs = f", {plural(result.runs, 'run')}" if result.schema == SCHEMA_VERSION else ""
    write_lines([f"{database}: restored from {file}, {megabytes(size)}{runs}"])
    if kept is not None:
        write_lines([f"{database}: the replaced database is now {kept.name}"])


@click.command("check", cls=Command, short_help="Check the database for damage.")
@database_option()
def check_command(database: str) -> None:
    """Check the database for damage: its pages, its schema, its counts, and each run. Exit code 5: it is damaged.

    A copy of a database that is being served has only a part of its runs if it was made by `cp` without the -wal file
    beside it: copy with `flowruns backup`.

    \b
    flowruns check -d runs.db
    """  # noqa: D301  # click reads the escape
    with (
        interruptible() as interrupts,
        open_readonly(database, older=True) as connection,
        Progress("checking") as progress,
        interrupts.allowed(),
    ):
        result = integrity.check(connection, progress.update)
    for finding in result.findings:
        write_lines([finding])
    if result.findings:
        raise DatabaseUnusable(f"{database} is damaged: restore it from a backup, or export the runs that can be read")
    if result.schema < SCHEMA_VERSION:
        write_lines([f"{database} is ok as far as can be checked: schema {result.schema} is of an older flowruns"])
    else:
        counts = f"{plural(result.runs, 'run')}, {result.deleted} deleted"
        write_lines([f"{database} is ok: {counts}, schema {result.schema}"])
        if not result.runs and not result.deleted:
            write_lines([_EMPTY_COPY.format(name=database)])


@click.command("prune", cls=Command, short_help="Delete runs that are older than an age.")
@database_option()
@click.option(
    "--older-than", required=True, type=AGE, help="Age by createdAt, such as 30d or 12h; units s, m, h, d, w."
)
@click.option(
    "--keep-failed", is_flag=True, help=f"Keep failed runs: phases such as {', '.join(maintenance.FAILED[:4])}."
)
@click.option("--dry-run", is_flag=True, help="Delete nothing; print the number of runs that would be deleted.")
def prune_command(database: str, older_than: float, keep_failed: bool, dry_run: bool) -> None:
    """Delete runs by their age: all of them, or none. Exit code 4: the database is being served.

    New runs use the space again; `flowruns vacuum` returns it to the disk.

    \b
    flowruns prune --older-than 30d --keep-failed --dry-run
    """  # noqa: D301  # click reads the escape
    now = datetime.now(UTC)
    try:
        before = now - timedelta(seconds=older_than)
    except OverflowError:
        raise click.UsageError("--older-than goes back beyond the year 1; give a shorter age") from None
    if dry_run:
        with interruptible() as interrupts, open_readonly(database) as connection, interrupts.allowed():
            result = maintenance.count_prunable(connection, before, keep_failed=keep_failed)
    else:
        with (
            interruptible() as interrupts,
            open_exclusive(database, holder=f"pid {os.getpid()}, a prune", warn=print_warning) as connection,
            Progress("pruning") as progress,
            interrupts.allowed(),
        ):
            commits = interrupts.too_late
            result = maintenance.prune(connection, before, progress.update, commits, keep_failed=keep_failed, now=now)
    kept = f", {plural(result.kept, 'failed run')} kept" if keep_failed else ""
    write_lines([f"{database}: {plural(result.deleted, 'run')} {'would be ' * dry_run}deleted{kept}"])


@click.command("vacuum", cls=Command, short_help="Shrink the database file.")
@database_option()
def vacuum_command(database: str) -> None:
    """Shrink the database file to its content. Exit code 4: the database is being served.

    The file still records which runs were deleted, so that clients that reconnect are notified.

    \b
    flowruns vacuum -d runs.db
    """  # noqa: D301  # click reads the escape
    with (
        interruptible() as interrupts,
        open_exclusive(database, holder=f"pid {os.getpid()}, a vacuum", warn=print_warning) as connection,
        Progress("vacuuming") as progress,
        interrupts.allowed(),
    ):
        before = maintenance.size(connection)
        maintenance.vacuum(connection, progress.update)
        after = maintenance.size(connection)
    write_lines([f"{database}: {megabytes(after)}, was {megabytes(before)}"])


def megabytes(size: int) -> str:
    """*size*, in bytes, as text in MB."""
    return f"{size / 1_000_000:,.1f} MB"
