"""The commands about runs: see them, follow them, delete them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
from msgspec.json import decode, encode

from flowruns.cli.options import CAMEL_CASE, filter_options, filter_values, run_source, source_options
from flowruns.client.source import RunSource
from flowruns.client.streams import Event
from flowruns.errors import NotFound
from flowruns.terminal.output import has_colour, print_stderr, width, write_lines
from flowruns.terminal.runs import describe_run, line_of_json, run_of
from flowruns.terminal.tables import Table
from flowruns.terminal.tail import Tail
from flowruns.terminal.text import Style

_NOT_FOUND = 1  # exit code

JSON = click.option("--json", "as_json", is_flag=True, help="Write documents as they are stored, one a line.")


@click.command("ls", context_settings=CAMEL_CASE)
@filter_options
@click.option(
    "--limit",
    default=50,
    show_default=True,
    metavar="COUNT",
    type=click.IntRange(0),
    help="At most so many; 0 for all.",
)
@click.option("--order", default="desc", type=click.Choice(["desc", "asc"]), help="desc, the default: newest first.")
@JSON
@source_options
def ls_command(limit: int, order: str, as_json: bool, **options: Any) -> int:
    """List runs, the newest first. Exit code 1: none fits.

    \b
    flowruns ls                                   the last 50
    flowruns ls --phase failed --phase cancelled  of two phases
    flowruns ls --tag env:test --limit 0 --json   all with a tag, for a program
    """  # noqa: D301  # click reads the escape
    filters, runs, table = filter_values(options), _runs(options), Table(_style())
    shown = total = 0

    def pieces() -> Iterator[str | bytes]:
        nonlocal shown, total
        for page in runs.pages(limit=limit or None, order=order, **filters):
            shown, total = shown + len(page.docs), page.total
            if page.docs and as_json:
                yield b"\n".join(map(line_of_json, page.docs))
            elif page.docs:
                yield "\n".join(table.lines([run_of(doc) for doc in page.docs], _now()))

    read = write_lines(pieces())
    if not shown:
        print_stderr("flowruns: no run fits" if filters else f"flowruns: there are no runs in {runs.name}")
        return _NOT_FOUND
    if read and shown < total:
        print_stderr(f"flowruns: {shown} of {total} runs; --limit 0 shows all")
    return 0


@click.command("get")
@click.argument("id")
@JSON
@source_options
def get_command(id: str, as_json: bool, **options: Any) -> int:
    """Show the run ID, whole. Exit code 1: it is not there.

    \b
    flowruns get web-42                           for people
    flowruns get web-42 --json | jq .outputs      for programs
    """  # noqa: D301  # click reads the escape
    try:
        doc = _runs(options).get(id)
    except NotFound as error:
        return _missing(error)
    write_lines([line_of_json(doc)] if as_json else describe_run(run_of(doc), _style(), _now()))
    return 0


@click.command("tail", short_help="Follow one run, or all.", context_settings=CAMEL_CASE)
@click.argument("id", required=False)
@filter_options
@click.option(
    "-n", "--lines", default=10, show_default=True, metavar="COUNT", type=click.IntRange(0),
    help="Lines of the log of a run that is seen for the first time.",
)  # fmt: skip
@JSON
@source_options
def tail_command(id: str | None, lines: int, as_json: bool, **options: Any) -> int:
    """Follow the run ID, or all runs: phases, actions and new lines of the log, until Ctrl+C.

    A server that stops is waited for. Exit code 1: ID is not there.

    \b
    flowruns tail web-42                          one run
    flowruns tail --flow-id deploy-web            each run of a flow that changes
    flowruns tail --json                          the documents, for a program
    """  # noqa: D301  # click reads the escape
    filters, runs = filter_values(options), _runs(options)
    if id is not None and filters:
        raise click.UsageError("a filter chooses among all runs: give it, or ID")
    tail = Tail(_style(), names=id is None, lines=lines)
    try:
        write_lines(_told(runs, runs.watch(id, **filters), None if as_json else tail))
    except NotFound as error:
        return _missing(error)
    return 0


@click.command("rm")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@source_options
def rm_command(ids: tuple[str, ...], **options: Any) -> int:
    """Delete the runs ID. Exit code 1: one of them was not there.

    \b
    flowruns rm web-41 web-42
    flowruns ls --phase cancelled --json | jq -r .id | xargs flowruns rm
    """  # noqa: D301  # click reads the escape
    runs, code = _runs(options), 0
    for id in ids:
        try:
            runs.delete(id)
        except NotFound as error:
            code = _missing(error)
        else:
            write_lines([f"deleted {id}"])
    return code


def _runs(options: dict[str, Any]) -> RunSource:
    runs = run_source(options["database"], options["url"], options["token"])
    click.get_current_context().call_on_close(runs.close)
    return runs


def _style() -> Style:
    return Style(has_colour(), width())


def _now() -> datetime:
    return datetime.now(UTC)


def _missing(error: NotFound) -> int:
    print_stderr(f"flowruns: {error}")
    return _NOT_FOUND


def _told(runs: RunSource, events: Iterator[Event], tail: Tail | None) -> Iterator[str | bytes]:
    """The lines that tell *events*, as *tail* words them, or as they are; where they come from is said on stderr."""
    lost = None
    for event in events:
        match event.kind:
            case "open":
                print_stderr(f"flowruns: following {runs.name}" + ("" if lost is None else " again"))
                lost = False
            case "lost":
                lost = True
                print_stderr("flowruns: no server answers; waiting for one")
            case "resync":
                print_stderr("flowruns: that is another database; what it holds by now is not told, what changes is")
            case "run":
                yield from [line_of_json(event.data)] if tail is None else tail.changed(run_of(event.data), _now())
            case "deleted":
                id = decode(event.data)["id"]
                yield from [encode({"id": id, "deleted": True})] if tail is None else tail.deleted(id, _now())
