"""A flowruns server for tests: the test controls its clock and its ids, and injects faults.

The pytest plugin provides it as fixtures. Without pytest: `with flowruns.testing.serve() as flowruns: …`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowruns.testing.fault_injection import UnusedFaultWarning
    from flowruns.testing.server import Flowruns, serve

__all__ = ["Flowruns", "UnusedFaultWarning", "serve"]


def __getattr__(name: str) -> Any:
    """A name of `__all__`, imported on first use: pytest loads this package with the plugin in every test run."""
    if name not in __all__:
        raise AttributeError(f"module 'flowruns.testing' has no attribute {name!r}")
    from importlib import import_module

    module = "fault_injection" if name == "UnusedFaultWarning" else "server"
    value = globals()[name] = getattr(import_module(f"flowruns.testing.{module}"), name)
    return value
