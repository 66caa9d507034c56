"""Files, standard input and tokens that commands read."""

import os
import re
import sys
import zlib
from pathlib import Path
from secrets import token_urlsafe
from shlex import quote
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import click

from flowruns.cli.options.command import SQLITE_MAGIC
from flowruns.errors import InputRefused, one_line
from flowruns.settings import TOKEN

if TYPE_CHECKING:
    from flowruns.store.import_formats import ArrayFile, LineReader

TOKENS_VARIABLE = "FLOWRUNS_TOKENS"

_BUFFER = 1 << 20  # bytes of a file that are read at once

_PEEK = 1 << 16  # bytes that show what a file is

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_ARRAY = re.compile(rb'[\s\[]*\[\s*([{"\]\d-]|\Z)')  # the first line of a JSON array, not [table] of TOML

_PAGE = re.compile(rb'\s*\{\s*"items"\s*:\s*\[')  # as GET /api/v1/flow-runs returns it

# Files that are no lines of JSON: their first bytes, what they are, and the cure.
_FORMATS = (
    (SQLITE_MAGIC, "a SQLite database", "`flowruns export -d {} | flowruns import -` copies its runs"),
    (b"BZh", "compressed with bzip2", "`bunzip2 -c {} | flowruns import -` reads it"),
    (b"\xfd7zXZ\0", "compressed with xz", "`xz -dc {} | flowruns import -` reads it"),
    (b"PK\x03\x04", "a ZIP archive", "`unzip -p {} | flowruns import -` reads the file in it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "`zstd -dc {} | flowruns import -` reads it"),
    (b"\xff\xfe\0\0", "UTF-32", "`iconv -f UTF-32 -t UTF-8 {} | flowruns import -` reads it"),
    (b"\0\0\xfe\xff", "UTF-32", "`iconv -f UTF-32 -t UTF-8 {} | flowruns import -` reads it"),
)

_GZIP = b"\x1f\x8b"

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks

_TAR, _TAR_OFFSET = b"ustar", 257


def open_input(name: str, *, spool: bool = False) -> BinaryIO:
    """The open file *name*; standard input for `-`, or if *spool*, a temporary file with all of it. Raises
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

        file = TemporaryFile()  # noqa: SIM115  # the caller closes it
        copyfileobj(sys.stdin.buffer, file)
        file.seek(0)
        return file
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}") from None


def decoded(name: str, file: BinaryIO, *, skip_invalid: bool = False) -> "LineReader | ArrayFile":
    """The lines of JSON objects in *file*: as they are, compressed with gzip, in UTF-16, or the items of a JSON array.
    Raises InputRefused if its first bytes show that it is something else.

    A file with both valid and invalid lines passes: the import reports each error. With *skip_invalid*, every text
    passes, as valid lines may follow.
    """
    from flowruns.store.import_formats import ArrayFile, Utf16Lines, unzipped  # not for other commands

    head = _head(file)
    if head.startswith(_GZIP):
        file = unzipped(file)
        head = _head(file)
    _check_binary(name, head)
    if head.startswith(_UTF_16):
        head = head[: len(head) & ~1].decode("utf-16", "replace").encode()
        reader: LineReader = Utf16Lines(file)
    else:
        reader = file
    lines = [line for line in map(bytes.strip, head.removeprefix(_BYTE_ORDER_MARK).splitlines()) if line]
    if lines and _ARRAY.match(lines[0]):
        return ArrayFile(reader)
    if lines and not skip_invalid:
        _check_text(name, lines)
    return reader


def _head(file: BinaryIO) -> bytes:
    """The first bytes of *file*, whose position stays; none if they cannot be read, which the import reports."""
    try:
        head: bytes = file.peek(_PEEK)[:_PEEK] if hasattr(file, "peek") else b""
    except (OSError, EOFError, zlib.error):
        return b""
    return head


def _check_binary(name: str, head: bytes) -> None:
    for magic, what, cure in _FORMATS:
        if head.startswith(magic):
            raise _refused(name, what, cure)
    if head.startswith(_TAR, _TAR_OFFSET):
        raise _refused(name, "a tar archive", "`tar -xOf {} | flowruns import -` reads the file in it")


def _check_text(name: str, lines: list[bytes]) -> None:
    """Raises InputRefused if the first *lines*, which are not blank, show that no line is a JSON object with a run."""
    if _PAGE.match(b" ".join(lines[:2])):
        raise _refused(name, "a page of the API", "`jq -c '.items[]' {} | flowruns import -` reads it")
    if lines[0].startswith(b"{") and not lines[0].endswith(b"}") and lines[1:] and lines[1].startswith(b'"'):
        raise _refused(name, "one JSON document on several lines", "`jq -c . {} | flowruns import -` reads it")
    if not any(line.startswith(b"{") for line in lines):
        raise _refused(name, "text without JSON objects", "give lines as `flowruns export` writes them")


def _refused(name: str, what: str, cure: str) -> InputRefused:
    shown = "FILE" if name == "-" else quote(name)
    return InputRefused(one_line(f"{name} is {what}, not one JSON object a line (NDJSON): {cure.format(shown)}"))


class Tokens(NamedTuple):
    """The user id of each token, and the token that was made for `auto`."""

    users: dict[str, int]
    made: str | None


def read_tokens(options: tuple[str, ...]) -> Tokens:
    """The tokens of the *options* `--token` and of the environment. Raises click.UsageError."""
    lines = [line for text in options for line in _not_empty("--token", token_lines("--token", text))]
    if os.environ.get(TOKENS_VARIABLE):
        # Only an option reads standard input, so `-` is no more than an invalid token here.
        found = [
            token_lines(TOKENS_VARIABLE, text) if text.startswith("@") else [text] for text in environment_tokens()
        ]
        lines += _not_empty(TOKENS_VARIABLE, [line for texts in found for line in texts])
    users: dict[str, int] = {}
    made = None
    for line in filter(None, map(str.strip, lines)):
        token, _, user = ("auto=0" if line == "auto" else line).rpartition("=")
        if token == "auto":
            made = token = made or token_urlsafe(16)  # 128 bits
        # The message does not repeat the line: it may hold a secret.
        if not re.fullmatch(TOKEN, token.strip()) or not re.fullmatch(r"\d{1,18}", user.strip(), re.ASCII):
            raise click.UsageError(
                "a token should be TOKEN=USER_ID: TOKEN without spaces, USER_ID a number, as in secret=1"
            )
        if users.setdefault(token.strip(), int(user)) != int(user):
            raise click.UsageError("a token belongs to two users; give it one USER_ID")
    return Tokens(users, made)


def environment_tokens() -> list[str]:
    """The texts in FLOWRUNS_TOKENS that are not blank; each is as a value of `--token`."""
    return [text.strip() for text in os.environ.get(TOKENS_VARIABLE, "").split(",") if text.strip()]


def token_lines(option: str, text: str) -> list[str]:
    """The lines of *text*, the value of *option*: those of standard input for `-`, of a file for `@FILE`. Raises
    click.UsageError.
    """
    if text == "-":
        return sys.stdin.read().splitlines()
    if not text.startswith("@"):
        return [text]
    shown = "@FILE" if "=" in text else text  # with a "=" it may be a token, which is a secret
    try:
        lines = Path(text[1:]).expanduser().read_text(encoding="utf-8").splitlines()
        return [line for line in lines if not line.startswith("#")]
    except OSError as error:
        raise click.UsageError(f"{option} {shown}: cannot read the file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{option} {shown}: the file is not UTF-8") from None


def _not_empty(source: str, lines: list[str]) -> list[str]:
    """*lines*, at least one of which is not blank: with no tokens at all, anonymous callers would be served. Raises
    click.UsageError.
    """
    if not any(map(str.strip, lines)):
        raise click.UsageError(f"{source}: there is no token in it; give TOKEN=USER_ID, as in secret=1")
    return lines
