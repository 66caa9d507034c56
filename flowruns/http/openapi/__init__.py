"""The document /openapi.json: what it has, and its schemas and texts."""
