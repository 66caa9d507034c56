"""Date-times as text: RFC 3339 in UTC with milliseconds and `Z`, so that they compare and sort as strings."""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:[0-5]\d)?", re.ASCII
)  # RFC 3339 5.6, which has no 24:00. The offset is optional here, as parse_datetime raises another error without it.

NOT_A_DATETIME = "Input should be a valid datetime: RFC 3339, as 2025-01-20T18:53:03.558Z"


class RuleViolation(ValueError):
    """A value breaks a rule of its field; *type* is the error type that pydantic would give it."""

    def __init__(self, type: str, msg: str) -> None:
        super().__init__(msg)
        self.type = type


def parse_datetime(text: str) -> str:
    """RFC 3339 *text* in UTC with milliseconds; further digits are cut off. Raises RuleViolation."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise RuleViolation("datetime_parsing", NOT_A_DATETIME)
    day, time, fraction, offset = match.groups()
    if offset is None:
        raise RuleViolation("timezone_aware", "Input should have timezone info: Z, or an offset as +02:00")
    try:
        parsed = datetime.fromisoformat(f"{day}T{time}{fraction or ''}{offset.upper()}")
        return format_datetime(parsed)
    except (ValueError, OverflowError):  # 30 February; outside the years 1 to 9999 in UTC
        raise RuleViolation(
            "datetime_parsing",
            "Input should be a valid datetime: a day and time that exist, in UTC within the years 1 to 9999",
        ) from None


def format_datetime(moment: datetime) -> str:
    """*moment*, which has a time zone, as the API writes it. Raises OverflowError outside the years 1 to 9999."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
