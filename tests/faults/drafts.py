"""Requests that are being made, each with the statuses that may answer it."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.conftest import RUNS

TOKEN = "not-to-be-disclosed"
USER = 7  # whose token it is
HOST = b"Host: localhost"
BEARER = b"Authorization: Bearer " + TOKEN.encode()
MEDIA_TYPE = b"Content-Type: application/json"

NOT_HTTP = frozenset({400, 431})  # the answer, if there is one, is the connection's last
NO_FAULT_OF_OURS = frozenset(range(200, 500))


class Asked(NamedTuple):
    """A request that is whole: one answer is due, with one of the *statuses*."""

    method: str
    data: bytes
    statuses: frozenset[int]
    id: str = ""  # of the run that it concerns, if it is sure
    fields: dict[str, Any] | None = None  # some of the run that it is answered with, if that is known


@dataclass
class Draft:
    """A request that is being made; *usual* are the statuses of it as it was before it was made odd."""

    method: str
    target: bytes
    usual: frozenset[int]
    id: str = ""
    host: list[bytes] = field(default_factory=lambda: [HOST])
    token: list[bytes] = field(default_factory=lambda: [BEARER])
    media_type: list[bytes] = field(default_factory=lambda: [MEDIA_TYPE])
    more: list[bytes] = field(default_factory=list)
    body: bytes | None = None
    chunked: bytes | None = None  # the body as it is sent then
    version: bytes = b"HTTP/1.1"
    may: frozenset[int] = frozenset()
    refused: bool = False  # whether the usual statuses would be wrong

    def allows(self, *statuses: int) -> None:
        """From here on these statuses are right too."""
        self.may |= set(statuses)

    def refuses(self, *statuses: int) -> None:
        """From here on only these statuses, and others that are allowed, are right."""
        self.allows(*statuses)
        self.refused = True

    def head(self) -> bytes:
        lines = [b" ".join((self.method.encode("latin-1"), self.target, self.version)), *self.host, *self.token]
        if self.body is not None:
            lines += self.media_type
            length = b"Content-Length: %d" % len(self.body)
            lines.append(length if self.chunked is None else b"Transfer-Encoding: chunked")
        return b"\r\n".join([*lines, *self.more, b"", b""])

    def asked(self, fields: dict[str, Any] | None = None) -> Asked:
        body = self.body if self.chunked is None else self.chunked
        statuses = self.may | (frozenset() if self.refused else self.usual)
        return Asked(self.method, self.head() + (body or b""), statuses, self.id, fields)


Change = Callable[[random.Random, Draft], None]
Answered = Sequence[tuple[Any, Sequence[int]]]  # what is sent, and the statuses that refuse it; none: it is served


def get(target: bytes | str, status: int = 200, method: str = "GET") -> Draft:
    return Draft(method, target.encode() if isinstance(target, str) else target, frozenset({status}))


def put(id: str, body: dict[str, Any] | bytes, status: int = 201) -> Draft:
    return Draft("PUT", f"{RUNS}/{id}".encode(), frozenset({status}), id, body=_json(body))


def post(body: dict[str, Any] | bytes, status: int = 201) -> Draft:
    return Draft("POST", RUNS.encode(), frozenset({status}), body=_json(body))


def delete(id: str, status: int = 204) -> Draft:
    return Draft("DELETE", f"{RUNS}/{id}".encode(), frozenset({status}), id)


def _json(body: dict[str, Any] | bytes) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
