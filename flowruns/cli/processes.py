"""The commands about a server that runs: who it is, and its end."""

import click
from msgspec.json import encode

from flowruns.cli.database_option import DATABASE
from flowruns.server import sidecar
from flowruns.terminal.output import write_lines


@click.command("status")
@DATABASE
@click.option("--json", "as_json", is_flag=True, help="Write an object, for programs.")
def status_command(database: str, as_json: bool) -> int:
    """Say who serves DATABASE. Exit code 1: nobody does.

    \b
    flowruns status                       of flowruns.db
    flowruns status runs.db --json        for a program
    """  # noqa: D301  # click reads the escape
    found = sidecar.status(database)
    if as_json:
        write_lines([encode({"served": found is not None, **(found or {})}).decode()])
    elif found is None:
        write_lines([f"nobody serves {database}"])
    else:
        counted = f", {found['runs']} runs" if found["runs"] is not None else ""
        well = "" if found["answers"] else ", which does not answer"
        write_lines([f"{database} is served at {found['url']} (pid {found['pid']}{counted}){well}"])
    return 0 if found else 1


@click.command("stop")
@DATABASE
def stop_command(database: str) -> int:
    """End the flowruns that serves DATABASE, as Ctrl+C does. Exit code 1: nobody does, or it did not end.

    \b
    flowruns stop runs.db
    """  # noqa: D301  # click reads the escape
    stopped = sidecar.stop(database)
    write_lines([f"nobody serves {database}" if stopped is None else f"stopped {stopped.url} (pid {stopped.pid})"])
    return 0 if stopped else 1
