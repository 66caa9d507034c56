"""Commands in a pseudo terminal."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import COMMAND, Process, started

posix = pytest.mark.skipif(os.name == "nt", reason="a pseudo terminal is of POSIX")


@contextmanager
def in_terminal(
    cwd: Path,
    *args: str,
    streams: Sequence[str] = ("stdout",),
    width: int = 80,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
) -> Iterator[tuple[Process, int]]:
    """A command whose *streams* are a terminal, *width* columns wide, and the descriptor of its other side."""
    import pty
    import termios

    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, width))
    ends: dict[str, Any] = dict.fromkeys(streams, terminal)
    try:
        with started(cwd, *args, env={"TERM": "xterm", **(env or {})}, command=command, **ends) as process:
            os.close(terminal)
            yield process, screen
    finally:
        os.close(screen)


def shown(screen: int) -> str:
    """All that is shown until the program ends."""
    data = b""
    try:
        while more := os.read(screen, 65536):
            data += more
    except OSError:  # on Linux, the program has ended
        pass
    return data.decode().replace("\r\n", "\n")
