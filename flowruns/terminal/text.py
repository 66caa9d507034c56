"""Text for a terminal: colours, widths, times, numbers."""

import unicodedata
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from flowruns.errors import one_line

NOTHING = "-"

ELLIPSIS = "…"

_COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "dim": 2, "bold": 1}

# Phases and levels are open vocabularies: these are the words of real runs and of the tools that they come from.
_WORDS_BY_HUE = {
    "green": "succeeded success successful completed passed ok",
    "red": "failed failure error errored timed_out critical fatal",
    "yellow": "running in_progress started warning warn paused",
    "blue": "pending waiting queued created requested",
    "dim": "cancelled canceled skipped neutral debug trace",
}

HUES_BY_WORD = {word: hue for hue, words in _WORDS_BY_HUE.items() for word in words.split()}


class Style(NamedTuple):
    """How text is shown: with or without *colour*, in at most *width* columns (None: no limit)."""

    colour: bool = False
    width: int | None = None

    def paint(self, text: str, hue: str | None) -> str:
        """*text* in the colour *hue*."""
        return f"\x1b[{_COLOURS[hue]}m{text}\x1b[0m" if self.colour and hue else text

    def word(self, word: str | None, width: int = 0) -> str:
        """The phase or level *word* in its colour, padded to *width* columns."""
        return self.paint(padded(one_line(word or NOTHING), width), HUES_BY_WORD.get((word or "").lower()))


def local_time(text: str | None, precision: Literal["seconds", "minutes"] = "seconds") -> str:
    """The date-time *text* in local time, with its offset from UTC, of which zones have several: `+01:00`, or `Z`."""
    moment = _moment(text)
    try:
        return moment.astimezone().isoformat(" ", precision).replace("+00:00", "Z") if moment else NOTHING
    except (OverflowError, ValueError, OSError):  # beyond the years 1 to 9999 in local time
        return str(text)


def local_clock(text: str | None, now: datetime) -> str:
    """The date-time *text* in local time, without the date if it is today."""
    shown, today = local_time(text), f"{now.astimezone():%Y-%m-%d} "
    return shown.removeprefix(today)


def time_taken(start: str | None, end: str | None, now: datetime) -> str:
    """The time from *start* to *end*, or to *now* with an ellipsis; NOTHING if *start* is missing or is later."""
    began, ended = _moment(start), _moment(end)
    if began is None or (ended or now) < began:
        return NOTHING
    return duration(((ended or now) - began).total_seconds()) + ("" if ended else ELLIPSIS)


def duration(seconds: float) -> str:
    """*seconds* in at most two units."""
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


def plural(count: int, noun: str, spec: str = "") -> str:
    """*count*, formatted by *spec*, and *noun* in its number; a unit in capitals, such as MB, has only one form."""
    return f"{count:{spec}} {noun}{'s' * (count != 1 and not noun.isupper())}"


def columns(text: str) -> int:
    """The number of columns that *text* takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def padded(text: str, width: int) -> str:
    """*text*, padded to at least *width* columns."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int) -> str:
    """*text*, cut to at most *width* columns."""
    if columns(text) <= width:
        return text
    kept, room = "", width - 1
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept += char
    return kept + ELLIPSIS


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
