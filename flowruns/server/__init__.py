"""The process: sockets, uvicorn, signals, and the programs that start it."""
