"""The version of flowruns."""

__version__ = "0.1.0"
