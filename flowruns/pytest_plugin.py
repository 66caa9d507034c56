"""Fixtures for pytest: a clean flowruns for each test. Nothing of flowruns is imported until one of them is used."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flowruns.embed import Embedded
    from flowruns.testing import Flowruns

    MakeFlowruns = Callable[..., Flowruns]

_MARK = "flowruns(seed=None, time=None, tokens=None): the runs (or a number for ids), the frozen time, and the tokens"
_used = pytest.StashKey[list["Flowruns"]]()  # the servers of a test, for its report


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", _MARK)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Attaches the last requests to the report of a test that fails."""
    report = yield
    if report.failed:
        servers: list[Flowruns] = item.stash.get(_used, [])
        for number, server in enumerate(servers, 1):
            title = f"flowruns requests {number}" if number > 1 else "flowruns requests"
            report.sections.append((title, server.requests.report()))
    return report


@pytest.fixture(scope="session")
def flowruns_options() -> dict[str, Any]:
    """Override it to start servers with other settings: fields of `flowruns.Settings`."""
    return {}


@pytest.fixture(scope="session")
def flowruns_server(flowruns_options: dict[str, Any]) -> "Iterator[Flowruns]":
    """The server of this test session, or of its xdist worker. Nothing is put back between tests: see `flowruns`."""
    from flowruns.testing import serve

    with serve(**flowruns_options) as server:
        yield server


@pytest.fixture
def flowruns(flowruns_server: "Flowruns", request: pytest.FixtureRequest) -> "Iterator[Flowruns]":
    """A clean flowruns behind real HTTP at `flowruns.url`, which FLOWRUNS_URL says too, to programs under test."""
    marker = request.node.get_closest_marker("flowruns")
    flowruns_server.reset(**(marker.kwargs if marker else {}))
    request.node.stash.setdefault(_used, []).append(flowruns_server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWRUNS_URL", flowruns_server.url)
        yield flowruns_server
    flowruns_server.reset()


@pytest.fixture
def flowruns_app(flowruns_options: dict[str, Any]) -> "Iterator[Embedded]":
    """A new ASGI application over an empty database: no socket, and no server."""
    from flowruns.embed import create_app

    app = create_app(**flowruns_options)
    yield app
    app.close()


@pytest.fixture
def make_flowruns(flowruns_options: dict[str, Any], request: pytest.FixtureRequest) -> "Iterator[MakeFlowruns]":
    """Starts further servers: `make_flowruns(tmp_path / "a.db", max_body=1024)`. All end with the test, the last one
    first.
    """
    from flowruns.testing import serve

    with ExitStack() as stack:

        def make(database: "str | os.PathLike[str]" = ":memory:", **settings: Any) -> "Flowruns":
            server = stack.enter_context(serve(database, **{**flowruns_options, **settings}))
            request.node.stash.setdefault(_used, []).append(server)
            return server

        yield make
