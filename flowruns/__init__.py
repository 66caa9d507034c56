"""flowruns: the self-service action runs API in one small Python process on one SQLite file."""

__version__ = "0.1.0"
