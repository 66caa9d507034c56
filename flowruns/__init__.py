"""flowruns: the self-service action runs API in one small Python process on one SQLite file."""

from typing import TYPE_CHECKING, Any

from flowruns.version import __version__

if TYPE_CHECKING:
    from flowruns import errors
    from flowruns.client.async_client import AsyncClient
    from flowruns.client.client import Client
    from flowruns.embed import create_app, lifespan_of, serve, serve_async
    from flowruns.model.runs import FlowRun, RunPost, RunPut
    from flowruns.player.remote import play, play_async
    from flowruns.player.script import Script
    from flowruns.settings import Settings
    from flowruns.store.store import Store

__all__ = [
    "AsyncClient",
    "Client",
    "FlowRun",
    "RunPost",
    "RunPut",
    "Script",
    "Settings",
    "Store",
    "__version__",
    "create_app",
    "errors",
    "lifespan_of",
    "play",
    "play_async",
    "serve",
    "serve_async",
]

_MODULES = {
    "AsyncClient": "client.async_client",
    "Client": "client.client",
    "FlowRun": "model.runs",
    "RunPost": "model.runs",
    "RunPut": "model.runs",
    "Script": "player.script",
    "Settings": "settings",
    "Store": "store.store",
    "create_app": "embed",
    "lifespan_of": "embed",
    "play": "player.remote",
    "play_async": "player.remote",
    "serve": "embed",
    "serve_async": "embed",
}


def __getattr__(name: str) -> Any:
    """The public names, imported on first use: a pytest plugin is loaded into every test run."""
    from importlib import import_module

    if name == "errors":  # the import sets the attribute
        return import_module("flowruns.errors")
    if name not in _MODULES:
        raise AttributeError(f"module 'flowruns' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"flowruns.{_MODULES[name]}"), name)
    return value
