"""What a JSON Schema cannot say of requests that are right, and schemathesis so cannot know."""

import re
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Gives the *case* a cursor that belongs to its filters (none), and one id in path and body."""
    if isinstance(case.query, dict) and isinstance(case.query.get("cursor"), str):
        case.query["cursor"] = ""
    id = (case.path_parameters or {}).get("id_")
    if isinstance(case.body, dict) and isinstance(id, str):
        sent = case.body.get("id")
        if isinstance(sent, str) and re.fullmatch(r"[a-z0-9_.-]+", sent):
            case.body["id"] = id
