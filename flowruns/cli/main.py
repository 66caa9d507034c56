"""The command line: argv and environment to `Settings`, then start (contract, "The command line")."""

import errno
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Any

import click
from msgspec.json import decode

from flowruns import __version__
from flowruns.errors import DatabaseInUse, DatabaseUnusable, Failure, InputRefused, PortTaken, Refused, Unreachable
from flowruns.output import no_reader, say, tell
from flowruns.parameters import (
    DATABASE,
    Address,
    Bytes,
    Host,
    Number,
    Origin,
    Seconds,
    database_of,
    files,
    open_input,
    read_tokens,
)
from flowruns.settings import DEFAULTS, KIB, MEMORY, MIB, RUNS, Settings, is_loopback

_HURRY_SECONDS = 1.0  # after which the end waits for no request any more: whoever asked is gone
EXIT_CODES: dict[type[Failure], int] = {
    PortTaken: 3,
    Unreachable: 3,
    DatabaseInUse: 4,
    DatabaseUnusable: 5,
    InputRefused: 6,
    Refused: 7,
}


# The other commands, each with the module that has it as a click command of that name: a start imports none of them.
ELSEWHERE = {
    "ls": "terminal",
    "get": "terminal",
    "tail": "terminal",
    "rm": "terminal",
    "import": "data_commands",
    "export": "data_commands",
    "backup": "data_commands",
    "check": "data_commands",
    "prune": "data_commands",
    "vacuum": "data_commands",
    "status": "control",
    "stop": "control",
    "config": "config",
}
# What people type who mean one of the commands.
MEANT = {
    "list": "ls", "show": "get", "cat": "get", "follow": "tail", "watch": "tail", "logs": "tail", "delete": "rm",
    "remove": "rm", "start": "serve", "run": "serve", "kill": "stop", "version": "--version", "help": "--help",
}  # fmt: skip
_NAME = "flowruns"
_NEAR = 0.75  # as difflib measures it: "lss" is near "ls", "runs" is near nothing


class Main(click.Group):
    """A group whose usual command need not be named."""

    usual = "serve"

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, the usual one first."""
        return [self.usual, *ELSEWHERE]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that *name*."""
        if name in ELSEWHERE:
            from importlib import import_module

            found: click.Command = getattr(import_module(f"flowruns.{ELSEWHERE[name]}"), f"{name}_command")
            return found
        return super().get_command(ctx, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the usual command before arguments that begin with no other."""
        completing = ctx.resilient_parsing
        if not (args or completing) or args and args[0] not in (*self.list_commands(ctx), "--help", "-h", "--version"):
            if args and not completing:
                self._check_word(args[0], ctx)
            args = [self.usual, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """What may come first: a command, or an option or the DATABASE of the usual one."""
        usual = self.commands[self.usual]
        found = [*super().shell_complete(ctx, incomplete), *usual.shell_complete(ctx, incomplete)]
        if not incomplete.startswith("-"):
            found += files(ctx, usual.params[0], incomplete)
        return list({(item.type, item.value): item for item in found}.values())

    def _check_word(self, word: str, ctx: click.Context) -> None:
        """Nothing, unless *word* looks like a misspelt command and is no file's name. Raises click.UsageError."""
        from difflib import get_close_matches

        if re.fullmatch(r"[A-Za-z]+", word) and not os.path.exists(word):
            near = get_close_matches(word.lower(), self.list_commands(ctx), 1, _NEAR)
            if meant := MEANT.get(word.lower(), *near):
                raise click.UsageError(
                    f"there is no command {word!r}; is it `flowruns {meant}`? A database of that name is made by"
                    f" `flowruns serve {word}`",
                    ctx,
                )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the usual command's options too."""
        self.commands[self.usual].format_options(ctx, formatter)
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


@cli.command(short_help="Serve runs from DATABASE.")
@DATABASE
@click.option(
    "--host", default="127.0.0.1", show_default=True, type=Address(), envvar="FLOWRUNS_HOST",
    help="Address to listen on.",
)  # fmt: skip
@click.option(
    "--port", default=8000, show_default=True, type=Number(0, 65535), envvar="FLOWRUNS_PORT",
    help="Port to listen on; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--token", "tokens", multiple=True, metavar="TOKEN=USER_ID",
    help="Serve only callers with this token, as this user; @FILE reads them from a file, one a line, - from standard"
    " input; auto makes one. Repeatable. [env var: FLOWRUNS_TOKENS, separated by commas]",
)  # fmt: skip
@click.option(
    "--anonymous", is_flag=True, envvar="FLOWRUNS_ANONYMOUS",
    help="Serve callers without a token, even if --host lets others in.",
)  # fmt: skip
@click.option(
    "--max-body", default=f"{DEFAULTS.max_body // MIB}MiB", show_default=True, type=Bytes(),
    envvar="FLOWRUNS_MAX_BODY", help="Largest body of a request.",
)  # fmt: skip
@click.option(
    "--lock-timeout", default=5.0, show_default=True, type=Seconds(), envvar="FLOWRUNS_LOCK_TIMEOUT",
    help="Seconds that a write waits for another program's lock on the file.",
)  # fmt: skip
@click.option(
    "--synchronous", default=DEFAULTS.synchronous, show_default=True, type=click.Choice(["full", "normal"]),
    envvar="FLOWRUNS_SYNCHRONOUS", help="full: a write is on the disk before it is acknowledged; normal: soon after.",
)  # fmt: skip
@click.option(
    "--max-connections", default=DEFAULTS.max_connections, show_default=True, type=Number(1),
    envvar="FLOWRUNS_MAX_CONNECTIONS", help="Beyond it, those that are silent longest make room.",
)  # fmt: skip
@click.option(
    "--max-streams", default=DEFAULTS.max_streams, show_default=True, type=Number(0),
    envvar="FLOWRUNS_MAX_STREAMS", help="Streams of changes at once; at most half of --max-connections.",
)  # fmt: skip
@click.option(
    "--max-head", default=f"{DEFAULTS.max_head // KIB}KiB", show_default=True, type=Bytes(),
    envvar="FLOWRUNS_MAX_HEAD", help="Largest head of a request: its line and headers.",
)  # fmt: skip
@click.option(
    "--head-timeout", default=DEFAULTS.head_timeout, show_default=True, type=Seconds(),
    envvar="FLOWRUNS_HEAD_TIMEOUT", help="Seconds that the head of a request may take.",
)  # fmt: skip
@click.option(
    "--body-timeout", default=DEFAULTS.body_timeout, show_default=True, type=Seconds(),
    envvar="FLOWRUNS_BODY_TIMEOUT", help="Seconds that the body of a request may pause.",
)  # fmt: skip
@click.option(
    "--idle-timeout", default=DEFAULTS.idle_timeout, show_default=True, type=Seconds(),
    envvar="FLOWRUNS_IDLE_TIMEOUT", help="Seconds that a connection may wait for its next request.",
)  # fmt: skip
@click.option(
    "--exit-with-stdin", is_flag=True, envvar="FLOWRUNS_EXIT_WITH_STDIN",
    help="End when standard input does: when the program that holds its other end closes it, or is gone.",
)  # fmt: skip
@click.option(
    "--allow-host", "allow_hosts", multiple=True, type=Host(), envvar="FLOWRUNS_ALLOW_HOST",
    help="Serve requests for this Host too, beside loopback and --host; * for any. Repeatable.",
)  # fmt: skip
@click.option(
    "--cors-origin", "cors_origins", multiple=True, type=Origin(), envvar="FLOWRUNS_CORS_ORIGIN",
    help="Let web pages of this origin use the API. Repeatable.",
)  # fmt: skip
@click.option(
    "--log-level", default="warning", show_default=True, envvar="FLOWRUNS_LOG_LEVEL",
    type=click.Choice(["debug", "info", "warning", "error"]), help="info logs each request, on stderr.",
)  # fmt: skip
@click.option(
    "--log", "log_format", default="text", show_default=True, type=click.Choice(["text", "json"]),
    envvar="FLOWRUNS_LOG", help="json makes each line on stderr an object.",
)  # fmt: skip
@click.option(
    "--ready", "ready_format", default="text", show_default=True, type=click.Choice(["text", "json"]),
    envvar="FLOWRUNS_READY", help="json writes one line to stdout once requests are served, or why they are not.",
)  # fmt: skip
@click.option(
    "--reuse", is_flag=True, envvar="FLOWRUNS_REUSE",
    help="Where another flowruns serves DATABASE, say where, as --ready does, and end.",
)  # fmt: skip
@click.option(
    "--seed", "seeds", multiple=True, metavar="FILE", type=click.Path(allow_dash=True), envvar="FLOWRUNS_SEED",
    help="Begin with the runs of this file, as `flowruns import` reads it; - for standard input. Repeatable.",
)  # fmt: skip
@click.option(
    "--demo", is_flag=True, envvar="FLOWRUNS_DEMO",
    help="Begin with a sample of real runs, some of which go on while you watch; in :memory: unless DATABASE is named.",
)  # fmt: skip
def serve(
    log_level: str,
    log_format: str,
    ready_format: str,
    reuse: bool,
    tokens: tuple[str, ...],
    anonymous: bool,
    exit_with_stdin: bool,
    seeds: tuple[str, ...],
    demo: bool,
    **options: Any,
) -> None:
    """Serve runs from DATABASE: a file, made if there is none (default flowruns.db), or :memory:.

    Each option can be given in the environment as FLOWRUNS_ and its name. Exit codes: 0 ended, 2 usage, 3 port,
    4 database in use by another flowruns, 5 database unusable or newer, 6 a line of --seed refused.
    """
    if exit_with_stdin and "-" in tokens:
        raise click.UsageError("--exit-with-stdin and --token - both want standard input; give tokens as @FILE")
    if "-" in seeds and (exit_with_stdin or "-" in tokens):
        raise click.UsageError("--seed - wants standard input for itself; name a file")
    options["database"] = database_of(options["database"], demo=demo)
    users, made = read_tokens(tokens)
    if not (users or anonymous or is_loopback(options["host"])):
        raise click.UsageError(
            f"--host {options['host']} lets others in: name who with --token TOKEN=USER_ID, or say --anonymous"
        )
    settings = Settings(tokens=users, anonymous=anonymous, **options)
    # Here, so that --help and mistakes answer at once.
    from threading import Thread

    from flowruns import sidecar
    from flowruns.logs import json_line, to_stderr
    from flowruns.server import Running, serve

    data = "memory, gone at the end" if settings.database == MEMORY else os.path.expanduser(settings.database)

    def ready(server: Running) -> None:
        if exit_with_stdin:
            Thread(target=at_end_of_stdin, args=(server.stop, server.hurry), daemon=True).start()
        if ready_format == "json":
            tell(sidecar.ready(server, settings.database))
        elif log_format == "json":
            say(json_line("info", f"serving {data} at {server.url}", url=server.url, database=data, runs=server.runs))
        else:
            say(f"flowruns {__version__}  API   {server.url}{RUNS}")
            say(f"                page  {server.url}/ui/")
            say(f"                data  {data} ({server.runs} runs{', demo' * demo})      Ctrl+C to stop")
            if made:  # shown to a person, but not kept in a log
                say(f"                token {made if sys.stderr.isatty() else '(--ready json tells it)'}")

    def fault(line: str) -> None:
        say(json_line("error", line) if log_format == "json" else line)

    def start() -> None:
        with to_stderr(log_level.upper(), as_json=log_format == "json"):
            if not (seeds or demo):
                serve(settings, ready, secret=made)
                return
            from flowruns.seeding import seeded
            from flowruns.transfer import Stopped

            with suppress(Stopped):  # before it served
                serve(settings, ready, secret=made, around=seeded(inputs, fault, demo=demo))

    def told(line: str) -> None:
        if ready_format == "json":
            tell(line)
        else:
            say(f"flowruns: {data} is served already: {decode(line)['url']}")

    with ExitStack() as stack:
        # Once, as a start may be tried again; they are read once the file is ours.
        inputs = [(name, stack.enter_context(open_input(name, spool=True))) for name in seeds]
        if reuse:
            sidecar.start_or_reuse(start, told, settings.database)
        else:
            start()


def at_end_of_stdin(stop: Callable[[], None], hurry: Callable[[], None]) -> None:
    """Calls *stop* once whoever holds the other end of standard input has closed it, or was killed; then *hurry*."""
    with suppress(OSError):  # it is closed here
        while os.read(0, 65536):  # not sys.stdin, whose lock the interpreter wants at its end
            pass
    stop()
    time.sleep(_HURRY_SECONDS)  # nothing tells this thread that requests have finished; the process may end meanwhile
    hurry()


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
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
        no_reader(error)  # of click's own writes, as those of --help
        return 0


def _failed(code: int, message: str, given: list[str]) -> int:
    """*code*, once the reason is told, in the forms that *given* asks for, however wrong the rest of it is."""
    if _form("--ready", given) == "json":
        from flowruns.sidecar import failed

        tell(failed(code, message))
    if _form("--log", given) == "json":
        from flowruns.logs import json_line

        say(json_line("error", message, code=code))
    else:
        say(f"flowruns: {message}")
    return code


def _form(option: str, given: list[str]) -> str | None:
    """What *option* says in the arguments *given*, or its environment variable."""
    said = [text.partition("=")[2] for text in given if text.startswith(f"{option}=")]
    said += [text for name, text in pairwise(given) if name == option]
    return said[-1] if said else os.environ.get(f"FLOWRUNS_{option[2:].upper()}")
