"""The scripts that commands read: files, and those that come with flowruns."""

from importlib import resources

from flowruns.cli.inputs import open_input
from flowruns.errors import InputRefused
from flowruns.player.script import Script, ScriptInvalid
from flowruns.terminal.output import print_stderr

_FOLDER = resources.files("flowruns") / "scripts"

EXAMPLES = sorted(file.name.removesuffix(".toml") for file in _FOLDER.iterdir() if file.name.endswith(".toml"))


def read_script(path: str | None, example: str | None = None) -> tuple[str, Script]:
    """The text and the rules of the script at *path*, `-` for standard input, or of an *example*. Prints
    every mistake. Raises click.UsageError if it cannot be read, InputRefused if it has mistakes.
    """
    if path is None:
        name = f"{example}.toml"
        data = (_FOLDER / name).read_bytes()
    else:
        name = "standard input" if path == "-" else path
        with open_input(path, spool=True) as file:
            data = file.read()
    try:
        return data.decode(errors="replace"), Script.from_bytes(data, name)
    except ScriptInvalid as error:
        for mistake in error.mistakes:
            print_stderr(mistake)
        raise InputRefused(error.summary) from None
