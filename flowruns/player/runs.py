"""Where a player finds its runs: the interface."""

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from flowruns.client.streams import Event
from flowruns.model.lines import RunLine


class Found(NamedTuple):
    """A run as a stored document, and its entity tag."""

    doc: bytes
    etag: str


class Runs(Protocol):
    """The runs of a server, or of a store. Every method may raise Unreachable and Busy, after which the same call may
    succeed, and Refused.
    """

    @property
    def name(self) -> str:
        """What messages call it."""

    def changes(self) -> AsyncGenerator[Event]:
        """The changes of all runs, without end; a player heeds `open`, `resync`, `lost` and `run`. Raises Unreachable
        only before the first `open`.
        """

    def unfinished(self, phases: list[str]) -> AsyncGenerator[bytes]:
        """The runs in *phases*, the oldest first."""

    async def get(self, id: str) -> Found:
        """The run. Raises NotFound."""

    async def put(self, id: str, body: bytes, etag: str) -> str:
        """The new entity tag of the run, after *body* has replaced it. Raises Refused with status 412 if it has another
        *etag* than this, or was deleted.
        """

    async def create(self, line: RunLine) -> bool:
        """Creates the run of *line*, and returns True; False if a run with its id exists. Its `createdAt` and
        `createdBy` are kept where runs are imported: the API sets them itself.
        """

    async def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound."""
