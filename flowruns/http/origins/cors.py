"""Cross-origin requests: what browsers ask before them, and the headers that let pages read the responses (Fetch,
"CORS protocol").
"""

import re

from flowruns.http.responses import Header, Message, Response, Scope, Send

_METHODS: Header = (b"access-control-allow-methods", b"DELETE, GET, HEAD, POST, PUT")

_HEADERS = b"authorization, content-type, if-match, if-none-match, last-event-id"

_MAX_AGE: Header = (b"access-control-max-age", b"600")

_EXPOSED: Header = (b"access-control-expose-headers", b"etag, location, retry-after")

_VARY: Header = (b"vary", b"origin")

_TOKENS = re.compile(rb"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*", re.ASCII)  # RFC 9110 5.6.2


def preflight(scope: Scope) -> Response:
    """The response to OPTIONS of an allowed origin, which may send any header: tracing libraries add their own."""
    asked = {name: value for name, value in scope["headers"] if name.startswith(b"access-control-request-")}
    names = asked.get(b"access-control-request-headers", b"")
    headers = [_METHODS, (b"access-control-allow-headers", names if _TOKENS.fullmatch(names) else _HEADERS), _MAX_AGE]
    if asked.get(b"access-control-request-private-network") == b"true":  # a public site, this machine
        headers.append((b"access-control-allow-private-network", b"true"))
    return Response(204, tuple(headers))


def cors_headers(origin: str) -> tuple[Header, ...]:
    """The headers that let scripts of *origin* read a response."""
    return (b"access-control-allow-origin", origin.encode("latin-1")), _EXPOSED, _VARY


def with_cors(send: Send, origin: str) -> Send:
    """*send*, which adds `cors_headers`, and that the origin may send cookies, unless it is "null", which any page may
    have. Without tokens too, where cookies have no effect: else a page that sends them works with tokens only.
    """
    headers = cors_headers(origin)
    if origin.startswith(("http://", "https://")):
        headers += ((b"access-control-allow-credentials", b"true"),)

    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return send_with_cors
