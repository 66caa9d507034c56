"""ASGI: requests to responses."""
