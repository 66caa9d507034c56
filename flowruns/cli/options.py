"""The options of commands that ask for runs: whom they ask, and which runs."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from flowruns.cli.database_option import files
from flowruns.cli.inputs import token_lines
from flowruns.cli.param_types import OneOf
from flowruns.cli.sources import LocalSource
from flowruns.client.source import RunSource
from flowruns.client.transport import Transport, address
from flowruns.errors import ErrorDetail
from flowruns.model.filters import FILTERS, Filter, TagPair, parse_filters
from flowruns.model.runs import DateTime, FlowType, Identifier, Slug
from flowruns.settings import TOKEN

F = TypeVar("F", bound=Callable[..., Any])

_METAVARS = {Slug: "ID", int: "USER_ID", TagPair: "KEY:VALUE", Identifier: "WORD", DateTime: "TIME"}


def kebab(name: str) -> str:
    """*name*, of camelCase, as options are written."""
    return re.sub(r"([a-z])([A-Z])", lambda match: f"{match[1]}-{match[2].lower()}", name)


_SEVERAL = {DateTime: "", TagPair: " Repeatable: all of them."}  # else any of them

# `--flowId` is `--flow-id`: who knows the parameter of the API knows the option.
CAMEL_CASE = {"token_normalize_func": kebab}


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


def source_options(command: F) -> F:
    """*command* with the options that say whom it asks; `run_source` takes them."""
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


def run_source(database: str, url: str | None, token: str | None) -> RunSource:
    """The runs that the options of `asking` mean. Raises click.UsageError and DatabaseUnusable."""
    ctx = click.get_current_context()
    if token is not None:
        token = "".join(token_lines("--token", token)).strip()
        if not re.fullmatch(TOKEN, token):  # it is not repeated: it is a secret
            raise click.UsageError("--token: a token has no spaces")
    file_said = ctx.get_parameter_source("database") is ParameterSource.COMMANDLINE
    if url is None or (file_said and ctx.get_parameter_source("url") is not ParameterSource.COMMANDLINE):
        return LocalSource(database, token)
    if file_said:
        raise click.UsageError("--url and --database both say whom to ask: give one")
    return Transport(url, token)


def filter_options(command: F) -> F:
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


def filter_values(options: dict[str, Any]) -> dict[str, Any]:
    """The filters among the *options* of a command, as query parameters."""
    return {filter.name: list(options[filter.name]) for filter in FILTERS if options[filter.name]}


def filter_query(options: dict[str, Any]) -> list[tuple[str, str]]:
    """The filters among the *options* of a command, as a query has them."""
    return [(name, text) for name, texts in filter_values(options).items() for text in texts]


def _checked(filter: Filter) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[str, ...]]:
    def check(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        details: list[ErrorDetail] = []
        parse_filters([(filter.name, text) for text in value], details)
        if details:
            raise click.BadParameter("; ".join(detail.msg for detail in details), ctx, param)
        return value

    return check
