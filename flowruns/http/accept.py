"""The media types and encodings that a client prefers (RFC 9110 12.5.1, 12.5.3)."""

import re

EVENTS, HTML, JSON = "text/event-stream", "text/html", "application/json"

_WEIGHT = re.compile(r"q=([01](?:\.\d{0,3})?)", re.ASCII | re.IGNORECASE)  # RFC 9110 12.4.2


def prefers_events(accept: str) -> bool:
    """Whether *accept*, the value of the header, names text/event-stream with more weight than application/json."""
    accept = accept.lower()
    if EVENTS not in accept:  # nearly every request
        return False
    weights = _weights(accept)
    return weights.get(EVENTS, 0) > weights.get(JSON, 0)


def prefers_html(accept: str) -> bool:
    """Whether *accept* names text/html with more weight than JSON has, by its name or a wildcard: browsers do."""
    weights = _weights(accept.lower())
    json = next((weights[name] for name in (JSON, "application/*", "*/*") if name in weights), 0)
    return weights.get(HTML, 0) > json


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether *accept_encoding*, the value of the header, allows gzip, by its name or the wildcard."""
    weights = _weights(accept_encoding.lower())
    return next((weights[name] for name in ("gzip", "x-gzip", "*") if name in weights), 0) > 0


def _weights(accept: str) -> dict[str, float]:
    return dict(_weight(media_range) for media_range in accept.split(","))


def _weight(media_range: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip() for part in media_range.split(";"))
    weights = [float(match[1]) for match in map(_WEIGHT.fullmatch, parameters) if match]
    return media_type, weights[0] if weights else 1.0
