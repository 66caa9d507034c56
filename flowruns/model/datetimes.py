"""Date-times as text: RFC 3339 in UTC with milliseconds and `Z`, so that they sort and compare as they are."""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:[0-5]\d)?", re.ASCII
)  # RFC 3339 5.6; the offset is asked for below, so that its absence has a name of its own; 24:00 is not of it


class RuleViolation(ValueError):
    """A value breaks a rule of its field; *type* is pydantic's name for how."""

    def __init__(self, type: str, msg: str) -> None:
        super().__init__(msg)
        self.type = type


def parse_datetime(text: str) -> str:
    """RFC 3339 *text* as UTC with milliseconds; further digits are cut off. Raises RuleViolation."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise RuleViolation(
            "datetime_parsing", "Input should be a valid datetime: RFC 3339, as 2025-01-20T18:53:03.558Z"
        )
    day, time, fraction, offset = match.groups()
    if offset is None:
        raise RuleViolation("timezone_aware", "Input should have timezone info: Z, or an offset as +02:00")
    try:
        parsed = datetime.fromisoformat(f"{day}T{time}{fraction or ''}{offset.upper()}")
        return format_datetime(parsed)
    except (ValueError, OverflowError):  # the 30th of February; years beyond 1 to 9999 once in UTC
        raise RuleViolation(
            "datetime_parsing",
            "Input should be a valid datetime: a day and time that exist, in UTC within the years 1 to 9999",
        ) from None


def format_datetime(moment: datetime) -> str:
    """*moment* (with a time zone) as the API writes it. Raises OverflowError beyond the years 1 to 9999."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
