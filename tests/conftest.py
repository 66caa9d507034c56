"""Fixtures for all tests: `path`, `store`, `app` and `client`, each of which uses the one before, and `server`.

`client` sends requests to `app` without a socket. `server` listens on a real port: for streams, limits and stops.
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from flowruns.http.app import create_app
from flowruns.server.running import running
from flowruns.settings import Settings
from flowruns.store.store import Store

RUNS = "/api/v1/flow-runs"
REAL_RUNS = Path(__file__).parent / "data" / "real_runs.ndjson"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the browser tests last: from their first one on, Playwright's event loop occupies the main thread."""
    items.sort(key=lambda item: "browser" in item.path.parts)


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
def path(tmp_path: Path) -> Path:
    """The path of a database file that does not exist yet."""
    return tmp_path / "flowruns.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """An empty store in the file *path*."""
    async with Store.open(path) as store:
        yield store


@pytest.fixture
def app(store: Store) -> Starlette:
    """The application over *store*, with default settings."""
    return create_app(store)


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of *app*."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server with an empty store, on a free port."""
    with running(Settings(database=":memory:", port=0)) as running_server:
        yield running_server.url
