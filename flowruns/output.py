"""What commands write: lines for people on stderr, and what was asked for on stdout."""

import errno
import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress

import click

from flowruns.errors import CannotWrite, one_line

_NOBODY_READS = (errno.EPIPE, errno.EINVAL, errno.ESHUTDOWN)  # EINVAL on Windows


def say(line: str) -> None:
    """Writes *line* to stderr at once; nobody need be listening."""
    with suppress(OSError):
        click.echo(one_line(line), err=True)


def tell(line: str) -> None:
    """Writes *line* to stdout at once, for whoever asked for it."""
    with suppress(OSError):
        click.echo(line)


def pour(lines: Iterable[str | bytes]) -> bool:
    """Whether somebody has read *lines* to the end. Each is written to stdout as it comes, text in the encoding of the
    terminal, bytes as they are. Raises CannotWrite.
    """
    for line in lines:
        try:
            click.echo(_encodable(line) if isinstance(line, str) else line)
        except OSError as error:
            _drop_stdout()
            if error.errno in _NOBODY_READS:
                return False
            raise CannotWrite(f"standard output cannot be written: {error.strerror}") from None
    return True


def has_colour() -> bool:
    """Whether stdout shows colours, and may (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """How wide the terminal is that shows stdout; None: it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _encodable(text: str) -> str:
    """*text*, with what the encoding of stdout does not have escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("\N{HORIZONTAL ELLIPSIS}", "~").encode(encoding, "backslashreplace").decode(encoding)
    return text


def _drop_stdout() -> None:
    """Has what stdout still holds written to nowhere: Python would fail over it at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
