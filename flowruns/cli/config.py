"""The command that shows the settings of `serve`, and where each is set."""

import re
from typing import Any

import click
from click.core import ParameterSource
from msgspec.json import encode

from flowruns.cli.inputs import TOKENS_VARIABLE, environment_tokens
from flowruns.cli.options.command import Command
from flowruns.cli.options.database import named_database
from flowruns.cli.serve import serve_command
from flowruns.terminal.output import write_lines

_MASK = "***"


def _show(as_json: bool, **values: Any) -> int:
    """Show each value that `serve` would use, and its origin: an option, an environment variable, or the default.

    Takes the options of `serve`. Tokens are masked.

    \b
    flowruns config                               with the current environment
    flowruns config runs.db --port 0 --json       with options, for a program
    """  # noqa: D301  # click reads the escape
    rows = [_row(param, values[str(param.name)]) for param in _PARAMS if param.expose_value]
    if as_json:
        write_lines([encode({name: {"value": value, "from": origin} for name, value, origin in rows})])
        return 0
    texts = [(name, _text(value), origin) for name, value, origin in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(2)]
    write_lines(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for name, value, origin in texts)
    return 0


def _row(param: click.Parameter, value: Any) -> tuple[str, Any, str]:
    """The name, value and origin of *param*."""
    name = max(param.opts, key=len).removeprefix("--")
    ctx = click.get_current_context()
    source = ctx.get_parameter_source(str(param.name))
    if name == "database" and value != (database := named_database(value, demo=ctx.params["demo"])):
        return name, database, "--demo"
    if name == "token":
        return _token_row(name, value)
    if isinstance(value, tuple):
        value = list(value)
    if source is ParameterSource.ENVIRONMENT:
        return name, value, str(param.envvar)
    return name, value, "default" if source is ParameterSource.DEFAULT else "command line"


def _token_row(name: str, options: tuple[str, ...]) -> tuple[str, list[str], str]:
    """The row of the tokens, which the command line and the environment may both give."""
    tokens = [(text, "command line") for text in options]
    tokens += [(text, TOKENS_VARIABLE) for text in environment_tokens()]
    origins = dict.fromkeys(origin for _, origin in tokens)
    return name, [_masked(text) for text, _ in tokens], ", ".join(origins) or "default"


def _masked(text: str) -> str:
    """*text* without its secret. The name of a file and a user id are no secrets."""
    if text.startswith("@") or text in ("-", "auto"):
        return text
    token, _, user = text.rpartition("=")
    if token == "auto":
        return text
    return f"{_MASK}={user}" if token and re.fullmatch(r"\s*\d{1,18}", user, re.ASCII) else _MASK


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    if value in (None, ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


_PARAMS = serve_command.params

config_command = Command(
    "config",
    params=[*_PARAMS, click.Option(["--json", "as_json"], is_flag=True, help="Write an object, for programs.")],
    callback=_show,
    help=_show.__doc__,
    short_help="Show the settings that `serve` would use.",
)
