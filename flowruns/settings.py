"""The settings of one server, all in one frozen value."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

RUNS = "/api/v1/flow-runs"  # the path of the runs, below whatever prefix the service is mounted under
MEMORY = ":memory:"
ANY_HOST = "*"
KIB = 1024
MIB = 1024 * KIB

Synchronous = Literal["full", "normal"]  # what a commit waits for, as SQLite calls it


class Settings(Struct, frozen=True, kw_only=True):
    """What a server is told at its start; nothing below the command line reads the environment."""

    database: str = "flowruns.db"  # a file, or ":memory:"
    host: str = "127.0.0.1"
    port: int = 8000  # 0: a free one
    tokens: Mapping[str, int] = {}  # token to user id; empty: anonymous callers are served
    max_body: int = 8 * MIB  # bytes
    lock_timeout: float = 5.0  # seconds that a write waits for another program's lock, in all
    synchronous: Synchronous = "full"  # "normal": a power cut may take the last writes, nothing else may
    max_connections: int = 500  # beyond it, those that are silent longest make room
    max_streams: int = 200  # open at once, and at most half of *max_connections*: others are to be served too
    max_head: int = 64 * KIB  # bytes of a request's line and headers
    head_timeout: float = 10.0  # seconds for a whole head, from its first byte or the connection's start
    body_timeout: float = 30.0  # seconds between two pieces of a body
    idle_timeout: float = 75.0  # seconds; longer than clients keep a connection for the next request, so that none
    # meets a closed one
    allow_hosts: frozenset[str] = frozenset()  # beside loopback and *host*; ANY_HOST: all
    cors_origins: frozenset[str] = frozenset()  # as browsers write them: https://portal.example

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """What is printed and logged; tokens are not."""
        shown = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(name, f"{len(value)} tokens" if name == "tokens" else value) for name, value in shown]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


DEFAULTS = Settings()
