"""The database that a command is given: as an argument, or as the option `-d`."""

from typing import Any

import click
from click.core import ParameterSource

from flowruns.settings import MEMORY


def database_of(given: str, *, demo: bool) -> str:
    """The database that `serve` is told: a demonstration keeps nothing, unless one is named."""
    named = click.get_current_context().get_parameter_source("database") is not ParameterSource.DEFAULT
    return MEMORY if demo and not named else given


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """What a shell shall complete: the names of files."""
    from click.shell_completion import CompletionItem  # only then

    return [CompletionItem(incomplete, type="file")]


DATABASE = click.argument("database", default="flowruns.db", envvar="FLOWRUNS_DATABASE", shell_complete=files)

# An option where the argument is another file, or none: one form for all commands on what is in the file.
DATABASE_OPTION = click.option(
    "-d", "--database", default="flowruns.db", show_default=True, metavar="FILE", envvar="FLOWRUNS_DATABASE",
    shell_complete=files, help="The file of the runs.",
)  # fmt: skip
