"""A server for tests, which a test finds empty."""

from collections.abc import Iterator

import pytest

from flowruns.testing.server import Flowruns, serve


@pytest.fixture(scope="module")
def shared() -> Iterator[Flowruns]:
    with serve() as runs:
        yield runs


@pytest.fixture
def runs(shared: Flowruns) -> Flowruns:
    shared.reset()
    return shared
