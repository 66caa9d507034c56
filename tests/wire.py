"""HTTP as bytes: requests that no client library would send, and responses one at a time."""

import json
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message

from tests.waits import HANG

RUN = b'{"flowId":"deploy","flowType":"automation"}'
Headers = Iterable[tuple[bytes, bytes]]


class Reply(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: bytes) -> bytes | None:
        """The value of *name*, which may not be sent twice."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, values
        return values[0] if values else None

    def details(self, status: int) -> list[tuple[tuple[str | int, ...], str]]:
        """Place and type of each detail in an error response of *status*."""
        assert self.status == status, (self.status, self.body[:500])
        assert self.header(b"content-type") == b"application/json"
        assert self.header(b"content-length") == b"%d" % len(self.body)
        return error_details(self.json)


def error_details(body: Any) -> list[tuple[tuple[str | int, ...], str]]:
    """Place and type of each detail in the *body* of an error response, which has the one shape of all errors."""
    assert list(body) == ["detail"]
    assert body["detail"]
    for detail in body["detail"]:
        assert list(detail) == ["loc", "msg", "type"]
        assert detail["loc"], detail
        assert all(type(part) in (str, int) for part in detail["loc"]), detail
        assert all(isinstance(word, str) and word for word in (detail["msg"], detail["type"])), detail
    return [(tuple(detail["loc"]), detail["type"]) for detail in body["detail"]]


def request(method: str, target: str, body: bytes | None = None, /, *lines: str, host: str = "localhost") -> bytes:
    """The bytes of a request, with further header *lines*."""
    lines = (f"{method} {target} HTTP/1.1", f"Host: {host}", *lines)
    if body is not None:
        lines += ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Wire:
    """A connection to the server at *url*."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self.socket = socket.create_connection((address.hostname, address.port), timeout=HANG)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def end(self) -> None:
        """Closes the sending half."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def ask(self, method: str, target: str, body: bytes | None = None, /, *lines: str) -> Reply:
        self.send(request(method, target, body, *lines))
        return self.reply(method)

    def reply(self, method: str = "GET") -> Reply:
        """The next response, to a request of *method*."""
        reply = self.head()
        if method == "HEAD" or reply.status in (100, 204, 304):
            return reply
        size = int(reply.header(b"content-length") or b"")
        while len(self._read) < size:
            self._more()
        body, self._read = self._read[:size], self._read[size:]
        return reply._replace(body=body)

    def head(self) -> Reply:
        """The status and headers of the next response."""
        head, _, self._read = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        version, status, *_ = first.split(b" ")
        assert version == b"HTTP/1.1"
        pairs = [line.split(b": ", 1) for line in lines]
        return Reply(int(status), [(name.lower(), value) for name, value in pairs], b"")

    def rest(self) -> bytes:
        """Everything received until the server closes."""
        try:
            while data := self.socket.recv(65536):
                self._read += data
        except ConnectionResetError:
            pass
        rest, self._read = self._read, b""
        return rest

    def trickle(self, piece: bytes) -> bytes:
        """Everything received until the server closes, while *piece* is sent after each 50 ms without input."""
        self.socket.settimeout(0.05)
        deadline = time.monotonic() + HANG
        while time.monotonic() < deadline:
            try:
                return self.rest()
            except TimeoutError:
                with suppress(ConnectionError, TimeoutError):
                    self.send(piece)
        raise AssertionError(f"still open after {self._read!r}")

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            self._more()
        return self._read

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"closed after {self._read!r}"
        self._read += data


def ping(url: str) -> None:
    """Returns once the server at *url* has read what was sent to it before."""
    with Wire(url) as wire:
        for _ in range(2):  # earlier input is read in the same iteration of the loop as the first request, or before
            wire.ask("GET", "/health")


def scope_of(method: str, path: str, headers: Headers = (), **items: Any) -> dict[str, Any]:
    """The ASGI scope of a request with only these *headers*."""
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": list(headers),
        **items,
    }  # fmt: skip


async def call(
    app: ASGIApp, method: str, path: str, headers: Headers = (), body: bytes = b"", **scope_items: Any
) -> Reply:
    """The response of *app*, without a server, to a request with only these *headers*."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope_of(method, path, headers, **scope_items), receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert [message["type"] for message in rest] == ["http.response.body"]
    return Reply(start["status"], list(start["headers"]), rest[0]["body"])
