"""Log lines, at level info, that name the parts of a request which had no effect. They contain no values."""

import logging
from collections.abc import Sequence

from msgspec import Raw

from flowruns.http.logs import log
from flowruns.http.requests import LAST_EVENT_ID, RequestReader
from flowruns.model.filters import FILTERS
from flowruns.model.json_items import object_fields
from flowruns.model.runs import RunPost, RunPut
from flowruns.settings import RUNS

PARAMETERS = ("cursor", "size", "order", "fields", LAST_EVENT_ID, *(filter.name for filter in FILTERS))

# Each parameter, and names that other APIs have for it, in lower case without "_" and "-".
ALIASES = {name.lower(): name for name in PARAMETERS} | {
    "after": "createdAfter", "before": "createdBefore", "flow": "flowId", "label": "tag", "limit": "size",
    "page": "cursor", "pagesize": "size", "perpage": "size", "since": "createdAfter", "sort": "order",
    "state": "phase", "status": "phase", "type": "flowType", "until": "createdBefore", "user": "createdBy",
}  # fmt: skip

_MAX_NAMES = 5  # in one line

_MAX_NAME = 40  # characters of a name

_MAX_NOTED = 1000  # names that are remembered; more are not logged

_NULL = b"null"  # which has no effect in a PUT either

_PUT_ONLY = [name for name in RunPut.__struct_encode_fields__ if name not in RunPost.__struct_encode_fields__]


def log_unknown_parameters(request: RequestReader, noted: set[str]) -> None:
    """Logs the unknown query parameters of a page, each with the parameter that was probably meant, once: adds their
    names to *noted*.
    """
    if not (log.isEnabledFor(logging.INFO) and request.scope["query_string"]):
        return
    names = dict.fromkeys(name[:_MAX_NAME] for name, _ in request.query() if name not in PARAMETERS)
    unknown = [name for name in names if name not in noted]
    if unknown and len(noted) < _MAX_NOTED:
        noted.update(unknown[:_MAX_NAMES])
        more = f" (and {len(unknown) - _MAX_NAMES} more)" if len(unknown) > _MAX_NAMES else ""
        log.info("%s%s", " ".join(map(_hint, unknown[:_MAX_NAMES])), more)


async def ignored_fields(request: RequestReader) -> list[str]:
    """The fields in the valid body of a POST that only a PUT would use, if they are to be logged."""
    return await request.parse_body(_set_fields, _PUT_ONLY) if log.isEnabledFor(logging.INFO) else []


def log_ignored_fields(ignored: Sequence[str]) -> None:
    """Logs the *ignored* fields of a POST."""
    if ignored:
        log.info("POST ignores %s in the body; set them with PUT %s/{id}", ", ".join(ignored), RUNS)


def _set_fields(body: bytes, names: Sequence[str]) -> list[str]:
    """Those of *names* that *body* sets, in quotes."""
    return [repr(name) for name, value in object_fields(Raw(body), names).items() if bytes(value) != _NULL]


def _hint(name: str) -> str:
    parameter = _parameter(name)
    ending = f"; did you mean {parameter!r}?" if parameter else "."
    return f"unknown query parameter {name!r} is ignored{ending}"


def _parameter(name: str) -> str | None:
    """The parameter that *name* is an alias of, or similar to."""
    from difflib import get_close_matches  # rarely needed

    key = name.lower().replace("_", "").replace("-", "")
    similar = get_close_matches(key, ALIASES, n=1, cutoff=0.75)
    return ALIASES[similar[0]] if similar else None
