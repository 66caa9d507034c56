"""The rules of valid requests that a JSON Schema cannot express, for schemathesis."""

import re
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Gives *case* an empty cursor, the same id in path and body, and date-times from year 1 to 9999 in UTC."""
    case.body, case.query = _within_the_years(case.body), _within_the_years(case.query)
    if isinstance(case.query, dict) and isinstance(case.query.get("cursor"), str):
        case.query["cursor"] = ""
    id = (case.path_parameters or {}).get("id_")
    if isinstance(case.body, dict) and isinstance(id, str):
        sent = case.body.get("id")
        if isinstance(sent, str) and re.fullmatch(r"[a-z0-9_.-]+", sent):
            case.body["id"] = id


def _within_the_years(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"\A((?:0001-01-01|9999-12-31)T[\d:.]+)[+-]\d\d:\d\d\Z", r"\1Z", value)
    if isinstance(value, list):
        return [_within_the_years(item) for item in value]
    if isinstance(value, dict):
        return {key: _within_the_years(item) for key, item in value.items()}
    return value
