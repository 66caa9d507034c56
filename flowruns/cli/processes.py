"""The commands about a running server: `status` and `stop`."""

import click
from click.core import ParameterSource
from msgspec.json import encode

from flowruns.cli.options.command import Command
from flowruns.cli.options.database import database_alias, database_argument
from flowruns.cli.options.types import URL
from flowruns.cli.sources import find_memory_server
from flowruns.errors import Failure
from flowruns.server import sidecar
from flowruns.server.registry import MemoryServer, memory_servers
from flowruns.settings import MEMORY
from flowruns.terminal.output import write_lines
from flowruns.terminal.text import plural

_URL = click.option("--url", type=URL, help="The address of a server in memory, instead of DATABASE.")


@click.command("status", cls=Command, short_help="Show the server that is running for DATABASE.")
@database_argument
@database_alias()
@_URL
@click.option("--json", "as_json", is_flag=True, help="Write an object, for programs.")
def status_command(database: str, url: str | None, as_json: bool) -> int:
    """Show the server that is running for DATABASE. Exit code 1: there is none.

    \b
    flowruns status                       of flowruns.db, or of a demo
    flowruns status runs.db --json        for a program
    """  # noqa: D301  # click reads the escape
    server = _memory_server(database, url)
    status = sidecar.status(str(server.path) if server else database)
    if server and status:
        database = MEMORY
        status = {**status, "database": MEMORY}
    if as_json:
        write_lines([encode({"served": status is not None, **(status or {})}).decode()])
    elif status is None:
        write_lines([f"no server is running for {database}"])
    else:
        runs = status["runs"]
        counted = f", {plural(runs, 'run')}" if isinstance(runs, int) else ""
        counted += ", read-only" * bool(status["read_only"])
        health = "" if status["answers"] else ", but does not respond"
        write_lines([f"{database} is served at {status['url']} (pid {status['pid']}{counted}){health}"])
    return 0 if status else 1


@click.command("stop", cls=Command, short_help="Stop the server that is running for DATABASE.")
@database_argument
@database_alias()
@_URL
def stop_command(database: str, url: str | None) -> int:
    """Stop the server that is running for DATABASE, as Ctrl+C does. Exit code 1: there is none, or it does not stop.

    \b
    flowruns stop runs.db
    """  # noqa: D301  # click reads the escape
    server = _memory_server(database, url)
    stopped = sidecar.stop(str(server.path) if server else database)
    if stopped is None:
        write_lines([f"no server is running for {database}"])
        return 1
    write_lines([f"stopped {stopped.url} (pid {stopped.pid})"])
    return 0


def _memory_server(database: str, url: str | None) -> MemoryServer | None:
    """The server in memory that the command means; None if it means that of the file *database*. Raises Failure if none
    is running at *url*, and click.UsageError.
    """
    if url is None:
        return find_memory_server(database)
    if click.get_current_context().get_parameter_source("database") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--url and DATABASE both name a server; give one of them")
    for server in memory_servers():
        if server.info.url == url.rstrip("/"):
            return server
    raise Failure(f"no server of yours is running in memory at {url}; for the server of a file, name the file")
