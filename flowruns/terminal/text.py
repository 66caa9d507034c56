"""Pieces of text for a terminal: colours, widths, times."""

import unicodedata
from datetime import UTC, datetime
from typing import NamedTuple

NOTHING = "-"

CUT = "…"

_COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "dim": 2, "bold": 1}

# Words of open vocabularies: those that real runs and actions use, and those of the tools that they come from.
_HUES = {
    "green": "succeeded success successful completed passed ok",
    "red": "failed failure error errored timed_out critical fatal",
    "yellow": "running in_progress started warning warn paused",
    "blue": "pending waiting queued created requested",
    "dim": "cancelled canceled skipped neutral debug trace",
}

HUES_BY_WORD = {word: hue for hue, words in _HUES.items() for word in words.split()}


class Style(NamedTuple):
    """How text is shown: with *colour* or without, at most *width* columns wide (None: as wide as it is)."""

    colour: bool = False
    width: int | None = None

    def paint(self, text: str, hue: str | None) -> str:
        """*text* in a colour."""
        return f"\x1b[{_COLOURS[hue]}m{text}\x1b[0m" if self.colour and hue else text

    def word(self, word: str | None, width: int = 0) -> str:
        """A phase or a level in its colour, *width* columns wide."""
        return self.paint(padded(word or NOTHING, width), HUES_BY_WORD.get((word or "").lower()))


PLAIN = Style()


# Pieces


def local_time(text: str | None) -> str:
    """The moment *text* in local time, to the second."""
    moment = _moment(text)
    try:
        return moment.astimezone().isoformat(" ", "seconds")[:19] if moment else NOTHING
    except (OverflowError, ValueError, OSError):  # beyond the years 1 to 9999, here
        return str(text)


def local_clock(text: str | None, now: datetime) -> str:
    """The moment *text* in local time, without the day if that is today's."""
    shown, today = local_time(text), f"{now.astimezone():%Y-%m-%d} "
    return shown.removeprefix(today)


def time_taken(start: str | None, end: str | None, now: datetime) -> str:
    """How long it took from *start* to *end*, or takes until *now*; nothing where real data makes no sense."""
    began, ended = _moment(start), _moment(end)
    if began is None or (ended or now) < began:
        return NOTHING
    return duration(((ended or now) - began).total_seconds()) + ("" if ended else CUT)


def duration(seconds: float) -> str:
    """*seconds* in the two largest units that say something."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0", "")
    whole = int(seconds)
    for size, unit, part, part_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {part_unit}" if rest else "")
    return f"{whole} s"


def columns(text: str) -> int:
    """How many columns of a terminal *text* takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def padded(text: str, width: int) -> str:
    """*text*, *width* columns wide or wider."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int) -> str:
    """*text*, at most *width* columns wide."""
    if columns(text) <= width:
        return text
    kept, room = "", width - 1
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept += char
    return kept + CUT


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) == "Me":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
