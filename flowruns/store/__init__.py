"""Runs in a database: every SQL statement on them, and `Store`."""
