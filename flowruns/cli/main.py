"""The command line (`flowruns/docs/cli.md`): finds the command, and turns its errors into messages and exit codes."""

import errno
import os
import re
import sys
from itertools import pairwise
from typing import Any

import click

from flowruns.cli.options.database import DEFAULT_COMMAND, check_database_name
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

# The sections of `flowruns --help`: each command, with the module of flowruns.cli that has it as NAME_command.
COMMAND_GROUPS = {
    "Serve": {"serve": "serve"},
    "Runs": {"ls": "runs", "get": "runs", "tail": "runs", "rm": "runs", "play": "play"},
    "Data": {
        "import": "import_export",
        "export": "import_export",
        "backup": "maintenance",
        "restore": "maintenance",
        "check": "maintenance",
        "prune": "maintenance",
        "vacuum": "maintenance",
    },
    "Server": {"status": "processes", "stop": "processes", "config": "config"},
    "Documentation": {"docs": "docs"},
}

# A start imports the module of no other command than `serve`.
LAZY_COMMANDS = {name: module for group in COMMAND_GROUPS.values() for name, module in group.items() if name != "serve"}

# Other names that people try, and the command or option for each.
ALIASES = {
    "list": "ls", "show": "get", "cat": "get", "follow": "tail", "watch": "tail", "logs": "tail", "delete": "rm",
    "remove": "rm", "start": "serve", "run": "serve", "kill": "stop", "version": "--version", "help": "--help",
}  # fmt: skip

_NAME = "flowruns"

_MIN_SIMILARITY = 0.75  # of difflib: "lss" is similar to "ls", "runs" to no command


class Main(click.Group):
    """The group of all commands. Arguments that name no command are those of the default command."""

    default_command = "serve"

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of the help."""
        return [self.default_command, *LAZY_COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command *name*; imports its module."""
        if name in LAZY_COMMANDS:
            from importlib import import_module

            command: click.Command = getattr(import_module(f"flowruns.cli.{LAZY_COMMANDS[name]}"), f"{name}_command")
            return command
        return super().get_command(ctx, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses *args*, after the default command if they name none. Raises click.UsageError."""
        completing = ctx.resilient_parsing
        if not (args or completing) or args and args[0] not in (*self.list_commands(ctx), "--help", "-h", "--version"):
            if args and not completing and not args[0].startswith("-"):
                self._check_first(args[0], ctx)
            ctx.meta[DEFAULT_COMMAND] = "--" not in args
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """The completions of the first argument: commands, and the options and the DATABASE of the default command."""
        default_command = self.commands[self.default_command]
        items = [*super().shell_complete(ctx, incomplete), *default_command.shell_complete(ctx, incomplete)]
        if not incomplete.startswith("-"):
            items += default_command.params[0].shell_complete(ctx, incomplete)
        return list({(item.type, item.value): item for item in items}.values())

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the usage line."""
        formatter.write_usage(ctx.command_path, "[COMMAND] [ARGS]...")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands in groups, then the options."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes one section for each group of commands."""
        width = max(map(len, self.list_commands(ctx)))
        for title, names in COMMAND_GROUPS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name.ljust(width), command.get_short_help_str(80)) for name, command in commands if command]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _check_first(self, word: str, ctx: click.Context) -> None:
        """Raises click.UsageError if *word* looks like a command and is the name of no file."""
        from difflib import get_close_matches

        if re.fullmatch(r"[A-Za-z]+", word) and not os.path.exists(word):
            similar = get_close_matches(word.lower(), self.list_commands(ctx), 1, _MIN_SIMILARITY)
            if command := ALIASES.get(word.lower(), *similar):
                raise click.UsageError(
                    f"there is no command {word!r}; did you mean `flowruns {command}`? To make a database of that"
                    f" name, run `flowruns serve {word}`",
                    ctx,
                )
        check_database_name(word, ctx)


@click.group(
    cls=Main,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a COMMAND, flowruns runs `serve`; `flowruns serve --help` shows its options.",
)
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """The self-service action runs API in one small process on one SQLite file.

    \b
    flowruns                      serve flowruns.db at http://127.0.0.1:8000
    flowruns --demo               serve sample runs, and keep nothing
    flowruns runs.db --port 0     serve another file at a free port
    flowruns :memory:             keep nothing
    """  # noqa: D301  # click reads the escape


cli.add_command(serve_command)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line *argv*, by default that of the process, and returns the exit code."""
    args = sys.argv[1:] if argv is None else argv
    try:
        _check_encoding(args)
        return _run(args)
    except Failure as error:
        code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
        return _failed(code, str(error), args)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else _NAME
        return _failed(2, f"{error.format_message().rstrip('.')} (see `{path} --help`)", args)
    except (click.Abort, KeyboardInterrupt):
        return 130


def _check_encoding(args: list[str]) -> None:
    """Raises click.UsageError unless *args* and our environment variables can be printed as UTF-8."""
    texts = [(f"argument {number}", text) for number, text in enumerate(args, 1)]
    texts += [(name, text) for name, text in os.environ.items() if name.startswith("FLOWRUNS_")]
    for name, text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:  # the message does not repeat it: it may hold a secret
            raise click.UsageError(f"{name} is not UTF-8; if it should be, set PYTHONUTF8=1") from None


def _run(args: list[str]) -> int:
    try:
        return cli.main(args, prog_name=_NAME, standalone_mode=False) or 0
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        stdout_failed(error)  # in a write of click's own, such as --help
        return 0


def _failed(code: int, message: str, args: list[str]) -> int:
    """Prints *message* in the formats that *args* select, even if the rest of *args* is wrong; returns *code*."""
    if _option("--ready", args) == "json":
        from flowruns.server.sidecar import failed

        print_stdout(failed(code, message))
    if _option("--log", args) == "json":
        from flowruns.http.logs import json_line

        print_stderr(json_line("error", message, code=code))
    else:
        print_stderr(f"flowruns: {message}")
    return code


def _option(name: str, args: list[str]) -> str | None:
    """The value of the option *name* in *args*, else of its environment variable."""
    values = [text.partition("=")[2] for text in args if text.startswith(f"{name}=")]
    values += [value for option, value in pairwise(args) if option == name]
    return values[-1] if values else os.environ.get(f"FLOWRUNS_{name[2:].upper()}")
