"""Clients that nobody here wrote: generated from /openapi.json, compiled and used, and libraries that read streams."""
