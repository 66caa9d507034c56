"""Options of several commands: the source of runs, and the filters of the API."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from flowruns.cli.options.command import Option
from flowruns.cli.options.database import database_option
from flowruns.cli.options.types import URL, OneOf
from flowruns.errors import ErrorDetail
from flowruns.model.filters import FILTERS, Filter, TagPair, parse_filters
from flowruns.model.runs import DateTime, FlowType, Identifier, Slug

F = TypeVar("F", bound=Callable[..., Any])

_METAVARS = {Slug: "ID", int: "USER_ID", TagPair: "KEY:VALUE", Identifier: "WORD", DateTime: "TIME"}

_NOTES = {DateTime: "; a date means its midnight in UTC.", TagPair: ". Repeatable: all of them."}

_SOURCE = "Server or file"


def kebab(name: str) -> str:
    """*name*, in camelCase, as the name of an option."""
    return re.sub(r"([a-z])([A-Z])", lambda match: f"{match[1]}-{match[2].lower()}", name)


# `--flowId` is `--flow-id`: the names of the API's parameters work as options.
CAMEL_CASE = {"token_normalize_func": kebab}


def source_options(
    command: F, database_help: str = "Use the server of this file, or the file itself if no server is running for it."
) -> F:
    """*command* with the options that `sources.run_source` and `run_server` take."""
    options = (
        database_option(_SOURCE, database_help),
        click.option(
            "--url", cls=Option, group=_SOURCE, type=URL, envvar="FLOWRUNS_URL",
            help="Use the server at this address.",
        ),
        click.option(
            "--token", cls=Option, group=_SOURCE, envvar="FLOWRUNS_TOKEN",
            help="The token to send, if the server requires one; @FILE reads it from a file, - from standard input.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def filter_options(command: F) -> F:
    """*command* with an option for each filter of the API, for `filter_values`."""
    for filter in reversed(FILTERS):
        command = click.option(
            f"--{kebab(filter.name)}",
            filter.name,
            cls=Option,
            group="Filters",
            multiple=True,
            type=OneOf([flow_type.value for flow_type in FlowType]) if filter.type is FlowType else str,
            metavar=_METAVARS.get(filter.type),
            callback=_filter_callback(filter),
            help=f"Only {filter.description}{_NOTES.get(filter.type, '. Repeatable: any of them.')}",
        )(command)
    return command


def filter_values(options: dict[str, Any]) -> dict[str, Any]:
    """The filters among the *options* of a command, as query parameters."""
    return {filter.name: list(options[filter.name]) for filter in FILTERS if options[filter.name]}


def _filter_callback(
    filter: Filter,
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[str, ...]]:
    def check(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        if filter.type is DateTime:
            value = tuple(map(_with_time, value))
        details: list[ErrorDetail] = []
        parse_filters([(filter.name, text) for text in value], details)
        if details:
            raise click.BadParameter("; ".join(detail.msg for detail in details), ctx, param)
        return value

    return check


def _with_time(text: str) -> str:
    """*text*; if it is a date, its midnight in UTC."""
    return f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else text
