"""Fixtures for all tests: `path`, `store`, `app` and `client`, each of which uses the one before, and `server`.

`client` sends requests to `app` without a socket. `server` listens on a real port: for streams, limits and stops.
"""

import json
import os
import random
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from flowruns.http.app import create_app
from flowruns.server.starting import RunningServer, running
from flowruns.settings import Settings
from flowruns.sqlite.numbers import count_on
from flowruns.store.store import Store
from flowruns.testing.server import Flowruns, serve
from tests.waits import process_ended_if_hung
from tests.wire import Wire

RUNS = "/api/v1/flow-runs"
REAL_RUNS = Path(__file__).parent / "data" / "real_runs.ndjson"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the browser tests last: from their first one on, Playwright's event loop occupies the main thread."""
    items.sort(key=lambda item: "browser" in item.path.parts)


_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        config.stash[_STDERR] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_STDERR])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each processor, because tests wait more than they compute: a server takes 0.2 s to stop."""
    return 2 * len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with process_ended_if_hung(item.config.stash[_STDERR]):
        return (yield)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests; anyio's plugin reads it."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _own_runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers in memory register where no other test, and no command of the user, looks for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield


@pytest.fixture(scope="session")
def real_runs() -> list[dict[str, Any]]:
    """PUT bodies of 346 runs from seven CI systems."""
    return [json.loads(line) for line in REAL_RUNS.read_bytes().splitlines()]


@pytest.fixture
def chance() -> random.Random:
    """A source of random choices. If the test fails, pytest shows its seed."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a database file that does not exist yet."""
    return tmp_path / "flowruns.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """An empty store in the file *path*, whose first write has number 1."""
    async with Store.open(path, start_after=count_on) as store:
        yield store


@pytest.fixture
def app(store: Store) -> Starlette:
    """The application over *store*, with default settings."""
    return create_app(store)


def client_of(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of *app*."""
    async with client_of(app) as client:
        yield client


@pytest.fixture(scope="session")
def _shared_server() -> Iterator[RunningServer]:
    with running(Settings(database=":memory:", port=0)) as ready:
        yield ready


@pytest.fixture(scope="module")
def _shared_runs() -> Iterator[Flowruns]:
    with serve() as runs:
        yield runs


@pytest.fixture
def runs(_shared_runs: Flowruns) -> Iterator[Flowruns]:
    """A server for tests, as users have it, which is empty."""
    _shared_runs.reset()
    yield _shared_runs
    _shared_runs.reset()


@pytest.fixture
def server(_shared_server: RunningServer) -> str:
    """The address of a server with an empty store, on a free port."""
    _shared_server.call(_shared_server.store.clear())
    return _shared_server.url


@pytest.fixture
def wire(server: str) -> Iterator[Wire]:
    """A connection to *server*."""
    with Wire(server) as wire:
        yield wire
