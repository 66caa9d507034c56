"""What the commands need of a source of runs: a server or a file."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from flowruns.client.streams import Event


class Page(NamedTuple):
    """Some runs, as they are stored, and how many there are in *total*."""

    docs: list[bytes]
    total: int


class RunSource(Protocol):
    """Where runs are: a server, or a file."""

    @property
    def name(self) -> str:
        """What is asked."""

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that fit *filters*, at most *limit*, in pages; at least one page."""

    def runs(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[bytes]:
        """The runs that fit *filters*, at most *limit*."""

    def get(self, id: str) -> bytes:
        """The run. Raises NotFound."""

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""

    def watch(self, id: str | None = None, *, after: int | None = None, **filters: Any) -> Iterator[Event]:
        """The changes of the run *id*, or of those that fit *filters*, for ever: after number *after*, else from now
        on, the present state of *id* first.
        """

    def close(self) -> None:
        """Closes what is open."""
