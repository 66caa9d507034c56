"""The command line: argv and environment to `Settings`, then start (contract, "The command line")."""

import errno
import os
import re
import sys
from itertools import pairwise
from typing import Any

import click

from flowruns.cli.database_option import files
from flowruns.cli.serve import serve_command
from flowruns.errors import DatabaseInUse, DatabaseUnusable, Failure, InputRefused, PortTaken, Refused, Unreachable
from flowruns.terminal.output import print_stderr, print_stdout, stdout_failed
from flowruns.version import __version__

EXIT_CODES: dict[type[Failure], int] = {
    PortTaken: 3,
    Unreachable: 3,
    DatabaseInUse: 4,
    DatabaseUnusable: 5,
    InputRefused: 6,
    Refused: 7,
}


# The other commands, each with the module that has it as a click command of that name: a start imports none of them.
LAZY_COMMANDS = {
    "ls": "runs",
    "get": "runs",
    "tail": "runs",
    "rm": "runs",
    "import": "data",
    "export": "data",
    "backup": "data",
    "check": "data",
    "prune": "data",
    "vacuum": "data",
    "status": "processes",
    "stop": "processes",
    "config": "config",
    "docs": "docs",
}

# What people type who mean one of the commands.
ALIASES = {
    "list": "ls", "show": "get", "cat": "get", "follow": "tail", "watch": "tail", "logs": "tail", "delete": "rm",
    "remove": "rm", "start": "serve", "run": "serve", "kill": "stop", "version": "--version", "help": "--help",
}  # fmt: skip

_NAME = "flowruns"

_NEAR = 0.75  # as difflib measures it: "lss" is near "ls", "runs" is near nothing


class Main(click.Group):
    """A group whose default_command command need not be named."""

    default_command = "serve"

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, the default_command one first."""
        return [self.default_command, *LAZY_COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that *name*."""
        if name in LAZY_COMMANDS:
            from importlib import import_module

            found: click.Command = getattr(import_module(f"flowruns.cli.{LAZY_COMMANDS[name]}"), f"{name}_command")
            return found
        return super().get_command(ctx, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the default_command command before arguments that begin with no other."""
        completing = ctx.resilient_parsing
        if not (args or completing) or args and args[0] not in (*self.list_commands(ctx), "--help", "-h", "--version"):
            if args and not completing:
                self._check_word(args[0], ctx)
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """What may come first: a command, or an option or the DATABASE of the default_command one."""
        default_command = self.commands[self.default_command]
        found = [*super().shell_complete(ctx, incomplete), *default_command.shell_complete(ctx, incomplete)]
        if not incomplete.startswith("-"):
            found += files(ctx, default_command.params[0], incomplete)
        return list({(item.type, item.value): item for item in found}.values())

    def _check_word(self, word: str, ctx: click.Context) -> None:
        """Nothing, unless *word* looks like a misspelt command and is no file's name. Raises click.UsageError."""
        from difflib import get_close_matches

        if re.fullmatch(r"[A-Za-z]+", word) and not os.path.exists(word):
            near = get_close_matches(word.lower(), self.list_commands(ctx), 1, _NEAR)
            if meant := ALIASES.get(word.lower(), *near):
                raise click.UsageError(
                    f"there is no command {word!r}; is it `flowruns {meant}`? A database of that name is made by"
                    f" `flowruns serve {word}`",
                    ctx,
                )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the default_command command's options too."""
        self.commands[self.default_command].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=Main, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """The self-service action runs API in one small process on one SQLite file.

    \b
    flowruns                      serve flowruns.db at http://127.0.0.1:8000
    flowruns runs.db --port 0     serve another file at a free port
    flowruns :memory:             keep nothing
    """  # noqa: D301  # click reads the escape


cli.add_command(serve_command)


def main(argv: list[str] | None = None) -> int:
    """RunSource the command line; returns its exit code."""
    given = sys.argv[1:] if argv is None else argv
    try:
        _check_text(given)
        return _run(given)
    except Failure as error:
        code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
        return _failed(code, str(error), given)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else _NAME
        return _failed(2, f"{error.format_message().rstrip('.')} (see `{path} --help`)", given)
    except (click.Abort, KeyboardInterrupt):
        return 130


def _check_text(given: list[str]) -> None:
    """Nothing, if the arguments *given*, and our environment, can be told to anybody. Raises click.UsageError."""
    named = [(f"argument {number}", text) for number, text in enumerate(given, 1)]
    named += [(name, text) for name, text in os.environ.items() if name.startswith("FLOWRUNS_")]
    for name, text in named:
        try:
            text.encode()
        except UnicodeEncodeError:  # it is not repeated: it may hold a secret
            raise click.UsageError(f"{name} is not UTF-8; where it is, set PYTHONUTF8=1") from None


def _run(given: list[str]) -> int:
    try:
        return cli.main(given, prog_name=_NAME, standalone_mode=False) or 0
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        stdout_failed(error)  # of click's own writes, as those of --help
        return 0


def _failed(code: int, message: str, given: list[str]) -> int:
    """*code*, once the reason is told, in the forms that *given* asks for, however wrong the rest of it is."""
    if _form("--ready", given) == "json":
        from flowruns.server.sidecar import failed

        print_stdout(failed(code, message))
    if _form("--log", given) == "json":
        from flowruns.http.logs import json_line

        print_stderr(json_line("error", message, code=code))
    else:
        print_stderr(f"flowruns: {message}")
    return code


def _form(option: str, given: list[str]) -> str | None:
    """What *option* says in the arguments *given*, or its environment variable."""
    said = [text.partition("=")[2] for text in given if text.startswith(f"{option}=")]
    said += [text for name, text in pairwise(given) if name == option]
    return said[-1] if said else os.environ.get(f"FLOWRUNS_{option[2:].upper()}")
