"""What the commands read from a server or from a database file: pages of runs, selected by filters."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Filters = Mapping[str, Any]  # query parameters of the list, also `fields`: one value, or a list of values


class Page(NamedTuple):
    """Some runs, as stored JSON documents, and the number of matching runs in *total*."""

    docs: list[bytes]
    total: int
