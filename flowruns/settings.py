"""The settings of one server, all in one frozen value."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import fields, force_setattr

RUNS = "/api/v1/flow-runs"  # the path of the runs, below whatever prefix the service is mounted under

MEMORY = ":memory:"

ANY_HOST = "*"

KIB = 1024

MIB = 1024 * KIB

Synchronous = Literal["full", "normal"]  # what a commit waits for, as SQLite calls it

TOKEN = r"[^\s\x00-\x1f\x7f]+"  # a header can hold it, in UTF-8 where it is not ASCII

_Port = Annotated[int, Meta(ge=0, le=65535)]

_Token = Annotated[str, Meta(pattern=rf"\A{TOKEN}\Z")]

_UserId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

_Size = Annotated[int, Meta(ge=0)]

_Seconds = Annotated[float, Meta(ge=0, le=3600)]


class Settings(Struct, frozen=True, kw_only=True):
    """What a server is told at its start; nothing below the command line reads the environment. Raises ValueError at a
    value that cannot be, and where *host* lets others in, but neither *tokens* nor *anonymous* says whom.
    """

    database: str = "flowruns.db"  # a file, or ":memory:"
    host: str = "127.0.0.1"
    port: _Port = 8000  # 0: a free one
    tokens: Mapping[_Token, _UserId] = {}  # token to user id; empty: anonymous callers are served
    anonymous: bool = False  # they are even where *host* lets others than this machine in
    max_body: _Size = 8 * MIB  # bytes
    lock_timeout: _Seconds = 5.0  # that a write waits for another program's lock, in all
    synchronous: Synchronous = "full"  # "normal": a power cut may take the last writes, nothing else may
    max_connections: Annotated[int, Meta(ge=1)] = 500  # beyond it, those that are silent longest make room
    max_streams: _Size = 200  # open at once, and at most half of *max_connections*: others are to be served too
    max_head: _Size = 64 * KIB  # bytes of a request's line and headers
    head_timeout: _Seconds = 10.0  # for a whole head, from its first byte or the connection's start
    body_timeout: _Seconds = 30.0  # between two pieces of a body
    idle_timeout: _Seconds = 75.0  # longer than clients keep a connection for the next request, so that none meets a
    # closed one
    allow_hosts: frozenset[str] = frozenset()  # beside loopback and *host*; ANY_HOST: all
    cors_origins: frozenset[str] = frozenset()  # as browsers write them: https://portal.example

    def __post_init__(self) -> None:
        for field in fields(self):
            try:
                force_setattr(self, field.name, convert(getattr(self, field.name), field.type))
            except ValidationError as error:
                raise ValueError(f"{field.name}: {error}") from None
        if not (self.tokens or self.anonymous or is_loopback(self.host)):
            raise ValueError(f"host {self.host!r} lets others in: name whom by tokens, or say anonymous=True")

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """What is printed and logged; tokens are not."""
        shown = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(name, f"{len(value)} tokens" if name == "tokens" else value) for name, value in shown]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*."""
    if host.lower() in ("localhost", "127.0.0.1", "::1"):
        return True
    from ipaddress import ip_address  # few ask for another one

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


DEFAULTS = Settings()
