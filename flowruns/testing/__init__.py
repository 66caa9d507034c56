"""A server for tests: clean for each of them, with its clock, its ids and its faults in the test's hand.

The pytest plugin makes fixtures of it; elsewhere, `with flowruns.testing.serve() as runs: …`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowruns.testing.server import Flowruns, serve

__all__ = ["Flowruns", "serve"]


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported on first use: pytest imports this package for the plugin in every test run."""
    if name not in __all__:
        raise AttributeError(f"module 'flowruns.testing' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module("flowruns.testing.server"), name)
    return value
