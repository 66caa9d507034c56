"""The ASGI application: reads requests, calls the store, and builds responses."""
