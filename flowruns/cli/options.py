"""The options of commands that ask for runs: whom they ask, and which runs."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from flowruns.errors import Fault
from flowruns.filters import FILTERS, Filter, TagPair, where
from flowruns.local import Local
from flowruns.models import FlowType, Instant, Slug, Word
from flowruns.parameters import files, token_lines
from flowruns.remote import Remote, Runs, address
from flowruns.settings import TOKEN

F = TypeVar("F", bound=Callable[..., Any])

_METAVARS = {Slug: "ID", int: "USER_ID", TagPair: "KEY:VALUE", Word: "WORD", Instant: "TIME"}


def kebab(name: str) -> str:
    """*name*, of camelCase, as options are written."""
    return re.sub(r"([a-z])([A-Z])", lambda match: f"{match[1]}-{match[2].lower()}", name)


_SEVERAL = {Instant: "", TagPair: " Repeatable: all of them."}  # else any of them

# `--flowId` is `--flow-id`: who knows the parameter of the API knows the option.
NORMAL = {"token_normalize_func": kebab}


class OneOf(click.Choice):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.2 on
    """One of some words, the nearest of which is named to who misspells it."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """*choice* as it is: it is a word of the API, not an option."""
        return str(choice)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value*, if it is one of them."""
        try:
            return str(super().convert(value, param, ctx))
        except click.BadParameter as error:
            near = get_close_matches(str(value), self.choices, 1)
            self.fail(error.message.rstrip(".") + "".join(f"; is it {word!r}?" for word in near), param, ctx)


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
        where([(filter.name, text) for text in value], faults)
        if faults:
            raise click.BadParameter("; ".join(fault.msg for fault in faults), ctx, param)
        return value

    return check
