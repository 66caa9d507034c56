"""Output of commands: messages on stderr, results on stdout."""

import errno
import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

import click

from flowruns.errors import CannotWrite, one_line

_CLOSED = (errno.EPIPE, errno.EINVAL, errno.ESHUTDOWN)  # EINVAL on Windows


def print_stderr(line: str) -> None:
    """Writes *line* to stderr at once; ignores errors, as of a closed pipe."""
    with suppress(OSError):
        click.echo(one_line(line), err=True)


def print_stdout(line: str) -> None:
    """Writes *line* to stdout at once, for the program that started this one; ignores errors, as of a closed pipe."""
    with suppress(OSError):
        click.echo(line)


def write_lines(lines: Iterable[str | bytes]) -> bool:
    """Writes each of *lines* to stdout: text in the encoding of the terminal, bytes unchanged. Returns False if the
    reader closed the pipe. Raises CannotWrite.
    """
    for line in lines:
        try:
            click.echo(_encodable(line) if isinstance(line, str) else line)
        except OSError as error:
            stdout_failed(error)
            return False
    return True


def stdout_failed(error: OSError) -> None:
    """Handles the *error* of a write to stdout: ignores a closed pipe, else raises CannotWrite."""
    _drop_stdout()
    if error.errno not in _CLOSED:
        raise CannotWrite(f"standard output cannot be written: {error.strerror}") from None


def has_colour() -> bool:
    """Whether stdout is a terminal with colours, and NO_COLOR is not set (no-color.org)."""
    return can_redraw(sys.stdout) and not os.environ.get("NO_COLOR")


def width() -> int | None:
    """The columns of the terminal of stdout; None if it is no terminal."""
    return shutil.get_terminal_size().columns if _is_terminal(sys.stdout) else None


def can_redraw(stream: TextIO) -> bool:
    """Whether *stream* is a terminal that shows colours and can redraw a line."""
    return _is_terminal(stream) and os.environ.get("TERM") != "dumb"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # the stream is None, or closed
        return False


def _encodable(text: str) -> str:
    """*text* with the characters escaped that the encoding of stdout lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("\N{HORIZONTAL ELLIPSIS}", "~").encode(encoding, "backslashreplace").decode(encoding)
    return text


def _drop_stdout() -> None:
    """Redirects stdout to the null device: at exit, Python would fail to flush its buffer."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
