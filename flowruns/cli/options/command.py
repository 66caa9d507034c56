"""The base of all commands: help in groups, and hints for mistakes on the command line."""

import os
from typing import Any

import click

SQLITE_MAGIC = b"SQLite format 3\0"


class Option(click.Option):
    """An option that `--help` shows in a *group*, with its environment variable."""

    def __init__(self, *args: Any, group: str = "Options", **attrs: Any) -> None:
        attrs["show_envvar"] = bool(attrs.get("envvar"))
        super().__init__(*args, **attrs)
        self.group = group


class Command(click.Command):
    """A command whose usage errors name the cure."""

    allow_extra_args = True  # `parse_args` refuses them, with a hint

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses *args* into `ctx.params`. Raises click.UsageError."""
        try:
            extra = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise self._with_long_options(error, ctx) from None
        if extra and not ctx.resilient_parsing:
            self._refuse(extra, ctx)
        return extra

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, one section a group, in the order of the groups' first options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):  # from click 8.4 on, arguments have records too
                groups.setdefault(getattr(param, "group", "Options"), []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)

    def _with_long_options(self, error: click.NoSuchOption, ctx: click.Context) -> click.UsageError:
        """*error*; for an unknown short option, one that names the long options with the same initial."""
        name = error.option_name
        long = [opt for param in self.params for opt in param.opts if opt.startswith(f"-{name}")]
        if len(name) != 2 or not long:
            return error
        return click.UsageError(f"No such option {name!r}. Did you mean {' or '.join(long)}?", ctx)

    def _refuse(self, extra: list[str], ctx: click.Context) -> None:
        message = f"Got unexpected extra argument{'s' * (len(extra) > 1)} ({' '.join(extra)})"
        if any(param.name == "database" and isinstance(param, click.Option) for param in self.params):
            values = [ctx.params.get(str(param.name)) for param in self.params if isinstance(param, click.Argument)]
            words = [*extra, *(value for value in values if isinstance(value, str))]
            file = next(filter(is_sqlite_file, words), "FILE")
            message += f": name the database with -d {file}"
        raise click.UsageError(message, ctx)


def is_sqlite_file(name: str) -> bool:
    """Whether *name* is a SQLite database, by its first bytes."""
    if not os.path.isfile(name):  # opening a pipe would block
        return False
    try:
        with open(name, "rb") as file:
            return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except OSError:
        return False
