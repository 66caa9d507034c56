"""The runs of a database file: of the server that has it, else straight from it."""

import asyncio
from collections.abc import Iterator
from typing import Any, Self

from msgspec import Raw
from msgspec.json import decode, encode

from flowruns.client.source import Page
from flowruns.client.streams import Event, resume
from flowruns.client.transport import Filters, Transport
from flowruns.errors import DatabaseUnusable, ErrorDetail, Invalid, NotFound, Refused, Unavailable, Unreachable
from flowruns.model.cursors import MAX_PAGE_SIZE, PageRequest, page_links
from flowruns.settings import MEMORY
from flowruns.sqlite.blocking import open_readonly
from flowruns.sqlite.datafile import real_path
from flowruns.sqlite.lockfile import LockInfo, lock_info
from flowruns.store import pages, reads
from flowruns.store.filters import Where, by_id, where
from flowruns.store.reads import Changes
from flowruns.store.store import Store


class LocalSource:
    """The runs of the file *database*: by the server that has it, with the token that it leaves for us or else *token*;
    straight from the file where none has, and then reading leaves what it says as it is, with nothing beside it.

    Every method may raise what `Transport` raises, and DatabaseUnusable.
    """

    def __init__(self, database: str, token: str | None = None) -> None:
        if database == MEMORY:
            raise DatabaseUnusable(":memory: is a server's own; ask that by its address, with --url")
        self._path = real_path(database)
        self._token = token
        self._known: tuple[LockInfo, Transport] | None = None

    @property
    def name(self) -> str:
        """What is asked."""
        server = self._server()
        return server.name if server else str(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes what is open."""
        if self._known is not None:
            self._known[1].close()

    def _server(self) -> Transport | None:
        owner = lock_info(self._path)
        if owner is None or not owner.url:
            return None
        if self._known is None or self._known[0] != owner:
            self.close()
            self._known = owner, Transport(owner.url, owner.secret or self._token)
        return self._known[1]

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that fit *filters*, at most *limit*, in pages; at least one page."""
        if server := self._server():
            yield from server.pages(limit=limit, order=order, **filters)
            return
        left, chosen = limit, _where(filters)
        page_request = PageRequest(ascending=order == "asc")
        while True:
            page_request = page_request._replace(size=MAX_PAGE_SIZE if left is None else min(left, MAX_PAGE_SIZE))
            with open_readonly(self._path) as connection:
                rows = pages.page(connection, where=chosen, page_request=page_request)
            docs = [bytes(doc) for doc in decode(b"[%b]" % rows.docs, type=list[Raw])]
            yield Page(docs, rows.total)
            left = None if left is None else left - len(docs)
            onward = page_links(
                page_request, rows.lowest, rows.highest, older=bool(rows.older), newer=bool(rows.newer)
            ).next
            if onward is None or left == 0:
                return
            page_request = page_request._replace(cursor=onward)

    def runs(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[bytes]:
        """The runs that fit *filters*, at most *limit*."""
        for page in self.pages(limit=limit, order=order, **filters):
            yield from page.docs

    def get(self, id: str) -> bytes:
        """The run. Raises NotFound."""
        if server := self._server():
            return server.get(id)
        with open_readonly(self._path) as connection:
            (stored,) = reads.get(connection, ids=[id])
        if stored is None:
            raise NotFound(id)
        return stored.doc

    def delete(self, id: str) -> None:
        """Deletes the run. Raises NotFound, DatabaseInUse and Refused."""
        if server := self._server():
            server.delete(id)
            return
        with open_readonly(self._path):
            pass  # so that no file is made where there is none

        async def delete() -> None:
            async with Store.open(self._path) as store:
                await store.delete(id)

        try:
            asyncio.run(delete())
        except Unavailable as error:
            raise Refused(f"{self._path}: {error}") from None

    def watch(self, id: str | None = None, *, after: int | None = None, **filters: Any) -> Iterator[Event]:
        """The changes of the run *id*, or of those that fit *filters*, for ever: after number *after*, else from now
        on, the present state of *id* first. What changes the file is seen, and a server that comes is asked.
        """
        chosen = _where(filters) if id is None else by_id(id)
        begun = False

        def stream(position: int | None) -> Iterator[Event]:
            nonlocal begun
            if server := self._server():
                begun = True
                yield from server.stream(id, position, filters)
                return
            if not begun:
                begun, position = True, self._beginning(id) if position is None else position
                yield Event("open", position)
            yield from self._changes(chosen, position or 0)
            raise Unreachable(f"nobody serves {self._path}")

        return resume(stream, after)

    def _beginning(self, id: str | None) -> int:
        """The number that changes are told after. Raises NotFound."""
        with open_readonly(self._path) as connection:
            if id is None:
                return reads.last_number(connection)
            change = reads.last_change(connection, id=id)
        if change is None or change.doc is None:
            raise NotFound(id)
        return change.seq - 1

    def _changes(self, chosen: Where, position: int) -> Iterator[Event]:
        while True:
            changes = self._read_changes(chosen, position)
            for change in changes.found:
                kind, data = ("run", change.doc) if change.doc else ("deleted", encode({"id": change.id}))
                yield Event(kind, change.seq, data)
            position = changes.position
            yield Event("", position)
            if position >= changes.last:
                return

    def _read_changes(self, chosen: Where, after: int) -> Changes:
        with open_readonly(self._path) as connection:
            return reads.changes(connection, chosen, after, reads.last_number(connection))


def _where(filters: Filters) -> Where:
    """What *filters* choose. Raises Invalid."""
    pairs = [
        (name, str(one))
        for name, value in filters.items()
        for one in (value if isinstance(value, list | tuple) else [value])
    ]
    details: list[ErrorDetail] = []
    chosen = where(pairs, details)
    if details:
        raise Invalid(*details)
    return chosen
