"""The settings of one server."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import fields, force_setattr

from flowruns.addresses import parse_frame_ancestor, parse_origin, parse_prefix, parse_proxy

RUNS = "/api/v1/flow-runs"  # below the prefix, if the application is mounted under one

STATS = "/api/v1/stats"  # not below `RUNS`, where `stats` is the id of a run

MEMORY = ":memory:"

ANY_HOST = "*"  # in `allow_hosts`

KIB = 1024

MIB = 1024 * KIB

Synchronous = Literal["full", "normal"]  # SQLite's pragma synchronous

TOKEN = r"[^\s\x00-\x1f\x7f]+"  # a pattern: what a header can hold, in UTF-8

_Port = Annotated[int, Meta(ge=0, le=65535)]

_Token = Annotated[str, Meta(pattern=rf"\A{TOKEN}\Z")]

_UserId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

_Size = Annotated[int, Meta(ge=0)]

_Seconds = Annotated[float, Meta(ge=0, le=3600)]


class Settings(Struct, frozen=True, kw_only=True):
    """The configuration of a server. Raises ValueError for an invalid value, and if other machines can reach *host*,
    or any web page the server, but neither *tokens* nor *anonymous* is set.
    """

    database: str = "flowruns.db"  # a file, or ":memory:"
    host: str = "localhost"  # 127.0.0.1, and ::1 where the machine has it
    port: _Port = 8000  # 0: a free port
    uds: str | None = None  # the path of a Unix socket, instead of *host* and *port*
    tokens: Mapping[_Token, _UserId] = {}  # token to user id; empty: callers are anonymous
    anonymous: bool = False  # allow anonymous callers even if other machines can reach *host*
    max_body: _Size = 8 * MIB  # bytes
    lock_timeout: _Seconds = 5.0  # a write waits this long in total for another program's lock
    synchronous: Synchronous = "full"  # "normal": a power failure may lose the last writes
    max_connections: Annotated[int, Meta(ge=1)] = 500  # over it, the longest idle connections are closed
    max_streams: _Size = 200  # open at once; at most half of *max_connections*, which leaves room for requests
    max_head: _Size = 64 * KIB  # bytes of the request line and headers
    head_timeout: _Seconds = 10.0  # for all headers, from their first byte or the start of the connection
    body_timeout: _Seconds = 30.0  # between two pieces of a body
    idle_timeout: _Seconds = 75.0  # of a keep-alive connection; longer than clients keep one, so that they close first
    allow_hosts: frozenset[str] = frozenset()  # besides loopback and *host*; ANY_HOST: all
    cors_origins: frozenset[str] = frozenset()  # as browsers send them: https://portal.example
    frame_ancestors: frozenset[str] = frozenset()  # origins whose pages may show the web page in a frame; "self"
    forwarded_allow_ips: frozenset[str] = frozenset()  # proxies whose X-Forwarded-* headers are heeded; "*": all
    root_path: str = ""  # the prefix that a proxy removes from paths: /portal

    def __post_init__(self) -> None:
        for field in fields(self):
            try:
                force_setattr(self, field.name, convert(getattr(self, field.name), field.type))
            except ValidationError as error:
                raise ValueError(f"{field.name}: {error}") from None
        force_setattr(self, "root_path", parse_prefix(self.root_path))
        force_setattr(self, "cors_origins", frozenset(map(parse_origin, self.cors_origins)))
        force_setattr(self, "frame_ancestors", frozenset(map(parse_frame_ancestor, self.frame_ancestors)))
        force_setattr(self, "forwarded_allow_ips", frozenset(map(parse_proxy, self.forwarded_allow_ips)))
        if self.tokens or self.anonymous:
            return
        if not (self.uds or is_loopback(self.host)):
            raise ValueError(f"host {self.host!r} is reachable from other machines: set tokens, or anonymous=True")
        if "null" in self.cors_origins:
            raise ValueError("any web page can make a frame with the origin 'null': set tokens, or anonymous=True")

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The fields to print and log, without the tokens."""
        shown = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(name, f"{len(value)} tokens" if name == "tokens" else value) for name, value in shown]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach *host*."""
    if host.lower() in ("localhost", "127.0.0.1", "::1"):
        return True
    from ipaddress import ip_address  # slow to import, and rarely needed

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


DEFAULTS = Settings()
