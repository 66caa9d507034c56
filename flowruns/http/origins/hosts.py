"""The hosts that a server has, against pages that reach it by DNS rebinding, and the origins of its own pages."""

from contextlib import suppress
from functools import lru_cache

from flowruns.addresses import parse_origin, without_default_port
from flowruns.errors import ErrorDetail, Forbidden
from flowruns.http.logs import log
from flowruns.settings import ANY_HOST, Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_WILDCARDS = frozenset({"", "0.0.0.0", "[::]", "::"})  # addresses to listen on, which clients cannot connect to

_MAX_REFUSED = 20  # origins that are logged; each may be any text of a client, and is logged once

_CACHED = 64  # values of Host that are checked once: clients repeat theirs

_MAX_ORIGIN = 300  # characters of an origin that is named: a host has 253 at most


class Hosts:
    """The hosts of a server with *settings*: loopback, its own address, and those that are named."""

    def __init__(self, settings: Settings) -> None:
        own = frozenset({settings.host, f"[{settings.host}]"}) - _WILDCARDS
        self._named = frozenset(host.lower() for host in own - LOOPBACK | settings.allow_hosts)
        self._refused: set[str] = set()
        self._allowed = lru_cache(_CACHED)(self._allowed_host)

    def check(self, values: list[bytes]) -> str:
        """The host in the *values* of the header Host, of which there must be one. Raises Forbidden."""
        host = self._allowed(values[0] if len(values) == 1 else b"")
        if host is None:
            msg = "This host is not allowed; to allow it, start the server with --allow-host HOST"
            raise Forbidden(ErrorDetail(("header", "host"), msg, "host_not_allowed"))
        return host

    def check_origin(self, origin: str, scheme: str, host: str) -> None:
        """Raises Forbidden unless *origin* is that of pages of *host*, which is checked, reached by *scheme*. Logs an
        origin that is refused once: the page itself cannot read the response.

        A host that is named may have both schemes: TLS may end at a proxy before it, and the name is its own.
        """
        schemes = ("http", "https") if self._is_named(host) else (scheme,)
        sent_scheme, _, authority = origin.lower().partition("://")
        if sent_scheme in schemes and (
            without_default_port(sent_scheme, authority) == without_default_port(sent_scheme, host)
        ):
            return
        named = _is_origin(origin)
        option = f"--cors-origin {origin if named else 'ORIGIN'}"
        if origin == "null":
            option += ", and --token or --anonymous"
        if named and origin not in self._refused and len(self._refused) < _MAX_REFUSED:
            self._refused.add(origin)
            log.warning("refused %s; to allow its pages: %s", origin, option)
        cure = f"to allow it, start the server with {option}; behind a proxy, see `flowruns docs proxies`"
        raise Forbidden(ErrorDetail(("header", "origin"), f"This origin is not allowed; {cure}", "origin_not_allowed"))

    def _allowed_host(self, value: bytes) -> str | None:
        host = value.decode("latin-1").lower()
        return host if self._is_named(host) or _is_in(host, LOOPBACK) else None

    def _is_named(self, host: str) -> bool:
        return ANY_HOST in self._named or _is_in(host, self._named)


def _is_in(host: str, names: frozenset[str]) -> bool:
    """Whether *host* is one of *names*, with or without its port."""
    name, colon, port = host.rpartition(":")
    return host in names or bool(colon and port.isdecimal() and name in names)


def _is_origin(text: str) -> bool:
    """Whether *text* is an origin as browsers send it, which has no character that a shell or a log heeds."""
    with suppress(ValueError):
        return len(text) <= _MAX_ORIGIN and parse_origin(text) == text
    return False
