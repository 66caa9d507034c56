"""flowruns: the self-service action runs API in one small Python process on one SQLite file."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowruns.client import AsyncClient, Client
    from flowruns.embed import create_app, lifespan_of, serve, serve_async
    from flowruns.settings import Settings
    from flowruns.store import Store

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "Settings", "Store", "create_app", "lifespan_of", "serve", "serve_async"]

_HOMES = {
    "AsyncClient": "client",
    "Client": "client",
    "Settings": "settings",
    "Store": "store",
}  # the others are of `embed`


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported when it is first asked for: a pytest plugin is loaded into every test run."""
    if name not in __all__:
        raise AttributeError(f"module 'flowruns' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"flowruns.{_HOMES.get(name, 'embed')}"), name)
    return value
