"""Where commands read runs: a server in memory, a server at an address, or a database file with or without a server."""

import asyncio
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import click
from click.core import ParameterSource
from msgspec import Raw
from msgspec.json import decode, encode

from flowruns.cli.inputs import token_lines
from flowruns.cli.options.database import is_named
from flowruns.client.source import Filters, Page
from flowruns.client.steps import Flow, Sleep
from flowruns.client.streams import Event, resume
from flowruns.errors import DatabaseUnusable, NotFound, Refused, Unavailable, Unreachable
from flowruns.model.cursors import MAX_PAGE_SIZE, PageRequest, page_links
from flowruns.server.registry import MemoryServer, memory_servers
from flowruns.settings import MEMORY, TOKEN
from flowruns.sqlite.datafile import real_path
from flowruns.sqlite.lockfile import LockInfo, lock_info
from flowruns.sqlite.numbers import last_number
from flowruns.sqlite.open_file import open_readonly
from flowruns.store import pages, reads
from flowruns.store.filters import Where, by_id, where_of
from flowruns.store.holdings import Holdings
from flowruns.store.store import Store
from flowruns.terminal.output import print_stderr

if TYPE_CHECKING:
    from flowruns.client.transport import Transport

RunSource: TypeAlias = "Transport | LocalSource"


def run_source(database: str, url: str | None, token: str | None, *, file_first: bool = False) -> RunSource:
    """The source of runs that the values of these options name; see `find_memory_server` for *file_first*. Raises
    click.UsageError and DatabaseUnusable.
    """
    ctx = click.get_current_context()
    if token is not None:
        token = "".join(token_lines("--token", token)).strip()
        if not re.fullmatch(TOKEN, token):  # the message does not repeat it: it is a secret
            raise click.UsageError("--token: a token has no spaces")
    file_given = ctx.get_parameter_source("database") is ParameterSource.COMMANDLINE
    if url is None or (file_given and ctx.get_parameter_source("url") is not ParameterSource.COMMANDLINE):
        server = find_memory_server(database, file_first=file_first)
        if server is None:
            return LocalSource(database, token)
        return _transport(server.info.url, server.info.secret or token)  # the token that it provides for its user
    if file_given:
        raise click.UsageError("--url and --database both name the source of runs; give one of them")
    return _transport(url, token)


def run_server(database: str, url: str | None, token: str | None) -> tuple[str, str | None]:
    """The address and the token of the server that the values of these options name. Raises click.UsageError,
    DatabaseUnusable, and Unreachable if no server is running for the file.
    """
    with run_source(database, url, token) as source:
        server = source.server() if isinstance(source, LocalSource) else source
        if server is None:
            raise Unreachable(f"no server is running for {source.name}; start one with `flowruns -d {database}`")
        return server.name, server.token


def find_memory_server(database: str, *, file_first: bool = False) -> MemoryServer | None:
    """The server in memory that a command means by *database*; None if it means a file.

    It is meant by `:memory:`, and where no database is named and no server of `flowruns.db` is running. With
    *file_first*, or several servers in memory, a file `flowruns.db` without a server comes first. Prints what is used
    where another source could be meant. Raises click.UsageError if several servers are running, and there is no file.
    """
    named = is_named("database")
    if named and database != MEMORY:
        return None
    servers = memory_servers()
    if not servers:
        return None
    urls = " or ".join(f"--url {server.info.url}" for server in servers)
    exists = not named and real_path(database).exists()
    if not named and lock_info(real_path(database)):
        return None
    if exists and (file_first or len(servers) > 1):
        print_stderr(f"flowruns: using the file {database}; for a server in memory, add {urls}")
        return None
    if len(servers) > 1:
        reason = "" if named else f"there is no {database} here, and "
        raise click.UsageError(f"{reason}several servers are running in memory; choose one with {urls}")
    if not named:
        other = f"; for the file, add -d {database}" if exists else ""
        print_stderr(f"flowruns: using the server in memory at {servers[0].info.url}{other}")
    return servers[0]


def _transport(url: str, token: str | None) -> "Transport":
    from flowruns.client.transport import Transport  # with httpx, which a file without a server does not need

    return Transport(url, token)


class LocalSource:
    """The runs of the file *database*. While a server is running for it, they come from the server, with the token that
    the server provides for its user, or else with *token*. Otherwise they come from the file, and reading changes
    nothing, and creates no file beside it.

    Every method may raise what `Transport` raises, and DatabaseUnusable.
    """

    def __init__(self, database: str, token: str | None = None) -> None:
        if database == MEMORY:
            raise DatabaseUnusable("no server of yours is running in memory; name another server with --url")
        self._path = real_path(database)
        self._token = token
        self._connected: tuple[LockInfo, Transport] | None = None

    @property
    def name(self) -> str:
        """The address of the server, else the path of the file."""
        server = self.server()
        return server.name if server else str(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection to the server, if there is one."""
        if self._connected is not None:
            self._connected[1].close()

    def server(self) -> "Transport | None":
        """The server that is running for the file now."""
        info = lock_info(self._path)
        if info is None or not info.url:
            return None
        if self._connected is None or self._connected[0] != info:
            self.close()
            self._connected = info, _transport(info.url, info.secret or self._token)
        return self._connected[1]

    def pages(self, *, limit: int | None = None, order: str = "desc", **filters: Any) -> Iterator[Page]:
        """The runs that match *filters*, at most *limit*, in pages; at least one page."""
        if server := self.server():
            yield from server.pages(limit=limit, order=order, **filters)
            return
        left, chosen = limit, condition_of(filters)
        page_request = PageRequest(ascending=order == "asc")
        while True:
            page_request = page_request._replace(size=MAX_PAGE_SIZE if left is None else min(left, MAX_PAGE_SIZE))
            with open_readonly(self._path) as connection:
                rows = pages.page(connection, where=chosen, page_request=page_request)
            docs = [bytes(doc) for doc in decode(b"[%b]" % rows.docs, type=list[Raw])]
            yield Page(docs, rows.total)
            left = None if left is None else left - len(docs)
            next_cursor = page_links(
                page_request, rows.lowest, rows.highest, older=bool(rows.older), newer=bool(rows.newer)
            ).next
            if next_cursor is None or left == 0:
                return
            page_request = page_request._replace(cursor=next_cursor)

    def get(self, id: str) -> bytes:
        """The run *id*. Raises NotFound."""
        if server := self.server():
            return server.get(id)
        with open_readonly(self._path) as connection:
            (stored,) = reads.get(connection, ids=[id])
        if stored is None:
            raise NotFound(id)
        return stored.doc

    def delete(self, id: str) -> None:
        """Deletes the run *id*. Raises NotFound, DatabaseInUse and Refused."""
        if server := self.server():
            server.delete(id)
            return
        with open_readonly(self._path):
            pass  # raises if there is no file, which `Store.open` would create

        async def delete() -> None:
            async with Store.open(self._path) as store:
                await store.delete(id)

        try:
            asyncio.run(delete())
        except Unavailable as error:
            raise Refused(f"{self._path}: {error}") from None

    def watch(self, id: str | None = None, *, after: int | None = None, **filters: Any) -> Iterator[Event]:
        """The changes of the run *id*, or of the runs that match *filters*, without end: those after the change number
        *after*; by default, first the present state of *id*, then the changes from now on. Includes changes to the file
        without a server, and switches to a server that starts.
        """
        chosen = condition_of(filters)
        if id is not None:
            chosen = by_id(id)._replace(fields=chosen.fields)
        started = False
        holdings: Holdings | None = Holdings(after or 0)  # None after a stream of a server, which keeps its own

        def events(position: int | None) -> Flow[Event, None]:
            nonlocal started, holdings
            if server := self.server():
                started, holdings = True, None
                yield from server.stream(id, position, filters)
                return
            if not started:
                started, position = True, self._start(id) if position is None else position
                yield Event("open", position)
            holdings = holdings or Holdings(position or 0)
            yield from self._changes(chosen, position or 0, holdings)
            raise Unreachable(f"no server is running for {self._path}")

        for step in resume(events, after):
            if isinstance(step, Sleep):
                time.sleep(step.seconds)  # until it asks again for a server
            elif isinstance(step, Event):
                yield step

    def _start(self, id: str | None) -> int:
        """The change number to start after. Raises NotFound."""
        with open_readonly(self._path) as connection:
            if id is None:
                return last_number(connection)
            change = reads.last_change(connection, id=id)
        if change is None or change.doc is None:
            raise NotFound(id)
        return change.seq - 1

    def _changes(self, chosen: Where, position: int, holdings: Holdings) -> Iterator[Event]:
        """The changes in the file after *position*, up to now."""
        while True:
            with open_readonly(self._path) as connection:
                read = reads.changes(connection, holdings.scope(chosen), position, last_number(connection))
            changes = holdings.select(read)
            for change in changes.found:
                yield Event(change.kind, change.seq, change.doc or encode({"id": change.id}))
            position = changes.position
            yield Event("", position)
            if position >= changes.last:
                return


def condition_of(filters: Filters) -> Where:
    """The condition and the fields of *filters*. Raises Invalid."""
    pairs = [
        (name, str(value))
        for name, values in filters.items()
        for value in (values if isinstance(values, list | tuple) else [values])
    ]
    return where_of(pairs)
