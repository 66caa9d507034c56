"""What commands write: lines for people on stderr, and what was asked for on stdout."""

from contextlib import suppress

import click

from flowruns.errors import one_line


def say(line: str) -> None:
    """Writes *line* to stderr at once; nobody need be listening."""
    with suppress(OSError):
        click.echo(one_line(line), err=True)


def tell(line: str) -> None:
    """Writes *line* to stdout at once, for whoever asked for it."""
    with suppress(OSError):
        click.echo(line)
