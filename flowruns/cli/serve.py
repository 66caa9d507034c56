"""The command `flowruns serve`."""

import gc
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from shlex import quote
from typing import Any

import click
from click.core import ParameterSource
from msgspec.json import decode

from flowruns.cli.inputs import decoded, open_input, read_tokens
from flowruns.cli.options.command import Command
from flowruns.cli.options.database import named_database
from flowruns.cli.options.serve import ignored_by_reuse, serve_options
from flowruns.errors import PortTaken
from flowruns.settings import MEMORY, RUNS, Settings, is_loopback
from flowruns.terminal.output import print_stderr, print_stdout
from flowruns.terminal.text import plural
from flowruns.version import __version__

_STDIN = 0

_STOP_NOW_SECONDS = 1.0  # that requests in flight may take, once the program that sent them is gone


@click.command("serve", cls=Command, short_help="Serve runs from DATABASE (the default command).")
@serve_options
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
    script: str | None,
    **options: Any,
) -> None:
    """Serve runs from DATABASE: a file, made if there is none (default flowruns.db), or :memory:.

    \b
    flowruns serve runs.db --port 0              a free port
    flowruns serve --token auto --ready json     for a program that starts it
    flowruns serve --host 0.0.0.0 --token @FILE  for other machines, with tokens
    flowruns serve --seed runs.ndjson :memory:   with runs from a file

    Each option can be set by its environment variable. Exit codes: 0 stopped, 2 usage, 3 port, 4 database in use by
    another flowruns, 5 database unusable or newer, 6 invalid line in --seed or --play.
    """  # noqa: D301  # click reads the escape
    if exit_with_stdin and "-" in tokens:
        raise click.UsageError("--exit-with-stdin and --token - both read standard input; give tokens as @FILE")
    if "-" in seeds and (exit_with_stdin or "-" in tokens):
        raise click.UsageError("--seed - reads standard input, which another option reads too; name a file")
    if script == "-":
        raise click.UsageError("--play - names no file, and a server reads no script from standard input; name a file")
    if exit_with_stdin and not stdin_has_other_end():
        raise click.UsageError(
            "--exit-with-stdin needs a pipe as standard input, which stays open until the server should stop; this is"
            " none, as with `</dev/null`: start flowruns with a pipe, or leave out the option"
        )
    options["database"] = named_database(options["database"], demo=demo)
    users, made_token = read_tokens(tokens)
    _check_access(bool(users or anonymous), **options)
    settings = Settings(tokens=users, anonymous=anonymous, **options)
    # Imported here, so that --help and usage errors are fast.
    from threading import Thread

    from flowruns.http.logs import json_line, log_to_stderr
    from flowruns.server import sidecar
    from flowruns.server.memory import map_large_blocks
    from flowruns.server.registry import registered
    from flowruns.server.starting import RunningServer, serve
    from flowruns.sqlite.datafile import real_path
    from flowruns.sqlite.lockfile import lock_info

    data = "memory, gone at the end" if settings.database == MEMORY else os.path.expanduser(settings.database)

    def print_ready(server: RunningServer) -> None:
        if ready_format == "json":
            print_stdout(sidecar.ready_line(server.lock_info, settings.database, reused=False))
        elif log_format == "json":
            print_stderr(
                json_line("info", f"serving {data} at {server.url}", url=server.url, database=data, runs=server.runs)
            )
        else:
            at, page = ("  ", "through a proxy, at ") if settings.uds else ("", server.url)
            print_stderr(f"flowruns {__version__}  API   {server.url}{at}{RUNS}")
            print_stderr(f"                page  {page}/ui/")
            print_stderr(
                f"                data  {data} ({plural(server.runs, 'run')}{', demo' * demo})      Ctrl+C to stop"
            )
            if made_token:
                shown = made_token if sys.stderr.isatty() else _hidden(settings.database)
                print_stderr(f"                token {shown}")

    def print_error(line: str) -> None:
        print_stderr(json_line("error", line) if log_format == "json" else line)

    def print_warning(line: str) -> None:
        print_stderr(json_line("warning", line) if log_format == "json" else f"flowruns: {line}")

    def start() -> None:
        def ready(server: RunningServer) -> None:
            if exit_with_stdin:
                Thread(target=stop_at_end_of_stdin, args=(server.stop, server.stop_now), daemon=True).start()
            if settings.database == MEMORY:
                stack.enter_context(registered(server.lock_info))
            print_ready(server)

        map_large_blocks()
        with log_to_stderr(log_level.upper(), as_json=log_format == "json"), ExitStack() as stack:
            gc.freeze()  # a full garbage collection does not look at all modules, which takes 10 ms
            stack.callback(gc.unfreeze)
            if not (seeds or scripts):
                serve(settings, ready, secret=made_token)
                return
            from flowruns.server.seed import seed_setup
            from flowruns.store.transfer import ImportStopped

            setup = seed_setup(inputs, print_error, scripts=scripts)
            with suppress(ImportStopped):  # a signal arrived before the server was ready
                serve(settings, ready, secret=made_token, setup=setup)

    def print_reused(line: str) -> None:
        if ready_format == "json":
            print_stdout(line)
        else:
            print_stderr(f"flowruns: {data} is already served at {decode(line)['url']}")
        if ignored := ignored_by_reuse(has_token=decode(line)["token"] is not None):
            print_warning(f"--reuse: the server that is running keeps its options; ignored here: {', '.join(ignored)}")

    scripts = []
    if script is not None or demo:
        from flowruns.cli.scripts import read_script

        scripts += [read_script(None, "demo")[1]] * demo
        scripts += [] if script is None else [read_script(script)[1]]
    with ExitStack() as opened:
        # Opened once, as a start may be tried again; read once the database is locked.
        files = [(name, opened.enter_context(open_input(name, spool=True))) for name in seeds]
        inputs = [(name, decoded(name, file)) for name, file in files]
        if reuse and settings.database != MEMORY:  # which is never shared
            sidecar.start_or_reuse(start, print_reused, settings.database)
            return
        try:
            start()
        except PortTaken as error:
            info = None if settings.database == MEMORY else lock_info(real_path(settings.database))
            if info is None:
                raise
            reason = str(error).partition(";")[0]
            raise PortTaken(f"{reason}; flowruns is already running for {data} at {info.url}") from None


def _check_access(has_access: bool, host: str, uds: str | None, cors_origins: tuple[str, ...], **others: Any) -> None:
    """Raises click.UsageError if anybody could use the server without that being asked for."""
    sources = [click.get_current_context().get_parameter_source(name) for name in ("host", "port")]
    if uds is not None and ParameterSource.COMMANDLINE in sources:
        raise click.UsageError("--uds listens on a Unix socket, --host and --port on an address; give one of them")
    if has_access:
        return
    if uds is None and not is_loopback(host):
        raise click.UsageError(
            f"--host {host} is open to other machines: set --token TOKEN=USER_ID (as in secret=1), or --anonymous"
        )
    if "null" in cors_origins:
        reason = "any web page can make a frame with this origin"
        raise click.UsageError(
            f"--cors-origin null: {reason}; set --token TOKEN=USER_ID (as in secret=1), or --anonymous"
        )


def _hidden(database: str) -> str:
    """What is printed for the token of *database* if stderr may be a log file: how to learn it."""
    if database == MEMORY:
        return "(not in a log; give --ready json, which prints it, or --token TOKEN=USER_ID)"
    return f"(not in a log; `flowruns {quote(database)} --token auto --reuse --ready json` prints it)"


def stdin_has_other_end() -> bool:
    """Whether standard input is a pipe, a socket or a terminal. A file has ended before anybody can use the server, and
    so has /dev/null.
    """
    try:
        mode = os.fstat(_STDIN).st_mode
    except OSError:  # it is closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(_STDIN)


def stop_at_end_of_stdin(stop: Callable[[], None], stop_now: Callable[[], None]) -> None:
    """Calls *stop*, then *stop_now*, at the end of standard input: its other end was closed, or its program killed."""
    with suppress(OSError):  # its terminal is gone
        while os.read(_STDIN, 65536):  # not sys.stdin, whose lock the interpreter needs when it exits
            pass
    stop()
    time.sleep(_STOP_NOW_SECONDS)  # no event reports that requests have finished; the process may exit meanwhile
    stop_now()
