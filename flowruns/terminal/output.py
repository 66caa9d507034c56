"""What commands write: lines for people on stderr, and what was asked for on stdout."""

import errno
import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

import click

from flowruns.errors import CannotWrite, one_line

_NOBODY_READS = (errno.EPIPE, errno.EINVAL, errno.ESHUTDOWN)  # EINVAL on Windows


def print_stderr(line: str) -> None:
    """Writes *line* to stderr at once; nobody need be listening."""
    with suppress(OSError):
        click.echo(one_line(line), err=True)


def print_stdout(line: str) -> None:
    """Writes *line* to stdout at once, for the program that started this one; nobody need be listening."""
    with suppress(OSError):
        click.echo(line)


def write_lines(lines: Iterable[str | bytes]) -> bool:
    """Whether somebody has read *lines* to the end. Each is written to stdout as it comes, text in the encoding of the
    terminal, bytes as they are. Raises CannotWrite.
    """
    for line in lines:
        try:
            click.echo(_encodable(line) if isinstance(line, str) else line)
        except OSError as error:
            stdout_failed(error)
            return False
    return True


def stdout_failed(error: OSError) -> None:
    """Nothing, if *error*, at a write to stdout, says that nobody reads any more. Raises CannotWrite."""
    _drop_stdout()
    if error.errno not in _NOBODY_READS:
        raise CannotWrite(f"standard output cannot be written: {error.strerror}") from None


def has_colour() -> bool:
    """Whether stdout shows colours, and may (no-color.org)."""
    return is_drawn(sys.stdout) and not os.environ.get("NO_COLOR")


def width() -> int | None:
    """How wide the terminal is that shows stdout; None: it is none."""
    return shutil.get_terminal_size().columns if _is_terminal(sys.stdout) else None


def is_drawn(stream: TextIO) -> bool:
    """Whether *stream* shows colours, and lines on it can be drawn anew."""
    return _is_terminal(stream) and os.environ.get("TERM") != "dumb"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


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
