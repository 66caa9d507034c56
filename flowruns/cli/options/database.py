"""The database of a command: the argument DATABASE, or the option `-d`."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from flowruns.cli.options.command import Option
from flowruns.settings import MEMORY

F = TypeVar("F", bound=Callable[..., Any])

_FROM_OPTION = "flowruns.database"  # in `ctx.meta`: the value of `-d`, for the argument DATABASE

DEFAULT_COMMAND = "flowruns.default"  # in `ctx.meta`: true if no command was named

_DEFAULT = "flowruns.db"

_FILE = click.Path(readable=False)  # for completion alone: opening the file reports errors


def named_database(database: str, *, demo: bool) -> str:
    """The database that `serve` uses: *database*, or memory for a demo without a named database."""
    return MEMORY if demo and not is_named("database") else database


def is_named(param: str) -> bool:
    """Whether the command line or the environment gives a value for *param*."""
    return click.get_current_context().get_parameter_source(param) is not ParameterSource.DEFAULT


def check_database_name(word: str, ctx: click.Context) -> None:
    """Raises click.UsageError if *word*, where no command was named, looks more like a command than like a file."""
    if word == MEMORY or os.path.exists(word) or any(char in word for char in (".", "/", os.sep)) or not word:
        return
    raise click.UsageError(
        f"there is no command and no file {word!r}; to make a database, give a name such as {word}.db,"
        f" or run `flowruns serve {word}`",
        ctx,
    )


def _option_callback(ctx: click.Context, param: click.Parameter, value: str) -> None:
    given = ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
    ctx.meta[_FROM_OPTION] = value if given else None


def _argument_callback(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The value of `-d`, if it is given, else *value*: options are parsed before arguments."""
    given = ctx.get_parameter_source("database") is ParameterSource.COMMANDLINE
    option: str | None = ctx.meta.get(_FROM_OPTION)
    if option is not None:
        if given:
            raise click.UsageError("the database is named twice; give DATABASE or -d", ctx)
        ctx.set_parameter_source("database", ParameterSource.COMMANDLINE)
        return option
    if given and ctx.meta.get(DEFAULT_COMMAND) and not ctx.resilient_parsing:
        check_database_name(value, ctx)
    return value


def database_argument(command: F) -> F:
    """*command* with the argument DATABASE, which `-d` can give too."""
    return click.argument(
        "database", default=_DEFAULT, envvar="FLOWRUNS_DATABASE", type=_FILE, callback=_argument_callback,
    )(command)  # fmt: skip


def database_alias(group: str = "Options") -> Callable[[F], F]:
    """The option `-d`, for a command with the argument DATABASE."""
    return click.option(
        "--database", "-d", "database_option", cls=Option, group=group, metavar="FILE", expose_value=False,
        callback=_option_callback, type=_FILE, envvar="FLOWRUNS_DATABASE", default=_DEFAULT,
        show_default=True, help="The same as DATABASE.",
    )  # fmt: skip


def database_option(group: str = "Options", help: str = "The database file.") -> Callable[[F], F]:
    """The option `-d`, for a command whose arguments are something else."""
    return click.option(
        "-d", "--database", cls=Option, group=group, default=_DEFAULT, show_default=True, metavar="FILE",
        envvar="FLOWRUNS_DATABASE", type=_FILE, help=help,
    )  # fmt: skip
