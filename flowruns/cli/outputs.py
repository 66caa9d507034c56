"""Files that commands write, and interrupts that leave nothing half done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import click

from flowruns.errors import CannotWrite
from flowruns.server.signals import Interrupts, handled_signals
from flowruns.sqlite.atomic_files import atomic_write
from flowruns.sqlite.datafile import database_files, real_path
from flowruns.terminal.output import print_stderr


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """While entered, signals such as Ctrl+C wait until they are allowed. Then raises click.Abort, and reports that
    nothing was changed.
    """
    interrupts = Interrupts()
    with handled_signals(interrupts.receive):
        try:
            yield interrupts
        except KeyboardInterrupt:
            print_stderr("flowruns: interrupted; nothing was changed")
            raise click.Abort from None


def print_warning(line: str) -> None:
    """Writes *line* to stderr, like an error of a command."""
    print_stderr(f"flowruns: {line}")


@contextmanager
def output_file(name: str, database: str) -> Iterator[int]:
    """The descriptor that the file *name* is written through: in full, or the file stays as it was. Raises CannotWrite,
    and click.UsageError if it is a file of *database*.
    """
    file = real_path(name)
    if file in database_files(real_path(database)):
        raise click.UsageError("--output is the database itself, or a part of it; name another file")
    special = file.exists() and not file.is_file()  # such as a pipe, which must not be replaced
    with write_errors(name), nullcontext(file) if special else atomic_write(file, force=True) as part:
        handle = os.open(part, os.O_WRONLY | getattr(os, "O_BINARY", 0))  # Windows would write other line ends
        try:
            yield handle
        finally:
            os.close(handle)


@contextmanager
def write_errors(name: str) -> Iterator[None]:
    """While entered, an OSError becomes a CannotWrite for the file *name*."""
    try:
        yield
    except FileExistsError:
        raise CannotWrite(f"{name} exists by now; name another file, or replace it with --force") from None
    except OSError as error:
        raise CannotWrite(f"{name} cannot be written: {error.strerror}") from None


def write_all(handle: int, data: bytes) -> None:
    """Writes all of *data*; a pipe may take a part at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
