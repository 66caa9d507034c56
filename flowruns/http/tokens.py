"""Tokens, and the cookies that stand for them in browsers (`flowruns/docs/api.md`, "Hosts, origins and tokens")."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from hmac import compare_digest

from flowruns.errors import Unauthorized
from flowruns.http.requests import header_values
from flowruns.http.responses import Header, Scope

SESSION = "/session"

_UNKNOWN = "; the one that was sent is not"

_SAFE_METHODS = ("GET", "HEAD")

_SAME_ORIGIN = (b"same-origin", b"none")  # of Sec-Fetch-Site; "none": the user typed the address


class Tokens:
    """The tokens of a server, each with its user id."""

    def __init__(self, tokens: Mapping[str, int]) -> None:
        self._tokens = [(token.encode(), user) for token, user in tokens.items()]

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def user(self, scope: Scope) -> int:
        """The user id of the token in Authorization; without that header, of the cookie. Raises Unauthorized."""
        if header_values(scope, b"authorization"):
            sent, tokens = [self._bearer(scope)], self._tokens
        else:
            sent = list(_cookies(scope)) if _is_own_page(scope) else []
            tokens = [(_session(token, scope), user) for token, user in self._tokens] if sent else []
        # Compares with all of them, in constant time.
        users = [user for one in sent for token, user in tokens if compare_digest(token, one)]
        if not users:
            raise Unauthorized(_UNKNOWN if header_values(scope, b"authorization") else "")
        return users[-1]

    def cookie(self, scope: Scope) -> Header:
        """The header that sets the cookie for the token in Authorization. Raises Unauthorized."""
        self.user(scope)
        return b"set-cookie", b"%b=%b; %b" % (_cookie_name(scope), _session(self._bearer(scope), scope), _rules(scope))

    def _bearer(self, scope: Scope) -> bytes:
        values = header_values(scope, b"authorization")
        scheme, _, token = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer":
            raise Unauthorized
        return token.strip()


def sends_credentials(scope: Scope) -> bool:
    """Whether the request has Authorization or a cookie of this server, valid or not."""
    return bool(header_values(scope, b"authorization")) or any(True for _ in _cookies(scope))


def expired_cookie(scope: Scope) -> Header:
    """The header that removes the cookie."""
    return b"set-cookie", b"%b=; %b; Max-Age=0" % (_cookie_name(scope), _rules(scope))


def _is_own_page(scope: Scope) -> bool:
    """Whether the request is from a page of this server or of an allowed origin, or from no page.

    A browser adds the cookie also to requests of pages on other ports of the same host. They differ in Origin, which
    was checked before, and which each write has; in Sec-Fetch-Site (W3C Fetch Metadata); or they are reads whose
    response they cannot see. Any page can have the origin "null", in a sandboxed frame.
    """
    if origins := header_values(scope, b"origin"):
        return all(origin.startswith((b"http://", b"https://")) for origin in origins)
    if sites := header_values(scope, b"sec-fetch-site"):
        return all(site in _SAME_ORIGIN for site in sites)
    return scope["method"] in _SAFE_METHODS


def _session(token: bytes, scope: Scope) -> bytes:
    """The value of the cookie for *token*: valid for this host and port while the server has the token, also after a
    restart. It does not reveal the token.
    """
    return hmac.new(token, b"flowruns session\n" + _host(scope), hashlib.sha256).hexdigest().encode()


def _cookie_name(scope: Scope) -> bytes:
    """Names differ by port, as browsers send a cookie to all ports of its host."""
    port = _host(scope).rpartition(b":")[2]
    return b"flowruns-" + port if port.isdigit() else b"flowruns"


def _rules(scope: Scope) -> bytes:
    secure = b"; Secure" if scope["scheme"] == "https" else b""
    return b"Path=%b/; HttpOnly; SameSite=Strict%b" % (scope.get("root_path", "").encode(), secure)


def _cookies(scope: Scope) -> Iterator[bytes]:
    """The values of the cookie (RFC 6265 5.4)."""
    for header in header_values(scope, b"cookie"):
        for pair in header.split(b";"):
            name, _, value = pair.strip().partition(b"=")
            if name == _cookie_name(scope):
                yield value


def _host(scope: Scope) -> bytes:
    return b"".join(header_values(scope, b"host")).lower()
