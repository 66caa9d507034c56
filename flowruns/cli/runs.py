"""The commands about runs: list, show, follow and delete them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
from click.core import ParameterSource
from msgspec.json import decode, encode

from flowruns.cli.options.command import Command, is_sqlite_file
from flowruns.cli.options.runs import CAMEL_CASE, filter_options, filter_values, source_options
from flowruns.cli.sources import RunSource, run_source
from flowruns.client.streams import Event
from flowruns.errors import NotFound
from flowruns.terminal import tables, tail
from flowruns.terminal.output import has_colour, print_stderr, width, write_lines
from flowruns.terminal.run import describe_run, line_of_json, run_of
from flowruns.terminal.tables import Table
from flowruns.terminal.tail import Tail
from flowruns.terminal.text import Style

_NOT_FOUND = 1  # exit code

JSON = click.option("--json", "as_json", is_flag=True, help="Write documents as they are stored, one a line (NDJSON).")


def _check_ids(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """*value*, unless it names a database file and no option names the source. Raises click.UsageError."""
    sources = {ctx.get_parameter_source(name) for name in ("database", "url")}
    if ParameterSource.COMMANDLINE not in sources and not ctx.resilient_parsing:
        for id in value if isinstance(value, tuple) else [value]:
            if id is not None and is_sqlite_file(id):
                raise click.UsageError(f"{id} is a database file, not the id of a run; name it with -d {id}", ctx)
    return value


@click.command("ls", cls=Command, short_help="List runs, newest first.", context_settings=CAMEL_CASE)
@filter_options
@click.option(
    "--limit",
    default=50,
    show_default=True,
    metavar="COUNT",
    type=click.IntRange(0),
    help="Maximum number of runs; 0 for all.",
)
@click.option("--order", default="desc", show_default=True, type=click.Choice(["desc", "asc"]), help="By creation.")
@JSON
@source_options
def ls_command(limit: int, order: str, as_json: bool, **options: Any) -> int:
    """List runs, newest first. Exit code 1: no run matches.

    \b
    flowruns ls                                   the last 50
    flowruns ls --phase failed --phase cancelled  in either of two phases
    flowruns ls --tag env:test --limit 0 --json   all with a tag, for a program
    """  # noqa: D301  # click reads the escape
    filters, source, table = filter_values(options), _source(options), Table(_style())
    query = filters if as_json else {**filters, "fields": ",".join(tables.FIELDS)}
    shown = total = 0

    def texts() -> Iterator[str | bytes]:
        nonlocal shown, total
        for page in source.pages(limit=limit or None, order=order, **query):
            shown, total = shown + len(page.docs), page.total
            if page.docs and as_json:
                yield b"\n".join(map(line_of_json, page.docs))
            elif page.docs:
                yield "\n".join(table.lines([run_of(doc) for doc in page.docs], _now()))

    complete = write_lines(texts())
    if not shown:
        print_stderr("flowruns: no run matches" if filters else f"flowruns: there are no runs in {source.name}")
        return _NOT_FOUND
    if complete and shown < total:
        print_stderr(f"flowruns: {shown} of {total} runs; --limit 0 shows all")
    return 0


@click.command("get", cls=Command, short_help="Show one run.")
@click.argument("id", callback=_check_ids)
@JSON
@source_options
def get_command(id: str, as_json: bool, **options: Any) -> int:
    """Show all fields of the run ID. Exit code 1: there is no such run.

    \b
    flowruns get web-42                           for people
    flowruns get web-42 --json | jq .outputs      for programs
    """  # noqa: D301  # click reads the escape
    try:
        doc = _source(options).get(id)
    except NotFound as error:
        return _not_found(error)
    write_lines([line_of_json(doc)] if as_json else describe_run(run_of(doc), _style(), _now()))
    return 0


@click.command("tail", cls=Command, short_help="Follow one run, or all runs.", context_settings=CAMEL_CASE)
@click.argument("id", required=False, callback=_check_ids)
@filter_options
@click.option(
    "-n", "--lines", default=10, show_default=True, metavar="COUNT", type=click.IntRange(0),
    help="Number of log lines to show of a run at first.",
)  # fmt: skip
@JSON
@source_options
def tail_command(id: str | None, lines: int, as_json: bool, **options: Any) -> int:
    """Follow the run ID, or all runs: changes of phases and actions, and new log lines, until Ctrl+C.

    If the server stops, waits until it is back. Exit code 1: there is no run ID.

    \b
    flowruns tail web-42                          one run
    flowruns tail --flow-id deploy-web            the runs of one flow
    flowruns tail --json                          the documents, for a program
    """  # noqa: D301  # click reads the escape
    filters, source = filter_values(options), _source(options)
    if id is not None and filters:
        raise click.UsageError("filters select among all runs; give ID or filters, not both")
    shown = None if as_json else Tail(_style(), names=id is None, lines=lines)
    query = filters if as_json else {"fields": ",".join(tail.FIELDS), **filters}
    try:
        write_lines(_changes(source, source.watch(id, **query), shown))
    except NotFound as error:
        return _not_found(error)
    return 0


@click.command("rm", cls=Command, short_help="Delete runs.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...", callback=_check_ids)
@source_options
def rm_command(ids: tuple[str, ...], **options: Any) -> int:
    """Delete the runs ID. Exit code 1: one of them does not exist.

    \b
    flowruns rm web-41 web-42
    flowruns ls --phase cancelled --json | jq -r .id | xargs flowruns rm
    """  # noqa: D301  # click reads the escape
    source, code = _source(options), 0
    for id in ids:
        try:
            source.delete(id)
        except NotFound as error:
            code = _not_found(error)
        else:
            write_lines([f"deleted {id}"])
    return code


def _source(options: dict[str, Any]) -> RunSource:
    source = run_source(options["database"], options["url"], options["token"])
    click.get_current_context().call_on_close(source.close)
    return source


def _style() -> Style:
    return Style(has_colour(), width())


def _now() -> datetime:
    return datetime.now(UTC)


def _not_found(error: NotFound) -> int:
    print_stderr(f"flowruns: {error}")
    return _NOT_FOUND


def _changes(source: RunSource, events: Iterator[Event], tail: Tail | None) -> Iterator[str | bytes]:
    """The lines for *events*: of *tail*, else their JSON. Prints the state of the connection to stderr."""
    lost = None
    for event in events:
        match event.kind:
            case "open":
                print_stderr(f"flowruns: following {source.name}" + ("" if lost is None else " again"))
                lost = False
            case "lost":
                lost = True
                print_stderr("flowruns: no server responds; waiting for one")
            case "resync":
                print_stderr("flowruns: the database was replaced; only changes from now on are shown")
            case "run":
                yield from [line_of_json(event.data)] if tail is None else tail.changed(run_of(event.data), _now())
            case "deleted" | "left":
                id = decode(event.data)["id"]
                yield encode({"id": id, event.kind: True}) if tail is None else tail.gone(id, event.kind, _now())
