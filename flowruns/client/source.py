"""The interface through which the commands read runs: from a server, or from a database file."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from flowruns.client.streams import Event

Filters = Mapping[str, Any]  # query parameters of the list, also `fields`: one value, or a list of values


class Page(NamedTuple):
    """Some runs, as stored JSON documents, and the number of matching runs in *total*."""

    docs: list[bytes]
    total: int


class RunSource(Protocol):
    """A source of runs: a server, or a database file."""

    @property
    def name(self) -> str:
        """The address of the server, or the path of the file."""

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that match *filters*, at most *limit*, in pages; at least one page."""

    def get(self, id: str) -> bytes:
        """The run. Raises NotFound."""

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""

    def watch(self, id: str | None = None, *, after: int | None = None, **filters: Any) -> Iterator[Event]:
        """The changes of the run *id*, or of the runs that match *filters*, without end. Starts after change number
        *after*; without it, starts now, with the current state of *id* first.
        """

    def close(self) -> None:
        """Closes open connections."""
