"""What a trusted proxy says of the request that it received: `X-Forwarded-Proto`, `-Host` and `-Prefix`."""

from collections.abc import Callable, Iterable
from functools import lru_cache

from flowruns.addresses import parse_prefix
from flowruns.http.requests import header_values
from flowruns.http.responses import Scope
from flowruns.http.static import FILES
from flowruns.settings import RUNS

_ANY = "*"

_CACHED = 1024  # clients whose address is compared once


def trusted_proxies(addresses: Iterable[str]) -> Callable[[Scope], bool]:
    """A function that returns whether the client of a scope is one of *addresses*: addresses, networks, or `*`."""
    names = frozenset(addresses)
    if not names:
        return lambda scope: False
    from ipaddress import IPv6Address, ip_address, ip_network  # slow to import, and seldom needed

    networks = [ip_network(name) for name in names - {_ANY}]

    @lru_cache(_CACHED)
    def is_trusted(name: str) -> bool:
        try:
            address = ip_address(name)
        except ValueError:  # a test client
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:  # IPv4 at a socket of both families
            address = address.ipv4_mapped
        return any(address in network for network in networks)

    def trusts(scope: Scope) -> bool:
        client = scope.get("client")  # None at a Unix socket
        return _ANY in names or (client is not None and is_trusted(client[0]))

    return trusts


def forwarded(scope: Scope, name: bytes) -> str | None:
    """The value of the header *name*: the last one, which the proxy itself added to those that it received."""
    values = header_values(scope, name)
    return values[-1].decode("latin-1").rpartition(",")[2].strip() if values else None


def forwarded_scheme(scope: Scope) -> str | None:
    """`http` or `https`, None if the proxy says neither."""
    scheme = (forwarded(scope, b"x-forwarded-proto") or "").lower()
    return scheme if scheme in ("http", "https") else None


def forwarded_prefix(scope: Scope) -> str | None:
    """The prefix that the proxy removed, None if it says none or it is invalid."""
    text = forwarded(scope, b"x-forwarded-prefix")
    try:
        return None if text is None else parse_prefix(text)
    except ValueError:
        return None


def add_prefix(scope: Scope, prefix: str) -> None:
    """Adds *prefix* to `root_path` and `path`, as ASGI has them, unless the proxy left it in the path."""
    has_prefix = not scope.get("root_path") and scope["path"].startswith(prefix + "/")
    if has_prefix and not any(f"{own}/".startswith(prefix + "/") for own in (RUNS, FILES)):  # else it is our own `/api`
        scope["root_path"] = prefix
        return
    scope["root_path"] = prefix + scope.get("root_path", "")
    scope["path"] = prefix + scope["path"]
    if scope.get("raw_path"):
        scope["raw_path"] = prefix.encode() + scope["raw_path"]
