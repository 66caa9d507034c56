"""Scripts: which runs they play, and how (`flowruns/docs/scripts.md`)."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from random import Random
from typing import Any, NamedTuple, Self

from msgspec.structs import replace

from flowruns.errors import InputRefused
from flowruns.model.runs import RunPut
from flowruns.player.checks import Checks
from flowruns.player.parsing import parts_of
from flowruns.player.placeholders import lookup_of
from flowruns.player.progress import last, rest, untouched
from flowruns.player.rules import Rule
from flowruns.player.starts import Series, Start
from flowruns.player.steps import Move, moves
from flowruns.player.toml_lines import Path, toml_lines


class ScriptInvalid(InputRefused):
    """A script has *mistakes*: each is one line that names the place and the cure."""

    def __init__(self, name: str, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        self.summary = f"{len(mistakes)} mistake{'s' * (len(mistakes) != 1)} in {name}; nothing was played"
        super().__init__("\n".join([*mistakes, self.summary]))


class Part(NamedTuple):
    """What a script has left to play in a run: *moves*, by *rule*."""

    rule: Rule
    moves: Iterator[Move]


class Script:
    """The *rules* of a script, of which the first that fits a run plays it, and the *starts* of runs."""

    def __init__(self, rules: Sequence[Rule], name: str = "script", starts: Sequence[Start] = ()) -> None:
        self.rules = tuple(rules)
        self.starts = tuple(starts)
        self.name = name

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The script in the TOML file *path*. Raises OSError, and ScriptInvalid with every mistake."""
        return cls.from_bytes(FilePath(path).read_bytes(), os.fspath(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "script") -> Self:
        """The script in *data*, TOML in UTF-8. Raises ScriptInvalid with every mistake."""
        try:
            text = data.decode("utf-8-sig")  # editors of Windows begin with a byte order mark
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ScriptInvalid(name, [f"{name}:{line}: the file is not UTF-8; save it as UTF-8"]) from None
        return cls.parse(text, name)

    @classmethod
    def parse(cls, text: str, name: str = "script") -> Self:
        """The script in the TOML *text*. Raises ScriptInvalid with every mistake."""
        import tomllib  # not for commands without a script

        text = text.replace("\r\n", "\n")  # as TOML reads it
        try:
            tables = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError also for an integer of over 4,300 digits
            raise ScriptInvalid(name, [_syntax(name, text, error)]) from None
        checks = Checks()
        rules, starts = parts_of(tables, checks)
        script = cls(rules, name, starts)
        if checks.mistakes:
            lines = toml_lines(text)
            placed = sorted((_line(lines, path), message) for path, message in checks.mistakes)
            raise ScriptInvalid(name, [f"{name}:{line}: {message}" for line, message in placed])
        return script

    @classmethod
    def of(cls, flow: str, *steps: Mapping[str, Any]) -> Self:
        """A script of one rule for the runs of *flow*, which may have `*`: *steps* are as in a file. Raises
        ScriptInvalid.
        """
        checks = Checks()
        rules, _ = parts_of({"rule": [{"flowId": flow, "steps": [dict(step) for step in steps]}]}, checks)
        if checks.mistakes:  # their paths begin with the one rule
            raise ScriptInvalid("script", [f"{'.'.join(map(str, path[2:]))}: {text}" for path, text in checks.mistakes])
        return cls(rules)

    @property
    def phases(self) -> list[str]:
        """The phases of the runs that this may play, or go on with."""
        return sorted({phase for rule in self.rules for phase in (rule.phase, *rule.phases, "running")})

    def part(self, id: str, body: RunPut, seed: int, *, resume: bool = False) -> Part | None:
        """What a run has to play from its beginning, if a rule fits it; else, to *resume*, its `rest`."""
        for rule in self.rules:
            if body.phase == rule.phase and body.end_time is None and rule.fits(body):
                return Part(rule, self._moves(rule, id, body, seed))
        return self.rest(id, body, seed) if resume else None

    def series(self, seed: int) -> Series:
        """The runs that this starts, with the choices of *seed*."""

        def play(id: str, body: RunPut) -> Iterator[Move]:
            part = self.part(id, body, seed)
            return iter(()) if part is None else part.moves

        return Series(self.starts, seed, play)

    def rest(self, id: str, body: RunPut, seed: int) -> Part | None:
        """What a run has left, if this script with *seed* has led to its present state."""
        if body.end_time is not None:
            return None
        begins = {"pending": untouched(body)}
        for rule in sorted(self.rules, key=lambda rule: rule.phase != "pending"):
            begin = begins.get(rule.phase)
            if begin is None or not rule.fits(body):
                continue
            left = rest(begin, self._moves(rule, id, body, seed), body)
            if left is not None:
                return Part(rule, left)
            if rule.phase == "pending" and len(begins) == 1:  # what plays once somebody has set another phase
                end = last(begin, self._moves(rule, id, body, seed))
                begins |= {rule.phase: replace(end, phase=rule.phase) for rule in self.rules if rule.phase != "pending"}
        return None

    def _moves(self, rule: Rule, id: str, body: RunPut, seed: int) -> Iterator[Move]:
        chance = Random(f"{seed} {self.rules.index(rule)} {id}")
        return moves(rule.steps, chance, lookup_of(id, body))


def _line(lines: Mapping[Path, int], path: Path) -> int:
    """The line of *path*, or of the closest table around it."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _syntax(name: str, text: str, error: Exception) -> str:
    """The line about a syntax *error*."""
    reason = str(error).partition(" (at ")[0]
    cure = "check the quotes, brackets and commas of this line and of the one before"
    if match := re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", str(error)):
        line = int(match[1] or text.count("\n") + 1)
        if re.search("newline|inline table", reason, re.IGNORECASE):
            cure = "a { table } must be on one line, unless the line ends within a [ list ]"
    elif match := re.search(r"[\d_]{4301}", text):
        line, reason = text.count("\n", 0, match.start()) + 1, "an integer has over 64 bits"
        cure = "write it as a text, in quotes"
    else:
        line, reason = 1, "too many levels of nesting"
    return f"{name}:{line}: no TOML: {reason}; {cure}"
