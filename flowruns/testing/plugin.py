"""Fixtures for pytest: an empty flowruns server for each test. Imports the rest of flowruns when a fixture is used."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from flowruns.embed import Embedded
    from flowruns.testing.requests import RecordedRequests
    from flowruns.testing.server import Flowruns

    MakeFlowruns = Callable[..., Flowruns]

_MARKER = (
    "flowruns(seed=0, time=None, tokens=None): the runs (or a number to seed ids), the frozen time and the tokens of"
    " the server"
)

_requests = pytest.StashKey[list["RecordedRequests"]]()  # of the servers of a test, for its report

_server_options = pytest.StashKey[dict[str, Any]]()  # flowruns_options of the session's server


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Adds the last requests to the report of a test that fails."""
    report = yield
    recorded: list[RecordedRequests] = item.stash.get(_requests, [])
    if report.failed:
        for number, requests in enumerate(recorded, 1):
            title = f"flowruns requests {number}" if number > 1 else "flowruns requests"
            report.sections.append((title, requests.report()))
    if call.when == "teardown":
        recorded.clear()  # items live until the session ends
    return report


@pytest.fixture(scope="session")
def flowruns_options() -> dict[str, Any]:
    """Settings for all servers and applications: override this fixture to return fields of `flowruns.Settings`. Each
    test deletes all runs of the *database*, if you set one.
    """
    return {}


@pytest.fixture(scope="session")
def flowruns_server(flowruns_options: dict[str, Any], request: pytest.FixtureRequest) -> "Iterator[Flowruns]":
    """The server of the test session, or of the xdist worker. It is not reset between tests, unless they use
    `flowruns`.
    """
    from flowruns.errors import CannotStart
    from flowruns.testing.server import serve

    request.config.stash[_server_options] = flowruns_options
    with ExitStack() as stack:
        try:
            server = stack.enter_context(serve(**_of_worker(flowruns_options)))
        except (CannotStart, TypeError, ValueError) as error:
            _fail(f"the server cannot start with these flowruns_options: {error}")
        yield server


@pytest.fixture
def flowruns(
    flowruns_server: "Flowruns", flowruns_options: dict[str, Any], request: pytest.FixtureRequest
) -> "Iterator[Flowruns]":
    """An empty server at `flowruns.url`, also for programs under test in the variable FLOWRUNS_URL."""
    if flowruns_options != request.config.stash[_server_options]:
        _fail(
            "this test has other flowruns_options than the server of the session, which all tests share: override"
            " flowruns_options in the root conftest.py, or start a server for this test with make_flowruns"
        )
    try:
        _reset(flowruns_server, request.node)
        request.node.stash.setdefault(_requests, []).append(flowruns_server.requests)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FLOWRUNS_URL", flowruns_server.url)
            for name in ("NO_PROXY", "no_proxy"):  # else HTTP_PROXY would get the requests of most clients
                patch.setenv(name, ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost,::1"])))
            yield flowruns_server
        flowruns_server._warn_of_unused_faults()
    finally:
        flowruns_server.reset()


@pytest.fixture
def flowruns_app(flowruns_options: dict[str, Any]) -> "Iterator[Embedded]":
    """A new ASGI application with an empty database: no socket, no server."""
    from flowruns.embed import create_app

    app = create_app(**{**flowruns_options, "database": ":memory:"})
    yield app
    app.close()


@pytest.fixture
def make_flowruns(flowruns_options: dict[str, Any], request: pytest.FixtureRequest) -> "Iterator[MakeFlowruns]":
    """Starts more servers: `make_flowruns(tmp_path / "a.db", max_body=1024)`. They stop at the end of the test, in
    reverse order.
    """
    from flowruns.testing.server import serve

    servers: list[Flowruns] = []
    with ExitStack() as stack:

        def make(database: "str | os.PathLike[str]" = ":memory:", **settings: Any) -> "Flowruns":
            server = stack.enter_context(serve(**{**flowruns_options, "database": database, **settings}))
            request.node.stash.setdefault(_requests, []).append(server.requests)
            servers.append(server)
            return server

        yield make
        for server in servers:
            server._warn_of_unused_faults()


def _of_worker(options: dict[str, Any]) -> dict[str, Any]:
    """*options* with a database file for this xdist worker alone: two servers cannot share one."""
    database, worker = options.get("database", ":memory:"), os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None or database == ":memory:":
        return options
    path = Path(database)
    return {**options, "database": path.with_name(f"{path.stem}-{worker}{path.suffix}")}


def _reset(server: "Flowruns", node: pytest.Item) -> None:
    """Resets *server* to the values of the markers of *node*. Fails the test if a value is invalid."""
    from flowruns.errors import FlowrunsError

    values = _marker_values(node)
    try:
        server.reset(**values)
    except (FlowrunsError, OSError, TypeError, ValueError) as error:
        if not values:
            raise
        _fail(f"@pytest.mark.flowruns({_arguments(values)}): {error}")


def _marker_values(node: pytest.Item) -> dict[str, Any]:
    """The keyword arguments of the markers of *node*; the closest marker wins. A relative path of *seed* starts at the
    folder of the test. Fails the test if a marker has other arguments.
    """
    values: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers("flowruns"))):
        if marker.args or not marker.kwargs.keys() <= {"seed", "time", "tokens"}:
            _fail(
                "@pytest.mark.flowruns takes only seed=, time= and tokens=, not"
                f" ({_arguments(marker.kwargs, *marker.args)})"
            )
        values |= marker.kwargs
    if isinstance(values.get("seed"), str | os.PathLike):
        values["seed"] = str(Path(node.path.parent, values["seed"]))
    return values


def _arguments(keywords: Mapping[str, Any], *positional: Any) -> str:
    """The arguments of a marker as source text, long ones shortened."""
    return ", ".join([*map(repr, positional), *(f"{name}={shortened(value)}" for name, value in keywords.items())])


def _fail(message: str) -> NoReturn:
    """Fails the test with *message* alone: a traceback would show only this plugin."""
    raise pytest.fail.Exception(message, pytrace=False) from None
