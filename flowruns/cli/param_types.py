"""What the options of the command line may say."""

import math
import os
import re
import sys
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, BinaryIO, NamedTuple

import click
from click.core import ParameterSource

from flowruns.settings import MEMORY, TOKEN

_TOKENS = "FLOWRUNS_TOKENS"
_BUFFER = 1 << 20  # bytes of a file that are read at once
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}  # seconds


def database_of(given: str, *, demo: bool) -> str:
    """The database that `serve` is told: a demonstration keeps nothing, unless one is named."""
    named = click.get_current_context().get_parameter_source("database") is not ParameterSource.DEFAULT
    return MEMORY if demo and not named else given


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """What a shell shall complete: the names of files."""
    from click.shell_completion import CompletionItem  # only then

    return [CompletionItem(incomplete, type="file")]


DATABASE = click.argument("database", default="flowruns.db", envvar="FLOWRUNS_DATABASE", shell_complete=files)
# An option where the argument is another file, or none: one form for all commands on what is in the file.
DATABASE_OPTION = click.option(
    "-d", "--database", default="flowruns.db", show_default=True, metavar="FILE", envvar="FLOWRUNS_DATABASE",
    shell_complete=files, help="The file of the runs.",
)  # fmt: skip


class Bytes(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """A size: a number of bytes, or of KiB, MiB or GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes of *value*."""
        match = re.fullmatch(r"(\d{1,15})\s*(?:([KMG])(?:iB)?|B)?", str(value), re.ASCII | re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size: give bytes, or for example 8MiB", param, ctx)
        return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[(match[2] or "").upper()]


class Seconds(click.FloatRange):
    """A number of seconds, up to an hour."""

    def __init__(self) -> None:
        super().__init__(0, 3600)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds of *value*."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


class Age(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """A time that has passed, in seconds: a number of s, m, h, d or w."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds of *value*."""
        match = re.fullmatch(r"(\d{1,9})\s*([smhdw])", str(value), re.ASCII | re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not an age: give for example 30d, 12h or 8w", param, ctx)
        return float(int(match[1]) * _AGES[match[2].lower()])


class Number(click.IntRange):
    """A whole number."""

    name = "number"


class Address(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """An address to listen on; of IPv6, with or without the brackets that it has in a URL."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value* without brackets."""
        return str(value).removeprefix("[").removesuffix("]")


class _Listed:
    """A type whose values an environment variable separates by commas, as tokens, or by spaces."""

    def split_envvar_value(self, rv: str) -> list[str]:
        """The values."""
        return re.split(r"[\s,]+", rv.strip())


class Host(_Listed, click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """A host's name or address, as it stands in a Host header."""

    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value*, if it can be one."""
        if not re.fullmatch(r"[^\s/@,]+", value):
            self.fail(f"{value!r} is not a host: give a name or an address, for example runs.example", param, ctx)
        return str(value)


class Origin(_Listed, click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.4 on
    """A web origin, as browsers write it."""

    name = "origin"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """*value*, if it is one."""
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s?#,]+", value.lower()):
            self.fail(f"{value!r} is not an origin: give for example https://portal.example", param, ctx)
        return str(value.lower())


def open_input(name: str, *, spool: bool = False) -> BinaryIO:
    """The file *name*, open; standard input for `-`, or all that came of it, if it is to *spool*. Raises
    click.UsageError.
    """
    try:
        if name != "-":
            return open(name, "rb", buffering=_BUFFER)
        if sys.stdin is None:
            raise click.UsageError("- cannot be read: standard input is closed")
        if not spool:
            return sys.stdin.buffer
        from shutil import copyfileobj
        from tempfile import TemporaryFile

        file = TemporaryFile()  # noqa: SIM115  # whoever called closes it
        copyfileobj(sys.stdin.buffer, file)
        file.seek(0)
        return file
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}") from None


class Tokens(NamedTuple):
    """The user id of each token, and the one that was made for `auto`."""

    users: dict[str, int]
    made: str | None


def read_tokens(given: tuple[str, ...]) -> Tokens:
    """The tokens that are served, from options and the environment. Raises click.UsageError."""
    lines = [line for text in given for line in _some("--token", token_lines("--token", text))]
    if environment := os.environ.get(_TOKENS):
        lines += _some(_TOKENS, [line for text in environment.split(",") for line in _listed(text.strip())])
    tokens: dict[str, int] = {}
    made = None
    for line in filter(None, map(str.strip, lines)):
        token, _, user = ("auto=0" if line == "auto" else line).rpartition("=")
        if token == "auto":
            made = token = made or token_urlsafe(16)  # 128 bits
        # The line is not repeated: it may hold a secret.
        if not re.fullmatch(TOKEN, token.strip()) or not re.fullmatch(r"\d{1,18}", user.strip(), re.ASCII):
            raise click.UsageError("a token should be TOKEN=USER_ID: TOKEN without spaces, USER_ID a number")
        if tokens.setdefault(token.strip(), int(user)) != int(user):
            raise click.UsageError("a token belongs to two users")
    return Tokens(tokens, made)


def _listed(text: str) -> list[str]:
    """The tokens of one part of the environment's: standard input is not asked for from there."""
    return token_lines(_TOKENS, text) if text.startswith("@") else [text]


def token_lines(option: str, text: str) -> list[str]:
    """The lines that one *option* stands for: those of standard input for `-`, of a file for `@FILE`. Raises
    click.UsageError.
    """
    if text == "-":
        return sys.stdin.read().splitlines()
    if not text.startswith("@"):
        return [text]
    shown = "@FILE" if "=" in text else text  # else it may be a token, which is a secret
    try:
        lines = Path(text[1:]).expanduser().read_text(encoding="utf-8").splitlines()
        return [line for line in lines if not line.startswith("#")]
    except OSError as error:
        raise click.UsageError(f"{option} {shown}: cannot read the file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{option} {shown}: the file is not UTF-8") from None


def _some(source: str, lines: list[str]) -> list[str]:
    """*lines*, unless there is nothing in them: that is a mistake, not an open door."""
    if not any(map(str.strip, lines)):
        raise click.UsageError(f"{source}: there is no token in it; give TOKEN=USER_ID")
    return lines
