"""A server for tests, which a test finds empty."""

from collections.abc import Iterator

import pytest

from flowruns.testing.server import Flowruns, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Flowruns]:
    with serve() as server:
        yield server


@pytest.fixture
def runs(server: Flowruns) -> Iterator[Flowruns]:
    """The server of the module, reset."""
    server.reset()
    yield server
    server.reset()
