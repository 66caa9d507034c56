"""Runs in a database: the SQL that reads and writes them, and `Store`."""
