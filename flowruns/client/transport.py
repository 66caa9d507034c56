"""A server as a source of runs for the commands: its runs as stored JSON documents."""

from collections.abc import Iterator
from typing import Any, Self

from flowruns.client.api import Api
from flowruns.client.driver import Driver
from flowruns.client.source import Filters, Page
from flowruns.client.streams import Event


class Transport:
    """The server at *url*. Raises ValueError if *url* or *token* is invalid. Every method may raise Unreachable and
    Refused.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.token = token
        self._api = Api(url, token)
        self._driver = Driver(self._api.url)

    @property
    def name(self) -> str:
        """The address of the server."""
        return self._api.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the next request opens a new one."""
        self._driver.close()

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that match *filters*, at most *limit*, in pages; at least one page."""
        return self._driver.items(self._api.pages(limit=limit, order=order, **filters))

    def get(self, id: str) -> bytes:
        """The run. Raises NotFound."""
        return self._driver.result(self._api.get(id))

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
        self._driver.result(self._api.delete(id))

    def watch(self, id: str | None = None, *, after: int | None = None, **filters: Any) -> Iterator[Event]:
        """The changes of the run *id*, or of the runs that match *filters*, without end. Starts after change number
        *after*; without it, starts now, with the current state of *id* first. Reconnects if the server restarts, and
        resumes at the last position.
        """
        return self._driver.items(self._api.watch(id, after=after, **filters))

    def stream(self, id: str | None, after: int | None, filters: Filters) -> Iterator[Event]:
        """One stream of changes, until the server ends it."""
        return self._driver.items(self._api.stream(id, after, filters))
