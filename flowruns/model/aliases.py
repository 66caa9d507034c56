"""The field or query parameter that an unknown name means: names that other APIs have for them."""

from collections.abc import Iterable, Mapping

# In lower case without "_" and "-".
PARAMETER_ALIASES = {
    "after": "createdAfter", "before": "createdBefore", "flow": "flowId", "label": "tag", "limit": "size",
    "page": "cursor", "pagesize": "size", "perpage": "size", "since": "createdAfter", "sort": "order",
    "state": "phase", "status": "phase", "type": "flowType", "until": "createdBefore", "user": "createdBy",
}  # fmt: skip

FIELD_ALIASES = {
    "completedat": "endTime", "end": "endTime", "endedat": "endTime", "finishedat": "endTime", "flow": "flowId",
    "input": "args", "inputs": "args", "label": "tags", "labels": "tags", "output": "outputs", "parameters": "args",
    "result": "outputs", "runid": "id", "start": "startTime", "startedat": "startTime", "state": "phase",
    "status": "phase", "steps": "actions", "type": "flowType",
}  # fmt: skip


def meant(name: str, known: Iterable[str], aliases: Mapping[str, str], *, cutoff: float) -> str | None:
    """The one of the *known* names that *name* or an alias like it stands for; None if it is less similar than
    *cutoff*, from 0 to 1.
    """
    from difflib import get_close_matches  # rarely needed

    names = {one.lower(): one for one in known}
    names |= {alias: one for alias, one in aliases.items() if one in names.values()}
    similar = get_close_matches(name.lower().replace("_", "").replace("-", ""), names, 1, cutoff)
    return names[similar[0]] if similar else None
