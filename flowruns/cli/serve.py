"""The command `flowruns serve`."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import click
from msgspec.json import decode

from flowruns.cli.database_option import DATABASE, database_of
from flowruns.cli.inputs import open_input, read_tokens
from flowruns.cli.param_types import Address, Bytes, Host, Number, Origin, Seconds
from flowruns.settings import DEFAULTS, KIB, MEMORY, MIB, RUNS, Settings, is_loopback
from flowruns.terminal.output import print_stderr, print_stdout
from flowruns.version import __version__

_STOP_NOW_SECONDS = 1.0  # after which the end waits for no request any more: whoever asked is gone


@click.command("serve", short_help="Serve runs from DATABASE.")
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
def serve_command(
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

    from flowruns.http.logs import json_line, log_to_stderr
    from flowruns.server import sidecar
    from flowruns.server.running import RunningServer, serve

    data = "memory, gone at the end" if settings.database == MEMORY else os.path.expanduser(settings.database)

    def ready(server: RunningServer) -> None:
        if exit_with_stdin:
            Thread(target=at_end_of_stdin, args=(server.stop, server.stop_now), daemon=True).start()
        if ready_format == "json":
            print_stdout(sidecar.ready(server, settings.database))
        elif log_format == "json":
            print_stderr(
                json_line("info", f"serving {data} at {server.url}", url=server.url, database=data, runs=server.runs)
            )
        else:
            print_stderr(f"flowruns {__version__}  API   {server.url}{RUNS}")
            print_stderr(f"                page  {server.url}/ui/")
            print_stderr(f"                data  {data} ({server.runs} runs{', demo' * demo})      Ctrl+C to stop")
            if made:  # shown to a person, but not kept in a log
                print_stderr(f"                token {made if sys.stderr.isatty() else '(--ready json tells it)'}")

    def fault(line: str) -> None:
        print_stderr(json_line("error", line) if log_format == "json" else line)

    def start() -> None:
        with log_to_stderr(log_level.upper(), as_json=log_format == "json"):
            if not (seeds or demo):
                serve(settings, ready, secret=made)
                return
            from flowruns.server.seed import seeded
            from flowruns.store.transfer import ImportStopped

            with suppress(ImportStopped):  # before it served
                serve(settings, ready, secret=made, setup=seeded(inputs, fault, demo=demo))

    def told(line: str) -> None:
        if ready_format == "json":
            print_stdout(line)
        else:
            print_stderr(f"flowruns: {data} is served already: {decode(line)['url']}")

    with ExitStack() as stack:
        # Once, as a start may be tried again; they are read once the file is ours.
        inputs = [(name, stack.enter_context(open_input(name, spool=True))) for name in seeds]
        if reuse:
            sidecar.start_or_reuse(start, told, settings.database)
        else:
            start()


def at_end_of_stdin(stop: Callable[[], None], stop_now: Callable[[], None]) -> None:
    """Calls *stop* once whoever holds the other end of standard input has closed it, or was killed; then *stop_now*."""
    with suppress(OSError):  # it is closed here
        while os.read(0, 65536):  # not sys.stdin, whose lock the interpreter wants at its end
            pass
    stop()
    time.sleep(
        _STOP_NOW_SECONDS
    )  # nothing tells this thread that requests have finished; the process may end meanwhile
    stop_now()
