"""The version of flowruns."""

__version__ = "0.2.0"
