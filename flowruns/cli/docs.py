"""The command `docs`: shows the pages of `flowruns/docs`, which describe this very version and need no network."""

from difflib import get_close_matches
from importlib import resources

import click

from flowruns.cli.options.command import Command
from flowruns.terminal.output import print_stderr, width, write_lines


def page(topic: str) -> str:
    """The page of *topic*, in Markdown."""
    return (resources.files("flowruns") / "docs" / f"{topic}.md").read_text(encoding="utf-8")


def topics() -> list[str]:
    """The names of all pages, sorted."""
    names = [file.name for file in (resources.files("flowruns") / "docs").iterdir()]
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md"))


def title(topic: str) -> str:
    """The first heading of a page."""
    return page(topic).partition("\n")[0].removeprefix("# ")


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [topic for topic in topics() if topic.startswith(incomplete)]


@click.command("docs", cls=Command, short_help="List the documents, or show one.")
@click.argument("topic", required=False, shell_complete=_complete)
def docs_command(topic: str | None) -> None:
    """List the documents of this version, or show TOPIC, in a pager if stdout is a terminal.

    \b
    flowruns docs                                 list the topics
    flowruns docs api                             show one
    flowruns docs api | grep 422
    """  # noqa: D301  # click reads the escape
    known = topics()
    if topic is None:
        write_lines(f"{name:<{max(map(len, known))}}  {title(name)}" for name in known)
        print_stderr("flowruns: `flowruns docs TOPIC` shows a page")
        return
    name = topic.lower()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean `flowruns docs {near[0]}`?" if near else ";"
        raise click.UsageError(f"there is no topic {topic!r}{hint} `flowruns docs` lists the topics")
    if width() is None:
        write_lines(page(name).splitlines())
    else:
        click.echo_via_pager(page(name).removesuffix("\n"))  # click adds it
