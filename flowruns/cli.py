"""The command line: argv and environment to `Settings`, then start (contract, "The command line")."""

import math
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from flowruns import __version__
from flowruns.errors import CannotStart, DatabaseInUse, DatabaseUnusable, PortTaken, one_line
from flowruns.settings import DEFAULTS, KIB, MEMORY, MIB, Settings

EXIT_CODES: dict[type[CannotStart], int] = {PortTaken: 3, DatabaseInUse: 4, DatabaseUnusable: 5}


class Main(click.Group):
    """A group whose usual command need not be named."""

    usual = "serve"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the usual command before arguments that begin with no other."""
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h", "--version")):
            args = [self.usual, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the usual command's options too."""
        self.commands[self.usual].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


class Bytes(click.ParamType[int]):
    """A size: a number of bytes, or of KiB, MiB or GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes of *value*."""
        match = re.fullmatch(r"(\d{1,15})\s*(?:([KMG])(?:iB)?|B)?", str(value), re.ASCII | re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size: give bytes, or for example 8MiB", param, ctx)
        return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[(match[2] or "").upper()]


class Seconds(click.FloatRange):
    """A number of seconds, up to an hour."""

    def __init__(self) -> None:
        super().__init__(0, 3600)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds of *value*."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


class Host(click.ParamType[str]):
    """A host's name or address, as it stands in a Host header."""

    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value*, if it can be one."""
        if not re.fullmatch(r"[^\s/@]+", value):
            self.fail(f"{value!r} is not a host: give a name or an address, for example runs.example", param, ctx)
        return str(value)


class Origin(click.ParamType[str]):
    """A web origin, as browsers write it."""

    name = "origin"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value*, if it is one."""
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s?#]+", value.lower()):
            self.fail(f"{value!r} is not an origin: give for example https://portal.example", param, ctx)
        return str(value.lower())


@click.group(cls=Main, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """The self-service action runs API in one small process on one SQLite file.

    \b
    flowruns                      serve flowruns.db at http://127.0.0.1:8000
    flowruns runs.db --port 0     serve another file at a free port
    flowruns :memory:             keep nothing
    """  # noqa: D301  # click reads the escape


@cli.command()
@click.argument("database", default="flowruns.db", envvar="FLOWRUNS_DATABASE")
@click.option("--host", default="127.0.0.1", show_default=True, envvar="FLOWRUNS_HOST", help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), envvar="FLOWRUNS_PORT",
    help="Port to listen on; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--token", "tokens", multiple=True, metavar="TOKEN=USER_ID",
    help="Serve only callers with this token, as this user; @FILE reads them from a file, one a line, - from standard"
    " input. Repeatable. [env var: FLOWRUNS_TOKENS, separated by commas]",
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
    "--max-connections", default=DEFAULTS.max_connections, show_default=True, type=click.IntRange(1),
    envvar="FLOWRUNS_MAX_CONNECTIONS", help="Beyond it, those that are silent longest make room.",
)  # fmt: skip
@click.option(
    "--max-streams", default=DEFAULTS.max_streams, show_default=True, type=click.IntRange(0),
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
def serve(log_level: str, tokens: tuple[str, ...], anonymous: bool, exit_with_stdin: bool, **options: Any) -> None:
    """Serve runs from DATABASE: a file, made if there is none (default flowruns.db), or :memory:.

    Each option can be given in the environment as FLOWRUNS_ and its name. Exit codes: 0 ended, 2 usage, 3 port,
    4 database in use by another flowruns, 5 database unusable or newer.
    """
    for repeatable in ("allow_hosts", "cors_origins"):
        options[repeatable] = frozenset(options[repeatable])
    if exit_with_stdin and "-" in tokens:
        raise click.UsageError("--exit-with-stdin and --token - both want standard input; give tokens as @FILE")
    settings = Settings(tokens=read_tokens(tokens), **options)
    if not (settings.tokens or anonymous or is_loopback(settings.host)):
        raise click.UsageError(
            f"--host {settings.host} lets others in: name who with --token TOKEN=USER_ID, or say --anonymous"
        )
    # Here, so that --help and mistakes answer at once.
    from threading import Thread

    from flowruns.logs import to_stderr
    from flowruns.server import Running, serve

    def ready(server: Running) -> None:
        if exit_with_stdin:
            Thread(target=at_end_of_stdin, args=(server.stop,), daemon=True).start()
        data = "memory, gone at the end" if settings.database == MEMORY else Path(settings.database).expanduser()
        say(f"flowruns {__version__}  API   {server.url}/api/v1/flow-runs")
        say(f"                data  {data} ({server.runs} runs)      Ctrl+C to stop")

    with to_stderr(log_level.upper()):
        serve(settings, ready)


def at_end_of_stdin(function: Callable[[], None]) -> None:
    """Calls *function* once whoever holds the other end of standard input has closed it, or was killed."""
    with suppress(OSError):  # it is closed here
        while os.read(0, 65536):  # not sys.stdin, whose lock the interpreter wants at its end
            pass
    function()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_tokens(given: tuple[str, ...]) -> dict[str, int]:
    """The user id of each token, from options and the environment. Raises click.UsageError."""
    lines = [line for text in given for line in _token_lines("--token", text)]
    if environment := os.environ.get("FLOWRUNS_TOKENS"):
        lines += _some("FLOWRUNS_TOKENS", environment.split(","))
    tokens: dict[str, int] = {}
    for line in filter(None, map(str.strip, lines)):
        token, _, user = line.rpartition("=")
        # The line is not repeated: it may hold a secret.
        if not token.strip() or len(token.split()) > 1 or not re.fullmatch(r"\d{1,18}", user.strip(), re.ASCII):
            raise click.UsageError("a token should be TOKEN=USER_ID, where USER_ID is a number")
        if tokens.setdefault(token.strip(), int(user)) != int(user):
            raise click.UsageError("a token belongs to two users")
    return tokens


def _token_lines(option: str, text: str) -> list[str]:
    """The lines that one *option* stands for."""
    if text == "-":
        return _some(option, sys.stdin.read().splitlines())
    if not text.startswith("@"):
        return _some(option, [text])
    try:
        lines = Path(text[1:]).expanduser().read_text(encoding="utf-8").splitlines()
        return _some(option, [line for line in lines if not line.startswith("#")])
    except OSError as error:
        raise click.UsageError(f"{option} @FILE: cannot read the file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{option} @FILE: the file is not UTF-8") from None


def _some(source: str, lines: list[str]) -> list[str]:
    """*lines*, unless there is nothing in them: that is a mistake, not an open door."""
    if not any(map(str.strip, lines)):
        raise click.UsageError(f"{source}: there is no token in it; give TOKEN=USER_ID")
    return lines


def say(line: str) -> None:
    """Writes *line* to stderr at once; nobody need be listening."""
    with suppress(OSError):
        click.echo(one_line(line), err=True)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    try:
        return cli.main(argv, prog_name="flowruns", standalone_mode=False) or 0
    except CannotStart as error:
        say(f"flowruns: {error}")
        return EXIT_CODES[type(error)]
    except click.UsageError as error:
        say(f"flowruns: {error.format_message().rstrip('.')} (see `flowruns --help`)")
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
