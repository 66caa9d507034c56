"""Files, standard input and tokens that commands read."""

import os
import re
import sys
from pathlib import Path
from secrets import token_urlsafe
from typing import BinaryIO, NamedTuple

import click

from flowruns.settings import TOKEN

_TOKENS = "FLOWRUNS_TOKENS"

_BUFFER = 1 << 20  # bytes of a file that are read at once


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
