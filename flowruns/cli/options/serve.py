"""The options of `flowruns serve`, in the groups of its help."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from flowruns.cli.inputs import environment_tokens
from flowruns.cli.options.command import Option
from flowruns.cli.options.database import database_alias, database_argument
from flowruns.cli.options.types import ADDRESS, FRAME_ANCESTOR, HOST, ORIGIN, PREFIX, PROXY, SECONDS, SIZE, Number, Port
from flowruns.settings import DEFAULTS, KIB, MIB

F = TypeVar("F", bound=Callable[..., Any])

_LISTEN, _DATA, _LIMITS, _ACCESS, _LOGS = (
    partial(click.option, cls=Option, group=group)
    for group in ("Listen", "Data", "Limits", "Tokens and access", "Logs and readiness")
)

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _LISTEN(
        "--host", default=DEFAULTS.host, show_default=True, type=ADDRESS, envvar="FLOWRUNS_HOST",
        help="Address to listen on; localhost is 127.0.0.1 and ::1.",
    ),
    _LISTEN(
        "--port", default=DEFAULTS.port, show_default=True, type=Port(), envvar="FLOWRUNS_PORT",
        help="Port to listen on; 0 takes a free one.",
    ),
    _LISTEN(
        "--uds", type=click.Path(), metavar="PATH", envvar="FLOWRUNS_UDS",
        help="Listen on a Unix socket at this path instead, to which only your user can connect.",
    ),
    database_alias(group="Data"),
    _DATA(
        "--lock-timeout", default=DEFAULTS.lock_timeout, show_default=True, type=SECONDS, metavar="SECONDS",
        envvar="FLOWRUNS_LOCK_TIMEOUT", help="Seconds that a write waits for another program's lock on the file.",
    ),
    _DATA(
        "--synchronous", default=DEFAULTS.synchronous, show_default=True, type=click.Choice(["full", "normal"]),
        envvar="FLOWRUNS_SYNCHRONOUS",
        help="full: a write is on the disk before it is acknowledged; normal: soon after.",
    ),
    _DATA(
        "--seed", "seeds", multiple=True, metavar="FILE", type=click.Path(allow_dash=True), envvar="FLOWRUNS_SEED",
        help="Start with the runs of this file, in the format of `flowruns import`; - for standard input. Repeatable.",
    ),
    _DATA(
        "--demo", is_flag=True, envvar="FLOWRUNS_DEMO",
        help="Start with sample runs of the last days, some of which go on; in :memory: unless a database is named.",
    ),
    _DATA(
        "--play", "script", metavar="SCRIPT", type=click.Path(), envvar="FLOWRUNS_PLAY",
        help="Play new runs from this script, as `flowruns play` does.",
    ),
    _LIMITS(
        "--max-body", default=f"{DEFAULTS.max_body // MIB}MiB", show_default=True, type=SIZE,
        envvar="FLOWRUNS_MAX_BODY", help="Maximum size of a request body.",
    ),
    _LIMITS(
        "--max-connections", default=DEFAULTS.max_connections, show_default=True, type=Number(1),
        envvar="FLOWRUNS_MAX_CONNECTIONS", help="Open connections; over the limit, those idle longest are closed.",
    ),
    _LIMITS(
        "--max-streams", default=DEFAULTS.max_streams, show_default=True, type=Number(0),
        envvar="FLOWRUNS_MAX_STREAMS", help="Open streams of changes, at most half of the connections.",
    ),
    _LIMITS(
        "--max-head", default=f"{DEFAULTS.max_head // KIB}KiB", show_default=True, type=SIZE,
        envvar="FLOWRUNS_MAX_HEAD", help="Maximum size of a request's line and headers.",
    ),
    _LIMITS(
        "--head-timeout", default=DEFAULTS.head_timeout, show_default=True, type=SECONDS, metavar="SECONDS",
        envvar="FLOWRUNS_HEAD_TIMEOUT", help="Seconds to receive a request's headers.",
    ),
    _LIMITS(
        "--body-timeout", default=DEFAULTS.body_timeout, show_default=True, type=SECONDS, metavar="SECONDS",
        envvar="FLOWRUNS_BODY_TIMEOUT", help="Seconds that a request body may pause.",
    ),
    _LIMITS(
        "--idle-timeout", default=DEFAULTS.idle_timeout, show_default=True, type=SECONDS, metavar="SECONDS",
        envvar="FLOWRUNS_IDLE_TIMEOUT", help="Seconds that an idle connection stays open.",
    ),
    _ACCESS(
        "--token", "tokens", multiple=True, metavar="TOKEN=USER_ID",
        help="Serve only callers with this token, as the user with this number: secret=1. @FILE reads tokens from a"
        " file, one a line; - reads them from standard input; auto makes one. Repeatable.  [env var: FLOWRUNS_TOKENS,"
        " separated by commas]",
    ),
    _ACCESS(
        "--anonymous", is_flag=True, envvar="FLOWRUNS_ANONYMOUS",
        help="Serve callers without a token even if --host is not loopback.",
    ),
    _ACCESS(
        "--allow-host", "allow_hosts", multiple=True, type=HOST, envvar="FLOWRUNS_ALLOW_HOST",
        help="Serve requests with this Host header too, besides loopback and --host; * allows any. Repeatable.",
    ),
    _ACCESS(
        "--cors-origin", "cors_origins", multiple=True, type=ORIGIN,
        envvar="FLOWRUNS_CORS_ORIGIN", help="Let web pages of this origin use the API. Repeatable.",
    ),
    _ACCESS(
        "--frame-ancestors", multiple=True, type=FRAME_ANCESTOR,
        envvar="FLOWRUNS_FRAME_ANCESTORS", help="Let web pages of this origin show the page in a frame. Repeatable.",
    ),
    _ACCESS(
        "--forwarded-allow-ips", multiple=True, type=PROXY,
        envvar="FLOWRUNS_FORWARDED_ALLOW_IPS",
        help="Heed X-Forwarded-Proto, -Host and -Prefix from a proxy at this address or in this network; * for all."
        " Repeatable.",
    ),
    _ACCESS(
        "--root-path", default="", type=PREFIX, envvar="FLOWRUNS_ROOT_PATH",
        help="The prefix that a proxy removes from paths, for example /portal.",
    ),
    _LOGS(
        "--log-level", default="warning", show_default=True, envvar="FLOWRUNS_LOG_LEVEL",
        type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
        help="info logs each request, on stderr.",
    ),
    _LOGS(
        "--log", "log_format", default="text", show_default=True, type=click.Choice(["text", "json"]),
        envvar="FLOWRUNS_LOG", help="json writes each line on stderr as an object.",
    ),
    _LOGS(
        "--ready", "ready_format", default="text", show_default=True, type=click.Choice(["text", "json"]),
        envvar="FLOWRUNS_READY",
        help="json writes one line to stdout when the server is ready, or when it cannot start.",
    ),
    _LOGS(
        "--reuse", is_flag=True, envvar="FLOWRUNS_REUSE",
        help="If another flowruns serves DATABASE, print its address, as --ready does, and exit.",
    ),
    _LOGS(
        "--exit-with-stdin", is_flag=True, envvar="FLOWRUNS_EXIT_WITH_STDIN",
        help="Stop at the end of standard input: when the program that holds its other end closes it or ends.",
    ),
)  # fmt: skip


def ignored_by_reuse(*, has_token: bool) -> list[str]:
    """The options of this start, on the command line or in the environment, that a server which was running before does
    not heed. One that *has_token* does what `--token auto` asks for, and any port is as good as `--port 0`.
    """
    ctx = click.get_current_context()
    met = {"database", "ready_format", "reuse", "exit_with_stdin"}  # they are about this start
    if ctx.params["port"] == 0:
        met.add("port")
    tokens = environment_tokens()
    if has_token and {*ctx.params["tokens"], *tokens} <= {"auto", ""}:
        met.add("tokens")
    given = {
        str(param.name): max(param.opts, key=len)
        for param in ctx.command.params
        if param.expose_value and ctx.get_parameter_source(str(param.name)) is not ParameterSource.DEFAULT
    }
    if tokens:
        given["tokens"] = "--token"
    return [option for name, option in given.items() if name not in met]


def serve_options(command: F) -> F:
    """*command* with the argument DATABASE and all options of `serve`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return database_argument(command)
