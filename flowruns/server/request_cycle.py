"""uvicorn's request and response, with one write for each complete response."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from flowruns.http.responses import DROP, STREAMING


class Cycle(RequestResponseCycle):
    """uvicorn's request and response, which sends a complete response in one write.

    uvicorn writes headers and body separately, which costs two system calls, and searches every header for invalid
    characters. Here all headers come from `responses`, which builds them from numbers, constants and quoted paths.
    """

    is_stream = False  # whether the body has no end
    _start: Any = None

    async def send(self, message: Any) -> None:
        """Holds back the start of a response until the first piece of its body."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] == DROP:
            self.disconnected = True
            self.transport.abort()
            return
        start, self._start = self._start, None
        self.is_stream = STREAMING in self.scope
        if self.scope["http_version"] == "1.0":  # without chunked encoding a stream ends with its connection
            self.chunked_encoding, self.expected_content_length = False, len(message["body"])
        if start is None or message.get("more_body") or self.flow.write_paused or self.disconnected:
            if start is not None:
                await super().send(start)
            await super().send(message)
            return
        headers = b"\r\n".join(map(b": ".join, (*self.default_headers, *start["headers"])))
        end = b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n"
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join((STATUS_LINE[start["status"]], headers, end, message["body"])))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class LaterCycle(Cycle):
    """A `Cycle` for loops whose task factory may start a task at once (`asyncio.eager_task_factory`)."""

    async def run_asgi(self, app: Any) -> None:
        """Runs *app*, once the parser has returned from the request's headers."""
        await asyncio.sleep(0)  # until the parser has returned
        await super().run_asgi(app)
