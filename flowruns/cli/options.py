"""The options of commands that ask for runs: whom they ask, and which runs."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from flowruns.cli.inputs import token_lines
from flowruns.cli.param_types import OneOf
from flowruns.cli.sources import Local
from flowruns.client.source import Runs
from flowruns.client.transport import Remote, address
from flowruns.errors import Fault
from flowruns.model.filters import FILTERS, Filter, TagPair, parse_filters
from flowruns.model.runs import FlowType, Instant, Slug, Word
from flowruns.settings import TOKEN

F = TypeVar("F", bound=Callable[..., Any])

_METAVARS = {Slug: "ID", int: "USER_ID", TagPair: "KEY:VALUE", Word: "WORD", Instant: "TIME"}


def kebab(name: str) -> str:
    """*name*, of camelCase, as options are written."""
    return re.sub(r"([a-z])([A-Z])", lambda match: f"{match[1]}-{match[2].lower()}", name)


_SEVERAL = {Instant: "", TagPair: " Repeatable: all of them."}  # else any of them

# `--flowId` is `--flow-id`: who knows the parameter of the API knows the option.
NORMAL = {"token_normalize_func": kebab}


class Url(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """The address of a server."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value*, if it is one."""
        try:
            address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


def asking(command: F) -> F:
    """*command* with the options that say whom it asks; `runs_of` takes them."""
    options = (
        click.option(
            "-d", "--database", default="flowruns.db", show_default=True, metavar="FILE", envvar="FLOWRUNS_DATABASE",
            shell_complete=files, help="Ask the server that has this file, or the file itself if none has.",
        ),
        click.option("--url", type=Url(), envvar="FLOWRUNS_URL", help="Ask the server at this address."),
        click.option(
            "--token", envvar="FLOWRUNS_TOKEN",
            help="The caller's, where the server wants one; @FILE reads it from a file, - from standard input.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def runs_of(database: str, url: str | None, token: str | None) -> Runs:
    """The runs that the options of `asking` mean. Raises click.UsageError and DatabaseUnusable."""
    ctx = click.get_current_context()
    if token is not None:
        token = "".join(token_lines("--token", token)).strip()
        if not re.fullmatch(TOKEN, token):  # it is not repeated: it is a secret
            raise click.UsageError("--token: a token has no spaces")
    file_said = ctx.get_parameter_source("database") is ParameterSource.COMMANDLINE
    if url is None or (file_said and ctx.get_parameter_source("url") is not ParameterSource.COMMANDLINE):
        return Local(database, token)
    if file_said:
        raise click.UsageError("--url and --database both say whom to ask: give one")
    return Remote(url, token)


def filtering(command: F) -> F:
    """*command* with an option for each filter of the API; `chosen` takes them."""
    for filter in reversed(FILTERS):
        several = _SEVERAL.get(filter.type, " Repeatable: any of them.")
        command = click.option(
            f"--{kebab(filter.name)}",
            filter.name,
            multiple=True,
            type=OneOf([one.value for one in FlowType]) if filter.type is FlowType else str,
            metavar=_METAVARS.get(filter.type),
            callback=_checked(filter),
            help=f"Only {filter.meaning}.{several}",
        )(command)
    return command


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """The filters among the *options* of a command, as query parameters."""
    return {filter.name: list(options[filter.name]) for filter in FILTERS if options[filter.name]}


def query_of(options: dict[str, Any]) -> list[tuple[str, str]]:
    """The filters among the *options* of a command, as a query has them."""
    return [(name, text) for name, texts in chosen(options).items() for text in texts]


def _checked(filter: Filter) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[str, ...]]:
    def check(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        faults: list[Fault] = []
        parse_filters([(filter.name, text) for text in value], faults)
        if faults:
            raise click.BadParameter("; ".join(fault.msg for fault in faults), ctx, param)
        return value

    return check
