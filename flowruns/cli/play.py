"""The command `flowruns play`."""

import asyncio
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import Any

import click

from flowruns.cli.options.command import Command
from flowruns.cli.options.runs import source_options
from flowruns.cli.options.types import SPEED
from flowruns.cli.scripts import EXAMPLES, read_script
from flowruns.cli.sources import run_server
from flowruns.errors import one_line
from flowruns.terminal.output import print_stderr, write_lines


@click.command("play", cls=Command, short_help="Play runs from a script, as an agent does.")
@click.argument("script", required=False, type=click.Path(allow_dash=True))
@click.option("--example", type=click.Choice(EXAMPLES), help="Play a script that comes with flowruns.")
@click.option("--show", is_flag=True, help="Print the script, and play nothing.")
@click.option(
    "--speed", default=1.0, show_default=True, metavar="FACTOR", type=SPEED,
    help="Play faster: 10 takes a tenth of the time.",
)  # fmt: skip
@click.option(
    "--seed", default=0, show_default=True, metavar="NUMBER", type=int,
    help="Make other choices: a run with the same id goes the same way with the same seed.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Stop when no run is left to play.")
@partial(source_options, database_help="Use the server of this file.")
def play_command(
    script: str | None, example: str | None, show: bool, speed: float, seed: int, once: bool, **options: Any
) -> None:
    """Play the runs of a server that the rules of SCRIPT fit, as an agent does: new runs, and runs that an earlier call
    with the same seed has not ended. It goes on until Ctrl+C. `flowruns docs scripts` describes scripts.

    \b
    flowruns play deploy.toml                    at the server of flowruns.db
    flowruns play --example deploy --speed 10    a script of flowruns
    flowruns play --example deploy --show        print it, to start your own

    Exit codes: 3 no server responds, 6 mistakes in SCRIPT; each is printed with its line.
    """  # noqa: D301  # click reads the escape
    if (script is None) == (example is None):
        raise click.UsageError(f"name one script: a file, or --example with one of {', '.join(EXAMPLES)}")
    if script == options["token"] == "-":
        raise click.UsageError("SCRIPT and --token - both read standard input; give the token as @FILE")
    text, rules = read_script(script, example)
    if show:
        write_lines(text.splitlines())
        return
    url, token = run_server(options["database"], options["url"], options["token"])
    from flowruns.client.async_client import AsyncClient  # with httpx
    from flowruns.player.remote import play_async

    def report(id: str, line: str) -> None:
        if id:
            if not write_lines([one_line(f"{id}  {line}")]):
                raise BrokenPipeError  # ends the player
        else:
            print_stderr(f"flowruns: {line}")

    async def play() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task

        def stop(*_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: the player has stopped
                loop.call_soon_threadsafe(task.cancel)

        signal.signal(signal.SIGINT, stop)
        async with AsyncClient(url, token) as client:
            await play_async(rules, client, once=once, seed=seed, speed=speed, report=report)

    # asyncio's own handler raises KeyboardInterrupt at the second Ctrl+C, in the middle of anything.
    before = signal.getsignal(signal.SIGINT)
    try:
        asyncio.run(play())
    except BrokenPipeError:  # the reader has what it wants, as `head` does
        return
    except asyncio.CancelledError:
        print_stderr("flowruns: stopped; the runs stay as they are, and the same command goes on with them")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, before)
