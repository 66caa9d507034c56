"""The API from Python."""
