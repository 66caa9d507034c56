"""The hosts that a server has, against pages that reach it by DNS rebinding, and the origins of its own pages."""

from flowruns.addresses import without_default_port
from flowruns.errors import ErrorDetail, Forbidden
from flowruns.settings import ANY_HOST, Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_WILDCARDS = frozenset({"", "0.0.0.0", "[::]", "::"})  # addresses to listen on, which clients cannot connect to


class Hosts:
    """The hosts of a server with *settings*: loopback, its own address, and those that are named."""

    def __init__(self, settings: Settings) -> None:
        own = frozenset({settings.host, f"[{settings.host}]"}) - _WILDCARDS
        self._named = frozenset(host.lower() for host in own - LOOPBACK | settings.allow_hosts)

    def check(self, values: list[bytes]) -> str:
        """The host in the *values* of the header Host, of which there must be one. Raises Forbidden."""
        host = values[0].decode("latin-1").lower() if len(values) == 1 else ""
        if not (self._is_named(host) or _is_in(host, LOOPBACK)):
            msg = "This host is not allowed; to allow it, start the server with --allow-host HOST"
            raise Forbidden(ErrorDetail(("header", "host"), msg, "host_not_allowed"))
        return host

    def check_origin(self, origin: str, scheme: str, host: str) -> None:
        """Raises Forbidden unless *origin* is that of pages of *host*, which is checked, reached by *scheme*.

        A host that is named may have both schemes: TLS may end at a proxy before it, and the name is its own.
        """
        schemes = ("http", "https") if self._is_named(host) else (scheme,)
        sent_scheme, _, authority = origin.lower().partition("://")
        if sent_scheme in schemes and (
            without_default_port(sent_scheme, authority) == without_default_port(sent_scheme, host)
        ):
            return
        cure = "to allow it, start the server with --cors-origin ORIGIN; behind a proxy, see `flowruns docs proxies`"
        raise Forbidden(ErrorDetail(("header", "origin"), f"This origin is not allowed; {cure}", "origin_not_allowed"))

    def _is_named(self, host: str) -> bool:
        return ANY_HOST in self._named or _is_in(host, self._named)


def _is_in(host: str, names: frozenset[str]) -> bool:
    """Whether *host* is one of *names*, with or without its port."""
    name, colon, port = host.rpartition(":")
    return host in names or bool(colon and port.isdecimal() and name in names)
