"""uvicorn's request and response, with one write for each whole response."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from flowruns.http.responses import DROP


class Cycle(RequestResponseCycle):
    """uvicorn's request and response, which sends an answer that is known whole in one write.

    Head and body apart cost two system calls, and uvicorn looks into every header for what would break it; the
    headers here are all of `responses`, which has made them of numbers, names of its own and quoted paths.
    """

    is_stream = False  # it goes out piece by piece
    _start: Any = None

    async def send(self, message: Any) -> None:
        """Keeps the start of a response until the first piece of its body comes."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] == DROP:
            self.disconnected = True
            self.transport.abort()
            return
        start, self._start = self._start, None
        self.is_stream = self.is_stream or message.get("more_body", False)
        if self.scope["http_version"] == "1.0":  # knows no chunks: a stream goes on until the connection closes
            self.chunked_encoding, self.expected_content_length = False, len(message["body"])
        if start is None or message.get("more_body") or self.flow.write_paused or self.disconnected:
            if start is not None:
                await super().send(start)
            await super().send(message)
            return
        parts = [STATUS_LINE[start["status"]]]
        for name, value in (*self.default_headers, *start["headers"]):
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        parts.append(message["body"])
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join(parts))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
