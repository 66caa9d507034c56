"""Log lines, at level info, that name the parts of a request which had no effect. They contain no values."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Raw

from flowruns.http.logs import log
from flowruns.http.requests import LAST_EVENT_ID, RequestReader
from flowruns.model.aliases import FIELD_ALIASES, PARAMETER_ALIASES, meant
from flowruns.model.fields import FIELDS
from flowruns.model.filters import FILTERS
from flowruns.model.json_errors import NOT_JSON
from flowruns.model.json_items import object_fields, other_names
from flowruns.model.runs import RunPost, RunPut
from flowruns.settings import RUNS

PARAMETERS = ("cursor", "size", "order", "fields", LAST_EVENT_ID, *(filter.name for filter in FILTERS))

_MAX_NAMES = 5  # in one line

_MAX_NAME = 40  # characters of a name

_MAX_NOTED = 1000  # names that are remembered; more are not logged

_NULL = b"null"  # which has no effect in a PUT either

_PUT_ONLY = [name for name in RunPut.__struct_encode_fields__ if name not in RunPost.__struct_encode_fields__]


def log_unknown_parameters(request: RequestReader, noted: set[str]) -> None:
    """Logs the unknown query parameters of a GET, each with the parameter that was probably meant, once: adds their
    names to *noted*.
    """
    if request.scope["query_string"] and log.isEnabledFor(logging.INFO):
        _log_once(_unknown_parameters(name for name, _ in request.query()), noted, _parameter_hint)


async def log_unknown_fields(request: RequestReader, noted: set[str]) -> None:
    """Logs the unknown fields of the body of a POST or PUT, valid or not, as `log_unknown_parameters` does."""
    if log.isEnabledFor(logging.INFO) and len(noted) < _MAX_NOTED:
        _log_once(await request.parse_body(_unknown_fields, FIELDS), noted, _field_hint)


async def ignored_fields(request: RequestReader) -> list[str]:
    """The fields in the valid body of a POST that only a PUT would use, if they are to be logged."""
    return await request.parse_body(_set_fields, _PUT_ONLY) if log.isEnabledFor(logging.INFO) else []


def log_ignored_fields(ignored: Sequence[str]) -> None:
    """Logs the *ignored* fields of a POST."""
    if ignored:
        log.info("%s", _post_hint(ignored))


def hints_of(method: str, parameters: Iterable[str], body: bytes) -> list[str]:
    """What the log has at level info about a request for runs with these query *parameters* and this *body*."""
    if method not in ("POST", "PUT"):
        return [_joined(unknown, _parameter_hint)] if (unknown := _unknown_parameters(parameters)) else []
    hints = [_joined(unknown, _field_hint)] if (unknown := _unknown_fields(body, FIELDS)) else []
    try:
        ignored = _set_fields(body, _PUT_ONLY) if method == "POST" else []
    except NOT_JSON:
        ignored = []
    return [*hints, _post_hint(ignored)] if ignored else hints


def _unknown_parameters(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name[:_MAX_NAME] for name in names if name not in PARAMETERS))


def _unknown_fields(body: bytes, known: Sequence[str]) -> list[str]:
    """The names in *body* that are not *known*; none if it is not a JSON object. All fields of a run are known, as a
    client may PUT what GET returned.
    """
    try:
        return list(dict.fromkeys(name[:_MAX_NAME] for name in other_names(Raw(body), known, _MAX_NOTED)))
    except NOT_JSON:
        return []


def _set_fields(body: bytes, names: Sequence[str]) -> list[str]:
    """Those of *names* that *body* sets, in quotes."""
    return [repr(name) for name, value in object_fields(Raw(body), names).items() if bytes(value) != _NULL]


def _log_once(names: Sequence[str], noted: set[str], hint: Callable[[str], str]) -> None:
    """Logs the *hint* of each name that is not *noted* yet, and notes those that are logged."""
    unknown = [name for name in names if name not in noted]
    if unknown and len(noted) < _MAX_NOTED:
        noted.update(unknown[:_MAX_NAMES])
        log.info("%s", _joined(unknown, hint))


def _joined(names: Sequence[str], hint: Callable[[str], str]) -> str:
    more = f" (and {len(names) - _MAX_NAMES} more)" if len(names) > _MAX_NAMES else ""
    return " ".join(map(hint, names[:_MAX_NAMES])) + more


def _post_hint(ignored: Sequence[str]) -> str:
    pronoun = "it" if len(ignored) == 1 else "them"
    return f"POST ignores {', '.join(ignored)} in the body; set {pronoun} with PUT {RUNS}/{{id}}"


def _parameter_hint(name: str) -> str:
    return f"unknown query parameter {name!r} is ignored{_ending(name, PARAMETERS, PARAMETER_ALIASES)}"


def _field_hint(name: str) -> str:
    return (
        f"unknown field {name!r} in the body is ignored{_ending(name, RunPut.__struct_encode_fields__, FIELD_ALIASES)}"
    )


def _ending(name: str, known: Iterable[str], aliases: Mapping[str, str]) -> str:
    """The end of the line: the name that was meant, if one is very similar."""
    one = meant(name, known, aliases, cutoff=0.75)
    return f"; did you mean {one!r}?" if one else "."
