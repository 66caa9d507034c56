"""Runs servers: the socket, uvicorn, signals, and the programs that start and stop a server process."""
