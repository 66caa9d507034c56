"""Fixtures for pytest: a clean flowruns for each test. Nothing of flowruns is imported until one of them is used."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flowruns.embed import Embedded
    from flowruns.testing.requests import RecordedRequests
    from flowruns.testing.server import Flowruns

    MakeFlowruns = Callable[..., Flowruns]

_MARK = "flowruns(seed=0, time=None, tokens=None): the runs (or a number for ids), the frozen time, the tokens"

_asked = pytest.StashKey[list["RecordedRequests"]]()  # of the servers of a test, for its report

_started = pytest.StashKey[dict[str, Any]]()  # the options of the session's server


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", _MARK)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Attaches the last requests to the report of a test that fails."""
    report = yield
    asked: list[RecordedRequests] = item.stash.get(_asked, [])
    if report.failed:
        for number, requests in enumerate(asked, 1):
            title = f"flowruns requests {number}" if number > 1 else "flowruns requests"
            report.sections.append((title, requests.report()))
    if call.when == "teardown":
        asked.clear()  # items live as long as the session
    return report


@pytest.fixture(scope="session")
def flowruns_options() -> dict[str, Any]:
    """Override it to start servers with other settings: fields of `flowruns.Settings`. Each test empties a *database*
    that it names.
    """
    return {}


@pytest.fixture(scope="session")
def flowruns_server(flowruns_options: dict[str, Any], request: pytest.FixtureRequest) -> "Iterator[Flowruns]":
    """The server of this test session, or of its xdist worker. Nothing is put back between tests: see `flowruns`."""
    from flowruns.testing.server import serve

    request.config.stash[_started] = flowruns_options
    with serve(**flowruns_options) as server:
        yield server


@pytest.fixture
def flowruns(
    flowruns_server: "Flowruns", flowruns_options: dict[str, Any], request: pytest.FixtureRequest
) -> "Iterator[Flowruns]":
    """A clean flowruns behind real HTTP at `flowruns.url`, which FLOWRUNS_URL says too, to programs under test."""
    if flowruns_options != request.config.stash[_started]:
        raise pytest.UsageError(
            "the server of this session has other flowruns_options: override them for all tests, in the conftest.py"
            " of the root, or start a server of your own with make_flowruns"
        )
    marked = _marked(request.node)
    try:
        flowruns_server.reset(**marked)
        request.node.stash.setdefault(_asked, []).append(flowruns_server.requests)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FLOWRUNS_URL", flowruns_server.url)
            yield flowruns_server
    finally:
        flowruns_server.reset()


@pytest.fixture
def flowruns_app(flowruns_options: dict[str, Any]) -> "Iterator[Embedded]":
    """A new ASGI application over an empty database: no socket, and no server."""
    from flowruns.embed import create_app

    app = create_app(**{**flowruns_options, "database": ":memory:"})
    yield app
    app.close()


@pytest.fixture
def make_flowruns(flowruns_options: dict[str, Any], request: pytest.FixtureRequest) -> "Iterator[MakeFlowruns]":
    """Starts further servers: `make_flowruns(tmp_path / "a.db", max_body=1024)`. All end with the test, the last one
    first.
    """
    from flowruns.testing.server import serve

    with ExitStack() as stack:

        def make(database: "str | os.PathLike[str]" = ":memory:", **settings: Any) -> "Flowruns":
            server = stack.enter_context(serve(**{**flowruns_options, "database": database, **settings}))
            request.node.stash.setdefault(_asked, []).append(server.requests)
            return server

        yield make


def _marked(node: pytest.Item) -> dict[str, Any]:
    """What the marks of a test say, the closest one the last word. A file's place is beside the test. Raises
    UsageError.
    """
    said: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("flowruns"))):
        if mark.args or not mark.kwargs.keys() <= {"seed", "time", "tokens"}:
            raise pytest.UsageError(f"the marker is {_MARK.partition(':')[0]}, not {mark.args} {mark.kwargs}")
        said |= mark.kwargs
    if isinstance(said.get("seed"), str | os.PathLike):
        said["seed"] = Path(node.path.parent, said["seed"])
    return said
